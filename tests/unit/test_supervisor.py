"""A supervisor is told of the life of a server by a datagram socket."""

from __future__ import annotations

import logging
import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.servers import DEADLINE_S, StartServer, encode
from kvserver.supervisor import Supervisor


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(DEADLINE_S)
        yield listening


def receive(listener: socket.socket) -> list[str]:
    """The assignments of one message."""
    return listener.recv(4096).decode().split("\n")


def receive_until(listener: socket.socket, assignment: str) -> list[list[str]]:
    messages = [receive(listener)]
    while assignment not in messages[-1]:
        messages.append(receive(listener))
    return messages


@pytest.mark.parametrize(
    "is_abstract", [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="of Linux"))]
)
def test_message_reaches_the_socket(listener: socket.socket, tmp_path: Path, is_abstract: bool) -> None:
    name = f"kvserver-test-{os.getpid()}"
    listener.bind(f"\0{name}" if is_abstract else str(tmp_path / name))
    supervisor = Supervisor(f"@{name}" if is_abstract else str(tmp_path / name))
    supervisor.tell_ready("serving")
    supervisor.tell_of_load(7)
    supervisor.tell_leaving()
    assert receive(listener) == ["READY=1", "STATUS=serving"]
    assert receive(listener) == ["STATUS=loading: 7 %", "EXTEND_TIMEOUT_USEC=300000000"]
    assert receive(listener) == ["STOPPING=1", "STATUS=shutting down"]


def test_nobody_is_told_without_an_address() -> None:
    Supervisor("").tell_ready("serving")


@pytest.mark.parametrize("address", ["/nowhere/at/all", "x" * 200, "\udcff"])
def test_listener_that_is_not_there_is_logged_once(caplog: pytest.LogCaptureFixture, address: str) -> None:
    supervisor = Supervisor(address)
    with caplog.at_level(logging.WARNING):
        supervisor.tell_ready("serving")
        supervisor.tell_leaving()
    (record,) = caplog.records
    assert "NOTIFY_SOCKET" in record.getMessage()


def test_full_queue_of_a_listener_holds_nobody_up(listener: socket.socket, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener.bind(path)
    supervisor = Supervisor(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                other.sendto(b"x", path)
    supervisor.tell_leaving()


@pytest.mark.parametrize("how", ["SIGTERM", "SHUTDOWN"])
def test_server_tells_that_it_loads_is_ready_and_leaves(
    listener: socket.socket, tmp_path: Path, start_server: StartServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = str(tmp_path / "socket")
    listener.bind(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    server = start_server("--save", "", "--appendonly", "no")
    *loading, ready = receive_until(listener, "READY=1")
    assert loading
    assert all(message[0].startswith("STATUS=loading: ") for message in loading)
    assert ready[1] == f"STATUS=Ready to accept connections on redis://127.0.0.1:{server.port}"
    if how == "SIGTERM":
        assert server.stop() == 0
    else:
        with server.connect() as wire:
            wire.send(encode("SHUTDOWN"))
            assert wire.read_until_eof() == b""
        assert server.wait() == 0
    assert receive(listener)[0] == "STOPPING=1"
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        receive(listener)


def test_shutdown_that_fails_is_told_to_be_none(
    listener: socket.socket, tmp_path: Path, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "socket")
    listener.bind(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    server = start_server("--save", "", "--appendonly", "no")
    receive_until(listener, "READY=1")
    limit = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (10, limit[1]))
    assert server.once("SET", "k", "x" * 1000) == b"+OK\r\n"
    server.process.terminate()
    assert receive(listener)[0] == "STOPPING=1"
    assert receive(listener) == ["READY=1", "STATUS=could not shut down, since the data could not be saved: see the log"]
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limit)
