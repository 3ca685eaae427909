"""The way of the records to a shared log: gathered into entries, sent by threads, and acknowledged in order.

As the local journal's courier it takes the records of each tick and tells when they are safe, but an entry is durable when it
is acknowledged: there is no sync. While entries are on their way, the next records gather. Where an engine takes one append at
a time, a thread makes entries of what has gathered; where it takes several, each has a thread, and what is safe is what all
entries before have been acknowledged for. An outcome that is open is settled by that thread (`media.settling`). After a
refusal nothing is sent any more: another node writes. Knows nothing of snapshots, nor of who leads.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from kvserver.errors import ChainBroken, EntryTooLong, MediumError, Refused
from kvserver.failover.driving import drive
from kvserver.failover.latencies import Latencies
from kvserver.failover.lease import Lease
from kvserver.failover.parcel import Parcel, cut
from kvserver.formats.manifest import Position
from kvserver.formats.record import SHORT_RECORD_BYTES, encode_tick, pack
from kvserver.media.settling import Outcomes, Steps, settled
from kvserver.media.shared import PromptLog, SharedLog, Tip
from kvserver.persistence.backlog import Long
from kvserver.persistence.disk import Disk
from kvserver.persistence.group_commit import Group
from kvserver.resp.request import Request
from kvserver.state.session import ServerState

# When more waits for the engine, the writer pauses, or while the engine is away, writes are refused.
PENDING_BYTES: Final = 8 << 20
# An entry up to this length is made by the event loop itself, where an engine needs no thread that waits.
PROMPT_BYTES: Final = 1 << 16
AWAY: Final = "the engine does not answer, and more than 8 MB wait for it"
# The number of no record: what waits for it never leaves.
NEVER: Final = sys.maxsize
NOT_WRITING: Final = "this node does not write any more"

_log = logging.getLogger("kvserver")


class Sender:
    """The sender of the node that writes, from `begin` on.

    `sequence` is the number of the last record, `synced` that of the last one that the engine has acknowledged, and `tip` the
    end of the log there.
    """

    # As those of the local journal's courier: `engine.jobs` assigns these.
    on_safe: Callable[[], None]
    on_lost: Callable[[], None]
    pause: Callable[[], None]
    resume: Callable[[], None]
    # This is called once, when an entry was refused: another node writes.
    on_refused: Callable[[str], None]

    def __init__(
        self,
        state: ServerState,
        log: SharedLog,
        lease: Lease,
        outcomes: Outcomes,
        make_disk: Callable[[], Disk] = Disk,
    ) -> None:
        self.sequence = self.synced = 0
        self.tip = Tip()
        self.epoch = 0
        self.latencies = Latencies(lease.clock)
        # The bytes of all records that were taken, and their number.
        self.taken_bytes = self.taken_records = 0
        self._state = state
        self._facts = state.journal
        self._log = log
        self._prompt = log if isinstance(log, PromptLog) else None
        self._lease = lease
        self._outcomes = outcomes
        self._loop = asyncio.get_running_loop()
        self._disks = [make_disk() for _ in range(log.most_in_flight)]
        self._idle = list(self._disks)
        self._queue: deque[Parcel] = deque()
        self._in_flight: deque[Parcel] = deque()
        # The end of the log behind what is in flight, where that is known before it is acknowledged.
        self._next_tip = Tip()
        # What is in flight is to arrive before anything else leaves.
        self._is_exclusive = False
        self._group = Group(loop_may_sync=False)
        self._start_timer: asyncio.TimerHandle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        self._started_at = 0.0
        self._is_pausing = False
        # The log was told that replies are held.
        self._has_told = False
        # The number of the last record, control frame or fence that has left.
        self._left = 0
        self._has_begun = False
        # The last word of this node is on its way: nothing may stand behind it.
        self._has_ended = False
        self._is_over = False
        # The number of the last entry that is no heartbeat, or of the one behind which this node writes.
        self._last_written = 0

    # The local journal's interface

    @property
    def safe(self) -> int:
        """The number of the last record up to which replies may leave; -1: none may, since nobody knows who writes."""
        if not self._lease.is_held:
            return -1
        config = self._state.config
        # A fence that nobody waits for is none.
        return self.synced if config.appendfsync == "always" or config.read_fence else self.sequence

    def cover(self) -> int:
        """The number of the record that has to be safe before what clients have read by now may leave.

        With `read-fence` it stands in an entry that leaves from now on: then this node was the one that writes. Behind this
        node's last word it is NEVER: what a script writes that goes on is in no log, and what it reads may be out of date.
        """
        if self._has_ended:
            return NEVER
        if self._state.config.read_fence and self._has_begun and self.sequence == self._left:
            self.sequence += 1
            self._put(self._open_parcel())
        return self.sequence

    def take(self, commands: list[Request], clients: int) -> None:
        """Take what one tick wrote, for which so many clients wait at most. Behind this node's last word it is dropped."""
        if self._has_ended:
            return
        self.sequence += 1
        now_ms = self._state.now_ms()
        tick = encode_tick(commands, now_ms) or Long(pack(commands), now_ms)
        waiting = min(clients, len(commands))
        self._group.arrive(waiting)
        parcel = self._open_parcel()
        before = parcel.byte_count
        parcel.add(tick, self.sequence, waiting)
        self.taken_bytes += parcel.byte_count - before
        self.taken_records += 1
        self._put(parcel)

    # Leading

    def begin(self, tip: Tip, epoch: int, sent_at: float) -> None:
        """Send from now on, in this epoch, behind this end of the log, which is that of an entry sent at this time."""
        self.tip = self._next_tip = tip
        self.epoch, self._last_written = epoch, tip.number
        self._has_begun = True
        self._started_at = sent_at
        self._lease.extend(sent_at)
        self._beat()

    def send_control(self, frame: bytes) -> asyncio.Future[Tip]:
        """Send a control frame behind all that was taken so far. The future gives the end of the log behind it.

        MediumError behind this node's last word, and behind `halt`.
        """
        if self._has_ended or self._is_over:
            raise MediumError(NOT_WRITING)
        self._seal()
        self.sequence += 1
        parcel = Parcel(self.sequence)
        parcel.control, parcel.byte_count, parcel.is_sealed = frame, len(frame), True
        parcel.waiters.append(done := self._loop.create_future())
        self._put(parcel, in_queue=False)
        return done

    def end(self, frame: bytes) -> asyncio.Future[Tip]:
        """Send this control frame as this node's last word, unless that was done before. The future is done behind it."""
        done = self.cut() if self._has_ended else self.send_control(frame)
        self._has_ended = True
        return done

    def cut(self) -> asyncio.Future[Tip]:
        """Let no entry have records from before and from behind this moment. The future gives the end of the log there."""
        done: asyncio.Future[Tip] = self._loop.create_future()
        if self._is_over:
            done.cancel()
            return done
        self._seal()
        if last := self._queue or self._in_flight:
            last[-1].waiters.append(done)
        else:
            done.set_result(self.tip)
        return done

    @property
    def lease_s(self) -> float:
        """The lease in seconds."""
        return self._lease.lease_s

    @property
    def pending_bytes(self) -> int:
        """The bytes that wait for the engine, in flight or not."""
        return sum(parcel.byte_count for parcel in (*self._queue, *self._in_flight))

    @property
    def written(self) -> int:
        """A number of an entry, there or to come, up to which everything stands that was taken so far. No heartbeat."""
        if not self.pending_bytes:
            return self._last_written
        most = self._log.max_append_bytes
        return self.tip.number + sum(
            1 + parcel.byte_count // most + (0 if parcel.is_short else 2 * len(parcel.ticks.ticks))
            for parcel in (*self._queue, *self._in_flight)
        )

    def halt(self) -> None:
        """Send nothing any more. What is in flight may arrive; nobody is told, and all futures are cancelled."""
        self._is_over = True
        self._lease.end()
        for timer in (self._start_timer, self._beat_timer):
            if timer:
                timer.cancel()
        for parcel in (*self._queue, *self._in_flight):
            for waiter in parcel.waiters:
                waiter.cancel()
        self._queue.clear()
        self._in_flight.clear()

    def close(self) -> None:
        """Let go, behind `halt`. Calls that are running end soon."""
        for disk in self._disks:
            disk.forget()

    # Sending

    def _open_parcel(self) -> Parcel:
        """The parcel that gathers, a new one if there is none; the queue has it when it is `_put` there."""
        if self._queue and not self._queue[-1].is_sealed:
            self._queue[-1].sequence = self.sequence
            return self._queue[-1]
        return Parcel(self.sequence)

    def _seal(self) -> None:
        if self._queue:
            self._queue[-1].is_sealed = True

    def _put(self, parcel: Parcel, *, in_queue: bool = True) -> None:
        if not (in_queue and self._queue and self._queue[-1] is parcel):
            self._queue.append(parcel)
        if self._is_over:
            self._queue.clear()
            return
        if self._state.config.read_fence:
            # What runs in the same tick, behind this, is read before it leaves: so it is fence enough.
            self._loop.call_soon(self._start_when_worth_it)
        else:
            self._start_when_worth_it()
        self._look_at_pressure()

    def _start_when_worth_it(self) -> None:
        """Start parcels, as far as the engine takes more: now, if what waits is worth an entry, else a moment later."""
        while self._queue and self._has_room():
            parcel = self._queue[0]
            is_worth_it = (
                parcel.is_sealed or self._state.config.appendfsync != "always" or self._group.is_enough(parcel.clients)
            )
            if not is_worth_it:
                if not self._start_timer:
                    self._start_timer = self._loop.call_later(self._group.wait_s, self._start_late)
                return
            self._start()

    def _start_late(self) -> None:
        self._start_timer = None
        if self._queue and self._has_room():
            if not self._group.is_enough(self._queue[0].clients):
                self._group.give_up()
            self._start()
            self._start_when_worth_it()

    def _has_room(self) -> bool:
        if not self._has_begun or self._is_over or self._is_exclusive or not self._idle:
            return False
        return not self._in_flight or self._is_plain(self._queue[0])

    def _is_plain(self, parcel: Parcel) -> bool:
        """True if a parcel is one entry, made here, which may be in flight beside others."""
        most_bytes = min(self._log.max_append_bytes, SHORT_RECORD_BYTES)
        return self._log.most_in_flight > 1 and parcel.is_short and parcel.byte_count <= most_bytes

    def _start(self) -> None:
        if self._start_timer:
            self._start_timer.cancel()
            self._start_timer = None
        parcel = self._queue.popleft()
        self._left = parcel.sequence
        parcel.is_sealed = True
        self._in_flight.append(parcel)
        disk = self._idle.pop()
        self._started_at = self._lease.clock()
        tip = self._next_tip
        if self._is_plain(parcel):
            data = b"".join(parcel.pieces())
            mark = tip.mark(self.epoch)
            self._next_tip = tip.behind(tip.position._replace(epoch=self.epoch, number=tip.position.number + 1), mark, data)
            steps = self._append(data, tip, self._started_at)
        else:
            self._is_exclusive = True
            if self._prompt and parcel.is_short and parcel.byte_count <= min(self._log.max_append_bytes, PROMPT_BYTES):
                self._begin_append(self._prompt, parcel, tip, disk)
                return
            steps = self._append_all(parcel.pieces, tip)
        drive(disk, steps).add_done_callback(partial(self._on_done, parcel, disk))

    def _begin_append(self, log: PromptLog, parcel: Parcel, tip: Tip, disk: Disk) -> None:
        """Begin to append a short parcel, without a thread that waits for it."""
        data = b"".join(parcel.pieces())
        mark, sent_at = tip.mark(self.epoch), self._lease.clock()

        def on_end(result: Position | MediumError) -> None:
            if self._is_over:
                return
            if isinstance(result, MediumError):
                # What is open is settled by a thread, which may wait.
                steps = self._append(data, tip, sent_at, result)
                drive(disk, steps).add_done_callback(partial(self._on_done, parcel, disk))
                return
            self.latencies.note(self._lease.clock() - sent_at)
            self._on_appended(parcel, disk, tip.behind(result, mark, data), sent_at)

        def done(result: Position | MediumError) -> None:
            # RuntimeError: the loop is closed, so nobody waits.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(on_end, result)

        log.begin_append(data, mark, tip.position, done)

    def _append_all(self, pieces: Callable[[], list[bytes]], tip: Tip) -> Steps[tuple[Tip, float]]:
        """Make entries of pieces and append each. Return the end behind the last, and when that was first sent.

        Each extends the lease: a long record may take longer than that.
        """
        sent_at = 0.0
        for data in cut(pieces(), self._log.max_append_bytes):
            tip, sent_at = yield from self._append(data, tip, self._lease.clock())
            self._lease.extend(sent_at)
        return tip, sent_at

    def _append(self, data: bytes, tip: Tip, sent_at: float, first: MediumError | None = None) -> Steps[tuple[Tip, float]]:
        """Append an entry behind this end, or several where the engine takes less by now. Return as `_append_all` does.

        `first` is what became of an append of it that was begun at this time.
        """
        mark = tip.mark(self.epoch)
        try:
            position = yield from settled(self._log, data, mark, tip.position, self._outcomes, first)
        except EntryTooLong:
            return (yield from self._append_all(lambda: [data], tip))
        self.latencies.note(self._lease.clock() - sent_at)
        return tip.behind(position, mark, data), sent_at

    def _on_done(self, parcel: Parcel, disk: Disk, done: asyncio.Future[tuple[Tip, float]]) -> None:
        if self._is_over or done.cancelled():
            return
        try:
            tip, sent_at = done.result()
        except Refused as refused:
            self._state.replication.engine.refused += 1
            self.on_refused(str(refused))
            return
        except ChainBroken as broken:
            _log.error("the log is broken: %s", broken)
            self.on_refused(str(broken))
            return
        except Exception as error:
            # Nobody knows what has become of the entry, nor ever will.
            _log.error("an append failed in a way that nobody knows", exc_info=error)
            self.on_refused(str(error))
            return
        self._on_appended(parcel, disk, tip, sent_at)

    def _on_appended(self, parcel: Parcel, disk: Disk, tip: Tip, sent_at: float) -> None:
        parcel.tip, parcel.sent_at, parcel.is_acknowledged = tip, sent_at, True
        self._state.replication.engine.appended += 1
        self._idle.append(disk)
        if self._is_exclusive:
            self._is_exclusive = False
            self._next_tip = parcel.tip
        released = 0
        while self._in_flight and self._in_flight[0].is_acknowledged:
            first = self._in_flight.popleft()
            self.synced, self.tip = first.sequence, first.tip
            self._state.replication.applied = first.tip.number
            if first.byte_count:
                self._last_written = first.tip.number
            self._lease.extend(first.sent_at)
            released += first.clients
            for waiter in first.waiters:
                if not waiter.done():
                    waiter.set_result(first.tip)
        took_s = self._lease.clock() - parcel.sent_at
        if released:
            self._group.note(took_s)
        self._look_at_pressure()
        # Replies leave before the next entry starts: its thread would fight with their sending for the interpreter's lock.
        self.on_safe()
        self._state.replication.on_progress()
        if not self._is_over:
            self._group.expect(released, self._queue[0].clients if self._queue else 0, took_s)
            self._start_when_worth_it()

    # The engine's pace

    def _beat(self) -> None:
        """Let the engine hear of this node at least so often, and see to it that nobody waits for an engine that is away."""
        self._beat_timer = self._loop.call_later(self._lease.beat_s / 2, self._beat)
        is_idle = not (self._queue or self._in_flight or self._has_ended)
        if is_idle and self._lease.clock() - self._started_at >= self._lease.beat_s / 2:
            parcel = Parcel(self.sequence)
            parcel.is_sealed = True
            self._put(parcel)
        self._look_at_pressure()
        self._tell_of_lease()
        if self._is_exclusive and self._lease.is_held:
            # What is safe may leave, though the lease had lapsed before a part of a long record has extended it.
            self.on_safe()

    def _tell_of_lease(self) -> None:
        """Log once that replies are held, and once that they leave again."""
        holds_replies = not self._lease.is_held
        if holds_replies and not self._has_told:
            reason = self._outcomes.error or "nothing was heard of it"
            _log.warning("replies wait for the engine, since the lease has lapsed: %s", reason)
        elif self._has_told and not holds_replies:
            _log.warning("the engine answers again, and replies leave")
        self._has_told = holds_replies

    def _look_at_pressure(self) -> None:
        """Pause the writer while too much waits for an engine that answers; refuse writes while it does not."""
        facts, waiting = self._facts, self.pending_bytes
        facts.queued_bytes = waiting
        is_away = not self._lease.is_held
        if waiting > PENDING_BYTES and is_away:
            facts.error = AWAY
        elif facts.error and (waiting <= PENDING_BYTES // 2 or not is_away):
            facts.error = ""
        must_pause = not is_away and waiting > (PENDING_BYTES // 2 if self._is_pausing else PENDING_BYTES)
        if must_pause and not self._is_pausing:
            self._is_pausing = True
            facts.delayed_writes += 1
            self.pause()
        elif self._is_pausing and not must_pause:
            self._is_pausing = False
            self.resume()
