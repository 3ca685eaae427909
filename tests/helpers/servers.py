"""Servers for the black-box tests: kvserver or redis-server as a process, and sockets that speak raw bytes to it.

This module sees a server from outside only. It imports one module of kvserver, to find out if it is compiled, and must never
use any other.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import hiredis
import pytest

from kvserver.data import keyspace

Kind = Literal["kvserver", "redis-server"]

PROJECT = Path(__file__).resolve().parents[2]

# Both servers have the same options, so that replies can be compared byte for byte.
COMMON_OPTIONS = ("--save", "", "--appendonly", "no", "--enable-debug-command", "local")
# The tests run against the compiled build. Its constants are built in: it has a thousand shards where tests want a few.
IS_COMPILED = not keyspace.__file__.endswith(".py")
READY = "Ready to accept connections"
PORT_TAKEN = ("in use", "Could not create server TCP listening socket", "Failed listening")
DEADLINE_S = 20.0
START_ATTEMPTS = 5


def need_program(name: str) -> str:
    """The path of an external program, or a skip that says which one is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed, so there is nothing to compare or drive with")
    return path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses, and that nobody else is given before a server has taken it.

    The system gives ports from 32,768 on to connections that are made meanwhile, so this one is below. Each worker of a run
    of tests has ports of its own.
    """
    while True:
        port = next(_PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _ports_of_this_worker() -> Iterator[int]:
    """The ports of this worker in turn, without an end. Another run beside this one begins at another port."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
    ports = range(10_000 + worker * 1_400, 10_000 + (worker + 1) * 1_400)
    first = os.getpid() % len(ports)
    return itertools.cycle([*ports[first:], *ports[:first]])


_PORTS = _ports_of_this_worker()


def kvserver_environment() -> dict[str, str]:
    """The test's environment without KVSERVER_ settings, and with a package that need not be installed.

    A server has the leaves that the test has.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("KVSERVER_") or name == "KVSERVER_PURE"
    }
    paths = [environment.get("PYTHONPATH", ""), str(PROJECT)]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    # An installed server has bytecode. Without it each of some hundred starts would take a second more.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def kvserver_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "kvserver", *arguments]


def encode(*arguments: bytes | str | int) -> bytes:
    """A request as an array of bulk strings."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def reply_end(data: bytes | bytearray, start: int = 0) -> int | None:
    """The end of the reply that begins at `start`, or None if the reply isn't whole yet."""
    line_end = data.find(b"\r\n", start)
    if line_end < 0:
        return None
    kind, end = data[start : start + 1], line_end + 2
    if kind in (b"$", b"=", b"!"):
        length = int(data[start + 1 : line_end])
        end += length + 2 if length >= 0 else 0
        return end if end <= len(data) else None
    if kind in (b"*", b"~", b">", b"%", b"|"):
        count = int(data[start + 1 : line_end])
        for _ in range(count * 2 if kind in (b"%", b"|") else count):
            item_end = reply_end(data, end)
            if item_end is None:
                return None
            end = item_end
        return end
    assert kind in (b"+", b"-", b":", b"_", b"#", b",", b"("), f"no reply begins with {kind!r}"
    return end


def split_replies(data: bytes) -> list[bytes]:
    """The raw replies in `data`, which must end where a reply ends."""
    replies = []
    start = 0
    while start < len(data):
        end = reply_end(data, start)
        assert end is not None, f"cut reply {data[start : start + 100]!r}"
        replies.append(data[start:end])
        start = end
    return replies


def parse(raw: bytes) -> Any:
    """The value of a raw reply, read by hiredis: bytes, int, bool, None, list, dict or ReplyError."""
    reader = hiredis.Reader()
    reader.feed(raw)
    return reader.gets()


class Wire:
    """A blocking raw socket, connected to a port or given by the caller. Every wait on it ends at the deadline."""

    def __init__(self, port: int, deadline_s: float = DEADLINE_S, connected: socket.socket | None = None) -> None:
        self.socket = connected or socket.create_connection(("127.0.0.1", port), timeout=deadline_s)
        self.socket.settimeout(deadline_s)
        if self.socket.family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The bytes that have arrived, behind the replies that were read.
        self.pending = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_reply(self) -> bytes:
        """The next reply, raw."""
        while (end := reply_end(self.pending)) is None:
            self._receive()
        reply = bytes(self.pending[:end])
        del self.pending[:end]
        return reply

    def read_exactly(self, length: int) -> bytes:
        """So many bytes. Reading is quick, also where the search for a big reply's end after each read would be slow."""
        while len(self.pending) < length:
            self._receive()
        data = bytes(self.pending[:length])
        del self.pending[:length]
        return data

    def read_through(self, end: bytes) -> bytes:
        """All bytes to these, with them. The next bytes must not come before they are asked for."""
        while not self.pending.endswith(end):
            self._receive()
        data = bytes(self.pending)
        self.pending.clear()
        return data

    def command(self, *arguments: bytes | str | int) -> bytes:
        self.send(encode(*arguments))
        return self.read_reply()

    def value(self, *arguments: bytes | str | int) -> Any:
        return parse(self.command(*arguments))

    def read_until_eof(self) -> bytes:
        """All bytes until the server closes the connection. A reset counts as closing."""
        chunks = [bytes(self.pending)]
        self.pending.clear()
        with suppress(ConnectionError):
            while chunk := self.socket.recv(1 << 20):
                chunks.append(chunk)
        return b"".join(chunks)

    def half_close(self) -> None:
        # The server may have closed the connection already.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close the connection with an RST instead of a FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def _receive(self) -> None:
        chunk = self.socket.recv(1 << 20)
        if not chunk:
            raise EOFError(f"closed with {bytes(self.pending[:200])!r} unread")
        self.pending += chunk


