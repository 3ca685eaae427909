"""The start of a store from medium and journal: the data that it gives, and the log that it leaves for the next start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.frames import as_older
from helpers.logs import Reopen, found, log_of
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.data.entries import Expiring
from kvserver.data.keyspace import Keyspace
from kvserver.dispatch.table import CommandTable
from kvserver.errors import MediumDisplaced
from kvserver.formats.frame import JOURNAL_MAGIC, encode_frame
from kvserver.formats.record import EMPTY_STORE, encode_link, encode_loss, encode_records, pack
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


def recover_at(log: Log, now_ms: int) -> tuple[Recovered, Keyspace]:
    state = ServerState(Config(), Databases(lambda: now_ms), COMMANDS, lambda: now_ms)
    table = CommandTable(COMMANDS, state.usages)
    recovered = finish(Recovery(state, table, Frames(state, MemoryMedium(), Here()), log, Here()).run())
    assert state.databases[0].now_ms() == now_ms
    assert not state.databases.records.has_any, "what was replayed would be written to the journal a second time"
    return recovered, state.databases[0]


def look(log: Log, medium: MemoryMedium) -> set[bytes]:
    state = ServerState(Config(), Databases(lambda: 0), COMMANDS, lambda: 0)
    table = CommandTable(COMMANDS, state.usages)
    finish(Recovery(state, table, Frames(state, medium, Here()), log, Here()).look())
    return {key for key, _ in state.databases[0].members()}


def recover(log: Log) -> tuple[Recovered, set[str]]:
    recovered, keyspace = recover_at(log, 0)
    return recovered, {key.decode() for key, _ in keyspace.members()}


def entries(keyspace: Keyspace) -> dict[str, tuple[object, int]]:
    """The value and the expiry, or 0, of each key."""
    return {
        key.decode(): (entry.value, entry.expires_at_ms) if isinstance(entry, Expiring) else (entry, 0)
        for key, entry in keyspace.members()
    }


def inexact(time_ms: int, *lines: str) -> bytes:
    """A record as it was written before it had the keys that had expired: commands, each a line."""
    commands = pack([line.encode().split() for line in lines])
    return encode_frame(b"#MS:%d\r\n%b" % (time_ms, bytes(commands)), JOURNAL_MAGIC)


def exact(time_ms: int, *lines: str) -> bytes:
    return encode_records([pack([line.encode().split() for line in lines])], [time_ms])


def write(log: Log, *records: bytes) -> None:
    log.cut(1)
    log.link(encode_link(EMPTY_STORE))
    for data in records:
        log.write(data, synced=True)


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
    assert found(log)[2] == record(2) + encode_loss(0)
    assert list(log.segments()) == [1, 2]
    assert log.last_number == 2


def test_recovery_leaves_a_loss_in_a_segment_that_is_damaged_from_its_beginning(reopen: Reopen) -> None:
    log = reopen()
    log.cut(1)
    log.link(encode_link(EMPTY_STORE))
    log.write(record(1), synced=True)
    log.cut(2)
    log.write(b"damaged", synced=True)
    log = reopen()
    assert recover(log)[1] == {"key:1"}
    loss = encode_loss(0)
    assert found(log)[2] == loss
    assert log.needed_bytes == len(found(log)[1]) + len(loss)
    log.cut(log.last_number + 1)
    log.write(record(3), synced=True)
    recovered, keys = recover(reopen())
    assert (recovered.segments, keys) == ([1, 2, 3], {"key:1", "key:3"})


def test_recovery_puts_aside_what_has_lost_its_snapshot_and_no_number_comes_twice(
    reopen: Reopen, caplog: pytest.LogCaptureFixture
) -> None:
    log = reopen()
    write_linked(log, "0" * 64)
    log.write(encode_loss(0), synced=True)
    log = reopen()
    recovered, keys = recover(log)
    assert "put the segments 1, 2 (2 records) aside" in caplog.text
    assert (recovered.segments, keys, log.segments()) == ([], set(), {})
    assert [number for number, _ in log.asides()] == [1, 2]
    assert log.last_number == 2


def test_look_gives_what_a_recovery_would_and_leaves_all_as_it_is(reopen: Reopen) -> None:
    log = reopen()
    write_linked(log)
    log.write(record(3)[:50], synced=True)
    log.cut(4)
    log.write(record(4), synced=True)
    log = reopen()
    before = found(log)
    medium = MemoryMedium(b"no frame")
    for _ in range(2):
        assert look(log, medium) == {b"key:1", b"key:2"}
    assert (found(log), log.asides(), medium.read_all(), medium.asides) == (before, [], b"no frame", [])
    assert recover(reopen())[1] == {"key:1", "key:2"}


def test_look_at_a_journal_whose_snapshot_is_not_there_is_told(reopen: Reopen) -> None:
    write_linked(reopen(), "0" * 64)
    log = reopen()
    with pytest.raises(MediumDisplaced, match=r"goes on from the snapshot 0000000000000000…, which is not there"):
        look(log, MemoryMedium())
    assert list(log.segments()) == [1, 2]


@pytest.mark.parametrize("now_ms", [0, 50, 150, 10_000])
def test_exact_records_give_the_same_data_whatever_time_it_is(now_ms: int, tmp_path: Path) -> None:
    with log_of("memory", tmp_path) as reopen:
        write(
            reopen(),
            exact(10, "SET lives v PXAT 100", "SET due v PXAT 100", "SET gone v PXAT 15", "SET moved v PXAT 100"),
            exact(20, "del gone", "APPEND gone w", "PEXPIREAT lives 9000", "APPEND lives w", "RENAME moved new"),
            # The system's clock was set back.
            exact(5, "SET again v PXAT 8", "PERSIST again"),
        )
        recovered, keyspace = recover_at(reopen(), now_ms)
    assert not recovered.needs_rewrite
    assert entries(keyspace) == {
        "lives": (b"vw", 9_000),
        "due": (b"v", 100),
        "gone": (b"w", 0),
        "new": (b"v", 100),
        "again": (b"v", 0),
    }
    assert (keyspace.live(b"due") is not None) == (now_ms < 100)


@pytest.mark.parametrize("now_ms", [150, 250, 10_000])
def test_records_that_lack_what_expired_are_replayed_by_their_own_time(now_ms: int, tmp_path: Path) -> None:
    with log_of("memory", tmp_path) as reopen:
        write(
            reopen(),
            inexact(10, "SET gone v PXAT 100", "SET lives v PXAT 100", "SET short v PXAT 120", "SET due v PXAT 200"),
            # It was let live on, by a command that brings the value along.
            inexact(20, "SET lives v PXAT 300", "APPEND short w", "PEXPIREAT short 120"),
            inexact(110, "APPEND gone w"),
            # The system's clock was set back.
            inexact(90, "APPEND gone x"),
            inexact(130, "SET other v"),
        )
        recovered, keyspace = recover_at(reopen(), now_ms)
    assert recovered.needs_rewrite
    living = {key for key, _ in list(keyspace.members()) if keyspace.live(key) is not None}
    ends = {b"due": 200, b"lives": 300}
    assert living == {b"gone", b"other"} | {key for key, end_ms in ends.items() if now_ms < end_ms}
    assert keyspace.live(b"gone") == b"wx"


@pytest.mark.parametrize("now_ms", [60, 150, 10_000])
def test_exact_records_find_what_the_server_had_that_went_on_from_older_ones(now_ms: int, tmp_path: Path) -> None:
    """The key was alive when this version started, and would have expired since, had it not been let live on."""
    with log_of("memory", tmp_path) as reopen:
        write(
            reopen(),
            inexact(10, "SET k v PXAT 100"),
            exact(50, "PEXPIREAT k 20000", "APPEND k w", "RENAME k new"),
        )
        recovered, keyspace = recover_at(reopen(), now_ms)
    assert recovered.needs_rewrite
    assert entries(keyspace) == {"new": (b"vw", 20_000)}


def test_records_without_a_time_are_replayed_by_the_clock(tmp_path: Path) -> None:
    old = encode_records([pack([[b"SET", b"k", b"v", b"PXAT", b"100"], [b"APPEND", b"k", b"w"]])])
    for now_ms, value in ((99, b"vw"), (100, b"w")):
        with log_of("memory", tmp_path) as reopen:
            write(reopen(), old, exact(5, "SET timed v PXAT 50"))
            recovered, keyspace = recover_at(reopen(), now_ms)
        assert recovered.needs_rewrite
        assert (keyspace.live(b"k"), entries(keyspace)["timed"]) == (value, (b"v", 50))


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("place", [0, 99, 100, 777])
@pytest.mark.parametrize("line", ["NOSUCH a", "APPEND list a", "SET a", "set a b nx xx"])
def test_record_that_fails_is_where_the_replay_ends(line: str, place: int, older: bool, tmp_path: Path) -> None:
    """Many records run at once; yet those before it have run, those behind it have not, and it is cut with these."""
    ticks = [exact(7, f"SET key:{number} {number}", f"SET last {number}") for number in range(800)]
    ticks[place] = exact(7, "SET half done", line, "SET other half")
    ticks = [exact(7, "RPUSH list a"), *ticks]
    if older:
        ticks = list(map(as_older, ticks))
    with log_of("file", tmp_path) as reopen:
        write(reopen(), b"".join(ticks))
        recovered, keys = recover(reopen())
        log = reopen()
        (name,) = log.segments().values()
        contents = log.open(name)
        content = contents.read(0, contents.size())
        contents.close()
    assert keys == {"list", "half"} | {f"key:{number}" for number in range(place)} | ({"last"} if place else set())
    assert (recovered.records, recovered.commands) == (place + 1, 2 * place + 2)
    assert recovered.needs_rewrite, "half is in memory alone"
    assert content.endswith(b"".join(ticks[: place + 1]) + encode_loss(0))
