"""Connections to a server that send nothing, once they have said PING.

Owns these connections, in a process of their own: each process may have as many files as the system allows. Must never send
or read anything more.
"""

import argparse
import resource
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from bench.failure import BenchFailed
from bench.request import encode_request

# The files that a Python process has open besides.
SPARE_FILES = 50
# The time for all connections together.
CONNECT_TIMEOUT_S = 60.0
RECEIVE_BYTES = 1 << 10
READY = "ready"


class ConnectionsFailed(BenchFailed):
    """Not all connections could be opened; the message says why."""


def affordable_connections(wanted: int, besides: int) -> int:
    """The number of connections, `wanted` at most, that a server may have which opens so many files besides.

    This process's soft limit becomes the hard one, and the processes that it starts inherit that.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - besides - SPARE_FILES)


class IdleConnections:
    """So many connections to a port, open while a `with` statement runs."""

    def __init__(self, port: int, count: int) -> None:
        self._command = [sys.executable, "-m", "bench.idle_connections", "--port", str(port), "--count", str(count)]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != READY:
            _, words = self._process.communicate()
            raise ConnectionsFailed(f"no idle connections: {(words.strip().splitlines() or ['no reason given'])[-1]}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            # This closes the process's input, at which it ends.
            self._process.communicate()


def connect(port: int, deadline: float) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=max(0.0, deadline - time.perf_counter()))
    connection.sendall(encode_request("PING"))
    if not connection.recv(RECEIVE_BYTES).startswith(b"+PONG"):
        raise ConnectionsFailed("the server does not answer PING")
    return connection


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.idle_connections", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    deadline = time.perf_counter() + CONNECT_TIMEOUT_S
    held = [connect(options.port, deadline) for _ in range(options.count)]
    print(READY, flush=True)
    sys.stdin.read()
    for connection in held:
        connection.close()


if __name__ == "__main__":
    main()
