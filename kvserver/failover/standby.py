"""A node that follows: it loads the newest snapshot, then does what each entry of the log says, until it leads itself.

Each entry proves by its mark that it stands right behind the one before: at a break this stops loudly, whatever the engine
did. Records run whole, since clients read between them. Nothing here writes, and nothing waits: `leadership` reads the log and
says when. What is due stays until the log says that it went.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from kvserver.data.shards import drain
from kvserver.dispatch.table import CommandTable
from kvserver.errors import ChainBroken, MediumError, Trimmed
from kvserver.formats.control import Lead, Relink, Yield, decode_control, is_control
from kvserver.formats.frame import RECORD_HEADER_SIZE, decode_record_header
from kvserver.formats.record import EMPTY_STORE
from kvserver.formats.scan import Hasher, Scan, Tail
from kvserver.formats.segment import RecordInvalid, SegmentScan, Steps, read_records, scan_segment
from kvserver.media.shared import Entry, Tip
from kvserver.media.vault_medium import VaultMedium
from kvserver.persistence.frames import Frames
from kvserver.persistence.replay import Replay
from kvserver.persistence.workplace import Workplace
from kvserver.state.session import ServerState

# A longer piece is hashed beside the event loop.
SHORT_PIECE_BYTES: Final = 1 << 16


class Standby:
    """The data of a node that follows. `wake` has those served who wait for what an entry wrote.

    - `tip` is the end of the log up to which the data goes.
    - `epoch` is that of the node that leads by the log, and `lead` what it said of itself; None: nobody has led.
    - `has_yielded`: that node has said that it writes nothing more.
    """

    def __init__(
        self,
        state: ServerState,
        table: CommandTable,
        frames: Frames,
        medium: VaultMedium,
        workplace: Workplace,
        wake: Callable[[], None],
    ) -> None:
        self.tip = Tip()
        self.epoch = 0
        self.lead: Lead | None = None
        self.has_yielded = False
        self._state = state
        self._databases = state.databases
        self._table = table
        self._frames = frames
        self._medium = medium
        self._workplace = workplace
        self._wake = wake
        self._replay = Replay(state, table, keeps_whole=True)
        # The beginning of a record whose end has not come, and the length from which on it may be whole.
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._needed_bytes = 0

    async def load(self) -> None:
        """Let the data be that of the snapshot from which the log goes on. MediumError, with the data as it was, otherwise."""
        manifest = await self._workplace.run(self._medium.look)
        await self._install(manifest.linked)
        self.tip = Tip(manifest.position, manifest.mark_number, manifest.mark_digest)
        self.epoch = manifest.position.epoch
        self.lead, self.has_yielded = None, False
        self._drop_rest()

    async def _install(self, digest: str) -> None:
        """Let the data be that of the frame with this digest."""
        started_at = time.perf_counter()
        result = await self._frames.scan(load=digest != EMPTY_STORE, digest=digest)
        if digest == EMPTY_STORE:
            result = Scan(0)
        elif not result.loaded or result.loaded.digest != digest:
            reason = result.reason or "no frame has this digest"
            raise MediumError(f"the snapshot {digest[:16]}…, from which the log goes on, can't be loaded: {reason}")
        unused = self._frames.install(result, started_at)
        self._frames.linked = result.loaded.digest if result.loaded else ""
        self._replay = Replay(self._state, self._table, keeps_whole=True)
        await self._workplace.pace().run(drain(unused))

    async def follow(self, entries: Sequence[Entry]) -> None:
        """Do what these entries say, which stand right behind `tip`.

        ChainBroken if they don't, or hold what this version can't run: then nobody may go on from here. Trimmed if a snapshot
        is gone that they name: then `load` helps.
        """
        for entry in entries:
            self._prove(entry)
            mark, data = entry.mark, entry.data
            if mark.epoch > self.epoch or (is_control(data) and not self._rest):
                # A node that died has left it: it does not count.
                self._drop_rest()
                await self._obey(entry)
            elif data:
                await self._take(data)
            self.tip = self.tip.behind(entry.position, mark, data)
            self._state.replication.applied = self.tip.number

    def _prove(self, entry: Entry) -> None:
        mark = entry.mark
        if (mark.number, mark.digest) != (self.tip.number + 1, self.tip.digest) or mark.epoch < self.epoch:
            raise ChainBroken(
                f"the log is broken: behind the entry {self.tip.number} (epoch {self.epoch}) stands one that was written as "
                f"the entry {mark.number} (epoch {mark.epoch}), or behind another one"
            )

    async def _obey(self, entry: Entry) -> None:
        """Do what a control frame says."""
        try:
            control = decode_control(entry.data)
        except ValueError as error:
            raise ChainBroken(f"the log is broken at the entry {entry.mark.number}: {error}") from None
        match control:
            case Lead(epoch) if epoch == entry.mark.epoch and epoch > self.epoch:
                self.epoch, self.lead, self.has_yielded = epoch, control, False
            case Yield(epoch) if epoch == entry.mark.epoch == self.epoch:
                self.has_yielded = True
            case Relink(digest) if entry.mark.epoch == self.epoch:
                await self._workplace.run(self._medium.look)
                if digest != EMPTY_STORE and digest not in {frame.digest for frame in self._medium.frames}:
                    raise Trimmed(f"the log goes on from the snapshot {digest[:16]}…, which newer ones have replaced")
                await self._install(digest)
            case _:
                raise ChainBroken(f"the log is broken: the entry {entry.mark.number} says {control}")

    # Records

    async def _take(self, data: bytes) -> None:
        """Run the records that are whole with this data."""
        self._rest.append(data)
        self._rest_bytes += len(data)
        if self._rest_bytes < self._needed_bytes:
            return
        whole = self._rest[0] if len(self._rest) == 1 else b"".join(self._rest)
        scan: SegmentScan = await self._drive(scan_segment(len(whole)), whole)
        if scan.tail is Tail.DAMAGED:
            raise ChainBroken(f"the log is broken behind the entry {self.tip.number}: {scan.reason}")
        before = self._replay.commands
        try:
            await self._drive(read_records(scan.valid_length, self._replay.run), whole)
        except RecordInvalid as invalid:
            raise ChainBroken(f"the log can't be followed behind the entry {self.tip.number}: {invalid}") from None
        self._drop_rest()
        if rest := whole[scan.valid_length :]:
            header = decode_record_header(rest[:RECORD_HEADER_SIZE])
            self._rest, self._rest_bytes = [rest], len(rest)
            self._needed_bytes = RECORD_HEADER_SIZE + (header.payload_length if header else 0)
        if self._replay.unused:
            unused, self._replay.unused = self._replay.unused, []
            await self._workplace.pace().run(drain(unused))
        self._state.journal.records_replayed = self._replay.records
        if self._replay.commands > before and self._databases.awaited.touched:
            self._wake()

    def _drop_rest(self) -> None:
        self._rest, self._rest_bytes, self._needed_bytes = [], 0, 0

    async def _drive(self, steps: Steps[SegmentScan] | Steps[None], data: bytes) -> SegmentScan:
        """Drive steps over bytes in memory, let clients have their turn between them, and return what the steps do.

        The clock of the databases stands while a step runs, as records ask for, and goes while clients read.
        """
        pace = self._workplace.pace()
        answer = b""
        self._databases.stop_clock()
        try:
            request = next(steps)
            while True:
                if request is not None:
                    answer = data[request.offset : request.offset + request.length]
                if pace.is_over or (request and request.hasher):
                    self._databases.start_clock()
                    await (self._hash(request.hasher, answer) if request and request.hasher else pace.next())
                    self._databases.stop_clock()
                request = steps.send(answer)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            self._databases.start_clock()

    async def _hash(self, hasher: Hasher, data: bytes) -> None:
        if len(data) > SHORT_PIECE_BYTES:
            await self._workplace.run(lambda: hasher.update(data))
        else:
            hasher.update(data)
