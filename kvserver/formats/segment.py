"""The strict left-to-right scan of a segment of the journal, and the reading of its records.

Pure, as `scan` is: generators that ask for bytes (`Read`) and pause. The scan never searches for a magic. A segment may hold
frames of both layouts (`frame`), since older versions wrote another one. Of records as they are written now, many are passed
at once (`_speedups/records`); whatever is wrong with one is found and told where frames are taken one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple, Protocol, TypeVar

from kvserver._speedups.records import check_records, split_records
from kvserver.formats.frame import (
    CRC32,
    HEADER_SIZE,
    JOURNAL_MAGIC,
    MAX_PAYLOAD_BYTES,
    RECORD_HEADER_SIZE,
    RECORD_MAGIC,
    UNWRITTEN,
    decode_header,
    decode_record_header,
    is_journal_header_start,
)
from kvserver.formats.record import LINK, LONG_COMMAND_BYTES, LOSS, linked_digest, loss_time, read_line
from kvserver.formats.scan import CHUNK_BYTES, Hasher, Read, Tail
from kvserver.resp.request import Request, RequestParser

T = TypeVar("T")
Steps = Generator[Read | None, bytes, T]

# So many commands are read at once, or somewhat more, since a record is never divided.
_COMMANDS_AT_ONCE = 1024
# In the rest of a segment, so many places are looked at where a record may begin.
_PLACES = 64
_BECAME_SHORTER = "the segment became shorter while it was read"


class Link(NamedTuple):
    """A link in a segment: the offset of its frame (bytes), and the digest of the snapshot, or EMPTY_STORE."""

    offset: int
    digest: str


class Loss(NamedTuple):
    """A loss in a segment: the offset of its frame (bytes), and the time at which it was found (Unix milliseconds)."""

    offset: int
    time_ms: int


class SegmentScan:
    """The findings of a scan in a segment of `size` bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        # The number of valid frames, links and losses included.
        self.records = 0
        self.links: list[Link] = []
        self.losses: list[Loss] = []
        self.valid_length = 0
        self.tail = Tail.NONE
        self.reason = ""

    @property
    def tail_length(self) -> int:
        return self.size - self.valid_length


class Records(NamedTuple):
    """Some records in a row: where their frames begin, how many commands end with each, and all commands.

    Frames begin `starts` bytes behind the offset `base`: nearly nobody asks for the offset of one.
    `is_exact`: nothing may expire by itself while they and those behind them are replayed. If it is False, this is one record,
    and `time_ms` is the time at which the newest of its commands ran (Unix milliseconds), or None.
    """

    base: int
    starts: list[int]
    ends: list[int]
    commands: list[Request]
    is_exact: bool = False
    time_ms: int | None = None

    def offset(self, number: int) -> int:
        """The offset of the frame of a record, by its place among these."""
        return self.base + self.starts[number]


