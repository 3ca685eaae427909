"""The journal on a shared log: cuts, links, the way back of a RESTORE, and its end."""

from __future__ import annotations

import asyncio
import gc
import hashlib

import pytest

from helpers.node_parts import Clock, HeldLog, Sending, fresh_engine
from kvserver.engine.outbox import Outbox
from kvserver.errors import MediumError, Trimmed
from kvserver.failover.growth import Growth
from kvserver.failover.shared_journal import SharedJournal, _Cut
from kvserver.formats.control import Relink, Yield, decode_control, encode_yield
from kvserver.formats.frame import encode_header
from kvserver.formats.manifest import BEGINNING
from kvserver.media.shared import Tip
from kvserver.media.vault_medium import VaultMedium
from kvserver.persistence.disk import Disk
from kvserver.state.session import ServerState

pytestmark = pytest.mark.timeout(30)
PAYLOAD = b'{"a":"1"}'
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()


class Client:
    """A client of an outbox that keeps what it is sent."""

    is_waiting = False

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.seen.append(data)

    def wait(self) -> None: ...
    def go_on(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Parts:
    def __init__(self, *, is_open: bool = True) -> None:
        self.engine = fresh_engine()
        self.log = HeldLog(self.engine)
        self.log.is_open = is_open
        self.clock = Clock()
        sending = Sending(self.log, self.clock)
        self.sender, self.state, self.lease = sending.sender, sending.state, sending.lease
        self.medium = VaultMedium(self.engine.vault)
        self.journal = SharedJournal(self.state, self.sender, self.log, self.medium, Disk())
        self.journal.begin(Tip(), 1, self.clock.now, Growth())

    def next_leader(self, growth: Growth) -> tuple[SharedJournal, ServerState]:
        """The journal of another node, which takes over from here, and its state."""
        engine = fresh_engine()
        log = HeldLog(engine)
        log.is_open = True
        sending = Sending(log, self.clock)
        journal = SharedJournal(sending.state, sending.sender, log, self.medium, Disk())
        journal.begin(Tip(), 2, self.clock.now, growth)
        return journal, sending.state

    def set(self, value: bytes) -> None:
        self.journal.append([[b"SET", b"k", value]], 1)

    def add_frame(self) -> None:
        frame = self.medium.begin_frame()
        frame.write(PAYLOAD)
        frame.commit(encode_header(len(PAYLOAD), DIGEST))


async def test_link_names_the_end_of_the_log_at_the_cut_and_trims_what_is_before() -> None:
    parts = Parts()
    parts.set(b"1")
    token = parts.journal.cut()
    parts.set(b"2")
    await parts.journal.sync()
    parts.add_frame()
    assert await parts.journal.link(token, DIGEST, 99)
    manifest = parts.medium.look()
    assert (manifest.linked, manifest.mark_number) == (DIGEST, 1)
    with pytest.raises(Trimmed):
        parts.engine.log.read(BEGINNING, 0)
    (entry,) = parts.engine.log.read(manifest.position, 0)
    assert entry.mark == (1, 2, manifest.mark_digest)
    assert parts.journal.records_since_link == 1
    facts = parts.state.journal
    assert facts.base_bytes == 99
    assert facts.segment_bytes == len(entry.data)
    parts.journal.halt()


async def test_log_that_a_new_leader_has_followed_counts() -> None:
    parts = Parts()
    parts.set(b"1")
    token = parts.journal.cut()
    await parts.journal.sync()
    parts.add_frame()
    assert await parts.journal.link(token, DIGEST, 1)
    parts.journal.halt()
    manifest = parts.medium.look()
    growth = Growth()
    growth.add(1, 100, 1)
    growth.add(2, 1000, 3)
    growth.add(3, 10_000, 5)
    journal, state = parts.next_leader(growth)
    facts = state.journal
    assert (journal.records_since_link, facts.segment_bytes) == (8, 11_000)
    assert facts.base_bytes == manifest.frames[0].frame_length
    journal.append([[b"SET", b"k", b"2"]], 1)
    taken_bytes = journal.courier.taken_bytes
    assert (journal.records_since_link, facts.segment_bytes) == (9, 11_000 + taken_bytes)
    # Neither heartbeats nor fences are records.
    state.config.read_fence = True
    for _ in range(3):
        journal.courier.cover()
        await journal.sync()
    assert journal.records_since_link == 9
    token = journal.cut()
    await journal.sync()
    parts.add_frame()
    assert await journal.link(token, DIGEST, 99)
    assert (journal.records_since_link, facts.segment_bytes, facts.base_bytes) == (0, 0, 99)
    journal.halt()


async def test_cut_takes_what_the_keyspace_has_not_handed_out() -> None:
    parts = Parts()
    databases = parts.state.databases
    databases[0].put(b"k", b"v")
    assert databases.records.has_any
    token = parts.journal.cut()
    assert not databases.records.has_any
    parts.add_frame()
    assert await parts.journal.link(token, DIGEST, 1)
    assert parts.medium.look().mark_number == 1
    parts.journal.halt()


async def test_link_waits_for_the_records_that_the_snapshot_has() -> None:
    parts = Parts(is_open=False)
    parts.set(b"1")
    token = parts.journal.cut()
    parts.add_frame()
    link = asyncio.ensure_future(parts.journal.link(token, DIGEST, 1))
    await asyncio.sleep(0)
    assert parts.medium.manifest.mark_number == 0
    parts.log.is_open = True
    parts.log.let_through(1)
    assert await link
    assert parts.medium.manifest.mark_number == 1
    parts.journal.halt()


async def test_restore_is_an_entry_and_snapshots_from_before_it_count_no_more() -> None:
    parts = Parts()
    parts.set(b"1")
    older = parts.journal.cut()
    parts.set(b"2")
    parts.add_frame()
    assert await parts.journal.link(parts.journal.cut(), DIGEST, 1, drops=True)
    assert decode_control(parts.engine.log.read(BEGINNING, 0)[-1].data) == Relink(DIGEST)
    assert parts.medium.look().mark_number == 0
    assert not await parts.journal.link(older, DIGEST, 1)
    assert parts.medium.look().mark_number == 0
    parts.journal.halt()


async def test_end_is_the_last_entry() -> None:
    parts = Parts()
    parts.set(b"1")
    await parts.journal.end(encode_yield(1))
    parts.set(b"2")
    await parts.journal.sync()
    assert [entry.data for entry in parts.engine.log.read(BEGINNING, 0)][1:] == [encode_yield(1)]
    assert decode_control(encode_yield(1)) == Yield(1)
    parts.journal.halt()


async def test_what_runs_behind_the_last_word_is_never_answered() -> None:
    parts = Parts(is_open=False)
    client = Client()
    outbox = Outbox(parts.sender)
    parts.sender.on_safe = outbox.release
    parts.set(b"1")
    outbox.write(client, b"before")
    outbox.seal()
    ending = asyncio.ensure_future(parts.journal.end(encode_yield(1)))
    await asyncio.sleep(0)
    # A script goes on whose records come too late.
    parts.set(b"2")
    assert parts.journal.is_on
    outbox.write(client, b"behind")
    outbox.seal()
    parts.log.is_open = True
    parts.log.let_through(1)
    await ending
    await parts.journal.end(encode_yield(1))
    assert parts.sender.safe >= parts.sender.sequence
    assert client.seen == [b"before"]
    assert [entry.data for entry in parts.engine.log.read(BEGINNING, 0)][1:] == [encode_yield(1)]
    # Neither does a RESTORE count that was under way, nor is there a heartbeat.
    with pytest.raises(MediumError, match="does not write any more"):
        await parts.journal.link(parts.journal.cut(), DIGEST, 1, drops=True)
    parts.clock.now += 6
    parts.sender._beat()
    await parts.journal.sync()
    assert len(parts.engine.log.read(BEGINNING, 0)) == 2
    parts.journal.halt()


async def test_engine_that_does_not_answer_is_waited_for_no_longer_than_a_lease() -> None:
    parts = Parts(is_open=False)
    parts.lease.lease_s = 0.05
    parts.set(b"1")
    with pytest.raises(MediumError, match="not answered"):
        await parts.journal.sync()
    with pytest.raises(MediumError, match="not answered"):
        await parts.journal.end(encode_yield(1))
    parts.log.let_through(1)
    parts.journal.halt()


async def test_who_waits_when_all_ends_is_told() -> None:
    parts = Parts(is_open=False)
    parts.set(b"1")
    waiting = asyncio.ensure_future(parts.journal.sync())
    await asyncio.sleep(0)
    parts.journal.halt()
    with pytest.raises(MediumError, match="another node"):
        await waiting
    parts.log.let_through(1)


async def test_failed_flushes_leave_nothing_behind() -> None:
    parts = Parts()
    for value in (b"1", b"2", b"3"):
        parts.set(value)
        failed = parts.journal.cut()
    await parts.journal.sync()
    gc.collect()
    cuts = [
        found for found in gc.get_objects() if isinstance(found, _Cut) and found.tip.get_loop() is asyncio.get_running_loop()
    ]
    assert len(cuts) == 1
    parts.add_frame()
    token = parts.journal.cut()
    assert not await parts.journal.link(failed, DIGEST, 1)
    assert await parts.journal.link(token, DIGEST, 1)
    assert parts.medium.look().mark_number == 3
    parts.journal.halt()


async def test_nobody_waits_for_a_node_that_has_been_halted() -> None:
    parts = Parts()
    parts.set(b"1")
    waiting = asyncio.ensure_future(parts.journal.link(parts.journal.cut(), DIGEST, 1, drops=True))
    await asyncio.sleep(0)
    flushing = asyncio.ensure_future(parts.journal.link(parts.journal.cut(), DIGEST, 1))
    await asyncio.sleep(0)
    parts.journal.halt()
    with pytest.raises(MediumError, match="another node"):
        await waiting
    with pytest.raises(MediumError, match="another node"):
        await flushing
    with pytest.raises(MediumError, match="does not write any more"):
        await parts.journal.link(parts.journal.cut(), DIGEST, 1, drops=True)
    with pytest.raises(MediumError, match="another node"):
        await parts.journal.link(parts.journal.cut(), DIGEST, 1)
