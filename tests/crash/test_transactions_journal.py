"""Of each transaction, the disk has all or nothing. (test_failing_journal checks that no reply comes before its sync.)

KVSERVER_TRANSACTION_KILLS is the number of kills, KVSERVER_TRANSACTION_KILLS_SEED the first seed.
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.frames import journal_payloads
from helpers.servers import DEADLINE_S, ServerProcess, StartServer, Wire, encode, parse, wait_until

SEED = int(os.environ.get("KVSERVER_TRANSACTION_KILLS_SEED", "1"))
KILLS = int(os.environ.get("KVSERVER_TRANSACTION_KILLS", "5"))
# More than one turn of a client may run: the queue fills in several, and is run in one.
MANY = 3000
ALWAYS = ("--save", "", "--appendfsync", "always")
# At most so many transactions are acknowledged before a kill.
MOST_ACKNOWLEDGED = 100
KEYS = [f"key:{number}" for number in range(20)]


def frames(folder: Path) -> list[bytes]:
    """The payloads of all journal frames."""
    found: list[bytes] = []
    for path in sorted(folder.glob("dump.kvs.*.journal")):
        found += journal_payloads(path.read_bytes())
    return found


def transaction(*commands: tuple[str | int, ...]) -> bytes:
    return encode("MULTI") + b"".join(encode(*command) for command in commands) + encode("EXEC")


def skip_replies(wire: Wire, count: int) -> None:
    for _ in range(count):
        wire.read_reply()


def test_long_transaction_is_in_one_frame_whatever_other_clients_write(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    stop, written = threading.Event(), threading.Semaphore(0)

    def write_on() -> None:
        with server.connect() as wire:
            while not stop.is_set():
                wire.command("SET", "other", "x" * 100)
                written.release()

    thread = threading.Thread(target=write_on)
    thread.start()
    with server.connect() as wire:
        assert written.acquire(timeout=DEADLINE_S)
        wire.send(transaction(*(("SET", f"k{number}", number) for number in range(MANY))))
        skip_replies(wire, MANY + 1)
        assert len(parse(wire.read_reply())) == MANY
    # Writes that came before or meanwhile do not count.
    while written.acquire(blocking=False):
        pass
    assert written.acquire(timeout=DEADLINE_S)
    stop.set()
    thread.join()
    server.kill()
    found = frames(server.directory)
    places = [place for place, payload in enumerate(found) if b"\r\nk0\r\n" in payload or b"\r\nk2999\r\n" in payload]
    assert len(places) == 1
    place = places[0]
    before, whole, behind = found[place].partition(b"".join(encode("SET", f"k{number}", number) for number in range(MANY)))
    assert whole
    for others in ([*found[:place], before], [behind, *found[place + 1 :]]):
        assert b"\r\nother\r\n" in b"".join(others), "nobody else wrote, so nothing could come between"


def test_snapshot_that_a_transaction_asks_for_stands_behind_all_of_it(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.send(transaction(("SET", "a", 1), ("BGSAVE",), ("SET", "b", 1)))
        skip_replies(wire, 4)
        assert wire.read_reply() == b"*3\r\n+OK\r\n+Background saving scheduled\r\n+OK\r\n"
        assert wire.command("SET", "c", 1) == b"+OK\r\n"
        wait_until(lambda: b"rdb_saves:1" in wire.value("INFO", "persistence"), "the snapshot")
    server.kill()
    assert not any(b"\r\nb\r\n" in payload for payload in frames(server.directory))
    with start_server(*ALWAYS, directory=server.directory).connect() as wire:
        assert wire.value("MGET", "a", "b", "c") == [b"1", b"1", b"1"]


def write_transactions(
    server: ServerProcess, number: int, acknowledged: list[int], wanted: int, come: threading.Event
) -> None:
    """The same number to all keys, counting up, until the server is gone; tells when so many have been acknowledged."""
    with suppress(OSError, EOFError), server.connect() as wire:
        while True:
            number += 1
            wire.send(transaction(*(("SET", key, number) for key in KEYS)))
            skip_replies(wire, len(KEYS) + 1)
            assert wire.read_reply() == b"*%d\r\n" % len(KEYS) + b"+OK\r\n" * len(KEYS)
            acknowledged.append(number)
            if len(acknowledged) == wanted:
                come.set()


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_kill_leaves_all_of_a_transaction_or_nothing(start_server: StartServer, policy: str) -> None:
    print(f"KVSERVER_TRANSACTION_KILLS_SEED={SEED}")
    rng = random.Random(SEED)
    folder: Path | None = None
    options = ("--save", "", "--appendfsync", policy)
    kept = 0
    for _ in range(KILLS):
        server = start_server(*options, directory=folder)
        folder = server.directory
        before, acknowledged = kept, list[int]()
        wanted, come = rng.randrange(1, MOST_ACKNOWLEDGED), threading.Event()
        thread = threading.Thread(target=write_transactions, args=(server, before, acknowledged, wanted, come))
        thread.start()
        assert come.wait(DEADLINE_S), f"{wanted} transactions were not acknowledged"
        # The kill comes anywhere within one of the next transactions.
        time.sleep(rng.uniform(0, 0.005))
        server.kill()
        thread.join()
        assert len(acknowledged) >= wanted
        server = start_server(*options, directory=folder)
        with server.connect() as wire:
            values = set(wire.value("MGET", *KEYS))
        server.kill()
        assert len(values) == 1, f"seed {SEED}: torn apart: {values}"
        kept = int(values.pop() or 0)
        promised = acknowledged[-1] if policy == "always" else before
        assert promised <= kept <= acknowledged[-1] + 1, f"seed {SEED}: an acknowledged transaction is gone"
    assert kept, "nothing was ever there, so nothing could be torn apart"
