"""Django, Flask-Session and aiocache, unmodified, keep caches and sessions in a server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.installs import Installs, run
from helpers.servers import ServerProcess, kvserver_environment

REQUIREMENTS = ("django>=5", "flask-session>=0.8", "aiocache[redis]>=0.12", "redis>=6")


@pytest.mark.parametrize(("name", "warnings"), [("django", "error"), ("flask_session", "error"), ("aiocache", "default")])
def test_framework_works(kvserver: ServerProcess, installs: Installs, name: str, warnings: str) -> None:
    """aiocache calls what redis-py says is old."""
    program = Path(__file__).with_name(f"{name}_session.py")
    environment = kvserver_environment() | {"PYTHONPATH": str(installs.python(*REQUIREMENTS))}
    version = run(sys.executable, "-W", warnings, program, str(kvserver.port), environment=environment)
    print(f"{name} {version.splitlines()[-1]}")
