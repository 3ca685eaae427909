"""Queues and channels of other people's packages with their real workers, unmodified: kill -9 of the server loses no job."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from clients.packages import ARQ, FRAMEWORKS, JAVASCRIPT, QUEUES
from clients.programs import program
from helpers.installs import PROGRAM_TIMEOUT_S, Installs
from helpers.servers import PROJECT, Kind, ServerProcess, StartServer, kvserver_environment, need_program

PROGRAMS = {
    "arq": ARQ,
    "bullmq": QUEUES,
    "celery": QUEUES,
    "channels_worker": FRAMEWORKS,
    "dramatiq": QUEUES,
    "huey_worker": QUEUES,
    "rq": QUEUES,
    "socketio": QUEUES,
    "taskiq": QUEUES,
}
FOLDER = Path(__file__).parent


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    """A server with a journal. On a redis-server one sees what programs do where all is as their authors know it."""
    kind: Kind = "redis-server" if os.environ.get("KVSERVER_WORKERS_ON") == "redis-server" else "kvserver"
    return start_server("--save", "", "--appendonly", "yes", kind=kind)


def run_with_kills(server: ServerProcess, *command: str | Path, **variables: str) -> str:
    """Run a program that says `kill` when the server is to be killed and started again. Returns its last line, the version."""
    environment = kvserver_environment() | {"REDIS_URL": f"redis://127.0.0.1:{server.port}/0"} | variables
    lines = []
    with program(*command, environment=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line == "kill\n":
                server.kill()
                server.restart()
                process.stdin.write("ready\n")
                process.stdin.flush()
        status = process.wait(PROGRAM_TIMEOUT_S)
    assert status == 0, f"{command} gave {status}:\n{''.join(lines)}"
    assert "kill\n" in lines
    return lines[-1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_workers_lose_no_job_over_kills_of_the_server(server: ServerProcess, installs: Installs, name: str) -> None:
    paths = (installs.python(*PROGRAMS[name]), PROJECT / "tests")
    path = os.pathsep.join(map(str, paths))
    print(name, run_with_kills(server, sys.executable, FOLDER / f"{name}_session.py", PYTHONPATH=path))


def test_workers_in_javascript_lose_no_job_over_kills_of_the_server(server: ServerProcess, installs: Installs) -> None:
    folder = installs.node(*JAVASCRIPT)
    print("bullmq", run_with_kills(server, need_program("node"), FOLDER / "bullmq_session.cjs", NODE_PATH=str(folder)))
