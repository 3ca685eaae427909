"""The courier of the journal: it takes records and orders to the disk, in order, and tells when they are safe.

Under `always`, the event loop writes and syncs, or where syncs are slow the disk's thread; meanwhile the next batch gathers,
so that many clients share a sync (`group_commit`). Under `everysec` and `no` a reply waits for the write alone. As in
redis-server the event loop writes, since to copy a few records into the system's memory costs less than to wake a thread.
Records that could wait for the disk go to its thread: long ones, all while a sync runs or something is under way there, and
for a while those that come behind a write of the loop that took long. Under `everysec` syncs have a thread of their own, so
that records go to the system at once, however long a sync takes.
Knows nothing of snapshots and links: what an order does is the journal's.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from kvserver.errors import MediumError
from kvserver.formats.record import encode_tick, pack
from kvserver.media.medium import Log
from kvserver.persistence.backlog import Backlog, Batch, Long, Order
from kvserver.persistence.disk import Disk
from kvserver.persistence.group_commit import Group
from kvserver.resp.request import Request
from kvserver.state.session import ServerState

# When more waits for the disk, the writer pauses until half of it is written. A busy server writes about this in a second.
PENDING_BYTES: Final = 8 << 20
# The same limit for long values, which wait for the disk in no memory of their own: the keyspace holds them.
LONG_PENDING_BYTES: Final = 256 << 20
# After a write that took longer than the first, the loop leaves writing to the thread for so many times as long: so it spends
# a twentieth of its time at most waiting for a disk that is too busy to take in what is written. A longer rest would cost
# more where another process just happened to interrupt the write.
SLOW_WRITE_S: Final = 0.001
REST_AFTER_SLOW: Final = 20
SYNC_INTERVAL_S: Final = 1.0


class Courier:
    """The way of the records to the disk, and back.

    `sequence` is the number of the last record, `written` that of the last one that the system has been given, so that a kill
    does not lose it, and `synced` that of the last one that is durable. `loop_may_sync`: see `Group`.
    """

    # `engine.jobs` or `aio.keeper` assigns these four before the first record. The first is called when `safe` may have grown.
    on_safe: Callable[[], None]
    # This is called when the records behind `synced` may never be durable.
    on_lost: Callable[[], None]
    # The courier pauses the writer when the disk can't keep up, and lets it go on later.
    pause: Callable[[], None]
    resume: Callable[[], None]
    # The journal is told of a failure, behind which no cut waits that heals it.
    on_failure: Callable[[str], None]

    def __init__(self, state: ServerState, log: Log, disk: Disk, sync_disk: Disk, *, loop_may_sync: bool = True) -> None:
        self.sequence = self.written = self.synced = 0
        self._state = state
        self._facts = state.journal
        self._log = log
        self._disk = disk
        self._sync_disk = sync_disk
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog()
        self._group = Group(loop_may_sync=loop_may_sync)
        # The bytes of the batch that is under way that are in no memory of its own.
        self._shared_writing_bytes = 0
        # The time, by time.perf_counter, when the batch that is under way was started.
        self._started_at = 0.0
        # A batch is under way on the disk's thread.
        self._is_busy = False
        # The orders that wait for the sync's thread, which does them beside the batches.
        self._besides: deque[Order] = deque()
        # The sync's thread is doing one of these, or a sync.
        self._is_syncing = False
        # The loop leaves writing to the disk's thread for a while.
        self._is_resting = False
        self._is_pausing = False
        self._start_timer: asyncio.TimerHandle | None = None
        self._synced_at = -SYNC_INTERVAL_S
        self._sync_timer: asyncio.TimerHandle | None = None

    @property
    def safe(self) -> int:
        """The number of the last record that is as safe as the policy asks for: replies up to it may leave."""
        return self.synced if self._state.config.appendfsync == "always" else self.written

    def cover(self) -> int:
        """The number of the last record: what clients have read has no later one."""
        return self.sequence

    def take(self, commands: list[Request], clients: int) -> None:
        """Take what one tick wrote, for which so many clients wait at most."""
        facts = self._facts
        self.sequence += 1
        if facts.error:
            # Nothing is promised until a snapshot has been linked.
            self.written = self.synced = self.sequence
            return
        now_ms = self._state.now_ms()
        tick = encode_tick(commands, now_ms) or Long(pack(commands), now_ms)
        must_sync = self._state.config.appendfsync == "always"
        group, waiting = self._group, min(clients, len(commands))
        if must_sync:
            group.arrive(waiting)
        if not (self._is_busy or self._is_syncing or self._backlog) and isinstance(tick, bytes):
            if must_sync and group.is_enough(waiting) and group.is_for_loop:
                self._sync_here(tick, waiting)
                return
            if not (must_sync or self._is_resting):
                self._write_here(tick)
                return
        self._backlog.add(tick, waiting)
        facts.queued_bytes = self._backlog.byte_count
        if not self._is_busy:
            if must_sync:
                self._start_group()
            else:
                self._start()
        if facts.queued_bytes + facts.writing_bytes > PENDING_BYTES and not self._is_pausing and self._is_behind(1):
            self._is_pausing = True
            facts.delayed_writes += 1
            self.pause()

    def _is_behind(self, share: int) -> bool:
        """True if more waits for the disk than one `share`-th of what may."""
        facts, long_bytes = self._facts, self._backlog.shared_bytes + self._shared_writing_bytes
        short_bytes = facts.queued_bytes + facts.writing_bytes - long_bytes
        return short_bytes > PENDING_BYTES // share or long_bytes > LONG_PENDING_BYTES // share

    def _sync_here(self, frames: bytes, clients: int) -> None:
        """Write and sync records that have nothing before them on the way to the disk, and for which so many clients wait."""
        facts, log = self._facts, self._log
        started_at = time.perf_counter()
        try:
            log.write(frames, synced=True)
        except MediumError as error:
            self._fail(str(error))
            return
        took_s = time.perf_counter() - started_at
        facts.syncs += 1
        facts.delayed_syncs += took_s > SYNC_INTERVAL_S
        facts.segment_bytes = log.needed_bytes
        self.written = self.synced = self.sequence
        self._group.note(took_s)
        self._group.expect(clients, 0, took_s)

    def _write_here(self, frame: bytes) -> None:
        """Write a record that has nothing before it on the way to the disk. The thread gets what can't be written at once."""
        facts, log = self._facts, self._log
        started_at = time.perf_counter()
        try:
            length = log.write_now(frame)
        except MediumError as error:
            self._fail(str(error))
            return
        took_s = time.perf_counter() - started_at
        if took_s > SLOW_WRITE_S:
            self._is_resting = True
            self._loop.call_later(REST_AFTER_SLOW * took_s, self._end_rest)
        if length < len(frame):
            self._backlog.add_rest(frame[length:])
            facts.queued_bytes = self._backlog.byte_count
            self._start()
            return
        self.written = self.sequence
        facts.segment_bytes = log.needed_bytes
        if not self._sync_timer and self._state.config.appendfsync == "everysec":
            self._sync_when_due()

    def _end_rest(self) -> None:
        self._is_resting = False

    def stop_timers(self) -> None:
        """Start nothing more by the clock."""
        for timer in (self._sync_timer, self._start_timer):
            if timer:
                timer.cancel()

    def halt(self) -> None:
        """Write nothing any more, as if the process had been killed. The disks are abandoned."""
        self.stop_timers()
        self._besides.clear()
        self._backlog = Backlog()

    def order(self, carry_out: Callable[[], object], *, heals: bool = False) -> asyncio.Future[None]:
        order = Order(carry_out, self._loop.create_future(), heals=heals)
        order.done.add_done_callback(_retrieve)
        self._backlog.add_order(order)
        if not self._is_busy:
            self._start()
        return order.done

    def _start_later(self, delay_s: float) -> None:
        if not self._start_timer:
            self._start_timer = self._loop.call_later(delay_s, self._start_if_idle)

    def _start_group(self) -> None:
        """Start a batch under `always`: now, if what is queued is worth a sync, else when it is or has waited long enough."""
        if self._group.is_enough(self._backlog.clients):
            self._start_one()
        else:
            self._start_later(self._group.wait_s)

    def _start_if_idle(self) -> None:
        self._start_timer = None
        if not self._is_busy:
            if not self._group.is_enough(self._backlog.clients):
                self._group.give_up()
            self._start_one()

    def _start_one(self) -> None:
        """Start a batch under `always`, or sync it at once where that is for the loop."""
        is_for_loop = self._group.is_for_loop and not (self._is_syncing or self._is_pausing)
        short = self._backlog.take_short() if is_for_loop else None
        if short is None:
            self._start()
            return
        if self._start_timer:
            self._start_timer.cancel()
            self._start_timer = None
        self._facts.queued_bytes = 0
        self._sync_here(*short)
        self.on_safe()

    def _start(self) -> None:
        # An order may close the file, or need the spare: it waits for the sync's thread, whose end starts the batch.
        if self._is_syncing and self._backlog.has_orders:
            return
        if self._start_timer:
            self._start_timer.cancel()
            self._start_timer = None
        facts, batch, sequence = self._facts, self._backlog.take(), self.sequence
        facts.writing_bytes, facts.queued_bytes = batch.byte_count, 0
        self._shared_writing_bytes = batch.shared_bytes
        self._is_busy = True
        self._started_at = time.perf_counter()
        must_sync = self._state.config.appendfsync == "always"
        future = self._disk.run(lambda: self._carry_out(batch, must_sync))
        future.add_done_callback(lambda done: self._on_done(done.result(), batch, sequence))

    def _carry_out(self, batch: Batch, must_sync: bool) -> float:
        """Write and sync a batch, on the disk's thread. Return the seconds that it took, or 0 if it did not have to sync."""
        log = self._log
        started_at = time.perf_counter()
        for item in batch.items:
            try:
                if isinstance(item, Order):
                    item.carry_out()
                else:
                    *pieces, last = [item] if isinstance(item, bytes) else item.encode()
                    for piece in pieces:
                        log.write(piece)
                    log.write(last, synced=must_sync)
                    self._facts.syncs += must_sync
            except MediumError as error:
                if isinstance(item, Order):
                    item.error = error
        return time.perf_counter() - started_at if must_sync else 0.0

    def _sync_log(self) -> float:
        """Sync what is written, on the sync's thread. Return the seconds that it took."""
        started_at = time.perf_counter()
        # `log.failure` keeps the error.
        with suppress(MediumError):
            self._facts.syncs += self._log.sync()
        return time.perf_counter() - started_at

    def _on_done(self, sync_s: float, batch: Batch, sequence: int) -> None:
        facts, log = self._facts, self._log
        self._is_busy = False
        facts.writing_bytes = self._shared_writing_bytes = 0
        facts.segment_bytes, facts.segments = log.needed_bytes, log.needed_count
        if not log.failure:
            self.written = max(self.written, sequence)
        if batch.clients and sync_s:
            self._group.note(sync_s)
        self._settle(sync_s)
        for item in batch.items:
            if isinstance(item, Order):
                item.settle()
        if self._is_pausing and not self._is_behind(2):
            self._is_pausing = False
            self.resume()
        # Replies leave before the next batch starts: its thread would fight with their sending for the interpreter's lock.
        self.on_safe()
        if not self._is_busy:
            self._go_on(batch.clients)

    def _settle(self, sync_s: float) -> None:
        """Draw the consequence of what a thread has done: all is synced, or the log has failed."""
        if self._log.failure:
            self._fail(self._log.failure)
        elif not (self._is_busy or self._is_syncing or self._log.has_unsynced):
            self.synced = max(self.synced, self.written)
            self._synced_at = self._loop.time()
        self._facts.delayed_syncs += sync_s > SYNC_INTERVAL_S

    def _go_on(self, released: int = 0) -> None:
        """Start a batch of what has gathered, or see to it that one starts later."""
        policy = self._state.config.appendfsync
        if self._besides and not self._is_syncing:
            self._start_beside()
        elif policy == "everysec" and not self._is_syncing and self._log.has_unsynced:
            self._sync_when_due()
        if self._backlog.has_orders:
            self._start()
        elif policy == "always":
            self._group.expect(released, self._backlog.clients, time.perf_counter() - self._started_at)
            if self._backlog:
                self._start_group()
        elif self._backlog:
            self._start()

    def _fail(self, reason: str) -> None:
        """Drop the records that wait for the disk: their data will be in the snapshot with which the journal goes on.

        If a cut that heals this failure waits already, the records behind that are kept.
        """
        kept, is_healed = self._backlog.fail()
        self._facts.queued_bytes = self._backlog.byte_count
        if not is_healed:
            self.on_failure(reason)
        dropped = self.sequence - kept
        if self.synced < dropped:
            self.on_lost()
            self.synced = dropped
        self.written = max(self.written, dropped)

    def _sync_when_due(self) -> None:
        """Sync beside the batches, now or a second after the last sync. The caller sees to it that no batch is under way."""
        due_at = self._synced_at + SYNC_INTERVAL_S
        if self._loop.time() >= due_at:
            self._sync_beside()
        elif not self._sync_timer:
            self._sync_timer = self._loop.call_at(due_at, self._sync_now)

    def _sync_now(self) -> None:
        self._sync_timer = None
        # The sync is due, however early the timer has come.
        self._synced_at = self._loop.time() - SYNC_INTERVAL_S
        if not (self._is_busy or self._is_syncing) and self._log.has_unsynced:
            self._sync_beside()

    def beside(self, carry_out: Callable[[], object]) -> asyncio.Future[None]:
        """Have something done on the sync's thread, beside the batches of records. Orders in the queue wait for its end."""
        order = Order(carry_out, self._loop.create_future())
        order.done.add_done_callback(_retrieve)
        self._besides.append(order)
        if not self._is_busy:
            self._go_on()
        return order.done

    def _start_beside(self) -> None:
        self._is_syncing = True
        order = self._besides.popleft()

        def carry_out() -> None:
            try:
                order.carry_out()
            except MediumError as error:
                order.error = error

        self._sync_disk.run(carry_out).add_done_callback(lambda done: self._on_beside(done, order))

    def _on_beside(self, done: asyncio.Future[None], order: Order) -> None:
        done.result()
        facts, log = self._facts, self._log
        self._is_syncing = False
        facts.segment_bytes, facts.segments = log.needed_bytes, log.needed_count
        self._settle(0.0)
        order.settle()
        self.on_safe()
        if not self._is_busy:
            self._go_on()

    def _sync_beside(self) -> None:
        self._is_syncing = True
        self._synced_at = self._loop.time()
        written = self.written
        future = self._sync_disk.run(self._sync_log)
        future.add_done_callback(lambda done: self._on_synced_beside(done.result(), written))

    def _on_synced_beside(self, sync_s: float, written: int) -> None:
        self._is_syncing = False
        if not self._log.failure:
            self.synced = max(self.synced, written)
        self._settle(sync_s)
        self.on_safe()
        if not self._is_busy:
            self._go_on()


def _retrieve(done: asyncio.Future[None]) -> None:
    """Retrieve the failure of an order, which `log.failure` keeps: asyncio reports one that nobody retrieves."""
    if not done.cancelled():
        done.exception()
