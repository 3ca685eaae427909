"""Caches, sessions, containers, queues, channels, locks and limits of other people's packages, unmodified, on a server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clients.packages import FRAMEWORKS
from helpers.installs import Installs, run
from helpers.servers import ServerProcess, kvserver_environment

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
    environment = kvserver_environment() | {"PYTHONPATH": str(installs.python(*FRAMEWORKS))}
    lines = run(sys.executable, "-W", WARNINGS[name], program, str(kvserver.port), environment=environment).splitlines()
    print(f"{name} {lines[-1]}", *(line for line in lines if line.startswith("left out: ")), sep="\n")
