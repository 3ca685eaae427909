"""A server leaves nothing to the garbage collector, which never looks at more than a little of the data."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.servers import ServerProcess, encode, wait_until
from helpers.sessions import START_MS, Server, run
from kvserver.containers import fresh
from kvserver.engine import collector
from kvserver.formats.encoder import encode as encode_frame
from kvserver.formats.tags import Tagged

# A server that logs at a signal what the collector found to free since the signal before.
PROGRAM = """
import collections, gc, logging, signal

def tell(*_):
    gc.collect()
    kinds = collections.Counter(type(each).__qualname__ for each in gc.garbage)
    logging.getLogger("kvserver").warning("garbage: %s", dict(kinds))
    gc.garbage.clear()
    gc.set_debug(gc.DEBUG_SAVEALL)

signal.signal(signal.SIGUSR1, tell)
from kvserver.cli.main import main
raise SystemExit(main())
"""
LONG = b"x" * 2_000_000


class Audited(ServerProcess):
    def command(self) -> list[str]:
        return [sys.executable, "-c", PROGRAM]

    def garbage(self, number: int) -> str:
        """The kinds of garbage that this audit tells, counted from 1."""
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: bool(self.once("PING")) and len(self._told()) == number, "the server tells what it found")
        return self._told()[-1]

    def _told(self) -> list[str]:
        return [line.partition("garbage: ")[2] for line in self.log_text().splitlines() if "garbage: " in line]


def use(server: ServerProcess) -> None:
    """Do what connections, tasks and errors may leave something of."""
    with server.connect() as wire:
        for _ in range(3):
            with server.connect() as other:
                other.command("QUIT")
            with server.connect() as other:
                other.send(b"*1\r\n$x\r\n")
                assert b"Protocol error" in other.read_until_eof()
            with server.connect() as other:
                other.command("SUBSCRIBE", "channel")
            with server.connect() as other:
                other.command("MONITOR")
            with server.connect() as other:
                number = other.value("CLIENT", "ID")
                other.command("WATCH", "k")
                other.command("MULTI")
                wire.command("CLIENT", "KILL", "ID", number)
            with server.connect() as other:
                # Most of this reply is never read.
                other.command("SET", "long", LONG)
                other.send(encode("GET", "long"))
                other.read_exactly(1000)
            for words in (("NONE",), ("LPUSH", "long", "a"), ("CONFIG", "SET", "maxclients", "many"), ("SAVE",), ("RESTORE",)):
                wire.command(*words)
            wire.command("BGSAVE")
            wire.command("JSON.SET", "document", "$", "[1,")
            wire.command("CLIENT", "PAUSE", 1)
        wait_until(lambda: wire.value("CLIENT", "LIST").count(b"id=") == 1, "the connections are closed")


def test_server_leaves_no_cycles(tmp_path: Path) -> None:
    with Audited("kvserver", tmp_path / "data", "--save", "") as server:
        server.garbage(1)
        use(server)
        assert server.garbage(2) == "{}"


@pytest.fixture
def looks() -> Iterator[list[tuple[int, int]]]:
    """For each look of the collector its generation, and the number of references in the containers that it looked through."""
    seen: list[tuple[int, int]] = []

    def note(phase: str, facts: dict[str, int]) -> None:
        if phase == "start":
            generation = facts["generation"]
            objects = [each for young in range(generation + 1) for each in gc.get_objects(generation=young)]
            seen.append((generation, sum(len(each) if type(each) in (list, tuple, dict) else 1 for each in objects)))

    before = gc.get_threshold()
    collector.begin()
    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)
    collector.end()
    assert gc.get_threshold() == before


def test_keys_that_expire_are_looked_at_once(looks: list[tuple[int, int]]) -> None:
    server = Server()
    session = server.session()
    count = 8 * collector.YOUNG_OBJECTS
    gc.freeze()
    looks.clear()
    for number in range(count):
        run(session, "SET", number, "v", "EX", 1000)
        server.keyspace.records.take()
    assert len(looks) > 4
    assert {generation for generation, _ in looks} == {0}
    # Each shard becomes new to the collector with its first such entry.
    assert max(references for _, references in looks) < 5 * collector.YOUNG_OBJECTS


def test_dicts_that_a_snapshot_puts_in_order_are_not_looked_through(looks: list[tuple[int, int]]) -> None:
    server = Server()
    for number in range(40_000):
        server.keyspace.set_expiring(b"%d" % number, b"v", START_MS + 1)
    gc.freeze()
    looks.clear()
    for _ in encode_frame([server.keyspace.cut()], Tagged()):
        pass
    gc.collect(0)
    assert looks
    assert max(references for _, references in looks) < 3 * fresh.MOST_MEMBERS
