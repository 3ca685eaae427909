"""The contracts of `media.shared`, held against every kind of engine."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import TypeVar

import pytest

from helpers.engines import KINDS, Opener
from kvserver.errors import MediumError, Refused, Trimmed, Unknown
from kvserver.formats.manifest import BEGINNING, Manifest, Position
from kvserver.media.shared import Engine, Entry, Mark, Node, SharedLog, digest_of

T = TypeVar("T")
# A campaign sets more.
RACES = int(os.environ.get("KVSERVER_ENGINE_RACES", "12"))
# Long enough for the slowest machine, and never waited for where all is well.
LONG_S = 30.0


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def another(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """A function that opens the engine as another node would. All are closed at the end."""
    open_it = request.param.fresh(request)
    with ExitStack() as stack:

        def open_one() -> Engine:
            engine: Engine = open_it()
            stack.callback(engine.close)
            return engine

        yield open_one


@pytest.fixture
def engine(another: Opener) -> Engine:
    return another()


class Writer:
    """A writer that knows where it stands, as the only one that is right."""

    def __init__(self, log: SharedLog, epoch: int = 1, behind: Entry | None = None) -> None:
        self.log = log
        self.epoch = epoch
        self.entries: list[Entry] = []
        self.after = behind.position if behind else BEGINNING
        self.mark = Mark(epoch, behind.mark.number + 1, digest_of(behind.mark, behind.data)) if behind else Mark(epoch, 1, "")

    def append(self, data: bytes) -> Entry:
        entry = Entry(self.log.append(data, self.mark, self.after), self.mark, data)
        self.entries.append(entry)
        self.after = entry.position
        self.mark = Mark(self.epoch, entry.mark.number + 1, digest_of(entry.mark, data))
        return entry


def all_of(log: SharedLog, after: Position = BEGINNING) -> list[Entry]:
    entries: list[Entry] = []
    while found := log.read(entries[-1].position if entries else after, 0):
        entries += found
    return entries


def at_once(*calls: Callable[[], T]) -> list[T | MediumError]:
    """What these calls return or raise, made at the same moment."""
    barrier = threading.Barrier(len(calls))

    def make(call: Callable[[], T]) -> T | MediumError:
        barrier.wait(LONG_S)
        try:
            return call()
        except MediumError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


# The log


def test_entries_come_back_in_order_with_their_marks_and_positions(engine: Engine, another: Opener) -> None:
    assert engine.log.read(BEGINNING, 0) == []
    writer = Writer(engine.log)
    for data in (b"one", bytes(range(256)), b"", b"three\r\n" * 1000, b""):
        writer.append(data)
    positions = [entry.position for entry in writer.entries]
    assert positions == sorted(set(positions))
    for log in (engine.log, another().log):
        assert all_of(log) == writer.entries
        assert all_of(log, positions[2]) == writer.entries[3:]
        assert all_of(log, positions[-1]) == []


def test_many_entries_are_read_in_several_calls(engine: Engine, another: Opener) -> None:
    writer = Writer(engine.log)
    size = min(engine.log.max_append_bytes, 1 << 20)
    for number in range(6):
        writer.append(bytes([number]) * size)
    for _ in range(40):
        writer.append(b"short")
    log = another().log
    assert 0 < len(log.read(BEGINNING, 0)) < 46
    assert all_of(log) == writer.entries


def test_longest_entry_is_taken_and_a_longer_one_is_not(engine: Engine) -> None:
    writer = Writer(engine.log)
    writer.append(b"x" * engine.log.max_append_bytes)
    with pytest.raises(MediumError) as failure:
        writer.append(b"x" * (engine.log.max_append_bytes + 1))
    assert not isinstance(failure.value, Refused | Unknown)
    writer.append(b"short")
    assert all_of(engine.log) == writer.entries


def test_who_does_not_know_the_last_entry_is_refused(engine: Engine, another: Opener) -> None:
    one, other = Writer(engine.log), Writer(another().log)
    one.append(b"first")
    with pytest.raises(Refused):
        other.append(b"rival")
    one.append(b"second")
    with pytest.raises(Refused):
        other.append(b"rival")
    late = Writer(another().log, behind=one.entries[0])
    with pytest.raises(Refused):
        late.append(b"late")
    assert all_of(engine.log) == one.entries


def test_entry_is_refused_ahead_of_the_end_where_one_is_in_flight_at_a_time(engine: Engine) -> None:
    if engine.log.most_in_flight > 1:
        pytest.skip("there, the entries between may be on their way")
    writer = Writer(engine.log)
    last = writer.append(b"first")
    ahead = Position(last.position.epoch, last.position.number + 1)
    # Who is behind may be the engine: some kinds can't tell.
    with pytest.raises((Refused, Unknown)):
        engine.log.append(b"ahead", Mark(1, 3, "0" * 32), ahead)
    assert all_of(engine.log) == writer.entries


def test_fence_ends_the_earlier_writer_for_good(engine: Engine, another: Opener) -> None:
    old = Writer(engine.log)
    for _ in range(3):
        old.append(b"old")
    new = Writer(another().log, epoch=4, behind=old.entries[-1])
    fence = new.append(b"fence")
    assert fence.position.epoch == 4
    for _ in range(2):
        with pytest.raises(Refused):
            old.append(b"too late")
    new.append(b"new")
    # It knows all entries, and is behind the times even so.
    behind_the_fence = Writer(engine.log, behind=new.entries[-1])
    with pytest.raises(Refused):
        behind_the_fence.append(b"an earlier epoch")
    assert all_of(engine.log) == old.entries + new.entries
    assert all_of(engine.log, old.entries[-1].position) == new.entries
    assert all_of(engine.log, fence.position) == new.entries[1:]


def test_what_an_earlier_writer_has_in_flight_behind_a_fence_is_never_seen(engine: Engine, another: Opener) -> None:
    if engine.log.most_in_flight == 1:
        pytest.skip("there, nobody appends behind what he has not seen")
    old = Writer(engine.log)
    last = old.append(b"old")
    new = Writer(another().log, epoch=2, behind=last)
    new.append(b"fence")
    for step in range(1, 4):
        ahead = Position(last.position.epoch, last.position.number + step)
        with suppress(Refused):
            engine.log.append(b"in flight", Mark(1, 2 + step, "0" * 32), ahead)
    new.append(b"new")
    assert all_of(another().log) == old.entries + new.entries


def test_of_two_fences_of_the_same_epoch_one_is_taken(engine: Engine, another: Opener) -> None:
    last = Writer(engine.log).append(b"old")
    logs = [engine.log, another().log]
    for epoch in range(2, 2 + RACES):
        one, other = Writer(logs[0], epoch, last), Writer(logs[1], epoch, last)
        found = at_once(partial(one.append, b"one"), partial(other.append, b"other"))
        winners = [entry for entry in found if isinstance(entry, Entry)]
        assert len(winners) == 1, found
        assert all(isinstance(each, Entry | Refused) for each in found), found
        assert all_of(logs[0], last.position) == winners
        last = winners[0]


def test_of_two_writers_at_the_same_place_one_is_taken(engine: Engine, another: Opener) -> None:
    last = Writer(engine.log).append(b"")
    logs = [engine.log, another().log]
    entries = [last]
    for number in range(RACES):
        one, other = Writer(logs[0], 1, last), Writer(logs[1], 1, last)
        found = at_once(partial(one.append, b"one %d" % number), partial(other.append, b"other %d" % number))
        winners = [entry for entry in found if isinstance(entry, Entry)]
        assert len(winners) == 1, found
        assert all(isinstance(each, Entry | Refused) for each in found), found
        last = winners[0]
        entries.append(last)
    assert all_of(logs[1]) == entries


def test_position_is_known_before_where_several_are_in_flight(engine: Engine, another: Opener) -> None:
    if engine.log.most_in_flight == 1:
        pytest.skip("there, one is in flight at a time")
    fence = Writer(engine.log).append(b"fence")
    assert fence.position == Position(1, 0)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    last, entries = fence, [fence]
    for number in range(12):
        mark = Mark(1, last.mark.number + 1, digest_of(last.mark, last.data))
        last = Entry(Position(1, number + 1), mark, b"%d" % number)
        entries.append(last)
    for start in range(1, len(entries), engine.log.most_in_flight):
        batch = entries[start : start + engine.log.most_in_flight]
        after = {entry: entries[entries.index(entry) - 1].position for entry in batch}
        rng.shuffle(batch)
        found = at_once(*(partial(engine.log.append, entry.data, entry.mark, after[entry]) for entry in batch))
        assert found == [entry.position for entry in batch]
    assert all_of(another().log) == entries


def test_nothing_is_seen_behind_a_hole(engine: Engine, another: Opener) -> None:
    if engine.log.most_in_flight == 1:
        pytest.skip("there is never a hole")
    writer = Writer(engine.log)
    fence = writer.append(b"fence")
    entry = Entry(Position(1, 1), writer.mark, b"hole")
    behind = Mark(1, 3, digest_of(entry.mark, entry.data))
    engine.log.append(b"behind", behind, entry.position)
    log = another().log
    assert all_of(log) == [fence]
    engine.log.append(entry.data, entry.mark, fence.position)
    assert all_of(log) == [fence, entry, Entry(Position(1, 2), behind, b"behind")]


def test_reader_waits_for_what_comes(engine: Engine, another: Opener) -> None:
    writer, log = Writer(engine.log), another().log
    with ThreadPoolExecutor(1) as pool:
        for data in (b"first", b"", b"third"):
            reading = pool.submit(log.read, writer.after, LONG_S)
            entry = writer.append(data)
            assert reading.result(LONG_S) == [entry]
    assert log.read(writer.after, 0.01) == []


def test_close_ends_a_read_that_waits(engine: Engine, another: Opener) -> None:
    log = another().log
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(log.read, BEGINNING, 10 * LONG_S)
        log.close()
        error = reading.exception(LONG_S)
    assert error is None or isinstance(error, MediumError)
    log.close()
    Writer(engine.log).append(b"others go on")


def test_calls_behind_a_close_do_nothing(engine: Engine, another: Opener) -> None:
    closed = another()
    writer = Writer(closed.log)
    writer.append(b"before")
    closed.close()
    closed.close()
    with pytest.raises(MediumError):
        writer.append(b"behind")
    assert all_of(engine.log) == writer.entries


def test_what_was_trimmed_is_gone_and_what_comes_later_stays(engine: Engine, another: Opener) -> None:
    old = Writer(engine.log)
    for number in range(10):
        old.append(b"%d" % number)
    new = Writer(another().log, epoch=2, behind=old.entries[-1])
    new.append(b"fence")
    for number in range(10):
        new.append(b"%d" % number)
    entries = old.entries + new.entries
    for last in (3, 3, 2, 15):
        engine.log.trim(entries[last].position)
    for log in (engine.log, another().log):
        assert all_of(log, entries[15].position) == entries[16:]
        # A kind that keeps more than it was asked to has to show that.
        with suppress(Trimmed):
            assert all_of(log, entries[1].position) == entries[2:]
    with pytest.raises(Refused):
        old.append(b"the fence is there still")
    new.append(b"last")
    engine.log.trim(new.entries[-1].position)
    assert all_of(another().log, new.after) == []
    new.append(b"behind all that was trimmed")
    assert all_of(another().log, new.entries[-2].position) == new.entries[-1:]


def test_who_lags_behind_a_trim_can_not_lead(engine: Engine, another: Opener) -> None:
    writer = Writer(engine.log)
    for number in range(8):
        writer.append(b"%d" % number)
    engine.log.trim(writer.entries[6].position)
    laggard = Writer(another().log, epoch=2, behind=writer.entries[2])
    with pytest.raises(Refused):
        laggard.append(b"fence")
    writer.append(b"still the one")
    assert all_of(another().log, writer.entries[6].position) == writer.entries[7:]


# The vault


def store(engine: Engine, *pieces: bytes) -> str:
    writer = engine.vault.begin()
    for piece in pieces:
        writer.write(piece)
    writer.commit()
    return writer.name


def test_object_is_read_in_ranges(engine: Engine, another: Opener) -> None:
    data = random.Random(1).randbytes(12 << 20)
    name = store(engine, data[:10], b"", data[10 : 7 << 20], data[7 << 20 :])
    for vault in (engine.vault, another().vault):
        assert vault.read(name, 0, 10) == data[:10]
        assert vault.read(name, 5 << 20, 4 << 20) == data[5 << 20 : 9 << 20]
        assert vault.read(name, len(data) - 5, 100) == data[-5:]
        assert vault.read(name, len(data), 100) == b""
        assert vault.read(name, 5, 0) == b""
        assert vault.read(name, 0, len(data)) == data


def test_object_that_is_whole_is_not_given_up(engine: Engine) -> None:
    writer = engine.vault.begin()
    writer.write(b"data")
    writer.commit()
    writer.abort()
    assert engine.vault.read(writer.name, 0, 10) == b"data"


def test_empty_object_is_one(engine: Engine) -> None:
    assert engine.vault.read(store(engine), 0, 100) == b""


def test_nobody_sees_a_part_of_an_object(engine: Engine, another: Opener) -> None:
    writer = engine.vault.begin()
    writer.write(b"x" * (6 << 20))
    with pytest.raises(MediumError):
        another().vault.read(writer.name, 0, 10)
    writer.abort()
    writer.abort()
    with pytest.raises(MediumError):
        another().vault.read(writer.name, 0, 10)


def test_names_are_never_used_again(engine: Engine, another: Opener) -> None:
    other = another()
    names = [store(each, b"data") for each in (engine, other, engine, other)]
    aborted = engine.vault.begin()
    aborted.abort()
    engine.vault.remove(names)
    names += [aborted.name, store(engine, b"data"), store(another(), b"data")]
    assert len(set(names)) == 7


def test_what_was_removed_is_not_there(engine: Engine) -> None:
    kept, *removed = (store(engine, b"data") for _ in range(3))
    engine.vault.remove([*removed, "snapshot-that-never-was"])
    engine.vault.remove(removed)
    engine.vault.remove([])
    for name in removed:
        with pytest.raises(MediumError) as failure:
            engine.vault.read(name, 0, 1)
        assert "\n" not in str(failure.value)
    assert engine.vault.read(kept, 0, 100) == b"data"


def test_manifest_is_created_once_and_then_replaced_by_its_tag(engine: Engine, another: Opener) -> None:
    assert engine.vault.manifest() == (None, "")
    first, second = Manifest(counter=1), Manifest(2, 3, Position(4, 5), 6, "7" * 32, owner="me")
    tag = engine.vault.commit(first, "")
    assert tag
    with pytest.raises(Refused):
        another().vault.commit(second, "")
    assert another().vault.manifest() == (first, tag)
    newer = another().vault.commit(second, tag)
    assert newer not in ("", tag)
    for stale in (tag, ""):
        with pytest.raises(Refused):
            engine.vault.commit(first, stale)
    assert engine.vault.manifest() == (second, newer)


def test_same_manifest_again_has_another_tag(engine: Engine) -> None:
    first, other = Manifest(counter=1), Manifest(counter=2)
    tags = [engine.vault.commit(first, "")]
    for manifest in (other, first, first):
        tags.append(engine.vault.commit(manifest, tags[-1]))
    assert len(set(tags)) == 4
    with pytest.raises(Refused):
        engine.vault.commit(other, tags[0])
    assert engine.vault.manifest() == (first, tags[-1])


def test_manifest_that_nobody_could_read_is_not_taken(engine: Engine) -> None:
    manifest = Manifest(counter=1)
    tag = engine.vault.commit(manifest, "")
    for bad in (Manifest(owner="x" * (2 << 20)), Manifest(linked="0" * 64)):
        with pytest.raises(MediumError, match="nobody could read it") as failure:
            engine.vault.commit(bad, tag)
        assert not isinstance(failure.value, Refused | Unknown)
    assert engine.vault.manifest() == (manifest, tag)


def test_of_two_manifests_one_is_taken(engine: Engine, another: Opener) -> None:
    other, tag = another(), ""
    for number in range(RACES):
        one, two = Manifest(2 * number, owner="one"), Manifest(2 * number + 1, owner="two")
        found = at_once(partial(engine.vault.commit, one, tag), partial(other.vault.commit, two, tag))
        assert sum(isinstance(each, Refused) for each in found) == 1, found
        manifest, tag = engine.vault.manifest()
        assert manifest == (one if found[0] == tag else two)
        assert tag in found


# Who is there


def test_nodes_tell_of_themselves_and_leave(engine: Engine, another: Opener) -> None:
    other = another()
    assert engine.presence.nodes() == []
    one, two = Node("a" * 40, "10.0.0.1", 6379, True, 7, 1), Node("b" * 40, "::1", 6380, False, 5, 1)
    engine.presence.tell(one)
    other.presence.tell(two)
    for each in (engine, other):
        assert sorted(each.presence.nodes()) == [one, two]
    newer = one._replace(applied=8, beats=2)
    engine.presence.tell(newer)
    assert sorted(other.presence.nodes()) == [newer, two]
    other.presence.leave(two.id)
    other.presence.leave(two.id)
    assert engine.presence.nodes() == [newer]


def test_engine_says_what_it_is(engine: Engine, another: Opener) -> None:
    assert "://" in engine.url
    assert engine.name
    assert (engine.url, engine.name) == another()[:2]
    assert 0 < engine.beat_s < engine.lease_s
    assert engine.log.max_append_bytes >= 1 << 16
    assert engine.promises
    assert all("\n" not in line for line in engine.promises + engine.warnings)
