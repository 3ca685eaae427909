"""The contracts that every medium and every log keeps, and the repair of a medium: damage is copied aside before it is cut."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.frames import FIRST, NAME, SECOND, put
from helpers.logs import Reopen, found, log_of, put_aside, read
from kvserver.errors import MediumError, MediumPoisoned
from kvserver.formats.frame import HEADER_SIZE
from kvserver.library.keeping import run
from kvserver.library.operations import PlainBuffer
from kvserver.media.file import FileMedium
from kvserver.media.medium import Aside, CoreMedium, Log, Medium, WholeAppends, as_medium, repair
from kvserver.media.memory import MemoryMedium
from kvserver.types import PLAIN

# --- The contract of every medium ---


@pytest.fixture(params=["memory", "file"])
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Medium]:
    if request.param == "memory":
        yield MemoryMedium()
    else:
        with FileMedium(tmp_path / "made" / NAME) as file:
            yield file


@pytest.fixture(params=["memory", "file", "whole-appends"])
def core(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Medium]:
    if request.param == "file":
        with FileMedium(tmp_path / NAME) as file:
            yield file
    else:
        yield MemoryMedium() if request.param == "memory" else as_medium(PlainBuffer())


def test_new_medium_is_empty(core: Medium) -> None:
    assert core.read_all() == b""
    assert core.size() == 0
    assert core.read(0, 100) == b""
    assert not core.poisoned
    assert isinstance(core, Medium)


def test_appended_bytes_stand_one_behind_the_other(core: Medium) -> None:
    for data in (b"one", b"", b"\0two\xff"):
        core.append(data)
    assert core.read_all() == b"one\0two\xff"
    assert core.size() == 8


def test_read_gives_a_range_and_less_only_at_the_end(core: Medium) -> None:
    core.append(b"0123456789")
    assert core.read(3, 4) == b"3456"
    assert core.read(8, 100) == b"89"
    assert core.read(10, 1) == core.read(50, 1) == core.read(5, 0) == b""


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_committed_frames_stand_one_behind_the_other(core: Medium, pieces: int) -> None:
    put(core.begin_frame(), FIRST)
    put(core.begin_frame(), SECOND, pieces=pieces)
    assert core.read_all() == FIRST + SECOND
    assert core.size() == len(FIRST + SECOND)


def test_aborted_frame_leaves_nothing(core: Medium) -> None:
    core.append(FIRST)
    frame = core.begin_frame()
    frame.write(b"x" * 1_000)
    frame.abort()
    assert core.read_all() == FIRST
    put(core.begin_frame(), SECOND)
    assert core.read_all() == FIRST + SECOND


def test_frame_counts_only_once_it_is_committed(core: Medium) -> None:
    core.append(FIRST)
    frame = core.begin_frame()
    frame.write(SECOND[HEADER_SIZE:])
    assert len(run(core, PLAIN, load=False).frames) == 1
    frame.commit(SECOND[:HEADER_SIZE])
    assert len(run(core, PLAIN, load=False).frames) == 2


def test_truncate_cuts_what_is_behind(medium: Medium) -> None:
    medium.append(b"0123456789")
    medium.truncate(4)
    assert medium.read_all() == b"0123"
    medium.append(b"x")
    assert medium.read_all() == b"0123x"
    medium.truncate(0)
    assert medium.size() == 0


def aside(medium: Medium, place: str) -> bytes:
    return medium.asides[int(place[7:-1])] if isinstance(medium, MemoryMedium) else Path(place).read_bytes()


def test_set_aside_copies_each_time_to_a_place_of_its_own(medium: Medium) -> None:
    medium.append(b"0123456789")
    places = [medium.set_aside(4), medium.set_aside(4), medium.set_aside(0)]
    assert len(set(places)) == 3
    assert [aside(medium, place) for place in places] == [b"456789", b"456789", b"0123456789"]
    assert medium.read_all() == b"0123456789"


def test_rewrite_takes_the_place_of_the_old_with_copies_and_a_new_frame(medium: Medium) -> None:
    medium.append(b"junk" + FIRST + b"more")
    rewrite = medium.begin_rewrite()
    assert b"".join(rewrite.copy(4, len(FIRST))) == FIRST
    put(rewrite, SECOND, pieces=4)
    assert medium.read_all() == FIRST + SECOND
    put(medium.begin_frame(), FIRST)
    assert medium.read_all() == FIRST + SECOND + FIRST


def test_rewrite_of_copies_alone_needs_no_header(medium: Medium) -> None:
    medium.append(FIRST + SECOND)
    rewrite = medium.begin_rewrite()
    copied = [*rewrite.copy(len(FIRST), len(SECOND)), *rewrite.copy(0, len(FIRST))]
    rewrite.commit(None)
    assert b"".join(copied) == medium.read_all() == SECOND + FIRST


def test_rewrite_copies_a_range_of_many_pieces_whole(medium: Medium) -> None:
    data = bytes(range(256)) * 10_000
    medium.append(data)
    rewrite = medium.begin_rewrite()
    pieces = list(rewrite.copy(1, len(data) - 2))
    rewrite.commit(None)
    assert len(pieces) > 1
    assert medium.read_all() == data[1:-1]


def test_aborted_rewrite_changes_nothing(medium: Medium) -> None:
    medium.append(FIRST)
    rewrite = medium.begin_rewrite()
    list(rewrite.copy(0, len(FIRST)))
    rewrite.write(b"x" * 1_000)
    assert medium.read_all() == FIRST
    rewrite.abort()
    assert medium.read_all() == FIRST
    put(medium.begin_frame(), SECOND)
    assert medium.read_all() == FIRST + SECOND


def test_core_medium_is_adapted_and_a_whole_one_is_itself() -> None:
    memory = MemoryMedium()
    assert as_medium(memory) is memory
    core: CoreMedium = PlainBuffer()
    assert isinstance(as_medium(core), WholeAppends)
    with pytest.raises(MediumError, match="only be appended to"):
        as_medium(core).begin_rewrite()
    as_medium(core).append(FIRST)
    as_medium(core).truncate(0)
    as_medium(core).close()
    assert core.read_all() == FIRST


# --- The repair of a medium: what a crash leaves is cut, and a medium without that stays as it is ---


class UncopyableMedium(MemoryMedium):
    """Has no room for a copy."""

    def set_aside(self, offset: int, end: int | None = None) -> str:
        raise OSError("no space left")


@pytest.mark.parametrize(
    ("tail", "aside", "level"),
    [(b"", [], None), (FIRST[:30], [], logging.WARNING), (b"garbage", [b"garbage"], logging.ERROR)],
    ids=["nothing", "torn", "damage"],
)
def test_medium_ends_with_its_last_valid_frame_and_no_damage_is_lost(
    tail: bytes, aside: list[bytes], level: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    medium = MemoryMedium(FIRST + tail)
    assert repair(medium, run(medium, PLAIN, load=False)) == len(FIRST)
    assert medium.read_all() == FIRST
    assert medium.asides == aside
    assert [record.levelno for record in caplog.records] == ([level] if level else [])


def test_damage_that_can_not_be_copied_is_not_cut() -> None:
    medium = UncopyableMedium(FIRST + b"garbage")
    with pytest.raises(OSError, match="no space"):
        repair(medium, run(medium, PLAIN, load=False))
    assert medium.read_all() == FIRST + b"garbage"


@pytest.fixture(params=["memory", "file"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    with log_of(request.param, tmp_path) as reopen:
        yield reopen


@pytest.fixture
def log(reopen: Reopen) -> Log:
    return reopen()


def write_three_segments(log: Log) -> None:
    for number in (1, 2, 3):
        log.cut(number)
        log.write(b"%d" % number, synced=True)


# --- The contract of every log: appending ---


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


# --- The contract of every log: what is not needed any more ---


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


# --- The contract of every log: what a start finds ---


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
