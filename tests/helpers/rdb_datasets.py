"""Random data of all types and encodings in a redis-server, and what is in there, by database and key."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from helpers.servers import Wire

DATABASES = 16
# Some times that never come while tests run, in Unix milliseconds.
_TIMES_MS = (4_000_000_000_000, 4_000_000_000_001, 9_000_000_000_123)
# Thresholds between the encodings: all small, those of Redis, all large.
_THRESHOLDS = (
    {"listpack-entries": 2, "listpack-value": 4, "intset": 3, "list": 3, "stream": 3},
    {"listpack-entries": 128, "listpack-value": 64, "intset": 512, "list": -2, "stream": 100},
    {"listpack-entries": 5_000, "listpack-value": 10_000, "intset": 5_000, "list": -5, "stream": 1_000},
)
LIBRARY = b"#!lua name=%b\nredis.register_function('%b', function() return '\xff\0' end)"


def set_thresholds(wire: Wire, rng: random.Random | None = None) -> None:
    """Let the values that are made from now on have encodings by some thresholds, or by those of Redis."""
    chosen = rng.choice(_THRESHOLDS) if rng else _THRESHOLDS[1]
    words: list[str | int] = []
    for kind in ("hash", "zset"):
        words += f"{kind}-max-listpack-entries", chosen["listpack-entries"]
        words += f"{kind}-max-listpack-value", chosen["listpack-value"]
    words += "set-max-intset-entries", chosen["intset"], "list-max-listpack-size", chosen["list"]
    words += "stream-node-max-entries", chosen["stream"]
    assert wire.value("CONFIG", "SET", *words) == b"OK"


def some_string(rng: random.Random) -> bytes:
    """A string near the borders of encodings: a number, text that can be compressed, or any bytes."""
    kind = rng.random()
    if kind < 0.3:
        return b"%d" % rng.choice((0, 1, -1, 127, -128, 40_000, 2**31, -(2**63), rng.randrange(-(2**40), 2**40)))
    if kind < 0.4:
        return rng.choice((b"", b"-0", b"01", b"+1", b"inf", b"\xff\xfe", b"\0" * 63, b"x" * 64))
    if kind < 0.6:
        return rng.choice((b"abc", b"kvserver ", b"\0\1")) * rng.randrange(1, 2_000)
    return rng.randbytes(rng.choice((1, 5, 20, 63, 64, 300, 20_000)))


def _distinct(rng: random.Random, most: int) -> list[bytes]:
    strings = {some_string(rng) for _ in range(rng.randrange(1, 8))}
    return [*strings, *(b"member:%d" % number for number in range(rng.choice((0, 0, 5, 200, most))))]


def _string(wire: Wire, rng: random.Random, key: bytes) -> None:
    wire.value("SET", key, some_string(rng))
    if rng.random() < 0.2:
        wire.value("SETBIT", key, 5_000, 1)
    if rng.random() < 0.1:
        wire.value("DEL", key)
        wire.value("PFADD", key, *_distinct(rng, 3_000))


def _list(wire: Wire, rng: random.Random, key: bytes) -> None:
    wire.value("RPUSH", key, *(some_string(rng) for _ in range(rng.choice((1, 5, 50, 600)))))
    wire.value("LPUSH", key, "front")


def _set(wire: Wire, rng: random.Random, key: bytes) -> None:
    if rng.random() < 0.5:
        bits = rng.choice((8, 15, 31, 62))
        wire.value("SADD", key, *(rng.randrange(-(1 << bits), 1 << bits) for _ in range(rng.choice((1, 5, 600, 2_000)))))
    else:
        wire.value("SADD", key, *_distinct(rng, 3_000))


def _zset(wire: Wire, rng: random.Random, key: bytes) -> None:
    words: list[bytes] = []
    for member in _distinct(rng, 2_000):
        number, fraction = b"%d" % rng.randrange(-5, 5), b"%.17g" % rng.random()
        # Not -0.0: Redis's own listpacks lose its sign, whenever it makes one of a skip list.
        words += rng.choice((b"inf", b"-inf", b"1e300", b"5e-324", number, fraction)), member
    wire.value("ZADD", key, *words)


def _hash(wire: Wire, rng: random.Random, key: bytes) -> None:
    words = [word for field in _distinct(rng, 2_000) for word in (field, some_string(rng))]
    wire.value("HSET", key, *words)


def _stream(wire: Wire, rng: random.Random, key: bytes) -> None:
    for number in range(rng.choice((1, 5, 300))):
        fields: tuple[bytes, ...] = (b"a", b"%d" % number, b"b", some_string(rng))
        if rng.random() < 0.2:
            fields = (b"other", some_string(rng))
        wire.value("XADD", key, f"{1_000 + number // 3}-{number % 3 + 1}", *fields)
    for _ in range(rng.randrange(3)):
        wire.value("XDEL", key, f"{1_000 + rng.randrange(5)}-1")
    for number in range(rng.randrange(3)):
        group = b"group%d" % number
        wire.value("XGROUP", "CREATE", key, group, rng.choice(("0", "$", "1001-1")))
        wire.value("XREADGROUP", "GROUP", group, "one", "COUNT", 50, "STREAMS", key, ">")
        wire.value("XREADGROUP", "GROUP", group, b"two\xff", "COUNT", 5, "STREAMS", key, ">")
        wire.value("XGROUP", "CREATECONSUMER", key, group, "idle")
        wire.value("XACK", key, group, "1000-1", "1001-2")
    if rng.random() < 0.2:
        wire.value("XTRIM", key, "MAXLEN", rng.randrange(3))


_MAKERS: tuple[Callable[[Wire, random.Random, bytes], None], ...] = (_string, _list, _set, _zset, _hash, _stream)


def fill(wire: Wire, rng: random.Random, keys: int) -> None:
    """Make so many keys in all databases, and some function libraries."""
    for number in range(rng.randrange(3)):
        wire.value("FUNCTION", "LOAD", LIBRARY % (b"lib%d" % number, b"f%d" % number))
    for number in range(keys):
        wire.value("SELECT", rng.choice((0, 0, 0, rng.randrange(DATABASES))))
        set_thresholds(wire, rng)
        key = rng.choice((b"key:%d" % number, b"%d" % number, b"\xff%d" % number, b"k" * 100 + b"%d" % number))
        rng.choice(_MAKERS)(wire, rng, key)
        if rng.random() < 0.3:
            wire.value("PEXPIREAT", key, rng.choice(_TIMES_MS))


def _pairs(items: list[bytes]) -> list[tuple[bytes, bytes]]:
    return sorted(zip(items[::2], items[1::2], strict=True))


def content(wire: Wire, key: bytes) -> Any:
    """The type of a key, its expiry and all that is in it, whatever its encoding is."""
    kind = wire.value("TYPE", key)
    expires_at_ms = wire.value("PEXPIRETIME", key)
    if kind == b"string":
        return kind, expires_at_ms, wire.value("GET", key)
    if kind == b"list":
        return kind, expires_at_ms, wire.value("LRANGE", key, 0, -1)
    if kind == b"set":
        return kind, expires_at_ms, sorted(wire.value("SMEMBERS", key))
    if kind == b"zset":
        return kind, expires_at_ms, wire.value("ZRANGE", key, 0, -1, "WITHSCORES")
    if kind == b"hash":
        return kind, expires_at_ms, _pairs(wire.value("HGETALL", key))
    assert kind == b"stream", kind
    return kind, expires_at_ms, _told(wire.value("XINFO", "STREAM", key, "FULL", "COUNT", 0))


def _told(told: Any) -> Any:
    """What is told of a stream, but for its size in memory and what counts from now."""
    if not isinstance(told, list):
        return told
    skipped = {place + 1 for place, name in enumerate(told) if name in (b"radix-tree-keys", b"radix-tree-nodes")}
    return [_told(each) for place, each in enumerate(told) if place not in skipped]


def contents(wire: Wire) -> dict[tuple[int, bytes], Any]:
    """What is in all databases."""
    found = {}
    for number in range(DATABASES):
        wire.value("SELECT", number)
        for key in wire.value("KEYS", "*"):
            found[number, key] = content(wire, key)
    wire.value("SELECT", 0)
    return found
