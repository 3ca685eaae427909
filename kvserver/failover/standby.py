"""A node that follows: it loads the newest snapshot, then does what each entry of the log says, until it leads itself.

Records run whole, since clients read between them, and the data stands while a client's script stands aside. Nothing here
writes: `leadership` reads the log and says when. What is due stays until the log says that it went.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from kvserver.data.shards import Shard, drain
from kvserver.dispatch.table import CommandTable
from kvserver.errors import ChainBroken, MediumError, Trimmed
from kvserver.failover.entries import Entries, Whole
from kvserver.failover.growth import Growth
from kvserver.formats.control import Relink
from kvserver.formats.record import EMPTY_STORE
from kvserver.formats.scan import Hasher
from kvserver.formats.segment import RecordInvalid, Steps, T, read_records, scan_segment
from kvserver.media.shared import Entry, Tip
from kvserver.media.vault_medium import VaultMedium
from kvserver.persistence.frames import Frames
from kvserver.persistence.replay import Replay
from kvserver.persistence.workplace import Workplace
from kvserver.state.session import ServerState

# A longer piece is hashed beside the event loop.
SHORT_PIECE_BYTES: Final = 1 << 16


class Standby:
    """The data of a node that follows, up to where `entries` is. `wake` has those served who wait for what was written."""

    def __init__(
        self,
        state: ServerState,
        table: CommandTable,
        frames: Frames,
        medium: VaultMedium,
        workplace: Workplace,
        wake: Callable[[], None],
    ) -> None:
        self.entries = Entries(Tip())
        # What has stood behind the snapshot that was loaded.
        self.growth = Growth()
        self._state = state
        self._databases = state.databases
        self._table = table
        self._frames = frames
        self._medium = medium
        self._workplace = workplace
        self._wake = wake
        self._replay = Replay(state, table, keeps_whole=True)
        # Why the data is that of no place in the log, if it is so: some records of an entry have run, and others have not.
        self._left_amid = ""

    async def load(self) -> None:
        """Let the data be that of the snapshot from which the log goes on. MediumError, with the data as it was, otherwise."""
        manifest = await self._workplace.run(self._medium.look)
        if manifest.owner:
            raise MediumError(f"the snapshots there are the backups of the server {manifest.owner}, and belong to no log")
        unused = await self._install(manifest.linked)
        self.entries = Entries(Tip(manifest.position, manifest.mark_number, manifest.mark_digest), manifest.lease_ms)
        self.growth = Growth()
        self._state.replication.applied = manifest.mark_number
        self._left_amid = ""
        await self._workplace.pace().run(drain(unused))

    async def _install(self, digest: str) -> list[Shard]:
        """Let the data be that of the frame with this digest. Return the shards that nobody uses any more."""
        started_at = time.perf_counter()
        # No other snapshot is read: to bring one here takes as long as the whole start should.
        result = await self._frames.load_one(self._medium.places(), digest)
        if digest != EMPTY_STORE and not result.loaded:
            reason = result.reason or "no frame has this digest"
            raise MediumError(f"the snapshot {digest[:16]}…, from which the log goes on, can't be loaded: {reason}")
        await self._until_whole()
        unused = self._frames.install(result, started_at)
        self._frames.linked = result.loaded.digest if result.loaded else ""
        self._replay = Replay(self._state, self._table, keeps_whole=True)
        return unused

    async def _until_whole(self) -> None:
        """Wait while a script stands aside: it is to see the same data from its beginning to its end."""
        while self._state.scripts.busy_error:
            await self._state.scripts.wait()

    async def follow(self, entries: Sequence[Entry]) -> None:
        """Do what these entries say, which stand right behind those before.

        ChainBroken if they don't, or hold what this version can't run: then nobody may go on from here. Trimmed if a snapshot
        is gone that they name. In both cases `load` helps, if there is a newer snapshot. Entries that were not begun may be
        given again; behind one that ended in its middle this raises ChainBroken until `load`.
        """
        if self._left_amid:
            raise ChainBroken(self._left_amid)
        for entry in entries:
            records = 0
            match self.entries.take(entry):
                case Whole() as whole:
                    records = await self._run(whole)
                case Relink(digest):
                    await self._relink(digest)
            self.entries.passed(entry)
            self.growth.add(entry.mark.number, len(entry.data), records)
            self._state.replication.applied = self.entries.tip.number

    async def _relink(self, digest: str) -> None:
        await self._workplace.run(self._medium.look)
        if digest != EMPTY_STORE and digest not in {frame.digest for frame in self._medium.frames}:
            raise Trimmed(f"the log goes on from the snapshot {digest[:16]}…, which newer ones have replaced")
        unused = await self._install(digest)
        await self._workplace.pace().run(drain(unused))

    async def _run(self, whole: Whole) -> int:
        """Run the records that are whole. Return their number."""
        replay, data = self._replay, whole.data
        scan = await self._drive(scan_segment(len(data)), data)
        self.entries.keep(whole, scan)
        before, number = replay.commands, self.entries.tip.number + 1
        self._left_amid = f"the entry {number} was left in its middle"
        try:
            await self._drive(read_records(scan.valid_length, replay.run), data)
        except RecordInvalid as invalid:
            self._left_amid = f"the entry {number} can't be run: {invalid}"
            raise ChainBroken(self._left_amid) from None
        self._left_amid = ""
        if replay.unused:
            unused, replay.unused = replay.unused, []
            await self._workplace.pace().run(drain(unused))
        self._state.journal.records_replayed = replay.records
        if replay.commands > before and self._databases.awaited.touched:
            self._wake()
        return scan.records

    async def _drive(self, steps: Steps[T], data: bytes) -> T:
        """Drive steps over bytes in memory, let clients have their turn between them, and return what the steps do.

        No step runs while a script stands aside. The clock of the databases stands while a step runs, as records ask for, and
        goes while clients read.
        """
        pace = self._workplace.pace()
        answer = b""
        await self._until_whole()
        self._databases.stop_clock()
        try:
            request = next(steps)
            while True:
                if request is not None:
                    answer = data[request.offset : request.offset + request.length]
                if pace.is_over or (request and request.hasher):
                    self._databases.start_clock()
                    await (self._hash(request.hasher, answer) if request and request.hasher else pace.next())
                    await self._until_whole()
                    self._databases.stop_clock()
                request = steps.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            self._databases.start_clock()

    async def _hash(self, hasher: Hasher, data: bytes) -> None:
        if len(data) > SHORT_PIECE_BYTES:
            await self._workplace.run(lambda: hasher.update(data))
        else:
            hasher.update(data)
