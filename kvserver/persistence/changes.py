"""The changes of a key: the records of the journal that wrote to it, with their times, the newest first.

They are looked for in the segments of the history and of the journal, segment by segment. Nothing is run: a record tells which
keys it writes. One that empties a database, or swaps two, is a change of each key there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final, NamedTuple

from kvserver.errors import CommandError, HistoryError
from kvserver.formats.chronology import time_at
from kvserver.formats.segment import RecordInvalid, Records, read_records
from kvserver.media.archive import KeptSegment
from kvserver.persistence.past import PastLoader
from kvserver.persistence.timeline import Timeline
from kvserver.resp.request import Request
from kvserver.state.description import Description

# What concerns each key of a database, or of all.
_ALL_KEYS: Final = frozenset({b"FLUSHALL", b"FLUSHDB", b"SWAPDB"})
_SELECT: Final = b"SELECT"


class Change(NamedTuple):
    """A record that wrote to a key.

    It is the record `record` of a segment, counted from 1, and was written at `time_ms` (Unix milliseconds, 0 where it is not
    known). `requests` are those of its commands that concern the key. Without any, the data became that of a frame there.
    """

    segment: int
    record: int
    time_ms: int
    requests: list[Request]

    @property
    def id(self) -> str:
        """The change as a moment: the state behind it."""
        return f"{self.segment}:{self.record}"


class _Finder:
    """Finds the records of one segment that wrote to a key of a database, the last `most` of them."""

    def __init__(self, key: bytes, database: int, commands: Mapping[bytes, Description], most: int) -> None:
        self._key = key
        self._database = b"%d" % database
        self._commands = commands
        self._count = 0
        # The number of a record, its offset, and what it did to the key.
        self.found: deque[tuple[int, int, list[Request]]] = deque(maxlen=most)

    def run(self, records: Records) -> Iterator[None]:
        start = 0
        key, all_keys = self._key, _ALL_KEYS
        # Most batches have nothing of it.
        if any(key in request or request[0] in all_keys for request in records.commands):
            for number, end in enumerate(records.ends):
                requests = self._concerning(records.commands[start:end])
                if requests:
                    self.found.append((self._count + number + 1, records.offset(number), requests))
                start = end
        self._count += len(records.ends)
        yield

    def _concerning(self, requests: list[Request]) -> list[Request]:
        """The requests of a record that concern the key. Each record begins in database 0."""
        selected = b"0"
        found = []
        for request in requests:
            if request[0] == _SELECT:
                selected = request[1]
            elif request[0] == b"SWAPDB":
                if self._database in request[1:]:
                    found.append(request)
            elif self._empties(request, selected) or (self._key in request and self._writes(request, selected)):
                found.append(request)
        return found

    def _empties(self, request: Request, selected: bytes) -> bool:
        return request[0] == b"FLUSHALL" or (request[0] == b"FLUSHDB" and selected == self._database)

    def _writes(self, request: Request, selected: bytes) -> bool:
        if (target := _target_elsewhere(request)) is not None:
            return target == (self._database, self._key) or (
                request[0] == b"MOVE" and selected == self._database and request[1] == self._key
            )
        command = self._commands.get(request[0].lower())
        if command is None or selected != self._database:
            return False
        try:
            return self._key in command.written_keys(request)
        except CommandError:
            return False


def _target_elsewhere(request: Request) -> tuple[bytes, bytes] | None:
    """The database and the key that a request writes there, if it is recorded in another database than it writes."""
    if request[0] == b"MOVE":
        return request[2], request[1]
    if request[0] == b"COPY" and b"DB" in request[3:]:
        return request[request.index(b"DB", 3) + 1], request[2]
    return None


class Changes:
    """Looks for the changes of keys. `commands` are by lower-case name."""

    def __init__(self, loader: PastLoader, commands: Mapping[bytes, Description]) -> None:
        self._loader = loader
        self._commands = commands

    async def of(self, key: bytes, database: int, most: int) -> list[Change]:
        """The last changes of a key of a database, the newest first. HistoryError if a segment is damaged."""
        timeline = await self._loader.timeline()
        if not timeline.segments:
            raise HistoryError("there is no journal")
        found: list[Change] = []
        for number in sorted(timeline.segments, reverse=True):
            segment = timeline.segments[number]
            found += await self._in_segment(segment, timeline, key, database, most - len(found))
            is_first = number == min(timeline.segments)
            if len(found) < most and not is_first and number - 1 not in timeline.segments:
                found.append(Change(number, 0, await self._loader.first_time(segment) or 0, []))
            if len(found) >= most:
                break
        return found[:most]

    async def _in_segment(
        self, segment: KeptSegment, timeline: Timeline, key: bytes, database: int, most: int
    ) -> list[Change]:
        finder = _Finder(key, database, self._commands, most)
        try:
            reach = await self._loader.reach_of_all(segment, timeline)
            await self._loader.on(segment, lambda _: read_records(reach.offset, finder.run))
        except RecordInvalid as invalid:
            raise HistoryError(
                f"the segment {segment.number} of the journal is damaged at offset {invalid.offset}: {invalid}"
            ) from None
        changes = []
        for record, offset, requests in reversed(finder.found):
            time_ms = await self._loader.on(segment, partial(time_at, offset))
            changes.append(Change(segment.number, record, time_ms or 0, requests))
        return changes
