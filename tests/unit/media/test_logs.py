"""The contract of every log: segments in order, failures that stick, and what a recovery makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvserver.commands.catalogue import COMMANDS
from kvserver.data.keyspace import Keyspace
from kvserver.dispatch.table import CommandTable
from kvserver.errors import MediumError, MediumPoisoned
from kvserver.formats.record import EMPTY_STORE, encode_link, encode_records, pack
from kvserver.media.medium import Aside, Log
from kvserver.media.memory import MemoryLog, MemoryMedium
from kvserver.media.segments import FileLog
from kvserver.options.config import Config
from kvserver.persistence.frames import Archive
from kvserver.persistence.recovery import Recovered, Recovery
from kvserver.persistence.workplace import Here, finish
from kvserver.state.session import ServerState

Reopen = Callable[[], Log]


@pytest.fixture(params=["memory", "file"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Gives the log of one place each time, as the next process finds it."""
    place = MemoryLog()
    logs: list[Log] = []

    def open_log() -> Log:
        for earlier in logs:
            earlier.close()
        logs.append(place if request.param == "memory" else FileLog(str(tmp_path / "dump.kvs")))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


@pytest.fixture
def log(reopen: Reopen) -> Log:
    return reopen()


def read(log: Log, name: str) -> bytes:
    contents = log.open(name)
    try:
        return contents.read(0, contents.size())
    finally:
        contents.close()


def found(log: Log) -> dict[int, bytes]:
    return {number: read(log, name) for number, name in log.segments().items()}


def put_aside(log: Log) -> list[tuple[int, bytes]]:
    return [(number, read(log, name)) for number, name in log.asides()]


def write_three_segments(log: Log) -> None:
    for number in (1, 2, 3):
        log.cut(number)
        log.write(b"%d" % number, synced=True)


# --- Appending ---


def test_new_log_is_empty(log: Log) -> None:
    assert (log.segments(), log.asides(), log.failure, log.has_unsynced) == ({}, [], "", False)
    assert (log.number, log.last_number, log.needed_count, log.needed_bytes) == (0, 0, 0, 0)


def test_what_is_written_stands_in_the_segment_of_the_last_cut_in_order(reopen: Reopen) -> None:
    log = reopen()
    log.cut(4)
    log.write(b"a")
    assert log.write_now(b"bc") == 2
    log.write(b"d", synced=True)
    log.cut(5)
    log.write(b"e")
    assert (log.number, log.last_number, log.needed_count, log.needed_bytes) == (5, 5, 2, 5)
    log.sync_all()
    assert found(reopen()) == {4: b"abcd", 5: b"e"}


@pytest.mark.parametrize("make_durable", [lambda log: log.sync(), lambda log: log.sync_all(), lambda log: log.cut(2)])
def test_nothing_is_unsynced_behind_a_sync(log: Log, make_durable: Callable[[Log], object]) -> None:
    log.cut(1)
    log.write(b"a")
    make_durable(log)
    assert not log.has_unsynced
    assert log.sync() is False
    log.write(b"b")
    log.write(b"c", synced=True)
    assert not log.has_unsynced


def test_prepared_cut_is_like_any_other(reopen: Reopen) -> None:
    log = reopen()
    log.cut(1)
    log.prepare()
    log.prepare()
    assert list(log.segments()) == [1]
    log.cut(2)
    log.write(b"x", synced=True)
    assert found(reopen()) == {1: b"", 2: b"x"}


def test_cut_at_a_number_that_is_taken_is_a_failure_until_a_cut_heals_it(log: Log) -> None:
    write_three_segments(log)
    with pytest.raises(MediumError):
        log.cut(2)
    assert log.failure
    for attempt in (lambda: log.write(b"y"), lambda: log.write_now(b"y"), log.sync, log.sync_all, lambda: log.cut(4)):
        with pytest.raises(MediumPoisoned):
            attempt()
    log.cut(4, heals=True)
    assert not log.failure
    log.link(b"link")
    assert list(log.segments()) == [4]


def test_close_may_be_called_again(log: Log) -> None:
    log.cut(1)
    log.prepare()
    log.close()
    log.close()
    assert log.number == 0


# --- What is not needed any more ---


def test_link_takes_the_place_of_what_is_before(reopen: Reopen) -> None:
    log = reopen()
    write_three_segments(log)
    log.cut(4)
    assert log.link(b"link") == []
    assert (log.needed_count, log.needed_bytes) == (1, 4)
    log.write(b"x", synced=True)
    assert found(reopen()) == {4: b"linkx"}


