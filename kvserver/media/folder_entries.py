"""The layout of the files of a log in a shared folder: entries in segments, and where they end. Pure: bytes in, bytes out.

    KVE1 <epoch> <number> <mark's number> <mark's digest> <length> <check>\\n<data>

Each field has a fixed width, so the header has HEADER_BYTES. `check` is the BLAKE2b of the header before it and of the data.
The name of a segment is the position behind which its entries stand. The end of the log stands in a file of its own, as a
line of numbers and their CRC-32 (`End`). Behind it a writer says which bytes it is about to add (`Pending`), until it has.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from kvserver.errors import MediumError
from kvserver.formats.manifest import Position
from kvserver.media.shared import MARK_DIGEST_HEX, Entry, Mark

MAGIC: Final = b"KVE1 "
_CHECK_HEX: Final = 32
_NO_DIGEST: Final = "-" * MARK_DIGEST_HEX
_FIELDS: Final = re.compile(rb"KVE1 (\d{20}) (\d{20}) (\d{20}) ([0-9a-f]{32}|-{32}) (\d{10}) ([0-9a-f]{32})\n")
HEADER_BYTES: Final = 5 + 3 * 21 + MARK_DIGEST_HEX + 1 + 11 + _CHECK_HEX + 1

_END = re.compile(rb"(\d{20}) (\d{20}) (\d{20}) (\d{20}) (\d{20}) ([0-9a-f]{8})\n")
END_BYTES: Final = 5 * 21 + 9
_PENDING = re.compile(rb"(\d{20}) (\d{20}) (\d{20}) (\d{20}) ([0-9a-f]{8})\n")
PENDING_BYTES: Final = 4 * 21 + 9

_SEGMENT = re.compile(r"log-(\d{20})-(\d{20})\.entries")


class End(NamedTuple):
    """The end of the log: the last entry, and where it ends in the segment that begins behind `segment`."""

    segment: Position
    offset: int
    last: Position

    def encode(self) -> bytes:
        """The END_BYTES of its line."""
        line = b"%020d %020d %020d %020d %020d " % (*self.segment, self.offset, *self.last)
        return b"%b%08x\n" % (line, zlib.crc32(line))


def decode_end(line: bytes) -> End | None:
    """The end that a line tells, or None if it is not whole."""
    match = _END.fullmatch(line)
    if not match or zlib.crc32(line[: match.start(6)]) != int(match[6], 16):
        return None
    epoch, number, offset, last_epoch, last_number = (int(match[index]) for index in range(1, 6))
    return End(Position(epoch, number), offset, Position(last_epoch, last_number))


class Pending(NamedTuple):
    """The bytes that a writer is about to add: from `begin` to `end` of the segment that begins behind `segment`."""

    segment: Position
    begin: int
    end: int

    def encode(self) -> bytes:
        """The PENDING_BYTES of its line."""
        line = b"%020d %020d %020d %020d " % (*self.segment, self.begin, self.end)
        return b"%b%08x\n" % (line, zlib.crc32(line))


def decode_pending(line: bytes) -> Pending | None:
    """The bytes that a line tells, or None if it is not whole, or tells of none."""
    match = _PENDING.fullmatch(line)
    if not match or zlib.crc32(line[: match.start(5)]) != int(match[5], 16):
        return None
    epoch, number, begin, end = (int(match[index]) for index in range(1, 5))
    return Pending(Position(epoch, number), begin, end)


def segment_name(behind: Position) -> str:
    """The name of the segment whose entries stand behind this position."""
    return f"log-{behind.number:020d}-{behind.epoch:020d}.entries"


def segments_among(names: Iterable[str]) -> list[Position]:
    """The positions behind which these segments begin, in order. Other names are left out."""
    matches = (_SEGMENT.fullmatch(name) for name in names)
    return sorted((Position(int(match[2]), int(match[1])) for match in matches if match), key=lambda found: found.number)


def encode_entry(entry: Entry) -> bytes:
    """The bytes of an entry."""
    (epoch, number), mark, data = entry
    start = b"KVE1 %020d %020d %020d %b %010d " % (epoch, number, mark.number, (mark.digest or _NO_DIGEST).encode(), len(data))
    return b"%b%b\n%b" % (start, _check(start, data), data)


def take_entry(content: bytes, at: int) -> tuple[Entry, int] | None:
    """The entry that begins at this place of a segment's content, and where it ends; None if the content ends amid it.

    MediumError if no entry begins there.
    """
    header = content[at : at + HEADER_BYTES]
    if len(header) < HEADER_BYTES:
        if not header.startswith(MAGIC[: len(header)]):
            raise MediumError("no entry begins there")
        return None
    match = _FIELDS.fullmatch(header)
    if not match:
        raise MediumError("no entry begins there")
    end = at + HEADER_BYTES + int(match[5])
    if len(content) < end:
        return None
    data = content[at + HEADER_BYTES : end]
    if _check(header[: match.start(6)], data) != match[6]:
        raise MediumError("the entry there is damaged")
    epoch = int(match[1])
    digest = match[4].decode().removeprefix(_NO_DIGEST)
    return Entry(Position(epoch, int(match[2])), Mark(epoch, int(match[3]), digest), data), end


def has_entry_behind(content: bytes, at: int, number: int) -> bool:
    """True if a valid entry of a later number than this one begins anywhere behind a place."""
    while (at := content.find(MAGIC, at + 1)) >= 0:
        try:
            found = take_entry(content, at)
        except MediumError:
            continue
        if found and found[0].position.number > number:
            return True
    return False


def _check(start: bytes, data: bytes) -> bytes:
    hasher = hashlib.blake2b(start, digest_size=_CHECK_HEX // 2)
    hasher.update(data)
    return hasher.hexdigest().encode()
