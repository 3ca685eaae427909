"""The records of the journal, and the strict left-to-right scan of a segment. (A record is a frame: `frame` has its layout.)

A record is the write commands of one tick, or of some, as RESP: a tick is there as a whole or not at all. Before the commands
stands their time in a line of its own, `#EXACT:` and Unix milliseconds, as annotations stand in Redis's append-only files.
Exact records have a DEL for each key that has expired: nothing expires by itself when they are replayed. Older records lack
these, and have the line `#MS:`, or none. A version that wrote such ones takes `#EXACT:` for damage, and copies it aside.

A link is a record of the one command KVSERVER.LINK, whose argument is the SHA-256 of a snapshot's payload, or `-` for the
empty store: its segment and the later ones go on from there. It has the line `#MS:`, which older versions read, too. Pure, as
`scan` is: generators that ask for bytes (`Read`) and pause. The scan never searches for a magic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple, TypeVar

from kvserver._speedups.packing import pack_short
from kvserver.formats.frame import (
    DIGEST_HEX,
    HEADER_SIZE,
    JOURNAL_MAGIC,
    MAX_PAYLOAD_BYTES,
    UNWRITTEN,
    decode_header,
    encode_frame,
    encode_header,
    is_header_start,
)
from kvserver.formats.scan import CHUNK_BYTES, Read, Tail
from kvserver.resp.reply import CRLF, join_short
from kvserver.resp.request import Request, RequestParser

T = TypeVar("T")
Steps = Generator[Read | None, bytes, T]

EXACT_TIME = b"#EXACT:"
TIME = b"#MS:"
# The most digits that a time has.
TIME_DIGITS = 20
LINK = b"KVSERVER.LINK"
EMPTY_STORE = "-"
# A frame that several short payloads share takes no further one from this length on.
SHARED_FRAME_BYTES = 1 << 16
# A longer command stays in pieces when it is written, and is parsed in pieces when it is read.
LONG_COMMAND_BYTES = 1 << 18


class LongPayload:
    """A payload that holds long arguments: it stays in pieces, so that nobody copies these arguments."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = join_short(pieces)
        self._length = sum(map(len, self.pieces))

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)

    def digest(self, line: bytes) -> str:
        """The SHA-256 (hex) of this line and the payload behind it. Hashing gives up the interpreter's lock."""
        hasher = hashlib.sha256(line)
        for piece in self.pieces:
            hasher.update(piece)
        return hasher.hexdigest()


def pack(commands: Iterable[Request]) -> bytes | LongPayload:
    """The payload of a record of these commands."""
    requests = commands if type(commands) is list else list(commands)
    packed = pack_short(requests, LONG_COMMAND_BYTES)
    return LongPayload(_pieces(requests)) if packed is None else packed


def _pieces(requests: list[Request]) -> Iterator[bytes]:
    """Requests as RESP, in pieces, of which each argument of a long one is one."""
    for request in requests:
        if packed := pack_short([request], LONG_COMMAND_BYTES):
            yield packed
            continue
        yield b"*%d\r\n" % len(request)
        for argument in request:
            yield b"$%d\r\n" % len(argument)
            yield argument
            yield CRLF


def encode_records(payloads: Sequence[bytes | LongPayload], times_ms: Sequence[int] = ()) -> bytes:
    """The frames of some ticks' payloads, in order, with their times (Unix milliseconds) or, in the oldest form, without."""
    return b"".join(encode_pieces(payloads, times_ms))


def encode_pieces(payloads: Sequence[bytes | LongPayload], times_ms: Sequence[int] = ()) -> list[bytes]:
    """The frames of some ticks' payloads in pieces: in one, unless there are long payloads.

    Short payloads share a frame, which has the time of the newest, since each header costs 80 bytes and a hash.
    """
    pieces: list[bytes] = []
    frames: list[bytes] = []
    shared: list[bytes] = []
    length, shared_ms = 0, None
    for payload, time_ms in zip_longest(payloads, times_ms):
        if isinstance(payload, LongPayload):
            line = _exact_line(time_ms)
            header = encode_header(len(line) + len(payload), payload.digest(line), JOURNAL_MAGIC)
            pieces += (b"".join([*frames, *_shared_frame(shared, shared_ms), header, line]), *payload.pieces)
            frames, shared, length = [], [], 0
            continue
        shared.append(payload)
        shared_ms = time_ms
        length += len(payload)
        if length >= SHARED_FRAME_BYTES:
            frames += _shared_frame(shared, shared_ms)
            shared, length = [], 0
    frames += _shared_frame(shared, shared_ms)
    return [*pieces, b"".join(frames)] if frames else pieces


