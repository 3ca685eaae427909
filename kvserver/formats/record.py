"""What the journal's frames hold, and the strict left-to-right scan of a segment (the frame's layout: `frame`).

A record is the write commands of one tick, or of some, as RESP: a tick is there as a whole or not at all. A link is a
record of the one command KVSERVER.LINK, whose argument is the SHA-256 of a snapshot's payload, or `-` for the empty store:
this segment and the later ones go on from there. Pure, as `scan` is: generators that ask for bytes (`Read`) and pause.
Never searches for a magic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple, TypeVar

import hiredis

from kvserver.formats.frame import (
    DIGEST_HEX,
    HEADER_SIZE,
    JOURNAL_MAGIC,
    MAX_PAYLOAD_BYTES,
    UNWRITTEN,
    decode_header,
    encode_frame,
    is_header_start,
)
from kvserver.formats.scan import CHUNK_BYTES, Read, Tail
from kvserver.resp.reply import BULK_HEADERS, CACHED_BULK_HEADERS, CRLF
from kvserver.resp.request import Command, RequestParser

T = TypeVar("T")
Steps = Generator[Read | None, bytes, T]

LINK = b"KVSERVER.LINK"
EMPTY_STORE = "-"
SHARED_FRAME_BYTES = 1 << 16


def pack(commands: Iterable[Command]) -> bytes:
    """The payload of a record."""
    pieces: list[bytes] = []
    for command in commands:
        # SET key value, of usual lengths, in a quarter of the time that hiredis takes: this is on every write's path.
        if len(command) == 3 and len(command[1]) < CACHED_BULK_HEADERS and len(command[2]) < CACHED_BULK_HEADERS:
            name, key, value = command
            headers = BULK_HEADERS[len(name)], BULK_HEADERS[len(key)], BULK_HEADERS[len(value)]
            pieces += (b"*3\r\n", headers[0], name, CRLF, headers[1], key, CRLF, headers[2], value, CRLF)
        else:
            pieces.append(hiredis.pack_command(tuple(command)))  # type: ignore[arg-type]  # tuple of one
    return b"".join(pieces)


def encode_records(payloads: Iterable[bytes]) -> bytes:
    """The frames of some ticks' payloads, in order. Short ones share a frame: each header costs 80 bytes and a hash."""
    frames: list[bytes] = []
    gathered: list[bytes] = []
    length = 0
    for payload in payloads:
        gathered.append(payload)
        length += len(payload)
        if length >= SHARED_FRAME_BYTES:
            frames.append(encode_frame(b"".join(gathered), JOURNAL_MAGIC))
            gathered, length = [], 0
    if gathered:
        frames.append(encode_frame(b"".join(gathered), JOURNAL_MAGIC))
    return b"".join(frames)


def encode_link(digest: str) -> bytes:
    """The frame of a link to the snapshot with this SHA-256, or to EMPTY_STORE."""
    return encode_records([pack([[LINK, digest.encode()]])])


_LINK_PREFIX = pack([[LINK, b"0" * DIGEST_HEX]])[: -DIGEST_HEX - len(CRLF)]
_LINK_TO_EMPTY = pack([[LINK, EMPTY_STORE.encode()]])


def linked_digest(payload: bytes) -> str | None:
    """What a payload links to, or None where it is no link."""
    if payload == _LINK_TO_EMPTY:
        return EMPTY_STORE
    if len(payload) == len(_LINK_PREFIX) + DIGEST_HEX + len(CRLF) and payload.startswith(_LINK_PREFIX):
        return payload[len(_LINK_PREFIX) : -len(CRLF)].decode("ascii", "replace")
    return None


class Link(NamedTuple):
    offset: int
    digest: str


class SegmentScan:
    """What a scan found in a segment of `size` bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.records = 0  # valid frames, links included
        self.links: list[Link] = []
        self.valid_length = 0
        self.tail = Tail.NONE
        self.reason = ""

    @property
    def tail_length(self) -> int:
        return self.size - self.valid_length


class Record(NamedTuple):
    """The commands of one frame, and where it begins."""

    offset: int
    commands: list[Command]


class RecordInvalid(Exception):
    """A frame that is no valid record: `tail` says of which kind, `offset` where it begins."""

    def __init__(self, tail: Tail, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.tail = tail
        self.offset = offset


def scan_segment(size: int) -> Steps[SegmentScan]:
    """Which frames of a segment are valid, where its links are, and what lies behind the last valid frame."""
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
    """Hand over the records, links left out, of the part that a scan has proven; pauses where `run` does.

    RecordInvalid for a frame that holds no commands.
    """

    parser = RequestParser(MAX_PAYLOAD_BYTES, takes_inline=False)

    def visit(offset: int, payload: bytes) -> Iterable[None]:
        commands = parser.feed(payload)
        while parser.has_unread:
            commands += parser.feed(b"")
        if parser.failure or not parser.is_idle or not commands:
            raise RecordInvalid(Tail.DAMAGED, "its checksum is right, but it holds no commands", offset)
        return () if commands[0][0] == LINK else run(Record(offset, commands))

    yield from _walk(valid_length, visit, is_proven=True)


def _walk(size: int, visit: Callable[[int, bytes], Iterable[None]], is_proven: bool) -> Steps[None]:
    """Go from frame to frame and have each visited, with its offset and payload. Checksums unless they are proven."""
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
    if data == UNWRITTEN:  # what a crash leaves of a file that grew, but whose bytes were not synced
        for offset in range(position, size, CHUNK_BYTES):
            piece = yield Read(offset, min(CHUNK_BYTES, size - offset))
            if any(piece):
                raise RecordInvalid(Tail.DAMAGED, "there are zeros where a frame should begin, but not to the end", position)
        raise RecordInvalid(Tail.TORN, "there are only zeros", position)
    is_ours = data.startswith(JOURNAL_MAGIC)
    reason = "its length or checksum field is malformed" if is_ours else "these bytes begin no frame"
    raise RecordInvalid(Tail.DAMAGED, reason, position)


def _refuse_short(position: int, size: int, length: int, digest: str) -> Generator[Read, bytes, None]:
    """A frame that ends early is torn, unless what is there matches the checksum: then its length field is damaged."""
    hasher = hashlib.sha256()
    start = position + HEADER_SIZE
    for offset in range(start, size, CHUNK_BYTES):
        yield Read(offset, min(CHUNK_BYTES, size - offset), hasher)
    if hasher.hexdigest() == digest:
        raise RecordInvalid(Tail.DAMAGED, "the payload is whole, but the length field says more", position)
    raise RecordInvalid(Tail.TORN, f"the frame ends after {size - start} of {length} payload bytes", position)
