"""The times of a segment's records: how far a moment reaches into a segment, and when its last record was written.

A moment is a time, or a record by its number in a segment. Records have the times at which their commands ran (Unix
milliseconds). These grow, unless the system's clock was set back: then a time may be that of several moments, and whoever asks
is told. The scan proves the records on its way, as `scan_segment` does. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from typing import Final, NamedTuple

from kvserver._speedups.records import check_records
from kvserver.formats.frame import HEADER_SIZE, JOURNAL_MAGIC, RECORD_HEADER_SIZE, RECORD_MAGIC, decode_header
from kvserver.formats.record import LONG_COMMAND_BYTES, linked_digest, loss_time, read_line
from kvserver.formats.scan import Read, Tail
from kvserver.formats.segment import RecordInvalid, Steps, walk

# A record as it is written now: its length, and its time.
_RECORD: Final = re.compile(rb"KVJ2([0-9]{12})[0-9a-f]{8}#EXACT:([0-9]{1,20})\r\n")
# A frame of either layout, of which the time alone is of interest.
_ANY: Final = re.compile(rb"KVJ[12][0-9a-f]{20,76}#(?:EXACT|MS):([0-9]{1,20})\r\n")
# So many records are looked at in a step.
_RECORDS_A_STEP: Final = 64
# The end of a segment is looked for in so many bytes at first, and at the most.
_TAIL_BYTES: Final = 1 << 14
_MOST_TAIL_BYTES: Final = 1 << 22
_PLACES: Final = 8
# A header and the line behind it, of any form, are no longer.
_HEAD_BYTES: Final = HEADER_SIZE + 40


class Reach(NamedTuple):
    """The part of a segment up to a moment.

    `offset` is behind its last record, and `records` is their number. `time_ms` is the time of the last one, or 0.
    `is_all`: nothing stands behind it. `comes_back`: a record behind it has a time that the moment includes, too.
    `lost_until_ms`: the moment is within a loss that was found at this time (Unix milliseconds), or 0.
    """

    offset: int
    records: int
    time_ms: int
    is_all: bool
    comes_back: bool
    lost_until_ms: int = 0


class _Reaching:
    """Shown the records of a segment, finds how far a moment reaches."""

    is_proven = False

    def __init__(self, last_ms: int, most_records: int) -> None:
        self.offset = self.records = self.time_ms = self.lost_until_ms = 0
        self.is_over = self.comes_back = False
        self._last_ms = last_ms
        self._most = most_records

    @property
    def has_all(self) -> bool:
        """True if nothing that comes can be part of the moment."""
        return self.is_over or self.records >= self._most

    def pass_usual(self, window: bytes, start: int, window_at: int) -> Generator[None, None, int]:
        count, behind = check_records(window, start)
        for left in range(count, 0, -1):
            match = _RECORD.match(window, start)
            assert match, "these were found to be records"
            start += RECORD_HEADER_SIZE + int(match[1])
            self._take(int(match[2]), window_at + start)
            if not left % _RECORDS_A_STEP:
                yield
        return behind

    def visit(self, offset: int, end: int, payload: bytes) -> Iterable[None]:
        start = payload[:LONG_COMMAND_BYTES]
        time_ms, _, _ = read_line(start)
        if (loss_ms := loss_time(payload)) is not None:
            self._lose(loss_ms, end)
        elif linked_digest(payload) is not None:
            if not self.is_over:
                self.offset = end
        else:
            self._take(self.time_ms if time_ms is None else time_ms, end)
        return ()

    def _lose(self, until_ms: int, end: int) -> None:
        if self.has_all:
            return
        if until_ms > self._last_ms:
            self.lost_until_ms, self.is_over = until_ms, True
        else:
            self.offset = end

    def _take(self, time_ms: int, end: int) -> None:
        if self.has_all or time_ms > self._last_ms:
            self.is_over = True
            self.comes_back = self.comes_back or time_ms <= self._last_ms
        else:
            self.offset, self.time_ms = end, time_ms
            self.records += 1


def reach_of_time(size: int, last_ms: int, *, may_be_torn: bool = False) -> Steps[Reach]:
    """How far the records up to this time (Unix milliseconds) go in a segment of `size` bytes.

    RecordInvalid, with its offset, if the segment is damaged before that. `may_be_torn`: a server may be writing it, so that a
    torn end is the end.
    """
    return (yield from _reach(size, _Reaching(last_ms, size), may_be_torn=may_be_torn))


def reach_of_record(size: int, number: int, *, may_be_torn: bool = False) -> Steps[Reach]:
    """How far the first so many records go in a segment of `size` bytes. Raises as `reach_of_time`."""
    reach = yield from _reach(size, _Reaching(1 << 64, number), may_be_torn=may_be_torn)
    return reach._replace(comes_back=False)


def _reach(size: int, reaching: _Reaching, *, may_be_torn: bool) -> Steps[Reach]:
    try:
        yield from walk(size, reaching)
    except RecordInvalid as invalid:
        if not reaching.has_all and not (may_be_torn and invalid.tail is Tail.TORN):
            raise
    is_all = not reaching.is_over
    return Reach(reaching.offset, reaching.records, reaching.time_ms, is_all, reaching.comes_back, reaching.lost_until_ms)


def first_time(size: int) -> Steps[int | None]:
    """The time of the first record of a segment of `size` bytes, or of a link before it; None if that can't be told."""
    return (yield from time_at(0, size))


def last_time(size: int) -> Steps[int | None]:
    """The time of the last record of a segment of `size` bytes, or None if that can't be told from its end alone."""
    length = _TAIL_BYTES
    while True:
        start = max(size - length, 0)
        for data in _ends((yield Read(start, size - start))):
            place = data.find(RECORD_MAGIC)
            # What looks like a record may stand in a value: the next ones are tried, too.
            for _ in range(_PLACES):
                if place < 0:
                    break
                found = _last_of(data, place)
                if found is not None:
                    return found
                yield None
                place = data.find(RECORD_MAGIC, place + 1)
        if not start or length >= _MOST_TAIL_BYTES:
            return None
        length *= 16


def _ends(data: bytes) -> list[bytes]:
    """The parts of a segment's end of which one may be its last records: all of it, or what a link or a loss stands beside."""
    place = data.rfind(JOURNAL_MAGIC)
    header = decode_header(data[place : place + HEADER_SIZE], JOURNAL_MAGIC) if place >= 0 else None
    if header is None:
        return [data]
    end = place + HEADER_SIZE + header.payload_length
    payload = data[place + HEADER_SIZE : end]
    if linked_digest(payload) is None and loss_time(payload) is None:
        return [data]
    return [data, data[end:] or data[:place]]


def _last_of(data: bytes, start: int) -> int | None:
    """The time of the last of the records that stand from `start` to the end of this data; None if there is anything else."""
    count, behind = check_records(data, start)
    if not count or behind != len(data):
        return None
    time_ms = None
    while match := _RECORD.match(data, start):
        start += RECORD_HEADER_SIZE + int(match[1])
        time_ms = int(match[2])
    return time_ms


def time_at(offset: int, size: int) -> Steps[int | None]:
    """The time of the record at an offset of a segment of `size` bytes, or None if it tells none."""
    match = _ANY.match((yield Read(offset, min(size - offset, _HEAD_BYTES))))
    return int(match[1]) if match else None