def _shared_frame(payloads: list[bytes], time_ms: int | None) -> tuple[bytes, ...]:
    """The frame of some payloads, or nothing if there are none. It is in pieces, so that joining them copies each one once."""
    if not payloads:
        return ()
    line, payload = _exact_line(time_ms), payloads[0] if len(payloads) == 1 else b"".join(payloads)
    hasher = hashlib.sha256(line)
    hasher.update(payload)
    return encode_header(len(line) + len(payload), hasher.hexdigest(), JOURNAL_MAGIC), line, payload


def _exact_line(time_ms: int | None) -> bytes:
    return b"" if time_ms is None else b"%b%d\r\n" % (EXACT_TIME, time_ms)


def read_line(payload: bytes) -> tuple[int | None, bool, int]:
    """Read the line that begins a payload.

    Return the time of its commands (Unix milliseconds) or None, True if the record is exact, and the length of the line in
    bytes. No line has the length 0.
    """
    for name in (EXACT_TIME, TIME):
        if payload.startswith(name):
            digits, separator, _ = payload[len(name) : len(name) + TIME_DIGITS + len(CRLF)].partition(CRLF)
            if separator and digits.isdigit():
                return int(digits), name is EXACT_TIME, len(name) + len(digits) + len(CRLF)
    return None, False, 0


def encode_link(digest: str, time_ms: int | None = None) -> bytes:
    """The frame of a link to the snapshot with this SHA-256, or to EMPTY_STORE."""
    line = b"" if time_ms is None else b"%b%d\r\n" % (TIME, time_ms)
    return encode_frame(line + bytes(pack([[LINK, digest.encode()]])), JOURNAL_MAGIC)


_LINK_PREFIX = bytes(pack([[LINK, b"0" * DIGEST_HEX]]))[: -DIGEST_HEX - len(CRLF)]
_LINK_TO_EMPTY = bytes(pack([[LINK, EMPTY_STORE.encode()]]))
_LONGEST_LINK_BYTES = len(TIME) + TIME_DIGITS + len(CRLF) + len(_LINK_PREFIX) + DIGEST_HEX + len(CRLF)


def linked_digest(payload: bytes) -> str | None:
    """The digest of the snapshot that a payload links to, or EMPTY_STORE; None if it is no link."""
    if len(payload) > _LONGEST_LINK_BYTES or payload.startswith(EXACT_TIME):
        return None
    _, _, length = read_line(payload)
    payload = payload[length:]
    if payload == _LINK_TO_EMPTY:
        return EMPTY_STORE
    if len(payload) == len(_LINK_PREFIX) + DIGEST_HEX + len(CRLF) and payload.startswith(_LINK_PREFIX):
        return payload[len(_LINK_PREFIX) : -len(CRLF)].decode("ascii", "replace")
    return None


class Link(NamedTuple):
    """A link in a segment: the offset of its frame (bytes), and the digest of the snapshot, or EMPTY_STORE."""

    offset: int
    digest: str


