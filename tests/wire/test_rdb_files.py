"""RDB files between kvserver and redis-server, of random data of all types and encodings: all that is in them comes through.

KVSERVER_RDB_DATASETS is the count of datasets.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.rdb_datasets import contents, fill, set_thresholds
from helpers.rdb_files import read
from helpers.servers import ServerProcess, Wire
from kvserver.data.databases import Databases
from kvserver.formats.encoder import encode
from kvserver.formats.rdb import dump
from kvserver.formats.rdb_file import RDBEntry, RDBItem, RDBLibrary
from kvserver.formats.rdb_writer import encode_rdb, fields_of_redis
from kvserver.types import TAGGED
from kvserver.types.json.document import Document

DATASETS = int(os.environ.get("KVSERVER_RDB_DATASETS", "2"))
SEED = int(os.environ.get("KVSERVER_RDB_DATASETS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
OPTIONS = ("--save", "", "--enable-debug-command", "yes", "--appendonly", "no", "--stream-node-max-bytes", "0")


@pytest.fixture(scope="module", params=["yes", "no"])
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A redis-server whose files have a checksum, and one whose files have none."""
    folder = tmp_path_factory.mktemp("redis")
    with ServerProcess("redis-server", folder, *OPTIONS, "--rdbchecksum", request.param) as server:
        yield server


def saved(server: ServerProcess, wire: Wire) -> bytes:
    assert wire.value("SAVE") == b"OK"
    return server.directory.joinpath("dump.rdb").read_bytes()


def in_databases(items: list[RDBItem]) -> Databases:
    """What a file holds, as a server has it."""
    databases = Databases(lambda: 0)
    for item in items:
        if isinstance(item, RDBEntry):
            databases[item.database].put(item.key, item.value, item.expires_at_ms)
        elif isinstance(item, RDBLibrary):
            name = re.match(rb"#!lua name=(\w+)", item.text)
            assert name
            databases.libraries.put(name[1], item.text)
    return databases


def written(databases: Databases) -> bytes:
    frozen = databases.cut()
    try:
        return b"".join(encode_rdb(frozen.cuts, frozen.libraries, fields_of_redis("7.0.15", 1_700_000_000_000, 1_000_000)))
    finally:
        for _ in frozen.fold():
            pass


def payload_of(databases: Databases) -> bytes:
    """All data in one order, and without what tells how it is held."""
    frozen = databases.cut()
    return b"".join(encode(frozen.cuts, TAGGED, dict(sorted(frozen.libraries.items()))))


def libraries_of(wire: Wire) -> list[Any]:
    """The function libraries, in one order."""
    return sorted(wire.value("FUNCTION", "LIST", "WITHCODE"))


@pytest.mark.parametrize("number", range(DATASETS))
def test_data_of_redis_comes_in_and_goes_out_again(theirs: ServerProcess, tmp_path: Path, number: int) -> None:
    seed = SEED + number
    print(f"KVSERVER_RDB_DATASETS_SEED={seed}")
    rng = random.Random(seed)
    with theirs.connect() as wire:
        policy = rng.choice(("noeviction", "allkeys-lru", "allkeys-lfu"))
        compression = rng.choice(("yes", "no"))
        assert wire.value("CONFIG", "SET", "maxmemory-policy", policy, "rdbcompression", compression) == b"OK"
        wire.value("FLUSHALL")
        wire.value("FUNCTION", "FLUSH")
        fill(wire, rng, 100)
        data = saved(theirs, wire)
        wanted, digest, libraries = contents(wire), wire.value("DEBUG", "DIGEST"), libraries_of(wire)
        items = read(data, rng=rng)
        found = {(item.database, item.key): item for item in items if isinstance(item, RDBEntry)}
        assert found.keys() == wanted.keys()
        assert all((item.idle_s is not None) == (policy == "allkeys-lru") for item in found.values())
        assert all((item.frequency is not None) == (policy == "allkeys-lfu") for item in found.values())
        # What DUMP gives of our values is the same to them.
        wire.value("FLUSHALL")
        for (number, key), item in found.items():
            wire.value("SELECT", number)
            assert wire.value("RESTORE", key, item.expires_at_ms or 0, dump(item.value), "ABSTTL") == b"OK"
        assert contents(wire) == wanted
        assert wire.value("DEBUG", "DIGEST") == digest
    databases = in_databases(items)
    tmp_path.joinpath("dump.rdb").write_bytes(written(databases))
    with ServerProcess("redis-server", tmp_path, *OPTIONS) as again, again.connect() as wire:
        assert contents(wire) == wanted
        assert wire.value("DEBUG", "DIGEST") == digest
        assert libraries_of(wire) == libraries
        # And what they write of it comes back to us.
        assert payload_of(in_databases(read(saved(again, wire)))) == payload_of(databases)


def test_file_is_written_with_the_dumps_that_redis_writes(theirs: ServerProcess) -> None:
    """Where the encodings are those of Redis's own thresholds, each value has the bytes that Redis gives it."""
    with theirs.connect() as wire:
        wire.value("FLUSHALL")
        wire.value("CONFIG", "SET", "rdbcompression", "no", "maxmemory-policy", "noeviction")
        set_thresholds(wire)
        wire.value("SET", "number", 12_345)
        wire.value("SET", "text", "x" * 1_000)
        wire.value("RPUSH", "list", *range(3_000))
        wire.value("SADD", "intset", *range(300))
        wire.value("ZADD", "listpack", 1, "a", "0.5", "b")
        wire.value("HSET", "small", "a", 1, "b", 2)
        wire.value("XADD", "stream", "1-1", "a", 1)
        found = {item.key: item.value for item in read(saved(theirs, wire)) if isinstance(item, RDBEntry)}
        assert len(found) == 7
        for key, value in found.items():
            assert dump(value) == wire.value("DUMP", key), key


def test_redis_refuses_no_document_that_is_written_as_a_string(tmp_path: Path) -> None:
    databases = Databases(lambda: 0)
    databases[0].put(b"doc", Document({"a": ["x" * 100] * 1_000}))
    frozen = databases.cut()
    pieces = encode_rdb(frozen.cuts, {}, [], has_modules=False)
    tmp_path.joinpath("dump.rdb").write_bytes(b"".join(pieces))
    with ServerProcess("redis-server", tmp_path, *OPTIONS) as server, server.connect() as wire:
        assert wire.value("STRLEN", "doc") == len(Document({"a": ["x" * 100] * 1_000}).text())