def test_only_what_is_before_a_segment_is_dropped(reopen: Reopen) -> None:
    log = reopen()
    write_three_segments(log)
    log.drop_before(2)
    assert list(log.segments()) == [2, 3]
    assert log.needed_count == 2
    log.write(b"x", synced=True)
    assert found(reopen()) == {2: b"2", 3: b"3x"}


def test_what_is_kept_aside_can_be_read_until_the_snapshot_after_the_next(log: Log) -> None:
    write_three_segments(log)
    log.cut(4)
    names = log.link(b"link", keeps_aside=True)
    assert [read(log, name) for name in names] == [b"1", b"2", b"3"]
    assert put_aside(log) == [(1, b"1"), (2, b"2"), (3, b"3")]
    log.age_asides()
    assert put_aside(log) == [(1, b"1"), (2, b"2"), (3, b"3")]
    log.age_asides()
    assert put_aside(log) == []
    assert list(log.segments()) == [4]


def test_log_that_ends_leaves_nothing_and_can_begin_again(reopen: Reopen) -> None:
    log = reopen()
    write_three_segments(log)
    assert log.end(log.last_number + 1, b"link") == []
    assert (log.segments(), log.number, log.needed_count, log.needed_bytes, log.last_number) == ({}, 0, 0, 0, 4)
    log.cut(5)
    log.write(b"x", synced=True)
    assert found(reopen()) == {5: b"x"}


def test_newest_segment_is_dropped_alone(log: Log) -> None:
    write_three_segments(log)
    log.drop(3)
    assert (list(log.segments()), log.number, log.needed_count) == ([1, 2], 0, 2)
    log.drop(7)
    assert list(log.segments()) == [1, 2]


# --- What a start finds ---


def test_every_reason_has_a_name_of_its_own_and_none_is_overwritten(reopen: Reopen) -> None:
    log = reopen()
    names = []
    for reason in (*Aside, *Aside):
        log.cut(log.last_number + 1, heals=True)
        log.write(reason.encode(), synced=True)
        names.append(log.set_aside(log.segments()[log.number], reason))
        log.cut(log.last_number, heals=True)
        log.write(b"again", synced=True)
        names.append(log.set_aside(log.segments()[log.number], reason))
    assert len(set(names)) == len(names)
    log = reopen()
    assert [read(log, name) for name in names[::2]] == [reason.encode() for reason in (*Aside, *Aside)]
    assert {content for _, content in put_aside(log)} == {b"unlinked", b"dropped", b"dropped-earlier", b"again"}


def test_segment_that_was_put_aside_can_be_put_aside_for_another_reason(log: Log) -> None:
    write_three_segments(log)
    name = log.set_aside(log.segments()[2], Aside.UNLINKED)
    assert put_aside(log) == [(2, b"2")]
    assert read(log, log.set_aside(name, Aside.APPLIED)) == b"2"
    assert put_aside(log) == []
    assert list(log.segments()) == [1, 3]


def test_segment_can_be_cut_and_its_rest_copied_aside(reopen: Reopen) -> None:
    log = reopen()
    log.cut(1)
    log.write(b"good, bad", synced=True)
    log = reopen()
    contents = log.open(log.segments()[1])
    assert contents.set_aside(4)
    contents.truncate(4)
    contents.close()
    assert found(reopen()) == {1: b"good"}


def test_log_goes_on_behind_what_it_has_adopted(reopen: Reopen) -> None:
    write_three_segments(reopen())
    log = reopen()
    log.remove([1])
    log.adopt([2, 3], 2, 3)
    assert (log.number, log.needed_count, log.needed_bytes, log.last_number) == (0, 2, 2, 3)
    log.cut(4)
    log.write(b"45", synced=True)
    assert (log.needed_count, log.needed_bytes) == (3, 4)
    log.drop_before(4)
    assert (log.needed_count, log.needed_bytes) == (1, 2)
    assert found(reopen()) == {4: b"45"}


# --- What a recovery makes of it ---


def record(number: int) -> bytes:
    return encode_records([pack([[b"SET", b"key:%d" % number, b"%d" % number]])])


def recover(log: Log) -> tuple[Recovered, set[str]]:
    state = ServerState(Config(), Keyspace(lambda: 0), COMMANDS, lambda: 0)
    table = CommandTable(COMMANDS, state.usages)
    recovered = finish(Recovery(state, table, Archive(state, MemoryMedium(), Here()), log, Here()).run())
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
