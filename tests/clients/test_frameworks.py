"""Caches, sessions, containers, queues, channels, locks and limits of other people's packages, unmodified, on a server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.installs import Installs, run
from helpers.servers import ServerProcess, kvserver_environment

# The oldest versions that these programs have been seen with.
REQUIREMENTS = (
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
# aiocache and walrus call what redis-py says is old; pottery warns of its own calls that take long.
WARNINGS = {
    "aiocache": "default",
    "channels_redis": "error",
    "django": "error",
    "django_redis": "error",
    "flask_caching": "error",
    "flask_limiter": "error",
    "flask_session": "error",
    "huey": "error",
    "limits": "error",
    "pottery": "default",
    "python_redis_lock": "error",
    "redis_py_lock": "error",
    "walrus": "default",
}


@pytest.mark.parametrize("name", WARNINGS)
def test_framework_works(kvserver: ServerProcess, installs: Installs, name: str) -> None:
    """The program of each prints its version last, and before that the parts that it leaves out."""
    program = Path(__file__).with_name(f"{name}_session.py")
    environment = kvserver_environment() | {"PYTHONPATH": str(installs.python(*REQUIREMENTS))}
    lines = run(sys.executable, "-W", WARNINGS[name], program, str(kvserver.port), environment=environment).splitlines()
    print(f"{name} {lines[-1]}", *(line for line in lines if line.startswith("left out: ")), sep="\n")