class RecordInvalid(Exception):
    """The frame at `offset` is no valid record; `tail` says if a crash may have left it, or if it is damaged."""

    def __init__(self, tail: Tail, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.tail = tail
        self.offset = offset


class Visitor(Protocol):
    """One who is shown the frames of a segment, in order."""

    is_proven: bool
    """The checksums have been looked at before."""

    def pass_usual(self, window: bytes, start: int, window_at: int) -> Generator[None, None, int]:
        """Take frames at `start` of a window that begins at the offset `window_at`. Return the place behind them in it."""

    def visit(self, offset: int, end: int, payload: bytes) -> Iterable[None]:
        """Take one frame: its offset, that of its end, and its payload."""


class _Scanner:
    is_proven = False

    def __init__(self, size: int) -> None:
        self.result = SegmentScan(size)

    def pass_usual(self, window: bytes, start: int, window_at: int) -> Generator[None, None, int]:
        count, behind = check_records(window, start)
        if count:
            self.result.records += count
            self.result.valid_length = window_at + behind
            yield
        return behind

    def visit(self, offset: int, end: int, payload: bytes) -> Iterable[None]:
        self.result.records += 1
        self.result.valid_length = end
        if (digest := linked_digest(payload)) is not None:
            self.result.links.append(Link(offset, digest))
        elif (time_ms := loss_time(payload)) is not None:
            self.result.losses.append(Loss(offset, time_ms))
        return ()


def scan_segment(size: int) -> Steps[SegmentScan]:
    """Scan a segment of `size` bytes: its valid frames, its links and losses, and what lies behind the last valid frame."""
    scanner = _Scanner(size)
    try:
        yield from walk(size, scanner)
    except RecordInvalid as invalid:
        scanner.result.tail, scanner.result.reason = invalid.tail, str(invalid)
    return scanner.result


class _Reader:
    is_proven = True

    def __init__(self, run: Callable[[Records], Iterable[None]]) -> None:
        self._run = run
        self._parser = RequestParser(MAX_PAYLOAD_BYTES, takes_inline=False)

    def pass_usual(self, window: bytes, start: int, window_at: int) -> Generator[None, None, int]:
        while True:
            starts, ends, commands, behind = split_records(window, start, _COMMANDS_AT_ONCE)
            if not starts:
                return behind
            yield from self._run(Records(window_at, starts, ends, commands, is_exact=True))
            start = behind

    def visit(self, offset: int, end: int, payload: bytes) -> Iterable[None]:
        parser = self._parser
        # Only the start is cut, so that nobody copies a long value.
        start_of_payload = payload[:LONG_COMMAND_BYTES]
        time_ms, is_exact, length = read_line(start_of_payload)
        commands = parser.feed(start_of_payload[length:])
        while parser.has_unread:
            commands += parser.feed(b"")
        for start in range(LONG_COMMAND_BYTES, len(payload), LONG_COMMAND_BYTES):
            yield None
            commands += parser.feed(payload[start : start + LONG_COMMAND_BYTES])
            while parser.has_unread:
                commands += parser.feed(b"")
        if parser.failure or not parser.is_idle or not commands:
            raise RecordInvalid(Tail.DAMAGED, "its checksum is right, but it holds no commands", offset)
        if commands[0][0] not in (LINK, LOSS):
            yield from self._run(Records(offset, [0], [len(commands)], commands, is_exact, time_ms))


def read_records(valid_length: int, run: Callable[[Records], Iterable[None]], start: int = 0) -> Steps[None]:
    """Hand the records of the part that a scan has proven to `run`, but for links and losses, and pause where that does.

    `start` is the offset of the first of them (bytes). RecordInvalid for a frame that holds no commands.
    """
    yield from walk(valid_length, _Reader(run), start)


def walk(size: int, visitor: Visitor, position: int = 0) -> Steps[None]:
    """Go from frame to frame, from a position on, and have the visitor take each.

    Checksums are looked at unless they are proven. RecordInvalid for the first frame that is not valid.
    """
    window, window_at = b"", position
    while position < size:
        start = yield from visitor.pass_usual(window, position - window_at, window_at)
        position = window_at + start
        if position >= size:
            break
        data = window[start : start + HEADER_SIZE]
        if len(data) < HEADER_SIZE and window_at + len(window) < size:
            # No byte beyond `size` is among it: those may be no part of what was proven.
            length = min(CHUNK_BYTES, size - position)
            window, window_at = (yield Read(position, length)), position
            if len(window) < length:
                raise RecordInvalid(Tail.DAMAGED, _BECAME_SHORTER, position)
            continue
        header = _decode_header(data)
        if header is None:
            yield from _refuse_header(data, position, size)
            return
        header_size, length, digest, hasher = header
        behind = position + header_size + length
        if behind > size:
            yield from _refuse_short(position, size, header)
        if behind <= window_at + len(window):
            payload = window[start + header_size : behind - window_at]
            if not visitor.is_proven:
                hasher.update(payload)
        else:
            if header_size + length <= CHUNK_BYTES and start:
                # The window begins with this frame then.
                window, window_at = b"", position
                continue
            payload = yield Read(position + header_size, length, None if visitor.is_proven else hasher)
        if len(payload) < length:
            raise RecordInvalid(Tail.DAMAGED, _BECAME_SHORTER, position)
        if not visitor.is_proven and hasher.hexdigest() != digest:
            raise RecordInvalid(Tail.DAMAGED, "the checksum does not match the payload", position)
        yield from visitor.visit(position, behind, payload)
        yield None
        position = behind


class _Checksum(Hasher, Protocol):
    def hexdigest(self) -> str: ...


class _Header(NamedTuple):
    """The header's own size (bytes), what it promises, and a new object that computes the checksum which it has."""

    size: int
    payload_length: int
    digest: str
    hasher: _Checksum


def _decode_header(data: bytes) -> _Header | None:
    """The header, of either layout, at the start of these HEADER_SIZE bytes, or fewer before the end of the segment.

    That of an empty payload is none: nobody writes it, and where a header's digits are all zeros, its checksum would be right.
    """
    if data.startswith(RECORD_MAGIC):
        header = decode_record_header(data[:RECORD_HEADER_SIZE])
        return _Header(RECORD_HEADER_SIZE, *header, CRC32()) if header and header.payload_length else None
    header = decode_header(data, JOURNAL_MAGIC)
    return _Header(HEADER_SIZE, *header, hashlib.sha256()) if header and header.payload_length else None


def _refuse_header(data: bytes, position: int, size: int) -> Generator[Read, bytes, None]:
    if is_journal_header_start(data):
        raise RecordInvalid(Tail.TORN, "the segment ends inside a frame's header", position)
    if data == UNWRITTEN:
        # A crash leaves zeros in a file that grew, but whose bytes were not synced.
        for offset in range(position, size, CHUNK_BYTES):
            piece = yield Read(offset, min(CHUNK_BYTES, size - offset))
            if any(piece):
                raise RecordInvalid(Tail.DAMAGED, "there are zeros where a frame should begin, but not to the end", position)
        raise RecordInvalid(Tail.TORN, "there are only zeros", position)
    is_ours = data.startswith((JOURNAL_MAGIC, RECORD_MAGIC))
    reason = "its length or checksum field is malformed" if is_ours else "these bytes begin no frame"
    raise RecordInvalid(Tail.DAMAGED, reason, position)


def _holds_record(data: bytes) -> bool:
    """True if a whole record stands somewhere in this data. Not all places are looked at where many look like one."""
    start = data.find(RECORD_MAGIC)
    for _ in range(_PLACES):
        if start < 0:
            break
        if check_records(data, start)[0]:
            return True
        start = data.find(RECORD_MAGIC, start + 1)
    return False


def _refuse_short(position: int, size: int, header: _Header) -> Generator[Read, bytes, None]:
    """Refuse a frame that ends early: it is torn, unless what is there shows that its length is damaged.

    Then it matches the checksum, or has whole records in it, which came behind the frame. They may also be part of a value
    that was torn: then a copy is made of what nobody needs.
    """
    start = position + header.size
    holds_records = False
    for offset in range(start, size, CHUNK_BYTES):
        piece = yield Read(offset, min(CHUNK_BYTES, size - offset), header.hasher)
        holds_records = holds_records or _holds_record(piece)
    if header.hasher.hexdigest() == header.digest:
        raise RecordInvalid(Tail.DAMAGED, "the payload is whole, but the length field says more", position)
    if holds_records:
        raise RecordInvalid(Tail.DAMAGED, "the length field says more than there is, and there are whole records", position)
    raise RecordInvalid(Tail.TORN, f"the frame ends after {size - start} of {header.payload_length} payload bytes", position)
