"""Jobs that tell when they run, and the story that a program of a package with workers plays with them.

Such a program is the producer: it starts the package's own worker as a process, and enqueues jobs. Each job calls `work`,
which tells the producer that it runs, by a Unix socket, and waits there until it may go on. So the producer knows without
asking what has run, and can hold a job while the server is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self
from urllib.parse import urlsplit

# The server's address, and the socket on which jobs tell that they run.
URL = os.environ.get("REDIS_URL", "")
SOCKET = "JOBS_SOCKET"
DEADLINE_S = 50.0
# So many jobs are enqueued while the server is there.
FEW = 3
# So many are enqueued at most while the server goes down.
BURST = 20
# A worker that leaves more often does not work.
STARTS = 6

Enqueue = Callable[[int], Any]


def work(number: int) -> int:
    """What every job does: it tells that it runs, waits until it may go on, and has a result."""
    with socket.socket(socket.AF_UNIX) as producer:
        producer.settimeout(DEADLINE_S)
        producer.connect(os.environ[SOCKET])
        producer.sendall(b"%d\n" % number)
        # The producer closes the connection when the job may go on.
        producer.recv(1)
    return result_of(number)


def result_of(number: int) -> int:
    return number * 2 + 1


def restart_server() -> None:
    """Let the test kill the server by SIGKILL and start it again on its port. Returns when it is ready."""
    print("kill", flush=True)
    assert sys.stdin.readline() == "ready\n"


def settle_server() -> None:
    """Return when the server knows of every connection that was closed before: a round trip comes behind that."""
    address = urlsplit(URL)
    with socket.create_connection((address.hostname, address.port), DEADLINE_S) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b"+PONG\r\n"


class Producer:
    """The jobs of a program: which were acknowledged as they were enqueued, and which have run."""

    def __init__(self, path: str) -> None:
        # What the package gave for each, with which its result is asked for.
        self._acknowledged: dict[int, Any] = {}
        self._ran: set[int] = set()
        self._numbers = itertools.count()
        self._held: int | None = None
        self._waiting: list[socket.socket] = []
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(100)
        threading.Thread(target=self._listen, daemon=True).start()

    def play(
        self,
        enqueue: Enqueue,
        result: Callable[[Any], Any],
        failure: type[Exception],
        stopped: Worker | None = None,
    ) -> None:
        """The story: the server is killed while the worker waits for jobs, and again while it runs one and others are queued.

        `enqueue` gives the work of a number to the package, which raises `failure` where it can't. `result` takes what it
        returned, and waits for the result. `stopped` is a worker that is to be stopped for the second kill, since what it
        runs meanwhile would run again only long after.
        """

        def check_results() -> None:
            self._wait_for(*self._acknowledged)
            for number, handle in self._acknowledged.items():
                found = result(handle)
                assert found == result_of(number), f"job {number} gave {found!r}"

        for _ in range(FEW):
            self._enqueue(enqueue)
        check_results()
        # Now the worker waits for jobs. What a package's worker does with jobs that it is just fetching is left to chance.
        restart_server()
        self._enqueue_in_the_end(enqueue, failure)
        check_results()
        if stopped is not None:
            stopped.stop()
            settle_server()
            self._enqueue_over_a_restart(enqueue, failure)
            stopped.start()
        else:
            self._wait_for(self._enqueue(enqueue, is_held=True))
            self._enqueue_over_a_restart(enqueue, failure)
            self._let_go()
        check_results()

    def _enqueue(self, enqueue: Enqueue, *, is_held: bool = False) -> int:
        number = next(self._numbers)
        if is_held:
            self._held = number
        self._acknowledged[number] = enqueue(number)
        return number

    def _enqueue_over_a_restart(self, enqueue: Enqueue, failure: type[Exception]) -> None:
        """Enqueue jobs before the server is killed, while it is and starts again, and after that."""
        for _ in range(FEW):
            self._enqueue(enqueue)
        restart = threading.Thread(target=restart_server)
        restart.start()
        for _ in range(BURST):
            try:
                self._enqueue(enqueue)
            except failure:
                break
        restart.join()
        self._enqueue_in_the_end(enqueue, failure)

    def _enqueue_in_the_end(self, enqueue: Enqueue, failure: type[Exception]) -> None:
        """Enqueue a few jobs. The server is there, but the package may have to find that out."""
        missing, end = FEW, time.monotonic() + DEADLINE_S
        while missing:
            try:
                self._enqueue(enqueue)
                missing -= 1
            except failure:
                assert time.monotonic() < end, "nothing can be enqueued after a restart"

    def _wait_for(self, *numbers: int) -> None:
        """Wait until the jobs with these numbers run or have run."""
        wanted = set(numbers)
        with self._changed:
            there = self._changed.wait_for(lambda: wanted <= self._ran, DEADLINE_S)
            assert there, f"acknowledged, but not run within {DEADLINE_S} s: {sorted(wanted - self._ran)}"

    def _let_go(self) -> None:
        with self._changed:
            self._held = None
            for connection in self._waiting:
                connection.close()
            self._waiting.clear()

    def _listen(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection.makefile("rb") as file:
                number = int(file.readline() or b"-1")
            with self._changed:
                if number == self._held:
                    self._waiting.append(connection)
                else:
                    connection.close()
                self._ran.add(number)
                self._changed.notify_all()


@contextmanager
def producer() -> Iterator[Producer]:
    """A producer, whose socket workers that are started from now on know."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[SOCKET] = os.path.join(folder, "jobs")
        yield Producer(os.environ[SOCKET])


class Worker:
    """A package's worker, `python COMMAND`, in a `with` block. It is started again when it leaves, as service managers do.

    Some workers leave when they lose the server. What a worker says goes to stderr.
    """

    def __init__(self, *command: str) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._is_wanted = False
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._is_wanted = True
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()

    def stop(self) -> None:
        """Kill the worker and all processes of its session."""
        with self._lock:
            self._is_wanted = False
            if self._process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
        if self._keeper is not None:
            self._keeper.join()

    def _keep(self) -> None:
        for _ in range(STARTS):
            with self._lock:
                if not self._is_wanted:
                    break
                self._process = subprocess.Popen(
                    [sys.executable, *self._command], stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True
                )
            self._process.wait()


@contextmanager
def event_loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """An event loop in a thread, as a function that runs a coroutine there and returns its result."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(DEADLINE_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
