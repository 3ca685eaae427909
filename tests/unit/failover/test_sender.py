"""The sender: what is gathered into entries, what is safe when, and what becomes of a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from helpers.node_parts import Clock, HeldLog, PromptHeldLog, Sending, fresh_engine
from kvserver.errors import EntryTooLong, LogLost, Refused, Unknown
from kvserver.failover import sender as module
from kvserver.failover.sender import AWAY
from kvserver.formats.manifest import BEGINNING
from kvserver.formats.record import encode_tick
from kvserver.media.shared import Tip, digest_of

pytestmark = pytest.mark.timeout(30)


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 (threads change it)
            await asyncio.sleep(0.001)


def record(value: bytes) -> bytes:
    frame = encode_tick([[b"SET", b"k", value]], 7)
    assert frame
    return frame


@pytest.mark.parametrize("kind", [HeldLog, PromptHeldLog])
async def test_records_gather_while_an_entry_is_on_its_way(kind: type[HeldLog]) -> None:
    engine, clock = fresh_engine(), Clock()
    log = kind(engine)
    sending = Sending(log, clock)
    sending.begin()
    sender = sending.sender
    sending.set(b"1")
    await until(lambda: log.begun == [1])
    sending.set(b"2")
    sending.set(b"3")
    assert (sender.sequence, sender.synced, sender.safe) == (3, 0, 0)
    log.let_through(1)
    await until(lambda: sender.synced == 1)
    log.let_through(2)
    await until(lambda: sender.synced == 3)
    entries = engine.log.read(BEGINNING, 0)
    assert [entry.data for entry in entries] == [record(b"1"), record(b"2") + record(b"3")]
    assert entries[1].mark == (1, 2, digest_of(entries[0].mark, entries[0].data))
    assert sender.tip == Tip(entries[1].position, 2, digest_of(entries[1].mark, entries[1].data))
    assert sending.state.replication.engine.appended == 2
    assert sending.state.replication.applied == 2
    sender.halt()


@pytest.mark.parametrize("kind", [HeldLog, PromptHeldLog])
async def test_long_records_are_cut_and_count_as_a_whole(kind: type[HeldLog]) -> None:
    engine, clock = fresh_engine(), Clock()
    log = kind(engine, max_append_bytes=1 << 16)
    sending = Sending(log, clock)
    sending.begin()
    sending.set(b"x" * 500_000)
    sending.set(b"short")
    for number in range(1, 8):
        log.let_through(number)
    await until(lambda: len(log.begun) == 8)
    assert sending.sender.synced == 0
    log.is_open = True
    log.let_through(8)
    await until(lambda: sending.sender.synced == 2)
    data = b"".join(entry.data for entry in engine.log.read(BEGINNING, 0))
    assert data.endswith(record(b"short"))
    assert data.count(b"x" * 500_000) == 1
    sending.sender.halt()


@pytest.mark.parametrize("length", [1_000, 300_000])
@pytest.mark.parametrize("kind", [HeldLog, PromptHeldLog])
async def test_entry_that_is_too_long_by_now_is_cut(kind: type[HeldLog], length: int) -> None:
    engine, clock = fresh_engine(), Clock()
    log = kind(engine)
    sending = Sending(log, clock)
    sending.begin()
    sending.set(b"x" * length)
    await until(lambda: log.begun == [1])
    # The engine is started again, with other settings, while the entry is on its way.
    log.max_append_bytes = length // 3
    log.fails[1] = EntryTooLong("too long")
    log.is_open = True
    log.let_through(1)
    await until(lambda: sending.sender.synced == 1)
    entries = engine.log.read(BEGINNING, 0)
    assert len(entries) > 3
    assert max(len(entry.data) for entry in entries) <= length // 3
    assert b"".join(entry.data for entry in entries).count(b"x" * length) == 1
    assert sending.sender.tip.number == len(entries)
    assert sending.told == []
    sending.sender.halt()


async def test_entries_in_flight_are_acknowledged_in_order() -> None:
    log, clock = HeldLog(fresh_engine(), most_in_flight=3), Clock()
    sending = Sending(log, clock, appendfsync="everysec")
    sending.state.config.appendfsync = "always"
    sending.begin()
    sender = sending.sender
    for value in (b"1", b"2", b"3", b"4"):
        sending.set(value)
        sender._seal()
        sender._start_when_worth_it()
    await until(lambda: sorted(log.begun) == [1, 2, 3])
    log.let_through(3)
    log.let_through(2)
    # A thread is free again, and takes the fourth.
    await until(lambda: 4 in log.begun)
    assert sender.synced == 0
    log.let_through(1)
    await until(lambda: sender.synced == 3)
    log.let_through(4)
    await until(lambda: sender.synced == 4)
    assert sender.tip.number == 4
    sender.halt()


async def test_replies_leave_only_within_the_lease() -> None:
    log, clock = HeldLog(fresh_engine()), Clock()
    sending = Sending(log, clock)
    sending.begin()
    sender = sending.sender
    assert sender.safe == 0
    clock.now += 7
    assert sender.safe == -1
    # What is acknowledged counts from when it was sent.
    sending.set(b"1")
    await until(lambda: log.begun == [1])
    clock.now += 2
    log.let_through(1)
    await until(lambda: sender.synced == 1)
    assert sender.safe == 1
    clock.now += 5
    assert sender.safe == -1
    sending.state.config.appendfsync = "no"
    assert sender.safe == -1
    sender.halt()


async def test_each_part_of_a_long_record_extends_the_lease() -> None:
    log, clock = HeldLog(fresh_engine(), max_append_bytes=1 << 16), Clock()
    sending = Sending(log, clock)
    sending.begin()
    sender = sending.sender
    sending.set(b"x" * 200_000)
    await until(lambda: log.begun == [1])
    clock.now += 6
    log.let_through(1)
    await until(lambda: log.begun == [1, 2])
    assert sender.safe == 0
    clock.now += 7.5
    assert sender.safe == -1
    log.let_through(2)
    await until(lambda: log.begun == [1, 2, 3])
    # That one was sent when the first one had arrived, and is no news of the last seconds.
    assert sender.safe == -1
    log.let_through(3)
    await until(lambda: log.begun == [1, 2, 3, 4])
    assert sender.safe == 0
    # Those who have waited for the lease alone are let go.
    released: list[int] = []
    sending.on_safe = lambda: released.append(sender.safe)
    sender._beat()
    assert released == [0]
    # A part that arrives when this node does not write any more changes nothing.
    sender.halt()
    clock.now += 1
    log.is_open = True
    log.let_through(4)
    await until(lambda: len(log.read(BEGINNING, 0)) == 4)
    sending.lease.extend(clock.now)
    assert sender.safe == -1


async def test_policy_that_does_not_wait_lets_replies_leave_at_once() -> None:
    log = HeldLog(fresh_engine())
    sending = Sending(log, Clock(), appendfsync="everysec")
    sending.begin()
    sending.set(b"1")
    assert (sending.sender.safe, sending.sender.synced) == (1, 0)
    log.is_open = True
    log.let_through(1)
    await until(lambda: sending.sender.synced == 1)
    sending.sender.halt()


@pytest.mark.parametrize("kind", [HeldLog, PromptHeldLog])
async def test_refusal_ends_all(kind: type[HeldLog]) -> None:
    log = kind(fresh_engine())
    sending = Sending(log, Clock())
    log.fails[1] = Refused("somebody else")
    sending.begin()
    sending.set(b"1")
    log.let_through(1)
    await until(lambda: sending.told)
    assert sending.told == ["refused: somebody else"]
    assert sending.state.replication.engine.refused == 1
    assert sending.sender.synced == 0
    sending.sender.halt()
    sending.set(b"2")
    assert log.begun == [1]
    assert sending.sender.safe == -1


@pytest.mark.parametrize("kind", [HeldLog, PromptHeldLog])
async def test_open_outcome_is_settled_and_then_safe(kind: type[HeldLog]) -> None:
    log = kind(fresh_engine())
    sending = Sending(log, Clock())
    log.fails[1] = Unknown("cut off")
    sending.begin()
    sending.set(b"1")
    log.is_open = True
    log.let_through(1)
    await until(lambda: sending.sender.synced == 1)
    facts = sending.state.replication.engine
    assert (facts.unknown, facts.unknown_sent_again, facts.appended) == (1, 1, 1)
    sending.sender.halt()


async def test_engine_hears_of_a_node_that_writes_nothing() -> None:
    engine = fresh_engine()
    log, clock = HeldLog(engine), Clock()
    log.is_open = True
    sending = Sending(log, clock)
    sending.lease.lease_s = 0.06
    sending.begin()
    clock.now += 1
    await until(lambda: engine.log.read(BEGINNING, 0))
    assert engine.log.read(BEGINNING, 0)[0].data == b""
    await until(lambda: sending.sender.safe == 0)
    sending.sender.halt()


async def test_cut_gives_the_end_of_the_log_and_divides_entries() -> None:
    log = HeldLog(fresh_engine())
    sending = Sending(log, Clock())
    sending.begin()
    sender = sending.sender
    assert await sender.cut() == Tip()
    sending.set(b"1")
    await until(lambda: log.begun == [1])
    behind_first = sender.cut()
    sending.set(b"2")
    behind_second = sender.cut()
    sending.set(b"3")
    control = sender.send_control(b"control")
    assert not behind_first.done()
    log.is_open = True
    log.let_through(1)
    assert [(await tip).number for tip in (behind_first, behind_second, control)] == [1, 2, 4]
    sender.halt()


async def test_too_much_that_waits_pauses_the_writer_or_refuses_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_BYTES", 1000)
    log, clock = HeldLog(fresh_engine()), Clock()
    sending = Sending(log, clock)
    sending.begin()
    sending.set(b"1")
    await until(lambda: log.begun == [1])
    sending.set(b"x" * 2000)
    assert sending.told == ["pause"]
    assert not sending.state.journal.error
    # The engine is away: what can't be kept is refused, and what only reads is answered when replies may leave.
    clock.now += 8
    sending.sender._look_at_pressure()
    assert sending.told == ["pause", "resume"]
    assert str(sending.state.journal.error) == AWAY
    log.is_open = True
    log.let_through(1)
    log.let_through(2)
    await until(lambda: sending.sender.synced == 2)
    assert not sending.state.journal.error
    sending.sender.halt()


async def test_read_fence_covers_reads_by_an_entry_of_their_own() -> None:
    log, clock = HeldLog(fresh_engine()), Clock()
    sending = Sending(log, clock)
    sending.begin()
    sender = sending.sender
    assert sender.cover() == 0
    sending.state.config.read_fence = True
    assert sender.cover() == 1
    await until(lambda: log.begun == [1])
    assert sender.cover() == 2
    sending.set(b"1")
    # The record leaves later than the command ran: it is fence enough.
    assert sender.cover() == 3
    assert sender.cover() == 3
    log.is_open = True
    log.let_through(1)
    await until(lambda: sender.synced == 3)
    sender.halt()


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
async def test_read_fence_holds_whatever_has_left_before(policy: str) -> None:
    log, clock = HeldLog(fresh_engine()), Clock()
    sending = Sending(log, clock, appendfsync=policy)
    sending.state.config.read_fence = True
    sending.begin()
    sender = sending.sender
    # A key has expired, and nobody has read anything: what is read later needs a fence of its own.
    sender.take([[b"DEL", b"k"]], 0)
    await until(lambda: log.begun == [1])
    log.let_through(1)
    await until(lambda: sender.synced == 1)
    assert sender.cover() == 2
    assert sender.safe == 1
    await until(lambda: log.begun == [1, 2])
    # A cut amid a tick lets nothing leave before the tick has ended.
    sender.take([[b"DEL", b"k"]], 0)
    sender.cut()
    assert sender.cover() == 3
    log.is_open = True
    log.let_through(2)
    await until(lambda: sender.synced == 3)
    # Heartbeats have no number of their own, and are no fence.
    log.is_open = False
    clock.now += 6
    sender._beat()
    assert sender.cover() == 4
    assert sender.safe == 3
    log.is_open = True
    log.let_through(4)
    await until(lambda: sender.safe == 4)
    sender.halt()


async def test_number_of_the_entry_that_has_everything_is_never_too_low() -> None:
    log = HeldLog(fresh_engine(), max_append_bytes=1000)
    sending = Sending(log, Clock())
    sending.begin()
    sender = sending.sender
    assert sender.written == 0
    sending.set(b"1")
    await until(lambda: log.begun == [1])
    sending.set(b"x" * 5000)
    expected = sender.written
    log.is_open = True
    log.let_through(1)
    await until(lambda: sender.synced == 2)
    assert sender.tip.number <= expected
    assert sender.written == sender.tip.number
    written = sender.written
    # Heartbeats have nothing that anybody would wait for.
    sending.state.config.read_fence = True
    sender.cover()
    sequence = sender.cover()
    await until(lambda: sender.synced == sequence)
    assert (sender.written, sender.tip.number > written) == (written, True)
    sender.halt()


async def test_held_replies_are_told_once_and_their_end_too(caplog: pytest.LogCaptureFixture) -> None:
    log, clock = HeldLog(fresh_engine()), Clock()
    sending = Sending(log, clock)
    sending.begin()
    for _ in range(3):
        sending.sender._tell_of_lease()
    assert not caplog.records
    clock.now += 8
    for _ in range(3):
        sending.sender._tell_of_lease()
    assert [record.message for record in caplog.records] == [
        "replies wait for the engine, since the lease has lapsed: nothing was heard of it"
    ]
    sending.lease.extend(clock.now)
    for _ in range(3):
        sending.sender._tell_of_lease()
    assert len(caplog.records) == 2
    sending.sender.halt()


async def test_log_that_is_broken_ends_all_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    log = HeldLog(fresh_engine())
    sending = Sending(log, Clock())
    log.fails[1] = LogLost("it has lost its end")
    log.is_open = True
    sending.begin()
    sending.set(b"1")
    await until(lambda: sending.told)
    assert sending.told == ["refused: it has lost its end"]
    assert [record.message for record in caplog.records] == ["the log is broken: it has lost its end"]
    assert not caplog.records[0].exc_info
    sending.sender.halt()