class ServerProcess:
    """A server process on a free port of 127.0.0.1: it is ready when the `with` block begins, and gone when the block ends."""

    def __init__(self, kind: Kind, directory: Path, *options: str) -> None:
        self.kind = kind
        self.directory = directory
        self.options = options
        self.port = 0
        # A thread reads the log from a pipe to its end. `_log_changed` guards the lines so far and `_log_ended`.
        self._lines: list[str] = []
        self._log_ended = False
        self._log_changed = threading.Condition()
        self._reader: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None, "the server was not started"
        return self._process

    def __enter__(self) -> Self:
        for _ in range(START_ATTEMPTS):
            self._launch()
            if self.wait_for_line(READY) is not None:
                return self
            self.kill()
            if not any(text in self.log_text() for text in PORT_TAKEN):
                break
        raise AssertionError(f"{self.kind} did not start:\n{self.log_text()}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            if error is None:
                self.stop()
            else:
                self.kill()
        self._close_log()
        if error is None:
            self.check_log()

    def command(self) -> list[str]:
        """The words of the command line, without the options."""
        return kvserver_command() if self.kind == "kvserver" else [need_program("redis-server")]

    def place(self) -> list[str]:
        """The options that say where the data is."""
        return ["--dir", str(self.directory)]

    def log_text(self) -> str:
        with self._log_changed:
            return "".join(self._lines)

    def wait_for_line(self, text: str, deadline_s: float = DEADLINE_S) -> str | None:
        """The first line of the log that has `text`, or None if the log ends without it or at the deadline."""

        def found() -> str | None:
            return next((line for line in self._lines if text in line), None)

        with self._log_changed:
            self._log_changed.wait_for(lambda: found() is not None or self._log_ended, deadline_s)
            return found()

    def check_log(self) -> None:
        """Fail if there is a traceback in the log, which no input may cause."""
        log = self.log_text()
        told = [text for text in ("Traceback", "Exception ignored") if text in log]
        assert not told, f"{self.kind} logged:\n{log}"

    def connect(self, deadline_s: float = DEADLINE_S) -> Wire:
        return Wire(self.port, deadline_s)

    def connect_with_a_small_buffer(self) -> Wire:
        """A connection whose receive buffer is small from the start.

        If a buffer shrinks later, the system may drop acknowledgements, and hold up the bytes that this side sends.
        """
        connected = socket.socket()
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connected.connect(("127.0.0.1", self.port))
        return Wire(self.port, connected=connected)

    def once(self, *arguments: bytes | str | int) -> bytes:
        """The raw reply to one command on a connection of its own."""
        with self.connect() as wire:
            return wire.command(*arguments)

    def memory_bytes(self, field: Literal["VmRSS", "VmHWM"]) -> int:
        """A figure of the process's memory, from Linux's /proc."""
        status = dict(line.split(":", 1) for line in self._kernel_file("status").splitlines())
        return int(status[field].split()[0]) * 1024

    def processor_time_s(self) -> float:
        """The processor time of the process so far, in user mode and in the system."""
        fields = self._kernel_file("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def work_during_s(self, call: Callable[[], object]) -> float:
        """The processor time of the server during a call, which other work on the machine makes no longer."""
        before_s = self.processor_time_s()
        call()
        return self.processor_time_s() - before_s

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for a process that leaves by itself. Returns the exit status; the log is whole then."""
        status = self.process.wait(deadline_s)
        self._close_log()
        return status

    def stop(self) -> int:
        """End the process by SIGTERM. Returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.kind} did not leave on SIGTERM:\n{self.log_text()}") from None

    def kill(self) -> None:
        """End the process by SIGKILL."""
        self.process.kill()
        self.wait()

    def restart(self) -> None:
        """Start the server again that was killed or has left, on its port. It is ready when this returns."""
        self._launch(self.port)
        assert self.wait_for_line(READY) is not None, f"{self.kind} did not start again:\n{self.log_text()}"

    def _kernel_file(self, name: str) -> str:
        file = Path(f"/proc/{self.process.pid}/{name}")
        if not file.exists():
            pytest.skip("this system has no /proc, so what the server uses can't be seen")
        return file.read_text()

    def _launch(self, port: int | None = None) -> None:
        self.port = port or free_port()
        arguments = ["--port", str(self.port), *self.place(), *self.options]
        self._lines, self._log_ended = [], False
        self._process = subprocess.Popen(
            self.command() + arguments,
            cwd=self.directory.parent,
            env=kvserver_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._log_changed:
                self._lines.append(line)
                self._log_changed.notify_all()
        with self._log_changed:
            self._log_ended = True
            self._log_changed.notify_all()

    def _close_log(self) -> None:
        if self._reader is not None:
            self._reader.join(DEADLINE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Ask for a condition until it is true, and fail at the deadline.

    Each call of it must be a round trip to a server or to the file system, so that the loop is not a busy one.
    """
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline_s} s"


def least_cost(measure: Callable[[], float], bound: float, tries: int = 5) -> float:
    """The first measurement below a bound, or the least of several.

    Each measurement has the cost of the code, but not each has the time that a busy host adds, also to the processor's time.
    """
    least = measure()
    for _ in range(tries - 1):
        if least < bound:
            break
        least = min(least, measure())
    return least


def info(wire: Wire, section: str = "persistence") -> dict[str, str]:
    """The fields of a section of INFO."""
    lines = wire.value("INFO", section).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


StartServer = Callable[..., ServerProcess]
