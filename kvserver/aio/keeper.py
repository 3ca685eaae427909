"""Keeper: keeps the data of an aio store by a server's own parts, beside the event loop of the program.

It composes recovery, journal, snapshots and upkeep as `server` does for clients, but serves nobody: its `core`, a store,
changes `databases`, and gives what repeats that to `write`, as to a journal of its own. What waits for the disk runs on the
disk's threads, what is long runs in slices: the loop waits for neither. Work that was begun goes on to its end though whoever
awaits it is cancelled.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final, TypeVar

from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.data.shards import Shard
from kvserver.dispatch.table import CommandTable
from kvserver.engine.upkeep import Upkeep
from kvserver.errors import MediumError, StoreClosed
from kvserver.media.filesystem import FileSystem
from kvserver.media.locate import look_at_folder, open_folder
from kvserver.media.medium import Log, Medium, Place
from kvserver.media.memory import MemoryLog, MemoryMedium
from kvserver.options.config import Config
from kvserver.persistence.disk import Disk
from kvserver.persistence.journal import Journal
from kvserver.persistence.recovery import Recovered, Recovery
from kvserver.persistence.schedule import Schedule
from kvserver.persistence.slices import BesideLoop
from kvserver.persistence.snapshots import Snapshots
from kvserver.persistence.workplace import Pace
from kvserver.resp.request import Request
from kvserver.state.session import ServerState
from kvserver.system import now_ms, random_below

# Expired keys go so often; and so often while nothing is called.
CRON_S: Final = 0.1
REST_S: Final = 1.0
# The schedule is asked so often if the journal needs a snapshot.
SCHEDULE_S: Final = 1.0
# A call in so many lets the loop go round before it begins: else a task that does nothing but call would let nobody else run.
CALLS_A_TURN: Final = 128

T = TypeVar("T")


class Keeper:
    """The data of a store on the running event loop, and what keeps it: `await open()` first, `await close()` at the end.

    `path` is the folder, created where there is none; None keeps frames in memory alone. `config` has the options of a server
    that are meant here: appendonly and appendfsync. `read_only`: the folder may be that of a running server, and is left as
    it is.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        config: Config,
        filesystem: FileSystem | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        self._path = None if path is None else os.path.abspath(os.fspath(path))
        self._filesystem = filesystem
        self.read_only = read_only
        self._config = config
        self.databases = Databases(now_ms)
        self._records = self.databases.records
        self.state = ServerState(config, self.databases, COMMANDS, now_ms, random_below=random_below)
        self._counters, self._facts = self.state.counters, self.state.journal
        self.loop = asyncio.get_running_loop()
        # Those who wait until the record of this number is as safe as the policy asks for, in order.
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        # So often the journal has lost what it had taken.
        self._losses = 0
        # Data is being replaced, which nobody may see; or the journal has more to write than it should.
        self.is_replacing = self._is_paused = False
        # So often it was replaced, or that has begun.
        self.replacements = 0
        self._is_closed = False
        # Something was written since the last frame.
        self.is_changed = False
        self._may_go_on = asyncio.Event()
        # A flush, a load or the end of all holds this.
        self._turn = asyncio.Lock()
        self._cron: asyncio.TimerHandle | None = None
        self._asks_schedule_at = 0.0
        self._calls = 0
        self._adoption: Callable[[], Iterable[None]] = tuple
        self._background: set[asyncio.Task[Any]] = set()

    # Opening and closing

    async def open(self) -> None:
        """Take the folder and load what is there, in slices. MediumLocked if somebody else has it, MediumError if that fails.

        Nothing is held then, nor when the caller is cancelled.
        """
        self._disks = [Disk(), Disk(), Disk()]
        disk, journal_disk, sync_disk = self._disks
        place = await self._take_place(disk)
        log: Log = place.log if place else MemoryLog()
        medium: Medium = place.medium if place else MemoryMedium()
        self._place = place
        self._journal = Journal(self.state, log, journal_disk, sync_disk, loop_may_sync=False)
        courier = self._journal.courier
        courier.on_safe, courier.on_lost = self._on_safe, self._on_lost
        courier.pause, courier.resume = self._pause, self._resume
        self._snapshots = Snapshots(self.state, medium, disk, self._journal)
        self._schedule = Schedule(self.state, self._snapshots)
        self._workplace = BesideLoop(journal_disk, self.state.counters, self.state.persistence)
        table = CommandTable(COMMANDS, self.state.usages)
        self._recovery = Recovery(self.state, table, self._snapshots.frames, log, self._workplace)
        self._upkeep = Upkeep(self.state, self._append, lambda deliveries: None, lambda: None)
        self.state.memory.configure()
        try:
            await self._load()
        except BaseException:
            await to_end(self._release())
            raise
        self._keep_time()

    async def _take_place(self, disk: Disk) -> Place | None:
        path = self._path
        if path is None:
            return None
        open_place = look_at_folder if self.read_only else open_folder

        async def take() -> Place:
            return await disk.run(lambda: open_place(path, self._config.dbfilename, self._filesystem))

        taking = self.loop.create_task(take())

        async def give_back() -> None:
            # The disk's thread may be about to take the folder.
            try:
                place = await taking
                await disk.run(place.close)
            except MediumError:
                pass
            finally:
                disk.close()

        try:
            return await asyncio.shield(taking)
        except BaseException:
            await to_end(give_back())
            raise

    async def _load(self) -> None:
        facts = self.state.persistence
        facts.loading = True
        try:
            await self._recover()
        finally:
            facts.loading = False
        # A server would start all the same, and refuse writes.
        if self._facts.error:
            raise MediumError(self._facts.error)

    async def _recover(self) -> Recovered:
        if self.read_only:
            return await self._recovery.look_until_whole()
        recovered = await self._recovery.run()
        await self._journal.take_over(recovered, switch_on=self._config.appendonly)
        return recovered

    async def adopt_for(self, adopt: Callable[[], Iterable[None]]) -> None:
        """Let a store take notice of the data, in steps, now and whenever it is replaced."""
        self._adoption = adopt
        await self._adopt()

    async def _adopt(self) -> None:
        await self.pace().run(self._adoption())

    async def close(self) -> None:
        """Keep what was written, then let go of the folder, also if that fails: MediumError."""
        self._is_closed = True
        if self._cron:
            self._cron.cancel()
        self._upkeep.end()
        await to_end(self._close())

    async def _close(self) -> None:
        try:
            async with self._turn:
                if self._journal.is_on and not self._facts.error:
                    await self._journal.sync()
                elif self._place and self.is_changed:
                    await self._flush()
        finally:
            await asyncio.gather(*self._background, return_exceptions=True)
            await self._release()

    async def _release(self) -> None:
        try:
            await self._snapshots.close()
            await self._journal.close()
        finally:
            for disk in self._disks:
                disk.close()
            if self._place:
                self._place.lease.release()

    # What the store calls

    def begins_read(self) -> bool:
        """Count a call that reads. Return False if it has to await `until_readable` before."""
        counters = self._counters
        counters.commands_processed += 1
        return not self.is_replacing and counters.commands_processed % CALLS_A_TURN > 0

    def begins_write(self) -> bool:
        """Count a call that writes. Return False if it has to await `until_writable` before."""
        return self.begins_read() and not (self._is_paused or self._facts.error)

    async def until_writable(self) -> None:
        """Wait until a write may run. MediumError while the journal can't take it: a snapshot that succeeds ends that."""
        await asyncio.sleep(0)
        while self._is_paused or self.is_replacing:
            await self._until_changed()
        self._refuse_if_closed()
        if self._facts.error:
            raise MediumError(f"nothing was changed, since the journal can't take it: {self._facts.error}")

    async def until_readable(self) -> None:
        """Wait until the data is there as a whole."""
        await asyncio.sleep(0)
        while self.is_replacing:
            await self._until_changed()
        self._refuse_if_closed()

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise StoreClosed("the store was closed meanwhile")

    async def _until_changed(self) -> None:
        self._may_go_on.clear()
        await self._may_go_on.wait()

    @property
    def records(self) -> bool:
        """True if there is a journal, which has to be given all that is written."""
        return self._config.appendonly

    def write(self, commands: list[Request]) -> None:
        """Give commands that are about to change the data to the journal. MediumError, before that, if it can't take them."""
        losses = self._losses
        self._journal.append(commands, 1)
        if losses != self._losses:
            raise MediumError(f"nothing was changed, since the journal can't take it: {self._facts.error}")

    def settle(self) -> asyncio.Future[None] | None:
        """Return what tells that all that was written is as safe as the policy asks for, or None if it is so already.

        The future raises MediumError if it may be in memory alone.
        """
        journal = self._journal
        if not journal.is_on or journal.safe >= journal.sequence:
            return None
        future: asyncio.Future[None] = self.loop.create_future()
        self._waiting.append((journal.sequence, future))
        return future

    def drain(self, shards: list[Shard]) -> None:
        """Free shards that nobody uses any more, in slices."""
        self._in_background(self._snapshots.discard(shards))

    def pace(self) -> Pace:
        """The pace of something long that begins now."""
        return self._workplace.pace()

    async def flush(self) -> None:
        """Append one frame with the present data, behind one that is being appended. MediumError if that fails."""
        await self._go_on(self._flush_in_turn())

    async def _flush_in_turn(self) -> None:
        async with self._turn:
            await self._flush()

    async def _flush(self) -> None:
        await self._snapshots.wait()
        # The data is cut now.
        flush, self.is_changed = self._schedule.start(), False
        try:
            await self._schedule.finish(flush)
        except BaseException:
            self.is_changed = True
            raise
        finally:
            # The task of a flush that failed holds its error, whose traceback holds what this function does.
            del flush

    async def restore(self) -> bool:
        """Replace the data by what a start would load, or by nothing. Return True if there was anything.

        Where there is a journal that is on, that is all that was written. MediumError, with the data as it was, if the files
        can't be read.
        """
        return await self._go_on(self._restore())

    async def _restore(self) -> bool:
        async with self._turn:
            await self._snapshots.wait()
            if self._journal.is_on:
                await self._journal.sync()
                return bool(self.state.journal.base_bytes or self.state.journal.segment_bytes)
            self.is_replacing = self.state.persistence.loading = True
            self.replacements += 1
            try:
                recovered = await self._recover()
                self._records.take()
                self.is_changed = False
            finally:
                await self._adopt()
                self.is_replacing = self.state.persistence.loading = False
                self._may_go_on.set()
        return bool(recovered.frame or recovered.segments)

    # What the journal calls

    def _on_safe(self) -> None:
        waiting, safe = self._waiting, self._journal.safe
        while waiting and waiting[0][0] <= safe:
            _, future = waiting.popleft()
            if not future.done():
                future.set_result(None)

    def _on_lost(self) -> None:
        self._losses += 1
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(self._lost())

    def _lost(self) -> MediumError:
        return MediumError(f"it is in memory alone, since the journal could not keep it: {self._facts.error}")

    def _pause(self) -> None:
        self._is_paused = True

    def _resume(self) -> None:
        self._is_paused = False
        self._may_go_on.set()

    # Time

    def _keep_time(self) -> None:
        now_s, calls = self.loop.time(), self._counters.commands_processed
        self._cron = self.loop.call_later(REST_S if calls == self._calls else CRON_S, self._keep_time)
        self._calls = calls
        self._upkeep.begin()
        if now_s >= self._asks_schedule_at and self._journal.is_on and not self._turn.locked():
            self._asks_schedule_at = now_s + SCHEDULE_S
            self._schedule.start_if_due()

    def _append(self, commands: list[Request]) -> None:
        self._journal.append(commands)

    def _in_background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self.loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        # asyncio reports a failure that nobody retrieves, and whoever waited may have been cancelled.
        if not task.cancelled():
            task.exception()

    async def _go_on(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that goes on though the caller is cancelled."""
        return await asyncio.shield(self._in_background(work))


async def to_end(work: Coroutine[Any, Any, T]) -> T:
    """Await work; if the caller is cancelled, however often, that is raised when the work has ended."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
