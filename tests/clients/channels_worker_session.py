"""A program that sends messages by channels_redis, its core layer, for a worker of Django Channels.

`REDIS_URL=redis://127.0.0.1:PORT/0 python channels_worker_session.py` prints the version last. With the argument `work` it is
the worker. Nothing there keeps results.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from typing import Any

from channels.consumer import AsyncConsumer
from channels.layers import get_channel_layer
from channels.worker import Worker
from channels_redis.core import RedisChannelLayer
from django.conf import settings
from redis.exceptions import RedisError

from clients import jobs


class Consumer(AsyncConsumer):  # type: ignore[misc]
    """What takes the messages of type `work`."""

    async def work(self, message: dict[str, Any]) -> None:
        await asyncio.to_thread(jobs.work, message["number"])


# Without a time-out of the socket, which redis-py would set to that of the blocking command.
HOSTS = [{"address": jobs.URL, "socket_timeout": None}]


def main() -> None:
    with jobs.event_loop() as run:
        layer: Any = RedisChannelLayer(hosts=HOSTS)

        def enqueue(number: int) -> int:
            run(layer.send("jobs", {"type": "work", "number": number}))
            return number

        with jobs.producer() as producer, jobs.Worker(__file__, "work") as worker:
            producer.play(enqueue, jobs.result_of, RedisError, stopped=worker)
        run(layer.flush())
        run(layer.close_pools())
    print(version("channels_redis"))


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": HOSTS}}
        settings.configure(CHANNEL_LAYERS={"default": layer})
        Worker(Consumer.as_asgi(), ["jobs"], get_channel_layer()).run()
    else:
        main()
