"""kill -9 amid long commands on large documents: each start has all of a command or nothing, and nothing acknowledged is lost.

Every writer has a document of its own, and two that all of them write. A command changes all records of a document, so that
half of one would show. KVSERVER_DOCUMENT_KILLS is the count of kills.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from helpers.servers import ServerProcess, Wire

KILLS = int(os.environ.get("KVSERVER_DOCUMENT_KILLS", "3"))
SEED = int(os.environ.get("KVSERVER_DOCUMENT_KILLS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
WRITERS = 3
RECORDS = 2000
# The kill comes when one of the writers has done so many commands, or a little later.
MOST_COMMANDS = 8


def document(value: int) -> dict[str, Any]:
    return {"n": value, "l": [{"x": value, "s": f"text {number}", "t": []} for number in range(RECORDS)]}


class Writer(threading.Thread):
    """It counts a document up, all records at once, and puts what it has reached into two documents of all, both at once."""

    def __init__(self, port: int, number: int, reached: int) -> None:
        super().__init__(daemon=True)
        self.wire = Wire(port)
        self.key = b"own:%d" % number
        self.number = number
        # What was acknowledged, and what was sent.
        self.reached = self.sent = reached
        self.has_done_some = threading.Event()
        self.commands = 0

    def run(self) -> None:
        # The server goes amid a command.
        with suppress(OSError, EOFError), self.wire:
            while True:
                self.sent = self.reached + 1
                assert self.wire.value("JSON.NUMINCRBY", self.key, "$..['n','x']", 1), "all are counted up"
                self.reached = self.sent
                marks = [b"%d" % (self.number * 1_000_000 + self.reached)] * 2
                assert self.wire.command("JSON.MSET", "one", "$..x", marks[0], "other", "$..x", marks[1]) == b"+OK\r\n"
                self.commands += 2
                if self.commands >= MOST_COMMANDS:
                    self.has_done_some.set()
                    self.commands = 0


def same_in_all(wire: Wire, key: bytes | str) -> int:
    """The number that all records of a document have."""
    found = set(orjson.loads(wire.value("JSON.GET", key, "$.l[*].x")))
    assert len(found) == 1, f"{key!r} has parts of several states: {sorted(found)[:5]}"
    return int(found.pop())


@pytest.mark.timeout(60 + 15 * KILLS)
def test_document_has_all_of_a_command_or_nothing(tmp_path: Path) -> None:
    print(f"KVSERVER_DOCUMENT_KILLS_SEED={SEED}")
    rng = random.Random(SEED)
    counts: Counter[str] = Counter()
    options = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-min-size", "1mb", "--save", "")
    with ServerProcess("kvserver", tmp_path, *options) as server:
        with server.connect() as wire:
            for number in range(WRITERS):
                assert wire.command("JSON.SET", b"own:%d" % number, "$", orjson.dumps(document(0))) == b"+OK\r\n"
            for key in ("one", "other"):
                assert wire.command("JSON.SET", key, "$", orjson.dumps(document(0))) == b"+OK\r\n"
        reached = [0] * WRITERS
        for _ in range(KILLS):
            writers = [Writer(server.port, number, reached[number]) for number in range(WRITERS)]
            for writer in writers:
                writer.start()
            with server.connect() as wire:
                assert rng.choice(writers).has_done_some.wait(60)
                # The journal is rewritten, or the documents are written to a snapshot, amid all that.
                wire.command(rng.choice(("BGSAVE", "BGREWRITEAOF")))
                for _ in range(rng.randrange(30)):
                    assert wire.command("PING") == b"+PONG\r\n"
            server.kill()
            for writer in writers:
                writer.join(30)
            server.restart()
            with server.connect() as wire:
                for writer in writers:
                    found = same_in_all(wire, writer.key)
                    assert orjson.loads(wire.value("JSON.GET", writer.key, "$.n")) == [found]
                    assert writer.reached <= found <= writer.sent, f"{writer.reached} were acknowledged"
                    counts["unknown, done" if found > writer.reached else "acknowledged"] += 1
                    reached[writer.number] = found
                assert same_in_all(wire, "one") == same_in_all(wire, "other")
        counts["commands"] = sum(reached) * 2
    print(dict(counts))
