"""Keys move between kvserver and redis-server by DUMP and RESTORE, in both directions."""

from __future__ import annotations

import random

import pytest

from helpers.servers import ServerProcess, Wire

VALUES = {
    "empty": b"",
    "small integer": b"7",
    "negative integer": b"-32769",
    "integer of 32 bits": b"2147483647",
    "integer of 64 bits": b"-9223372036854775808",
    "integer with a sign": b"+7",
    "text of 20 bytes": b"x1y2z3a4b5c6d7e8f9g0",
    "text of 63 bytes": b"abcdefghi" * 7,
    "text of 64 bytes": bytes(range(64)),
    "text that is compressed": b"kvserver and redis-server " * 4_000,
    "text of one byte": b"a" * 100_000,
    "every byte": bytes(range(256)),
    "random bytes": random.Random(1).randbytes(70_000),
    "half of it random": random.Random(2).randbytes(3_000) + b"\0" * 3_000 + random.Random(2).randbytes(3_000),
    "utf-8": "Grüße 🎈".encode() * 100,
}


def moved(source: Wire, target: Wire, value: bytes) -> None:
    assert source.command("SET", "key", value) == b"+OK\r\n"
    payload = source.value("DUMP", "key")
    assert target.command("RESTORE", "copy", 0, payload) == b"+OK\r\n"
    assert target.value("GET", "copy") == value
    assert target.value("PTTL", "copy") == -1
    assert target.command("RESTORE", "copy", 0, payload).startswith(b"-BUSYKEY")
    assert target.command("RESTORE", "copy", 100_000, payload, "REPLACE", "IDLETIME", 3) == b"+OK\r\n"
    assert target.value("GET", "copy") == value
    assert 90_000 < target.value("PTTL", "copy") <= 100_000


@pytest.mark.parametrize("name", VALUES)
def test_string_moves_in_both_directions(kvserver: ServerProcess, redis_oracle: ServerProcess, name: str) -> None:
    with kvserver.connect() as ours, redis_oracle.connect() as theirs:
        moved(theirs, ours, VALUES[name])
        moved(ours, theirs, VALUES[name])


@pytest.mark.parametrize("count", [0, 3, 300, 3_000])
def test_hyperloglog_moves_in_both_directions_and_grows_on(
    kvserver: ServerProcess, redis_oracle: ServerProcess, count: int
) -> None:
    rng = random.Random(count)
    with kvserver.connect() as ours, redis_oracle.connect() as theirs:
        for source, target in ((ours, theirs), (theirs, ours)):
            source.command("PFADD", "key", *(rng.randbytes(9) for _ in range(count)))
            source.command("PFCOUNT", "key")
            assert target.command("RESTORE", "key", 0, source.value("DUMP", "key"), "REPLACE") == b"+OK\r\n"
            more = [rng.randbytes(9) for _ in range(50)]
            assert target.value("PFADD", "key", *more) == source.value("PFADD", "key", *more)
            for words in (("PFCOUNT", "key"), ("GET", "key"), ("PFDEBUG", "GETREG", "key")):
                assert target.value(*words) == source.value(*words)


# What makes each encoding, by the default thresholds.
COLLECTIONS: dict[str, tuple[str, list[bytes | int]]] = {
    "list": ("RPUSH", [b"a", b"", b"12345", b"\xff\0", b"x" * 9_000, *(b"element %d" % number for number in range(3_000))]),
    "short list": ("RPUSH", [b"a", b"b"]),
    "intset": ("SADD", [1, -3, 70_000, 2**63 - 1]),
    "set": ("SADD", [b"a", b"\xff", *range(1_000)]),
    "listpack of a hash": ("HSET", [b"a", 1, b"b", b"text", b"c", b"", b"", b"\0"]),
    "hashtable": ("HSET", [b"a", b"x" * 100, *range(1_200)]),
    "listpack of a sorted set": ("ZADD", [1, b"a", b"-inf", b"b", b"1.5", b"\xff", b"1e300", b"c", 3, b"d"]),
    "skiplist": ("ZADD", [b"0.1", b"x" * 100, *(item for number in range(700) for item in (number, b"m%d" % number))]),
}
LOOK = {"RPUSH": ("LRANGE", "key", 0, -1), "SADD": ("SMEMBERS", "key"), "HSET": ("HGETALL", "key"),
        "ZADD": ("ZRANGE", "key", 0, -1, "WITHSCORES")}  # fmt: skip


@pytest.mark.parametrize("name", COLLECTIONS)
def test_collection_moves_in_both_directions(kvserver: ServerProcess, redis_oracle: ServerProcess, name: str) -> None:
    add, items = COLLECTIONS[name]
    with kvserver.connect() as ours, redis_oracle.connect() as theirs:
        for source, target in ((ours, theirs), (theirs, ours)):
            for wire in (source, target):
                wire.command("DEL", "key")
            source.value(add, "key", *items)
            assert target.command("RESTORE", "key", 100_000, source.value("DUMP", "key")) == b"+OK\r\n"
            assert target.value("OBJECT", "ENCODING", "key") == source.value("OBJECT", "ENCODING", "key")
            found, expected = (wire.value(*LOOK[add]) for wire in (target, source))
            assert sorted(found) == sorted(expected) if add in ("SADD", "HSET") else found == expected
            assert 90_000 < target.value("PTTL", "key") <= 100_000


def test_stream_moves_in_both_directions_with_its_groups(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    with kvserver.connect() as ours, redis_oracle.connect() as theirs:
        for source, target in ((ours, theirs), (theirs, ours)):
            for wire in (source, target):
                wire.command("DEL", "key")
            for number in range(1, 301):
                source.command("XADD", "key", f"{number}-7", "field", "value", f"n{number % 3}", number)
            source.command("XDEL", "key", "1-7", "200-7")
            source.command("XGROUP", "CREATE", "key", "group", "5-0")
            source.command("XREADGROUP", "GROUP", "group", "alice", "COUNT", 3, "STREAMS", "key", ">")
            source.command("XGROUP", "CREATECONSUMER", "key", "group", "bob")
            assert target.command("RESTORE", "key", 100_000, source.value("DUMP", "key")) == b"+OK\r\n"
            for words in (("XRANGE", "key", "-", "+"), ("XPENDING", "key", "group"), ("XINFO", "GROUPS", "key")):
                assert target.value(*words) == source.value(*words)
            assert 90_000 < target.value("PTTL", "key") <= 100_000


def test_json_arrives_as_the_string_of_its_text(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    with kvserver.connect() as ours, redis_oracle.connect() as theirs:
        ours.command("JSON.SET", "key", "$", '{"a": [1, 2]}')
        assert theirs.command("RESTORE", "key", 0, ours.value("DUMP", "key")) == b"+OK\r\n"
        assert theirs.value("GET", "key") == b'{"a":[1,2]}'
