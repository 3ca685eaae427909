"""The start of a store from medium and journal: find the last link, load its snapshot, replay the records behind it.

A journal is replayed on the snapshot that it is linked to, and on no other: where that is nowhere, the last valid frame is
loaded, and the segments are put aside. A recovery always ends with a store that can be used: at the first invalid record it
stops, says so, and sets aside what is behind. It never deletes what could still be of value, and writes nothing but a loss, by
which those who read the history know where something was cut off. A server recovers before it runs a command of a client,
and the library does the same when it opens a server's folder.
"""

from __future__ import annotations

import logging
import time
from typing import Final, NamedTuple, TypeVar

from kvserver.data.shards import drain
from kvserver.dispatch.table import CommandTable
from kvserver.errors import MediumDisplaced, MediumError
from kvserver.formats.record import EMPTY_STORE, encode_loss
from kvserver.formats.scan import Frame, Scan, Tail
from kvserver.formats.segment import RecordInvalid, SegmentScan, Steps, read_records, scan_segment
from kvserver.media.medium import Aside, Contents, Log
from kvserver.persistence.chain import Chain
from kvserver.persistence.frames import Frames
from kvserver.persistence.replay import Replay
from kvserver.persistence.workplace import Workplace, drive
from kvserver.state.session import ServerState

T = TypeVar("T")

# A reader beside a server looks so often for files that belong together: each time that fails, a snapshot has ended meanwhile.
MOST_LOOKS: Final = 100

_log = logging.getLogger("kvserver")


class Recovered(NamedTuple):
    """The outcome of a recovery: the frame and the records that the data came from."""

    # The frame that was loaded.
    frame: Frame | None
    # The numbers of the segments that were replayed on it, in order; empty: no journal is linked to it.
    segments: list[int]
    # The number of records in these, and of commands in the records.
    records: int
    commands: int
    # The journal does not tell all: some records lack the keys that had expired, as an older version wrote them, or only the
    # beginning of one has run.
    needs_rewrite: bool = False

    @property
    def digest(self) -> str:
        """The digest that a link to the frame names."""
        return self.frame.digest if self.frame else EMPTY_STORE


