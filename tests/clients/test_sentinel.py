"""Clients that ask Redis's Sentinel follow two real nodes over switches, unmodified: no error reaches the program.

The nodes share a folder as their engine; each answers as a Sentinel on its own port.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.packages import JAVASCRIPT, QUEUES
from clients.programs import program
from helpers.installs import PROGRAM_TIMEOUT_S, Installs
from helpers.nodes import Nodes
from helpers.servers import PROJECT, kvserver_environment, need_program, parse, wait_until

FOLDER = Path(__file__).parent
# Short, so that little time passes until a standby takes over from a node that was killed.
LEASE_MS = 500


@pytest.fixture(scope="module")
def running_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    with Nodes(folder, f"file:{folder}/kv", 2, LEASE_MS, "--save", "") as nodes:
        yield nodes


@pytest.fixture
def nodes(running_nodes: Nodes) -> Nodes:
    assert running_nodes.primary().once("FLUSHALL") == b"+OK\r\n"
    return running_nodes


def switch(nodes: Nodes, how: str) -> None:
    """Let the other node lead, as a person has it, or since the primary was killed. Both run when this returns."""
    primary = nodes.primary()
    wait_until(lambda: len(parse(primary.once("ROLE"))[2]) == 1, "the primary knows of the other node")
    if how == "failover":
        assert primary.once("FAILOVER") == b"+OK\r\n"
        nodes.primary(other_than=primary)
    else:
        primary.kill()
        nodes.primary(other_than=primary)
        primary.restart()


def run_over_switches(nodes: Nodes, *command: str | Path, **variables: str) -> str:
    """Run a program that says how another node is to lead, each time that it wants that. Returns its last line."""
    lines = []
    with program(*command, environment=kvserver_environment() | variables) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line in ("failover\n", "kill\n"):
                switch(nodes, line.strip())
                process.stdin.write("ready\n")
                process.stdin.flush()
        status = process.wait(PROGRAM_TIMEOUT_S)
    assert status == 0, f"{command} gave {status}:\n{''.join(lines)}\n{nodes.logs()}"
    assert "kill\n" in lines
    return lines[-1]


def test_redis_py_goes_on_writing(nodes: Nodes) -> None:
    print("redis-py", run_over_switches(nodes, sys.executable, FOLDER / "sentinel_session.py", *map(str, nodes.ports)))


@pytest.mark.parametrize("name", ["ioredis", "node_redis"])
def test_clients_in_javascript_go_on_writing(nodes: Nodes, installs: Installs, name: str) -> None:
    folder, script = installs.node(*JAVASCRIPT), FOLDER / f"{name}_sentinel_session.cjs"
    print(name, run_over_switches(nodes, need_program("node"), script, *map(str, nodes.ports), NODE_PATH=str(folder)))


def test_worker_of_rq_goes_on_and_loses_no_job(nodes: Nodes, installs: Installs) -> None:
    path = os.pathsep.join(map(str, (installs.python(*QUEUES), PROJECT / "tests")))
    ports = ",".join(map(str, nodes.ports))
    script = FOLDER / "rq_sentinel_session.py"
    print("rq", run_over_switches(nodes, sys.executable, script, PYTHONPATH=path, SENTINELS=ports))
