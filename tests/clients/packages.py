"""The packages that programs use, by the folder that they are installed in: the oldest versions that were seen to work."""

from __future__ import annotations

FRAMEWORKS = (
    "aiocache[redis]>=0.12",
    "channels-redis>=4.3",
    "django>=5",
    "django-redis>=7",
    "flask-caching>=2.5",
    "flask-limiter>=4.1",
    "flask-session>=0.8",
    "huey>=3.5",
    "limits>=5.8",
    "pottery>=3",
    "python-redis-lock>=4",
    "redis>=6",
    "walrus>=0.9.8",
)
QUEUES = (
    "aiohttp>=3.14",
    "bullmq>=3.4",
    "celery>=5.7",
    "dramatiq>=2.2",
    "huey>=3.5",
    "python-socketio>=5.18",
    "redis>=8",
    "rq>=3",
    "taskiq>=0.13",
    "taskiq-redis>=1.2",
)
# It wants an older redis-py than the others.
ARQ = ("arq>=0.28",)
# Another project whose own tests run with our fixture. fakeredis is what they use otherwise.
THROTTLED_SOURCE = "throttled-py==3.5.0"
THROTTLED = (THROTTLED_SOURCE, "fakeredis[lua]>=2.30", "redis>=6,<8")
JAVASCRIPT = ("bullmq@5", "ioredis@6", "redis@6")
# redis-py's own tests of JSON documents.
REDIS_PY_SOURCE = "redis==8.1.0"
REDIS_PY_JSON = (REDIS_PY_SOURCE, "ujson>=5.10")