class Recovery:
    """The work of a start: brings the data back into `state.databases`. All reading happens at the workplace."""

    def __init__(self, state: ServerState, table: CommandTable, frames: Frames, log: Log, workplace: Workplace) -> None:
        self._state = state
        self._table = table
        self._frames = frames
        self._segments = log
        self._workplace = workplace

    async def run(self) -> Recovered:
        """Load, replay, tidy up. OSError if the files can't be read or repaired."""
        # A client may look at a key meanwhile (WATCH), which must not go: what is replayed may be about to let it live on.
        self._state.databases.stop_clock()
        try:
            return await self._run()
        finally:
            self._state.databases.start_clock()

    async def _run(self) -> Recovered:
        run, facts = self._workplace.run, self._state.journal
        names = await run(self._segments.segments)
        aside = [number for number, _ in await run(self._segments.asides)]
        chain = await self._chain(names)
        frame = await self._load(chain)
        records, commands, needs_rewrite = await self._replay(chain, names)
        facts.records_replayed = records
        await run(lambda: self._tidy(chain, names))
        facts.base_bytes = frame.end - frame.offset if frame else 0
        facts.segments = len(chain.replayed)
        facts.segment_bytes = sum(chain.scans[number].valid_length for number in chain.replayed)
        # The next segment follows the last one that was replayed, without a gap. Else no number comes twice, and one is left
        # out behind the history: nothing tells that the data is what it leads to.
        retired = 0 if chain.replayed else await run(self._segments.last_retired)
        last_number = chain.replayed[-1] if chain.replayed else max([*names, *aside, retired and retired + 1], default=0)
        self._segments.adopt(chain.replayed, facts.segment_bytes, last_number)
        self._tell_of_others()
        return Recovered(frame, chain.replayed, records, commands, needs_rewrite)

    async def look(self) -> Recovered:
        """Load and replay what `run` would, and leave all as it is: for one who only reads, beside a server that goes on.

        MediumDisplaced, with the data as it was, if the files belong together no more, since the server has removed some
        meanwhile. OSError if they can't be read.
        """
        self._state.databases.stop_clock()
        try:
            names = await self._workplace.run(self._segments.segments)
            chain = await self._chain(names)
            started_at = time.perf_counter()
            result = await self._frames.scan(load=chain.digest != EMPTY_STORE, digest=chain.digest, links=chain.links)
            found = result.loaded.digest if result.loaded else EMPTY_STORE
            if chain.is_linked and chain.digest != found:
                first = names[chain.replayed[0]]
                raise MediumDisplaced(f"{first} goes on from the snapshot {chain.digest[:16]}…, which is not there")
            unused = self._frames.install(result, started_at)
            records, commands, needs_rewrite = await self._replay(chain, names)
            await self._workplace.pace().run(drain(unused))
            return Recovered(result.loaded, chain.replayed, records, commands, needs_rewrite)
        finally:
            self._state.databases.start_clock()

    async def look_until_whole(self) -> Recovered:
        """`look`, anew where a server has put something else in its place meanwhile. MediumError if that fails.

        The files are closed then.
        """
        told = ""
        for _ in range(MOST_LOOKS):
            try:
                return await self.look()
            except MediumDisplaced as displaced:
                # A server that removes something has put something else in its place before.
                if told == str(displaced):
                    break
                told = str(displaced)
            finally:
                await self._workplace.run(self._segments.close)
                await self._frames.close()
        raise MediumError(f"the files can't be read as they are: {told}")

    def _tell_of_others(self) -> None:
        """Warn of keys in databases that no client can select."""
        count = self._state.config.databases
        others = [keyspace.number for keyspace in self._state.databases if keyspace.number >= count and len(keyspace)]
        if others:
            _log.warning("there are keys in the databases %s, which no client can select: databases is %d", others, count)

    async def apply(self, names: dict[int, str]) -> tuple[str, list[int]]:
        """Replay the newest chain of these segments that were put aside, though nothing links it to the data.

        `names` has the segments' names by their numbers. They are replayed on the snapshot that they go on from, if the
        medium has that after all, else on the data as it is. Return one line that tells what was done, and the numbers of
        the segments that were replayed. MediumError, with the data as it was, if they are linked to nothing.
        """
        chain = await self._chain(names)
        if not chain.replayed:
            raise MediumError(f"the segments that were put aside can't be replayed: {chain.reason}")
        base = "the data as it was"
        result = await self._frames.scan(load=True, digest=chain.digest)
        if chain.digest == EMPTY_STORE:
            result.data, result.loaded, base = None, None, "the empty store"
        elif result.loaded and result.loaded.digest == chain.digest:
            base = f"the frame at offset {result.loaded.offset}"
        if base != "the data as it was":
            self._frames.install(result, time.perf_counter())
        try:
            records, commands, _ = await self._replay(chain, names)
        finally:
            self._state.databases.start_clock()
        end = f"; then: {chain.reason}" if chain.reason else ""
        return f"replayed {commands} commands in {records} records on {base}{end}", chain.replayed

    async def _load(self, chain: Chain) -> Frame | None:
        """Load the snapshot that the journal goes on from, or the last valid one where that is nowhere."""
        result = await self._frames.recover(chain.digest, chain.links)
        frame = result.loaded
        if chain.is_linked and chain.digest != (frame.digest if frame else EMPTY_STORE):
            _tell_unlinked(chain, frame)
            chain.lose_base()
        elif chain.is_linked:
            _tell_newer(result, frame)
        return frame

    async def _chain(self, names: dict[int, str]) -> Chain:
        return Chain({number: await self._scan(name) for number, name in names.items()})

    async def _scan(self, name: str) -> SegmentScan:
        run = self._workplace.run
        contents = await run(lambda: self._segments.open(name))
        try:
            return await self._drive(scan_segment(await run(contents.size)), contents)
        finally:
            await run(contents.close)

    async def _replay(self, chain: Chain, names: dict[int, str]) -> tuple[int, int, bool]:
        """Run the records of a chain. Return the number of records, of the commands in them, and True if some are inexact.

        The caller starts the clock of the databases again.
        """
        facts, run, started_at = self._state.persistence, self._workplace.run, time.perf_counter()
        replay = Replay(self._state, self._table)
        facts.load_total_bytes = sum(chain.scans[number].valid_length for number in chain.replayed)
        for number in list(chain.replayed):
            contents = await run(lambda: self._segments.open(names[number]))  # noqa: B023
            try:
                await self._drive(read_records(chain.scans[number].valid_length, replay.run), contents)
            except RecordInvalid as invalid:
                chain.stop(number, invalid.offset, str(invalid))
            finally:
                await run(contents.close)
            # This is the last segment, or `stop` has made it the last one.
            if number not in chain.replayed[:-1]:
                break
        if chain.replayed:
            _log.info(
                "replayed %d commands in %d records of the segments %d to %d in %.3f s",
                replay.commands,
                replay.records,
                chain.replayed[0],
                chain.replayed[-1],
                time.perf_counter() - started_at,
            )
        await self._workplace.pace().run(drain(replay.unused))
        return replay.records, replay.commands, replay.needs_rewrite

    async def _drive(self, steps: Steps[T], contents: Contents) -> T:
        def report(offset: int) -> None:
            self._state.persistence.load_done_bytes = offset

        return await drive(steps, contents, self._workplace, report)

    def _tidy(self, chain: Chain, names: dict[int, str]) -> None:
        """Leave what was replayed and nothing else, in this order: a crash midway must not make a gap look like an end."""
        log, scans = self._segments, chain.scans
        # The newest goes first: a crash midway leaves segments that belong together, from the oldest on.
        for number in reversed(chain.unlinked):
            if scans[number].size:
                log.set_aside(names[number], Aside.UNLINKED)
            else:
                log.remove([number])
        for number in chain.behind:
            if scans[number].size:
                where = log.set_aside(names[number], Aside.DAMAGED)
                _log.error("%s; segment %d set aside as %s", chain.reason, number, where)
            else:
                log.remove([number])
        for number in chain.replayed:
            self._truncate(chain, number, names[number])
        # Segments that hold nothing go only from the end: a gap elsewhere would stop the next start before the rest.
        empty: list[int] = []
        while chain.replayed and not scans[chain.replayed[-1]].valid_length:
            empty.append(chain.replayed.pop())
        log.retire(chain.superfluous)
        log.remove(empty)
        if chain.superfluous:
            _log.info("removed %d segments that are older than the snapshot", len(chain.superfluous))

    def _truncate(self, chain: Chain, number: int, name: str) -> None:
        scan = chain.scans[number]
        contents = self._segments.open(name)
        try:
            if scan.tail is not Tail.NONE:
                if chain.lost_something:
                    where = contents.set_aside(scan.valid_length)
                    text = "damaged journal: %s; %d bytes copied to %s, then cut"
                    _log.error(text, chain.reason, scan.tail_length, where)
                else:
                    _log.warning("torn tail of the journal cut: %s (%d bytes)", chain.reason, scan.tail_length)
            # `truncate` is called also where there is nothing to cut, since it syncs: a server that was killed may have left
            # records that are only in the system's memory, and the records of the next segment must not outlive them.
            contents.truncate(scan.valid_length)
            if chain.lost_something and number == chain.replayed[-1]:
                loss = encode_loss(self._state.now_ms())
                contents.append(loss)
                scan.valid_length += len(loss)
        finally:
            contents.close()