class SegmentScan:
    """The findings of a scan in a segment of `size` bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        # The number of valid frames, links included.
        self.records = 0
        self.links: list[Link] = []
        self.valid_length = 0
        self.tail = Tail.NONE
        self.reason = ""

    @property
    def tail_length(self) -> int:
        return self.size - self.valid_length


class Record(NamedTuple):
    """A frame's offset (bytes), its commands, and the time at which the newest of these ran (Unix milliseconds), or None.

    `is_exact`: nothing may expire by itself while this record and those behind it are replayed.
    """

    offset: int
    commands: list[Request]
    time_ms: int | None = None
    is_exact: bool = False


class RecordInvalid(Exception):
    """The frame at `offset` is no valid record; `tail` says if a crash may have left it, or if it is damaged."""

    def __init__(self, tail: Tail, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.tail = tail
        self.offset = offset


def scan_segment(size: int) -> Steps[SegmentScan]:
    """Scan a segment of `size` bytes: its valid frames, its links, and what lies behind the last valid frame."""
    result = SegmentScan(size)

    def visit(offset: int, payload: bytes) -> Iterable[None]:
        result.records += 1
        result.valid_length = offset + HEADER_SIZE + len(payload)
        if (digest := linked_digest(payload)) is not None:
            result.links.append(Link(offset, digest))
        return ()

    try:
        yield from _walk(size, visit, is_proven=False)
    except RecordInvalid as invalid:
        result.tail, result.reason = invalid.tail, str(invalid)
    return result


def read_records(valid_length: int, run: Callable[[Record], Iterable[None]]) -> Steps[None]:
    """Hand the records of the part that a scan has proven to `run`, but for links, and pause where that does.

    RecordInvalid for a frame that holds no commands.
    """

    parser = RequestParser(MAX_PAYLOAD_BYTES, takes_inline=False)

    def visit(offset: int, payload: bytes) -> Iterable[None]:
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
        if commands[0][0] != LINK:
            yield from run(Record(offset, commands, time_ms, is_exact))

    yield from _walk(valid_length, visit, is_proven=True)


def _walk(size: int, visit: Callable[[int, bytes], Iterable[None]], is_proven: bool) -> Steps[None]:
    """Go from frame to frame and have each visited, with its offset and payload. Checksums are looked at unless proven."""
    position = 0
    window, window_at = b"", 0
    while position < size:
        start = position - window_at
        data = window[start : start + HEADER_SIZE]
        if len(data) < HEADER_SIZE:
            window, window_at = (yield Read(position, CHUNK_BYTES)), position
            data = window[:HEADER_SIZE]
            start = 0
        header = decode_header(data, JOURNAL_MAGIC)
        if header is None:
            yield from _refuse_header(data, position, size)
            return
        length, digest = header
        end = start + HEADER_SIZE + length
        if position + HEADER_SIZE + length > size:
            yield from _refuse_short(position, size, length, digest)
        if end <= len(window):
            payload = window[start + HEADER_SIZE : end]
            is_valid = is_proven or hashlib.sha256(payload).hexdigest() == digest
        else:
            if HEADER_SIZE + length <= CHUNK_BYTES and start:
                window, window_at = (yield Read(position, CHUNK_BYTES)), position
                continue
            hasher = hashlib.sha256()
            payload = yield Read(position + HEADER_SIZE, length, None if is_proven else hasher)
            is_valid = is_proven or hasher.hexdigest() == digest
        if len(payload) < length:
            raise RecordInvalid(Tail.DAMAGED, "the segment became shorter while it was read", position)
        if not is_valid:
            raise RecordInvalid(Tail.DAMAGED, "the checksum does not match the payload", position)
        yield from visit(position, payload)
        yield None
        position += HEADER_SIZE + length


def _refuse_header(data: bytes, position: int, size: int) -> Generator[Read, bytes, None]:
    if len(data) < HEADER_SIZE and is_header_start(data, JOURNAL_MAGIC):
        raise RecordInvalid(Tail.TORN, "the segment ends inside a frame's header", position)
    if data == UNWRITTEN:
        # A crash leaves zeros in a file that grew, but whose bytes were not synced.
        for offset in range(position, size, CHUNK_BYTES):
            piece = yield Read(offset, min(CHUNK_BYTES, size - offset))
            if any(piece):
                raise RecordInvalid(Tail.DAMAGED, "there are zeros where a frame should begin, but not to the end", position)
        raise RecordInvalid(Tail.TORN, "there are only zeros", position)
    is_ours = data.startswith(JOURNAL_MAGIC)
    reason = "its length or checksum field is malformed" if is_ours else "these bytes begin no frame"
    raise RecordInvalid(Tail.DAMAGED, reason, position)


def _refuse_short(position: int, size: int, length: int, digest: str) -> Generator[Read, bytes, None]:
    """Refuse a frame that ends early: it is torn, unless what is there matches the checksum; then its length is damaged."""
    hasher = hashlib.sha256()
    start = position + HEADER_SIZE
    for offset in range(start, size, CHUNK_BYTES):
        yield Read(offset, min(CHUNK_BYTES, size - offset), hasher)
    if hasher.hexdigest() == digest:
        raise RecordInvalid(Tail.DAMAGED, "the payload is whole, but the length field says more", position)
    raise RecordInvalid(Tail.TORN, f"the frame ends after {size - start} of {length} payload bytes", position)
