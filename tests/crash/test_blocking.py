"""What a blocked client was given is gone from the list, and nothing else is, whenever the server is killed.

KVSERVER_BLOCKING_KILLS is the number of kills.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.servers import DEADLINE_S, ServerProcess, StartServer, encode, parse

KILLS = int(os.environ.get("KVSERVER_BLOCKING_KILLS", "4"))
ALWAYS = ("--save", "", "--appendfsync", "always")
WORKERS = 4
# The server is killed when so many jobs were handed over.
HANDED_OVER = 60


class Queue:
    """Clients that push numbered jobs, those that move them on, and those that pop them, until the server is gone."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._first = 0
        self.pushed: list[bytes] = []
        self.popped: list[bytes] = []
        # Jobs whose push was not acknowledged.
        self.unsure: set[bytes] = set()
        self._enough = threading.Event()

    def run(self) -> None:
        """Work until enough was handed over, then kill the server."""
        self._enough.clear()
        self._first = len(self.popped)
        threads = [threading.Thread(target=self._push, args=(number,)) for number in range(2)]
        threads += [threading.Thread(target=self._work, args=(number,)) for number in range(WORKERS)]
        for thread in threads:
            thread.start()
        assert self._enough.wait(DEADLINE_S)
        self._server.kill()
        for thread in threads:
            thread.join(DEADLINE_S)

    def _push(self, number: int) -> None:
        with suppress(OSError, EOFError), self._server.connect() as wire:
            for count in range(100_000):
                job = b"%d-%d-%d" % (self._first, number, count)
                with self._lock:
                    self.unsure.add(job)
                wire.command("LPUSH", "jobs", job)
                with self._lock:
                    self.unsure.discard(job)
                    self.pushed.append(job)

    def _work(self, number: int) -> None:
        """Half of the workers move jobs to a second list, from which the others pop them."""
        call = ("BLMOVE", "jobs", "moved", "RIGHT", "LEFT", 0) if number % 2 else ("BRPOP", "moved", "none", 0)
        with suppress(OSError, EOFError), self._server.connect() as wire:
            while True:
                wire.send(encode(*call))
                reply = parse(wire.read_reply())
                if not number % 2:
                    with self._lock:
                        self.popped.append(reply[1])
                        if len(self.popped) - self._first >= HANDED_OVER:
                            self._enough.set()


@pytest.mark.timeout(30 + 10 * KILLS)
def test_job_that_was_handed_over_is_gone_and_no_other_is(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*ALWAYS, directory=tmp_path)
    queue = Queue(server)
    for kill in range(1, KILLS + 1):
        queue.run()
        server = queue._server = start_server(*ALWAYS, directory=tmp_path)
        with server.connect() as wire:
            left = [parse(wire.command("LRANGE", key, 0, -1)) for key in ("jobs", "moved")]
        there = [*left[0], *left[1]]
        assert len(set(queue.popped)) == len(queue.popped), "a job was handed over twice"
        assert len(set(there)) == len(there), "a job is there twice"
        assert not set(queue.popped) & set(there), "a job that was handed over is there"
        # The server may have recorded a pop whose reply did not arrive any more: one for each of those who pop.
        lost = set(queue.pushed) - set(queue.popped) - set(there)
        assert len(lost) <= kill * WORKERS // 2, f"{len(lost)} jobs are lost"
        assert set(there) <= set(queue.pushed) | queue.unsure
    print(f"{len(queue.popped)} jobs were handed over during {KILLS} kills")