def _tell_unlinked(chain: Chain, frame: Frame | None) -> None:
    found = f"the last valid frame, {frame.digest[:16]}… at offset {frame.offset}" if frame else "nothing: no frame is valid"
    records = sum(scan.records - len(scan.links) - len(scan.losses) for scan in chain.scans.values())
    _log.error(
        "the journal goes on from the snapshot %s…, which the medium does not have (an older file was put back, or it is "
        "damaged): loaded %s, and put the segments %s (%d records) aside as *.journal.%s; to have them replayed after all, "
        "stop the server and run `kvserver apply DIR`",
        chain.digest[:16],
        found,
        ", ".join(map(str, sorted(chain.scans))),
        records,
        Aside.UNLINKED,
    )


def _tell_newer(result: Scan, frame: Frame | None) -> None:
    """Warn of frames behind the linked one. A server that ended before it linked a frame left it; the journal has its data."""
    newer = [found for found in result.frames if frame is None or found.offset > frame.offset]
    if newer:
        _log.warning(
            "the journal goes on from %s, so %d newer frames (the last one at offset %d) are not what is loaded: right where "
            "a server ended before it linked one; if you put them there, move the files *.journal away and start again",
            f"the frame at offset {frame.offset}" if frame else "the empty store",
            len(newer),
            newer[-1].offset,
        )
