"""The start of a store from medium and journal: the data that it gives, and the log that it leaves for the next start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.logs import Reopen, found, log_of
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.keyspace import Keyspace
from kvserver.dispatch.table import CommandTable
from kvserver.formats.record import EMPTY_STORE, encode_link, encode_records, pack
from kvserver.media.medium import Log
from kvserver.media.memory import MemoryMedium
from kvserver.options.config import Config
from kvserver.persistence.frames import Frames
from kvserver.persistence.recovery import Recovered, Recovery
from kvserver.persistence.workplace import Here, finish
from kvserver.state.session import ServerState


@pytest.fixture(params=["memory", "file"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    with log_of(request.param, tmp_path) as reopen:
        yield reopen


def record(number: int) -> bytes:
    return encode_records([pack([[b"SET", b"key:%d" % number, b"%d" % number]])])


def recover(log: Log) -> tuple[Recovered, set[str]]:
    state = ServerState(Config(), Keyspace(lambda: 0), COMMANDS, lambda: 0)
    table = CommandTable(COMMANDS, state.usages)
    recovered = finish(Recovery(state, table, Frames(state, MemoryMedium(), Here()), log, Here()).run())
    return recovered, {key.decode() for key, _ in state.keyspace.members()}


def write_linked(log: Log, digest: str = EMPTY_STORE) -> None:
    log.cut(1)
    log.link(encode_link(digest))
    log.write(record(1), synced=True)
    log.cut(2)
    log.write(record(2), synced=True)


def test_recovery_replays_what_is_linked_and_the_log_goes_on(reopen: Reopen) -> None:
    write_linked(reopen())
    log = reopen()
    recovered, keys = recover(log)
    assert (recovered.segments, recovered.records, keys) == ([1, 2], 2, {"key:1", "key:2"})
    log.cut(log.last_number + 1)
    log.write(record(3), synced=True)
    recovered, keys = recover(reopen())
    assert (recovered.segments, keys) == ([1, 2, 3], {"key:1", "key:2", "key:3"})


def test_recovery_cuts_a_torn_tail_and_puts_aside_what_is_behind_a_gap(reopen: Reopen) -> None:
    log = reopen()
    write_linked(log)
    log.write(record(3)[:50], synced=True)
    log.cut(4)
    log.write(record(4), synced=True)
    log = reopen()
    recovered, keys = recover(log)
    assert (recovered.segments, keys) == ([1, 2], {"key:1", "key:2"})
    assert found(log)[2] == record(2)
    assert list(log.segments()) == [1, 2]
    assert log.last_number == 2


def test_recovery_puts_aside_what_has_lost_its_snapshot_and_no_number_comes_twice(reopen: Reopen) -> None:
    write_linked(reopen(), "0" * 64)
    log = reopen()
    recovered, keys = recover(log)
    assert (recovered.segments, keys, log.segments()) == ([], set(), {})
    assert [number for number, _ in log.asides()] == [1, 2]
    assert log.last_number == 2
