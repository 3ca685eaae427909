"""Data on its way in and out: append-only files made by hand, data of every type, and what is there in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from helpers.documents import AWKWARD_BYTES
from helpers.models import random_call
from helpers.servers import encode
from helpers.sessions import Server, run
from kvserver.data.databases import Databases
from kvserver.data.entries import Expiring
from kvserver.formats.encoder import encode as encode_payload
from kvserver.library.folder import ServerFolder
from kvserver.transfer.sources import load_source
from kvserver.transfer.staging import Staging, members_of
from kvserver.types import TAGGED

LIBRARY = (
    b"#!lua name=mylib\nredis.register_function('put', function(keys, args) return redis.call('set', keys[1], args[1]) end)"
)
# A year ahead of any test.
LATER_MS = 4_000_000_000_000
KEYS = {
    "any": [b"any", b"\xff", b"$kvs:x", b"h"],
    **{letter: [letter.encode() + b"%d" % number for number in range(3)] for letter in "bhjlstxz"},
}
# A key of each type, in small and in large, with and without an expiry, and what is peculiar to streams.
ALL_TYPES: list[list[bytes | str | int]] = [
    ["SET", "text", "é"],
    ["SET", b"\x80\xff", b"\xff\x00"],
    ["SET", "number", 12, "PXAT", LATER_MS],
    ["SETBIT", "bits", 99, 1],
    ["PFADD", "hll", *range(100)],
    ["RPUSH", "list", "a", b"\xff", "a"],
    ["RPUSH", "long list", *range(700)],
    ["SADD", "set", "a", b"\xff"],
    ["SADD", "numbers", 3, 1, 2],
    ["SADD", "large set", *(f"member{number}" for number in range(700))],
    ["HSET", "hash", "a", "1", b"\xff", b"\x00"],
    ["PEXPIREAT", "hash", LATER_MS],
    ["HSET", "large hash", *(f"f{number}" for number in range(1400))],
    ["ZADD", "zset", "1.5", "a", "-inf", b"\xff", "0.30000000000000004", "c"],
    ["ZADD", "large zset", *(number for number in range(1400))],
    ["GEOADD", "geo", "13.4", "52.5", "Berlin"],
    ["XADD", "stream", "5-1", "f", "v", "f", b"\xff"],
    ["XADD", "stream", "5-2", "g", "w"],
    ["XADD", "stream", "6-0", "g", "w"],
    ["XDEL", "stream", "5-2"],
    ["XGROUP", "CREATE", "stream", "group", "0"],
    ["XREADGROUP", "GROUP", "group", "consumer", "COUNT", "1", "STREAMS", "stream", ">"],
    ["XADD", "empty stream", "MAXLEN", "0", "7-7", "a", "b"],
]
# What redis-server 7.0 does not have.
LATER_TYPES: list[list[bytes | str | int]] = [
    ["JSON.SET", "document", "$", '{"a":[1,2.5,null,true,"x"],"$kvs":0}'],
    ["JSON.SET", "tag", "$", '{"$kvs":{"set":["a"]}}'],
    ["JSON.SET", "expiring document", "$", "[1e16]"],
    ["PEXPIREAT", "expiring document", LATER_MS],
    # The fields of a hash expire in later versions of Redis.
    ["HSET", "timed hash", "a", "1", "b", "2"],
    ["HPEXPIREAT", "timed hash", LATER_MS, "FIELDS", 1, "a"],
]

Execute = Callable[..., object]


def fill(execute: Execute, *, later: bool = True) -> None:
    """Run the commands that make a key of every type, in two databases."""
    for number in (0, 9):
        execute("SELECT", number)
        for words in ALL_TYPES + (LATER_TYPES if later else []):
            execute(*words)
    execute("SELECT", 0)


def filled() -> Databases:
    """Databases with a key of every type, and a function library."""
    server = Server()
    session = server.session()
    fill(lambda *words: run(session, *words))
    server.state.databases.libraries.put(b"mylib", LIBRARY)
    server.state.databases.records.take()
    return server.state.databases


def random_databases(rng: Random) -> Databases:
    """Databases in which random commands have left something."""
    server = Server()
    session = server.session()
    for _ in range(rng.randrange(120)):
        if rng.random() < 0.1:
            run(session, "SELECT", rng.randrange(16))
        run(session, *random_call(rng, KEYS, lambda: rng.choice(AWKWARD_BYTES)))
        if rng.random() < 0.1:
            run(session, "PEXPIREAT", rng.choice(rng.choice([*KEYS.values()])), LATER_MS + rng.randrange(99))
    if rng.random() < 0.5:
        server.state.databases.libraries.put(b"mylib", LIBRARY)
    server.state.databases.records.take()
    return server.state.databases


def payload(databases: Databases) -> bytes:
    """The canonical JSON of databases: equal data has equal bytes."""
    frozen = databases.cut()
    try:
        return b"".join(encode_payload(frozen.cuts, TAGGED, frozen.libraries))
    finally:
        for _ in frozen.fold():
            pass


def staged(databases: Databases) -> Staging:
    """A staging that has the same data."""
    staging = Staging()
    for number, key, entry in members_of(databases):
        value, expires_at_ms = (entry.value, entry.expires_at_ms) if isinstance(entry, Expiring) else (entry, None)
        staging.put(number, key, value, expires_at_ms)
    for text in databases.libraries.copy().values():
        staging.put_library(text)
    return staging


def payload_in(folder: Path) -> bytes:
    """That of what a start would load from a folder."""
    with ServerFolder(folder, read_only=True) as opened:
        return payload(opened.databases)


def aof(*commands: str | list[bytes | str | int]) -> bytes:
    """Commands as they stand in an append-only file. Those that are text are split at blanks."""
    return b"".join(encode(*(words.split() if isinstance(words, str) else words)) for words in commands)


def loaded(path: Path, data: bytes) -> Staging:
    """What a file with these bytes brings in."""
    path.write_bytes(data)
    return load_source(str(path))[0]
