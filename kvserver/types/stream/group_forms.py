"""The consumer groups of a stream in payloads of frames, and in those of DUMP and RESTORE. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import orjson

from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import BAD_FORMAT, Reader, write_length
from kvserver.types.stream.group import Group

# The text behind the groups of a stream. Nothing in them is like this: a quote within a string is escaped.
_BEHIND: Final = re.compile(rb',"last_id":"[0-9]+-[0-9]+","max_deleted_id":"')
_MOST_BEHIND: Final = 128


def groups_pieces(groups: Mapping[bytes, Group]) -> Iterator[bytes]:
    """Yield the canonical JSON of the groups, by name, in pieces; an empty piece is a step."""
    yield b"{}"


def groups_of(document: object) -> dict[bytes, Group] | None:
    """The groups that parsed JSON tells of, or None if `groups_pieces` writes none like this."""
    return {} if document == {} else None


def write_groups(groups: Mapping[bytes, Group]) -> bytes:
    """The groups behind the entries in a payload of DUMP: their number, and each of them in the order of names."""
    return write_length(0)


def read_groups(reader: Reader, dump_type: int, max_bytes: int) -> dict[bytes, Group]:
    """Read the groups behind the entries in a payload of this type. DumpInvalid for what is none.

    No compressed string in it may have more than `max_bytes` bytes.
    """
    if reader.length():
        raise DumpInvalid(BAD_FORMAT)
    return {}


class LongGroups:
    """Reads the groups of a long stream, which come in chunks.

    `has_begun` is set by the caller, when what stands in front of the groups was read. `has_ended`: the groups have been read,
    and are in `groups`.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self.has_ended = False
        self.groups: dict[bytes, Group] = {}
        self._text = bytearray()

    def read(self, data: bytes, position: int) -> int | None:
        """Read a piece: as `data.kinds.LongReader.read`."""
        match = _BEHIND.search(data, position)
        end = match.start() if match else max(position, len(data) - _MOST_BEHIND)
        if match:
            text = self._text + data[position:end]
            try:
                groups = groups_of(orjson.loads(text))
            except ValueError:
                return None
            if groups is None or b"".join(groups_pieces(groups)) != text:
                return None
            self.has_ended = True
            self.groups = groups
        self._text += data[position:end]
        return end

    def as_json(self) -> bytes:
        """What was read so far."""
        return bytes(self._text)
