"""What a start does with the journal: finds the last link, loads that snapshot, replays what was recorded behind it.

It always ends with a server that can start: at the first invalid frame it stops, says so, and sets aside what is behind;
nothing that could still be of value is deleted. Runs once, before any client is served. Never writes a record.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Final, TypeVar

from kvserver.commands.effect import Discard
from kvserver.data.shards import Shard
from kvserver.errors import CommandError
from kvserver.formats.chain import Chain
from kvserver.formats.record import EMPTY_STORE, Record, RecordInvalid, SegmentScan, Steps, read_records, scan_segment
from kvserver.formats.scan import Tail
from kvserver.media.medium import Medium
from kvserver.media.segments import SegmentLog, Segments
from kvserver.persistence.disk import Disk
from kvserver.persistence.drive import drive
from kvserver.persistence.journal import Journal
from kvserver.persistence.slices import Slices
from kvserver.persistence.snapshot import Snapshots
from kvserver.resp.request import Command
from kvserver.state.session import REPLAY_ID, ServerState, Session

T = TypeVar("T")

_COMMANDS_PER_LOOK: Final = 200  # at the clock

_log = logging.getLogger("kvserver")


class Recovery:
    """Brings the data back and starts the journal, if it is to be on."""

    def __init__(
        self, state: ServerState, snapshots: Snapshots, journal: Journal, segments: Segments, log: SegmentLog, disk: Disk
    ) -> None:
        self._state = state
        self._snapshots = snapshots
        self._journal = journal
        self._segments = segments
        self._segment_log = log
        self._disk = disk

    async def run(self) -> None:
        """Load, replay, tidy up, record. OSError where the files can't be read or repaired."""
        state = self._state
        chain = Chain({number: await self._scan(number) for number in await self._disk.run(self._segments.numbers)})
        await self._snapshots.load(at_start=True, digest=chain.digest)
        frame = self._snapshots.loaded
        digest = frame.digest if frame else EMPTY_STORE
        if chain.is_linked and digest != chain.digest:
            _log.error(
                "the journal goes on from the snapshot %s…, but the medium has no such frame; replaying it on %s instead",
                chain.digest[:16],
                f"the last valid frame, {digest[:16]}…" if frame else "an empty store, since no frame is valid",
            )
        await self._replay(chain)
        await self._disk.run(lambda: self._tidy(chain))
        sizes = sum(chain.scans[number].valid_length for number in chain.replayed)
        self._segment_log.adopt(chain.replayed, sizes)
        state.journal.base_bytes = frame.end - frame.offset if frame else 0
        state.journal.segment_bytes, state.journal.segments = sizes, len(chain.replayed)
        number = max(chain.replayed, default=0)
        if state.config.appendonly:
            await self._journal.begin(number + 1, None if chain.is_linked else digest)
        else:
            self._journal.rest(number)
            if chain.replayed:
                _log.warning("appendonly is no, but there was a journal: it was replayed, and goes with the next snapshot")

    async def _scan(self, number: int) -> SegmentScan:
        file = await self._disk.run(lambda: self._segments.open(number))
        try:
            steps = scan_segment(await self._disk.run(file.size))
            return await self._drive(steps, file)
        finally:
            await self._disk.run(file.close)

    async def _replay(self, chain: Chain) -> None:
        facts, started_at = self._state.persistence, time.perf_counter()
        records = commands = 0
        unused: list[Shard] = []
        facts.load_total_bytes = sum(chain.scans[number].valid_length for number in chain.replayed)
        for number in list(chain.replayed):
            file = await self._disk.run(lambda: self._segments.open(number))  # noqa: B023
            runner = _Runner(self._state)
            try:
                await self._drive(read_records(chain.scans[number].valid_length, runner.run), file)
            except RecordInvalid as invalid:
                chain.stop(number, invalid.offset, str(invalid))
            finally:
                await self._disk.run(file.close)
            records += runner.records
            commands += runner.commands
            unused += runner.unused
            if number not in chain.replayed[:-1]:
                break  # the last one, or what has become the last one
        self._state.journal.records_replayed = records
        if chain.replayed:
            _log.info(
                "replayed %d commands in %d records of the segments %d to %d in %.3f s",
                commands,
                records,
                chain.replayed[0],
                chain.replayed[-1],
                time.perf_counter() - started_at,
            )
        await self._snapshots.discard(unused)

    async def _drive(self, steps: Steps[T], file: Medium) -> T:
        def report(offset: int) -> None:
            self._state.persistence.load_done_bytes = offset

        return await drive(steps, file, self._disk, Slices(self._state.counters), report)

    def _tidy(self, chain: Chain) -> None:
        """Leave what was replayed and nothing else. In this order: a crash midway must not make a gap look like an end."""
        segments, scans = self._segments, chain.scans
        for number in chain.behind:
            if scans[number].size:
                _log.error("%s; segment %d set aside as %s", chain.reason, number, segments.set_aside(number))
            else:
                segments.remove([number])
        for number in chain.replayed:
            self._cut(chain, number)
        # Of those that hold nothing, only what stands at the end: elsewhere a gap would stop the next start before the rest.
        empty: list[int] = []
        while chain.replayed and not scans[chain.replayed[-1]].valid_length:
            empty.append(chain.replayed.pop())
        segments.remove([*chain.superfluous, *empty])
        if chain.superfluous:
            _log.info("removed %d segments that are older than the snapshot", len(chain.superfluous))

    def _cut(self, chain: Chain, number: int) -> None:
        scan = chain.scans[number]
        with self._segments.open(number) as file:
            if scan.tail is not Tail.NONE:
                if chain.lost_something:
                    where = file.set_aside(scan.valid_length)
                    text = "damaged journal: %s; %d bytes copied to %s, then cut"
                    _log.error(text, chain.reason, scan.tail_length, where)
                else:
                    _log.warning("torn tail of the journal cut: %s (%d bytes)", chain.reason, scan.tail_length)
            # Also where there is nothing to cut, for its sync: what was killed may have left records that are only in
            # the system's memory, and those that follow in the next segment must not outlive them.
            file.truncate(scan.valid_length)


class _Runner:
    """Runs records as the writer would, with nobody to answer."""

    def __init__(self, state: ServerState) -> None:
        self.records = 0
        self.commands = 0
        self.unused: list[Shard] = []
        self._keyspace = state.keyspace
        self._runners = state.table.replay
        self._run_alike = state.table.run_alike
        self._session = Session(state, REPLAY_ID, "journal", "journal", is_local=True)

    def run(self, record: Record) -> Iterator[None]:
        """Run a record, with pauses."""
        self.records += 1
        commands = record.commands
        for start in range(0, len(commands), _COMMANDS_PER_LOOK):
            self._run_some(commands[start : start + _COMMANDS_PER_LOOK], record.offset)
            yield None

    def _run_some(self, commands: list[Command], offset: int) -> None:
        session = self._session
        for args in commands[self._run_alike(session, commands, self._runners, []) :]:
            runner = self._runners.get(args[0]) or self._runners.get(args[0].lower())
            if runner is None or len(args) not in runner[1]:
                raise RecordInvalid(Tail.DAMAGED, f"this version knows no command {args[0][:32]!r}", offset)
            try:
                effect = runner[0](session, args)
            except CommandError as error:
                raise RecordInvalid(Tail.DAMAGED, f"a command fails: {error}", offset) from None
            if type(effect) is Discard:
                self.unused += effect.shards
        self.commands += len(commands)
        self._keyspace.take_written()  # these are recorded already
