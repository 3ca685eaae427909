"""An import into a running server gives it the same data, beside its clients; what is there is found before."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest

from helpers.servers import ServerProcess, Wire
from helpers.transfers import LIBRARY, fill, filled, staged
from kvserver.data.entries import Entry
from kvserver.errors import TransferError
from kvserver.transfer import server_target
from kvserver.transfer.server_target import put_into_server
from kvserver.transfer.staging import Staging


def url_of(server: ServerProcess) -> str:
    return f"redis://127.0.0.1:{server.port}"


def digest(wire: Wire) -> bytes:
    return wire.command("DEBUG", "DIGEST")


def coming(*keys: str, database: int = 0) -> Staging:
    staging = Staging()
    for key in keys:
        staging.put(database, key.encode(), b"new", None)
    return staging


def test_server_has_the_same_data(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        fill(wire.command)
        expected = digest(wire)
        expiries = [wire.value("PEXPIRETIME", key) for key in ("number", "hash", "expiring document", "text")]
        wire.command("FLUSHALL")
        wire.command("FUNCTION", "FLUSH")
        put_into_server(staged(filled()), url_of(kvserver), replaces=False)
        assert digest(wire) == expected
        assert [wire.value("PEXPIRETIME", key) for key in ("number", "hash", "expiring document", "text")] == expiries
        assert wire.value("JSON.TYPE", "document") == b"object"
        assert wire.value("FUNCTION", "LIST", "WITHCODE")[0][-1] == LIBRARY
        # And again, in place of what is there.
        put_into_server(staged(filled()), url_of(kvserver), replaces=True)
        assert digest(wire) == expected
        wire.command("FUNCTION", "FLUSH")


def test_redis_server_takes_what_it_has_types_for(redis_oracle: ServerProcess) -> None:
    databases = filled()
    for number in (0, 9):
        for key in (b"document", b"tag", b"expiring document", b"timed hash"):
            databases[number].delete(key)
    with redis_oracle.connect() as wire:
        fill(wire.command, later=False)
        expected = digest(wire)
        wire.command("FLUSHALL")
        put_into_server(staged(databases), url_of(redis_oracle), replaces=False)
        assert digest(wire) == expected
        wire.command("FUNCTION", "FLUSH")


def test_key_that_is_there_is_named_before_anything_is_written(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        wire.command("SELECT", 3)
        wire.command("SET", "b\x1b", "old")
        staging = coming("a", "b\x1b", "c", database=3)
        staging.put(0, b"z", b"new", None)
        with pytest.raises(TransferError, match=r"has a key 'b\\x1b' in the database 3: nothing was imported; --replace"):
            put_into_server(staging, url_of(kvserver), replaces=False)
        assert wire.value("INFO", "keyspace").count(b"keys=") == 1
        put_into_server(coming("a", "b\x1b", database=3), url_of(kvserver), replaces=True)
        assert wire.value("MGET", "a", "b\x1b") == [b"new", b"new"]


def test_library_that_is_there_is_named_unless_it_is_the_same(kvserver: ServerProcess) -> None:
    staging = coming("a")
    staging.put_library(LIBRARY)
    with kvserver.connect() as wire:
        wire.command("FUNCTION", "LOAD", LIBRARY)
        put_into_server(staging, url_of(kvserver), replaces=False)
        wire.command("FLUSHALL")
        wire.command("FUNCTION", "LOAD", "REPLACE", LIBRARY + b" ")
        with pytest.raises(TransferError, match="has a function library 'mylib': nothing was imported"):
            put_into_server(staging, url_of(kvserver), replaces=False)
        assert wire.value("DBSIZE") == 0
        put_into_server(staging, url_of(kvserver), replaces=True)
        assert wire.value("FUNCTION", "LIST", "WITHCODE")[0][-1] == LIBRARY
        wire.command("FUNCTION", "FLUSH")


@pytest.mark.parametrize("kind", ["string", "list", "document"])
def test_what_another_client_writes_meanwhile_is_not_replaced(
    kvserver: ServerProcess, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = staged(filled())
    key = {"string": b"number", "list": b"list", "document": b"expiring document"}[kind]
    look: Callable[[server_target._Target], None] = server_target._Target.refuse_taken

    def look_and_write(target: server_target._Target) -> None:
        look(target)
        assert kvserver.once("SET", key, "of another") == b"+OK\r\n"

    monkeypatch.setattr(server_target._Target, "refuse_taken", look_and_write)
    with pytest.raises(TransferError, match=r"by now, which another client has written|BUSYKEY") as failed:
        put_into_server(staging, url_of(kvserver), replaces=False)
    assert f"of {staging.databases.key_count} keys are there by now" in str(failed.value)
    with kvserver.connect() as wire:
        assert wire.value("GET", key) == b"of another"
        assert wire.value("PTTL", key) == -1


def test_database_that_the_server_does_not_have_is_told_before_anything_is_written(kvserver: ServerProcess) -> None:
    staging = coming("a", database=700)
    with pytest.raises(TransferError, match="answers SELECT: ERR DB index is out of range"):
        put_into_server(staging, url_of(kvserver), replaces=True)
    assert kvserver.once("DBSIZE") == b":0\r\n"


def test_other_clients_are_served_meanwhile(kvserver: ServerProcess) -> None:
    staging = coming(*(f"k{number}" for number in range(20_000)))
    served, done = 0, threading.Event()

    def put() -> None:
        try:
            put_into_server(staging, url_of(kvserver), replaces=False)
        finally:
            done.set()

    putter = threading.Thread(target=put)
    with kvserver.connect() as wire:
        putter.start()
        while not done.is_set():
            assert wire.value("INCR", "counter") == served + 1
            served += 1
        putter.join()
        assert served > 10
        assert wire.value("DBSIZE") == 20_001


def test_what_is_there_is_told_where_somebody_interrupts(
    kvserver: ServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    send_key = server_target._Target._send_key

    def send_and_stop(target: server_target._Target, key: bytes, entry: Entry) -> None:
        send_key(target, key, entry)
        if key == b"key2000":
            raise KeyboardInterrupt

    monkeypatch.setattr(server_target._Target, "_send_key", send_and_stop)
    with pytest.raises(KeyboardInterrupt):
        put_into_server(coming(*(f"key{number}" for number in range(1000, 3000))), url_of(kvserver), replaces=False)
    found = re.fullmatch(r"interrupted: ([0-9]+) of 2000 keys are there by now\n", capsys.readouterr().err)
    assert found
    assert 0 < int(found[1]) <= 1001
