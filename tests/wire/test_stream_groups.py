"""Random commands about consumer groups get the replies of redis-server, and leave the same behind.

Times are the present ones, which differ by some milliseconds: replies are compared with such times replaced. The commands are
few and their words are alike, so that entries are delivered, claimed, acknowledged and deleted again and again. What is left
is compared by XINFO STREAM FULL, and by the payloads of DUMP, which each of the two servers loads from the other.
KVSERVER_GROUPS_COUNT is the number of commands, KVSERVER_GROUPS_SEED the first seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from helpers.random_commands import Words, show
from helpers.servers import ServerProcess, Wire, encode, parse

COUNT = int(os.environ.get("KVSERVER_GROUPS_COUNT", "3000"))
SEED = int(os.environ.get("KVSERVER_GROUPS_SEED", "1"))
# The commands that are sent at once, on an empty server.
RUN = 150
KEYS, GROUPS, CONSUMERS = (b"k", b"k", b"k", b"l"), (b"g", b"g", b"h"), (b"a", b"b", b"c")
# A later time is the present one, and so is what is as old as that. How long ago something was is compared in minutes: what
# is given here as IDLE is in the middle of one.
PRESENT_MS, LONGEST_IDLE_MS = 1_600_000_000_000, 60_000
OPTIONS = ("--save", "", "--appendonly", "no", "--stream-node-max-entries", "5", "--rdbcompression", "no")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with (
        ServerProcess("kvserver", tmp_path_factory.mktemp("kvserver"), *OPTIONS) as ours,
        ServerProcess("redis-server", tmp_path_factory.mktemp("redis"), *OPTIONS) as theirs,
    ):
        yield ours, theirs


def an_id(rng: Random) -> bytes:
    kind = rng.random()
    if kind < 0.9:
        return b"%d" % rng.randint(0, 40) if kind < 0.6 else b"%d-%d" % (rng.randint(0, 40), rng.randint(0, 2))
    return rng.choice((b"0-0", b"18446744073709551615-18446744073709551615", b"x", b"$", b"-", b"+"))


def ids(rng: Random, most: int = 4) -> Words:
    return tuple(an_id(rng) for _ in range(rng.randint(1, most)))


def idle(rng: Random) -> bytes:
    """A time that is surely shorter than that since any delivery, or surely longer."""
    return rng.choice((b"0", b"0", b"0", b"-1", b"1000000000", b"1000000000"))


def options(rng: Random, *choices: Words) -> Words:
    return tuple(word for choice in choices if rng.random() < 0.3 for word in choice)


def command(rng: Random) -> Words:
    key, group, consumer = rng.choice(KEYS), rng.choice(GROUPS), rng.choice(CONSUMERS)
    kind = rng.randrange(100)
    if kind < 18:
        return (b"XADD", key, b"%d-*" % rng.randint(1, 40), b"f", b"%d" % kind)
    if kind < 40:
        more = options(rng, (b"COUNT", b"%d" % rng.randint(0, 5)), (b"NOACK",) if rng.random() < 0.4 else ())
        start = b">" if rng.random() < 0.7 else an_id(rng)
        return (b"XREADGROUP", b"GROUP", group, consumer, *more, b"STREAMS", key, start)
    if kind < 50:
        return (b"XACK", key, group, *ids(rng))
    if kind < 60:
        time = rng.choice(((b"TIME", b"%d" % rng.randint(0, 9)), (b"IDLE", b"990000"), (b"RETRYCOUNT", b"5"), ()))
        more = options(rng, (b"FORCE",), (b"JUSTID",), (b"LASTID", an_id(rng)))
        return (b"XCLAIM", key, group, consumer, idle(rng), *ids(rng), *time, *more)
    if kind < 66:
        more = options(rng, (b"COUNT", b"%d" % rng.randint(1, 4)), (b"JUSTID",))
        return (b"XAUTOCLAIM", key, group, consumer, idle(rng), an_id(rng), *more)
    if kind < 72:
        more = options(rng, (consumer,))
        limit = options(rng, (b"IDLE", rng.choice((b"0", b"1000000000"))))
        return (b"XPENDING", key, group, *limit, rng.choice((b"-", an_id(rng))), b"+", b"%d" % rng.randint(0, 9), *more)
    if kind < 78:
        return rng.choice(((b"XPENDING", key, group), (b"XINFO", b"GROUPS", key), (b"XINFO", b"CONSUMERS", key, group)))
    if kind < 88:
        read = options(rng, (b"ENTRIESREAD", b"%d" % rng.randint(-1, 9)))
        which = rng.choice(((b"CREATE", b"MKSTREAM"), (b"CREATE",), (b"SETID",)))
        start = rng.choice((b"0", b"$", an_id(rng)))
        return (b"XGROUP", which[0], key, group, start, *which[1:], *read)
    return rng.choice(
        (
            (b"XGROUP", b"CREATECONSUMER", key, group, consumer),
            (b"XGROUP", b"DELCONSUMER", key, group, consumer),
            (b"XGROUP", b"DESTROY", key, group) if rng.random() < 0.3 else (b"XLEN", key),
            (b"XDEL", key, *ids(rng)),
            (b"XTRIM", key, b"MAXLEN", b"%d" % rng.randint(0, 12)),
            (b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"%d" % rng.randint(0, 3)),
            (b"COPY", b"k", b"l", b"REPLACE") if rng.random() < 0.3 else (b"XINFO", b"STREAM", key),
            (b"XSETID", key, b"%d" % rng.randint(38, 42), b"ENTRIESADDED", b"30", b"MAXDELETEDID", an_id(rng)),
        )
    )


def without_times(words: Words, reply: Any) -> Any:
    """A reply in which all times that may differ are the same."""
    if isinstance(reply, int) and reply > PRESENT_MS:
        return "now"
    if isinstance(reply, Exception):
        return str(reply)
    if isinstance(reply, list):
        items = [without_times(words, item) for item in reply]
        # How long ago a pending entry was delivered, and a consumer seen.
        if words[0] == b"XPENDING" and len(items) == 4 and isinstance(items[2], int):
            items[2] = items[2] // LONGEST_IDLE_MS
        if words[:2] == (b"XINFO", b"CONSUMERS") and b"idle" in items:
            items[items.index(b"idle") + 1] = "lately"
        return items
    return reply


def converse(wire: Wire, sent: list[Words]) -> list[bytes]:
    wire.send(b"".join(encode(*words) for words in sent))
    return [wire.read_reply() for _ in sent]


STATE: list[Words] = [(b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0") for key in (b"k", b"l")]


@pytest.mark.timeout(120 + COUNT / 50)
def test_random_commands_get_the_replies_of_redis(servers: tuple[ServerProcess, ServerProcess]) -> None:
    for seed in range(SEED, SEED + COUNT // RUN):
        rng = Random(seed)
        sent = [command(rng) for _ in range(RUN)]
        heard = []
        payloads = []
        for server in servers:
            with server.connect() as wire:
                wire.command("FLUSHALL")
                heard.append(converse(wire, [*sent, *STATE]))
                payloads.append([parse(wire.command("DUMP", key)) for key in ("k", "l")])
        for place, (words, *replies) in enumerate(zip([*sent, *STATE], *heard, strict=True)):
            ours, theirs = (without_times(words, parse(reply)) for reply in replies)
            if ours != theirs or replies[0][:1] != replies[1][:1]:
                history = "\n".join(map(show, sent[:place]))
                pytest.fail(f"KVSERVER_GROUPS_SEED={seed}\n{history}\n\n{show(words)}\n{ours}\n{theirs}", pytrace=False)
        check_payloads(servers, payloads, heard, f"KVSERVER_GROUPS_SEED={seed}")


def check_payloads(
    servers: tuple[ServerProcess, ServerProcess], payloads: list[list[Any]], heard: list[list[bytes]], label: str
) -> None:
    """Each server loads what the other has dumped, and then tells the same of it as that one did."""
    for server, other, told in zip(servers, reversed(payloads), reversed(heard), strict=True):
        with server.connect() as wire:
            wire.command("FLUSHALL")
            for key, payload, before in zip(("k", "l"), other, told[-2:], strict=True):
                if payload is not None:
                    assert wire.command("RESTORE", key, 0, payload) == b"+OK\r\n", label
                    assert wire.command("DUMP", key) == b"$%d\r\n%b\r\n" % (len(payload), payload), label
                    after = wire.command("XINFO", "STREAM", key, "FULL", "COUNT", 0)
                    assert after == before, label
