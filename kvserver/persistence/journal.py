"""The journal of a running server: the writes of each tick go to the system, or to the disk's thread, in order.

Owns the order of things: a record never overtakes an earlier one, the log is cut between the two ticks (or halves of one)
between which the data of a snapshot is cut, and a link follows its snapshot. Never runs a command, and knows of no file.

Under `always`, the disk's thread writes and syncs; meanwhile the next batch gathers, so that many clients share a sync. For
few commands, the event loop itself does (`group_commit`). Under `everysec` and `no` a reply waits for the write alone. As in
redis-server the event loop writes, since to copy a few records into the system's memory costs less than to wake a thread.
Records that could wait for the disk go to its thread: long ones, all while a sync runs or something is under way there, and
for a while those that come behind a write of the loop that took long. Under `everysec` syncs have a thread of their own, so
that records go to the system at once, however long a sync takes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from kvserver.errors import MediumError
from kvserver.formats.record import LongPayload, encode_link, encode_pieces, encode_tick, pack
from kvserver.media.medium import Log
from kvserver.persistence.disk import Disk
from kvserver.persistence.group_commit import Group
from kvserver.persistence.recovery import Recovered
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

_log = logging.getLogger("kvserver")


class _Order:
    """A call for the disk's thread, between two batches of records; `done` gets its result or its error.

    `heals`: the call is a cut, behind which an earlier failure counts no more.
    """

    def __init__(self, carry_out: Callable[[], object], done: asyncio.Future[None], *, heals: bool = False) -> None:
        self.carry_out = carry_out
        self.done = done
        self.heals = heals
        self.error: MediumError | None = None

    def settle(self) -> None:
        """Give those who wait for `done` the result, or the error."""
        if not self.done.done():
            if self.error:
                self.done.set_exception(self.error)
            else:
                self.done.set_result(None)


class _Long(NamedTuple):
    """A tick's writes that are long: they become a record on the disk's thread. `time_ms`: when it ran (Unix milliseconds)."""

    payload: bytes | LongPayload
    time_ms: int


class _Ticks:
    """The writes of some ticks in a row, each a record already or a long one."""

    def __init__(self) -> None:
        self.ticks: list[bytes | _Long] = []

    def encode(self) -> list[bytes]:
        """The records in pieces: in one, unless there are long ones."""
        pieces: list[bytes] = []
        short: list[bytes] = []
        for tick in self.ticks:
            if isinstance(tick, bytes):
                short.append(tick)
            else:
                head, *rest = encode_pieces(*tick)
                pieces += (b"".join([*short, head]), *rest)
                short = []
        return [*pieces, b"".join(short)] if short else pieces


def _bytes_of(tick: bytes | _Long) -> int:
    return len(tick) if isinstance(tick, bytes) else len(tick.payload)


def _shared_bytes_of(tick: bytes | _Long) -> int:
    """The bytes of a tick that wait in no memory of their own."""
    return len(tick.payload) if isinstance(tick, _Long) and isinstance(tick.payload, LongPayload) else 0


# Bytes in it are the end of a record.
_Batch = deque[_Ticks | bytes | _Order]


class Journal:
    """The journal: records writes while `is_on`.

    `sequence` is the number of the last record, `written` that of the last one that the system has been given, so that a kill
    does not lose it, and `synced` that of the last one that is durable.
    """

    # `engine.jobs` assigns these four before the first record. The first is called when `safe` may have grown.
    on_safe: Callable[[], None]
    # This is called when the records behind `synced` may never be durable.
    on_lost: Callable[[], None]
    # The journal pauses the writer when the disk can't keep up, and lets it go on later.
    pause: Callable[[], None]
    resume: Callable[[], None]

    def __init__(self, state: ServerState, log: Log, disk: Disk, sync_disk: Disk) -> None:
        self.is_on = False
        self.sequence = self.written = self.synced = 0
        self._state = state
        self._facts = state.journal
        self._log = log
        self._disk = disk
        self._sync_disk = sync_disk
        self._loop = asyncio.get_running_loop()
        # The number of the newest segment; its cut may still be on its way to the disk.
        self._number = 0
        # The number of the newest segment that a cut has begun, and of the last record before it.
        self._cut_at = 0, 0
        # The number of the last record before the snapshot that the newest link names.
        self._linked_at = 0
        # The next cut heals a failure, although writes were not refused.
        self._heals = False
        self._queue: _Batch = deque()
        self._queued_commands = 0
        # The bytes of long payloads among what is queued, and among what the disk's thread has.
        self._long_queued_bytes = 0
        self._long_writing_bytes = 0
        self._group = Group()
        # The time, by time.perf_counter, when the batch that is under way was started.
        self._started_at = 0.0
        # A batch is under way on the disk's thread.
        self._is_busy = False
        # The orders that wait for the sync's thread, which does them beside the batches.
        self._besides: deque[_Order] = deque()
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

    # What the writer calls

    def append(self, commands: list[Request]) -> None:
        """Record what one tick wrote."""
        if not self.is_on:
            return
        facts = self._facts
        self.sequence += 1
        if facts.error:
            # Nothing is promised until a snapshot has been linked.
            self.written = self.synced = self.sequence
            return
        now_ms = self._state.now_ms()
        tick = encode_tick(commands, now_ms) or _Long(pack(commands), now_ms)
        must_sync = self._state.config.appendfsync == "always"
        is_for_loop = self._group.is_for_loop(len(commands)) if must_sync else not self._is_resting
        if is_for_loop and isinstance(tick, bytes) and not (self._queue or self._is_busy or self._is_syncing):
            self._write_here(tick, must_sync)
            return
        last = self._queue[-1] if self._queue else None
        if not isinstance(last, _Ticks):
            last = _Ticks()
            self._queue.append(last)
        last.ticks.append(tick)
        facts.queued_bytes += _bytes_of(tick)
        self._long_queued_bytes += _shared_bytes_of(tick)
        self._queued_commands += len(commands)
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
        facts, long_bytes = self._facts, self._long_queued_bytes + self._long_writing_bytes
        short_bytes = facts.queued_bytes + facts.writing_bytes - long_bytes
        return short_bytes > PENDING_BYTES // share or long_bytes > LONG_PENDING_BYTES // share

    def _write_here(self, frame: bytes, must_sync: bool) -> None:
        """Write a record that has nothing before it on the way to the disk. The thread gets what can't be written at once."""
        facts, log = self._facts, self._log
        started_at = time.perf_counter()
        try:
            if must_sync:
                log.write(frame, synced=True)
                length = len(frame)
            else:
                length = log.write_now(frame)
        except MediumError as error:
            self._fail(str(error))
            return
        took_s = time.perf_counter() - started_at
        if must_sync:
            facts.syncs += 1
            facts.delayed_syncs += took_s > SYNC_INTERVAL_S
            self._group.note(took_s)
            self.synced = self.sequence
        elif took_s > SLOW_WRITE_S:
            self._is_resting = True
            self._loop.call_later(REST_AFTER_SLOW * took_s, self._end_rest)
        if length < len(frame):
            self._queue.append(frame[length:])
            facts.queued_bytes += len(frame) - length
            self._start()
            return
        self.written = self.sequence
        facts.segment_bytes = log.needed_bytes
        if not self._sync_timer and self._state.config.appendfsync == "everysec":
            self._sync_when_due()

    def _end_rest(self) -> None:
        self._is_resting = False

    @property
    def records_since_link(self) -> int:
        """The number of records that are newer than the snapshot that a start would load."""
        return self.sequence - self._linked_at

    # What snapshots call

    def cut(self) -> int:
        """Begin a new segment: what the keyspace has not handed out yet goes to the old one. Return the token for `link`."""
        written = self._state.databases.records.take()
        # If this cut heals, what was written is in the snapshot that follows, and the old segment may not take it.
        if written and not self._heals:
            self.append(written)
        if not self.is_on:
            return self._number + 1
        self._number += 1
        number = self._number
        self._cut_at = number, self.sequence
        # Only a failure that we know of made the writer refuse writes before this moment: the snapshot has all others.
        heals, self._heals = self._heals or bool(self._facts.error), False
        self._order(lambda: self._log.cut(number, heals=heals), heals=heals)
        return number

    async def link(self, token: int, digest: str, base_bytes: int, *, drops: bool = False) -> bool:
        """Go on from the snapshot with this digest, of so many bytes, which `cut` gave the token for. MediumError if it fails.

        `drops`: the snapshot is an earlier one, and what was recorded since is put aside. Return False if the newest segment
        goes on from something later already, a RESTORE.
        """
        if token < self._number:
            return False
        log, frame, is_on = self._log, encode_link(digest, self._state.now_ms()), self.is_on
        names: list[str] = []

        def drop() -> None:
            names.extend(log.drop_before(token, keeps_aside=drops))

        def go_on() -> None:
            if is_on or log.number == token:
                log.write(frame, synced=True)
                drop()
            elif log.needed_count:
                names.extend(log.end(token, frame, keeps_aside=drops))

        def go_on_beside() -> None:
            log.sync_all()
            drop()

        was_failed = bool(self._facts.error)
        self._number = token
        if is_on and self._state.config.appendfsync != "always":
            # The link alone stands between records: nobody's reply waits until it is durable and what it replaces is gone.
            await self._order(lambda: log.write(frame))
            await self._beside(go_on_beside)
        else:
            await self._order(go_on)
        if not drops:
            await self._beside(log.age_asides)
        if names:
            _log.warning("put aside until the next snapshot but one: %s", ", ".join(names))
        self._linked_at = self._cut_at[1] if self._cut_at[0] == token else self.sequence
        self._facts.base_bytes = base_bytes
        if was_failed and self._facts.error:
            _log.info("the journal goes on in a new segment")
            self._facts.error = ""
        self._prepare()
        return True

    # Starting, switching, stopping

    async def take_over(self, recovered: Recovered, *, switch_on: bool) -> None:
        """Go on behind what a start has recovered, recording or not."""
        self._linked_at = self.sequence - recovered.records
        if switch_on:
            await self.begin(self._log.last_number + 1, None if recovered.segments else recovered.digest)
            # The oldest records do not give the same data at each start, which exact records behind them rely on.
            self._facts.rewrite_scheduled = recovered.is_inexact
            return
        self.rest(self._log.last_number)
        if recovered.segments:
            _log.warning("appendonly is no, but there was a journal: it was replayed, and goes with the next snapshot")

    async def begin(self, number: int, digest: str | None) -> None:
        """Record from now on, in a segment of this number. `digest` is that of the snapshot to link it to, or None.

        If that fails, the server starts all the same: then writes are refused until a snapshot succeeds.
        """
        self._number = number
        self.is_on = self._facts.enabled = True
        with suppress(MediumError):
            await self._order(lambda: self._log.cut(number))
            if digest is not None:
                frame = encode_link(digest, self._state.now_ms())
                await self._order(lambda: self._log.link(frame))
            self._prepare()

    def rest(self, number: int) -> None:
        """Record nothing, knowing that segments up to this one may be there."""
        self._number = number

    def switch_on(self) -> None:
        """Record from the next `cut` on, which has to follow at once."""
        # One number is left out: if the link is never written, a start stops at the gap and replays nothing without its base.
        self._number += 1
        self._heals = True
        self.is_on = self._facts.enabled = True

    def switch_off(self, *, give_up: bool = False) -> None:
        """Record nothing more. The segments stay until the next snapshot. `give_up`: the newest was never linked, and goes."""
        self.is_on = self._facts.enabled = False
        number = self._number
        self._order((lambda: self._log.drop(number)) if give_up else self._log.sync)
        if self._facts.error:
            self._facts.error = ""

    async def sync(self) -> None:
        """Make durable all that was recorded so far. MediumError if that fails, or the journal has failed before."""
        if self.is_on:
            if self._facts.error:
                raise MediumError(self._facts.error)
            await self._order(self._log.sync)

    def sync_soon(self) -> None:
        """Sync without waiting for a new write: the policy has changed."""
        self._order(self._log.sync)

    async def close(self) -> None:
        """Let go of the log, when all that is under way has ended."""
        self.is_on = False
        for timer in (self._sync_timer, self._start_timer):
            if timer:
                timer.cancel()
        await self._order(self._log.close)

    # The way to the disk and back

    def _order(self, carry_out: Callable[[], object], *, heals: bool = False) -> asyncio.Future[None]:
        order = _Order(carry_out, self._loop.create_future(), heals=heals)
        order.done.add_done_callback(_retrieve)
        self._queue.append(order)
        if not self._is_busy:
            self._start()
        return order.done

    def _start_later(self, delay_s: float) -> None:
        if not self._start_timer:
            self._start_timer = self._loop.call_later(delay_s, self._start_if_idle)

    def _start_group(self) -> None:
        """Start a batch under `always`: now, if what is queued is worth a sync, else when it is or has waited long enough."""
        if self._group.is_enough(self._queued_commands):
            self._start()
        else:
            self._start_later(self._group.wait_s)

    def _start_if_idle(self) -> None:
        self._start_timer = None
        if not self._is_busy:
            if not self._group.is_enough(self._queued_commands):
                self._group.give_up()
            self._start()

    def _start(self) -> None:
        # An order may close the file, or need the spare: it waits for the sync's thread, whose end starts the batch.
        if self._is_syncing and any(isinstance(item, _Order) for item in self._queue):
            return
        if self._start_timer:
            self._start_timer.cancel()
            self._start_timer = None
        facts, batch, sequence, commands = self._facts, self._queue, self.sequence, self._queued_commands
        self._queue, self._queued_commands = deque(), 0
        facts.writing_bytes, facts.queued_bytes = facts.queued_bytes, 0
        self._long_writing_bytes, self._long_queued_bytes = self._long_queued_bytes, 0
        self._is_busy = True
        self._started_at = time.perf_counter()
        must_sync = self._state.config.appendfsync == "always"
        future = self._disk.run(lambda: self._carry_out(batch, must_sync))
        future.add_done_callback(lambda done: self._on_done(done.result(), batch, sequence, commands))

    def _carry_out(self, batch: _Batch, must_sync: bool) -> float:
        """Write and sync a batch, on the disk's thread. Return the seconds that it took, or 0 if it did not have to sync."""
        log = self._log
        started_at = time.perf_counter()
        for item in batch:
            try:
                if isinstance(item, _Order):
                    item.carry_out()
                else:
                    *pieces, last = [item] if isinstance(item, bytes) else item.encode()
                    for piece in pieces:
                        log.write(piece)
                    log.write(last, synced=must_sync)
                    self._facts.syncs += must_sync
            except MediumError as error:
                if isinstance(item, _Order):
                    item.error = error
        return time.perf_counter() - started_at if must_sync else 0.0

    def _sync_log(self) -> float:
        """Sync what is written, on the sync's thread. Return the seconds that it took."""
        started_at = time.perf_counter()
        # `log.failure` keeps the error.
        with suppress(MediumError):
            self._facts.syncs += self._log.sync()
        return time.perf_counter() - started_at

    def _on_done(self, sync_s: float, batch: _Batch, sequence: int, commands: int) -> None:
        facts, log = self._facts, self._log
        self._is_busy = False
        facts.writing_bytes = self._long_writing_bytes = 0
        facts.segment_bytes, facts.segments = log.needed_bytes, log.needed_count
        if not log.failure:
            self.written = max(self.written, sequence)
        if commands and sync_s:
            self._group.note(sync_s)
        self._settle(sync_s)
        for item in batch:
            if isinstance(item, _Order):
                item.settle()
        if self._is_pausing and not self._is_behind(2):
            self._is_pausing = False
            self.resume()
        # Replies leave before the next batch starts: its thread would fight with their sending for the interpreter's lock.
        self.on_safe()
        if not self._is_busy:
            self._go_on(commands)

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
        if any(isinstance(item, _Order) for item in self._queue):
            self._start()
        elif policy == "always":
            self._group.expect(released, self._queued_commands, time.perf_counter() - self._started_at)
            if self._queue:
                self._start_group()
        elif self._queue:
            self._start()

    def _fail(self, reason: str) -> None:
        """Drop the records that wait for the disk: their data will be in the snapshot with which the journal goes on.

        If a cut that heals this failure waits already, the records behind that are kept.
        """
        facts, items = self._facts, list(self._queue)
        begun = next((index for index, item in enumerate(items) if isinstance(item, _Order) and item.heals), len(items))
        kept = [tick for item in items[begun:] if isinstance(item, _Ticks) for tick in item.ticks]
        self._queue = deque([*(item for item in items[:begun] if isinstance(item, _Order)), *items[begun:]])
        facts.queued_bytes, self._queued_commands = sum(map(_bytes_of, kept)), len(kept)
        self._long_queued_bytes = sum(map(_shared_bytes_of, kept))
        is_final = self.is_on and begun == len(items)
        is_news = is_final and not facts.error
        if is_final:
            facts.error = reason
        dropped = self.sequence - len(kept)
        if self.synced < dropped:
            self.on_lost()
            self.synced = dropped
        self.written = max(self.written, dropped)
        if is_news:
            _log.error("the journal failed; no write is taken until a snapshot succeeds: %s", reason)

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

    def _prepare(self) -> None:
        """Have the next segment prepared, so that at the next cut nobody's reply has to wait for that."""
        if self.is_on:
            self._beside(self._log.prepare)

    def _beside(self, carry_out: Callable[[], object]) -> asyncio.Future[None]:
        """Have something done on the sync's thread, beside the batches of records. Orders in the queue wait for its end."""
        order = _Order(carry_out, self._loop.create_future())
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

    def _on_beside(self, done: asyncio.Future[None], order: _Order) -> None:
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
