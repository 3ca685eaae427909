"""The data of a server in a folder, or in memory: its journal, its snapshots, and how a start brings it back."""

from __future__ import annotations

from collections.abc import Callable

from kvserver.data.databases import Databases
from kvserver.dispatch.table import CommandTable
from kvserver.media.archive import Archive
from kvserver.media.medium import Place
from kvserver.options.config import Config
from kvserver.persistence.backup import Backup
from kvserver.persistence.disk import Disk
from kvserver.persistence.history import History
from kvserver.persistence.journal import Journal
from kvserver.persistence.past import PastLoader
from kvserver.persistence.recovery import Recovery
from kvserver.persistence.slices import BesideLoop
from kvserver.persistence.snapshots import Base, Snapshots
from kvserver.state.session import ServerState


class LocalData:
    """The parts that keep data at a place, which is taken."""

    def __init__(self, state: ServerState, table: CommandTable, place: Place, make_disk: Callable[[], Disk] = Disk) -> None:
        # The copies of its snapshots in another place, if there are to be any.
        self.backup: Backup | None = None
        self._state = state
        self._table = table
        self._place = place
        self.disk, self._journal_disk, self._sync_disk = make_disk(), make_disk(), make_disk()
        self.journal = Journal(state, place.log, self._journal_disk, self._sync_disk)
        self.snapshots = Snapshots(state, place.medium, self.disk, self.journal)
        beside_loop = BesideLoop(self._journal_disk, state.counters, state.persistence)
        self._recovery = Recovery(state, table, self.snapshots.frames, place.log, beside_loop)
        # The way back to earlier moments, if they are kept anywhere.
        self.past: PastLoader | None = None
        if place.archive:
            self._attend_history(place.archive, BesideLoop(self.disk, state.counters, state.persistence))

    def _attend_history(self, archive: Archive, workplace: BesideLoop) -> None:
        state = self._state

        def make_state() -> ServerState:
            return ServerState(state.config, Databases(state.now_ms), state.commands, state.now_ms)

        self.snapshots.history = History(state.history, archive, self._place.medium.read, workplace, state.now_ms)
        self.past = PastLoader(archive, make_state, self._table, workplace)

    async def begin(self) -> None:
        """Begin before anybody is served. StartError if the copies of the snapshots can't be kept where they are to be."""
        if self.backup:
            await self.backup.begin()
            self.snapshots.on_flushed = self.backup.wake

    async def load(self) -> None:
        """Bring the data back, and journal what comes. MediumError if the medium can't be read or repaired."""
        config, snapshots = self._state.config, self.snapshots
        if snapshots.history:
            # What a start finds superfluous goes there, too.
            await snapshots.history.keep(config.history)
        recovered = await self._recovery.run()
        await self.journal.take_over(recovered, switch_on=config.appendonly)
        number = recovered.segments[0] if recovered.segments else self.journal.number
        time_ms = self._state.now_ms()
        if snapshots.history and number:
            await snapshots.history.agree(number)
        if recovered.segments and self.past:
            time_ms = await self.past.begin_of(number) or time_ms
        snapshots.base = Base(number if config.appendonly else 0, recovered.digest, time_ms)
        await snapshots.keep_history()
        if self.backup:
            self.backup.wake()

    def tell_address(self, config: Config) -> None:
        """Do nothing: there are no other nodes."""

    async def close(self) -> None:
        """Wait for what is under way, then let go of the place."""
        if self.backup:
            await self.backup.leave()
        await self.snapshots.close()
        await self.journal.close()
        for disk in (self.disk, self._journal_disk, self._sync_disk):
            disk.close()
        self._place.lease.release()

    def halt(self) -> None:
        """Record nothing any more, as if the process had been killed."""
        self.journal.halt()

    def abandon(self) -> None:
        """Let go of the place, behind `halt`: nothing is written any more."""
        for disk in (self.disk, self._journal_disk, self._sync_disk):
            disk.abandon()
        if self.backup:
            self.backup.abandon()
        self._place.close()
