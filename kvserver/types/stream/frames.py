"""Streams in payloads of frames: JSON in pieces, and back, also in short steps. Pure.

    {"added":2,"entries":[["1526919030474-0","field","value"],…],"groups":{…},"last_id":"…","max_deleted_id":"0-0"}

A byte string stands as its name (`formats.names`). A stream counts as one only if the same JSON would be written of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from kvserver.data.entries import Entry, Expiring
from kvserver.formats.longcollection import LongRows
from kvserver.formats.longstring import TAG_END
from kvserver.formats.members import rows_pieces
from kvserver.formats.names import bytes_of
from kvserver.types.stream.entries import Entries
from kvserver.types.stream.group_forms import LongGroups, groups_of, groups_pieces
from kvserver.types.stream.ids import FIRST, LAST, MOST, Id, text_of
from kvserver.types.stream.stream import Stream

_NAMES: Final = {"added", "entries", "groups", "last_id", "max_deleted_id"}
# Redis's own limits of a node, by which a stream is divided when it is loaded.
_NODE_ENTRIES, _NODE_BYTES = 100, 4096
_HEAD: Final = re.compile(rb'\{"added":(0|[1-9][0-9]{0,19}),"entries":')
_GROUPS: Final = b',"groups":'
_ID: Final = rb"(?:0|[1-9][0-9]{0,19})-(?:0|[1-9][0-9]{0,19})"
_TAIL: Final = re.compile(rb',"last_id":"(%b)","max_deleted_id":"(%b)"\}' % (_ID, _ID))
_ID_TEXT: Final = re.compile(_ID)
# None of the texts between the long parts is longer.
_MOST_TEXT: Final = 128


def stream_pieces(stream: Stream) -> Iterator[bytes]:
    """Yield the canonical JSON of a stream; an empty piece is a step."""
    yield b'{"added":%d,"entries":' % stream.added
    yield from _entries_pieces(stream.entries)
    yield _GROUPS
    yield from groups_pieces(stream.groups)
    yield b',"last_id":"%b","max_deleted_id":"%b"}' % (text_of(stream.last_id), text_of(stream.max_deleted_id))


def stream_of_json(document: Any) -> Stream | None:
    """The stream that parsed JSON tells of, or None if `stream_pieces` writes none like this."""
    if not isinstance(document, dict) or document.keys() != _NAMES or type(document["added"]) is not int:
        return None
    builder = _Builder()
    for row in document["entries"] if isinstance(document["entries"], list) else [None]:
        names = row if isinstance(row, list) else [None]
        strings = [bytes_of(name) if isinstance(name, str) else None for name in names]
        if not strings or None in strings:
            return None
        builder.add([], [strings])
    groups = groups_of(document["groups"])
    last_id, max_deleted_id = (_id_in(document[name]) for name in ("last_id", "max_deleted_id"))
    if groups is None or last_id is None or max_deleted_id is None:
        return None
    stream = builder.stream
    stream.groups = groups
    return builder.finished(document["added"], last_id, max_deleted_id)


class LongStream:
    """The reader of a long stream (`data.kinds.LongReader`). `opening` and `expires_at_ms` are those of the tag."""

    def __init__(self, opening: bytes, expires_at_ms: int | None) -> None:
        self.has_ended = False
        self._opening = opening
        self._expires_at_ms = expires_at_ms
        self._builder = _Builder()
        self._entries = LongRows(b"", None, self._builder)
        self._groups = LongGroups()
        # The texts of the parts that were read to their ends: what stands in front of the entries, and behind the groups.
        self._head = self._tail = b""
        self._has_entries = self._has_groups = False
        self._stream: Stream | None = None

    def read(self, data: bytes, position: int) -> int | None:
        if not self._head:
            match = _HEAD.match(data, position)
            self._head = match[0] if match else b""
            return match.end() if match else self._more(data, position)
        if not self._has_entries:
            return self._read_entries(data, position)
        if not self._has_groups:
            return self._read_groups(data, position)
        match = _TAIL.match(data, position)
        if not match:
            return self._more(data, position)
        self._tail, self.has_ended = match[0], True
        last_id, max_deleted_id = _id_in(match[1].decode()), _id_in(match[2].decode())
        added = int(self._head.removeprefix(b'{"added":').partition(b",")[0])
        if last_id is not None and max_deleted_id is not None:
            self._builder.stream.groups = self._groups.groups
            self._stream = self._builder.finished(added, last_id, max_deleted_id)
        return match.end()

    def _read_entries(self, data: bytes, position: int) -> int | None:
        found = data[position : position + 2]
        if self._builder.is_empty and b"[]".startswith(found):
            self._has_entries = found == b"[]"
            return position + 2 if self._has_entries else position
        end = self._entries.read(data, position)
        self._has_entries = self._entries.has_ended
        return end if self._builder.is_ordered else None

    def _read_groups(self, data: bytes, position: int) -> int | None:
        if not self._groups.has_begun:
            if not data.startswith(_GROUPS, position):
                return self._more(data, position)
            self._groups.has_begun = True
            return position + len(_GROUPS)
        end = self._groups.read(data, position)
        self._has_groups = self._groups.has_ended
        return end

    @staticmethod
    def _more(data: bytes, position: int) -> int | None:
        """Ask for more data, if the text at the position may be cut off."""
        return position if len(data) - position < _MOST_TEXT else None

    def finish(self, data: bytes, position: int) -> tuple[Entry, int] | None:
        if self._stream is None or not data.startswith(TAG_END, position):
            return None
        entry = self._stream if self._expires_at_ms is None else Expiring(self._stream, self._expires_at_ms)
        return entry, position + len(TAG_END)

    def as_json(self) -> bytes:
        """The bytes that were read, as they stood there."""
        parts = [self._opening, self._head]
        if self._has_entries and self._builder.is_empty:
            parts.append(b"[]")
        else:
            parts.append(self._entries.as_json())
        if self._groups.has_begun:
            parts += _GROUPS, self._groups.as_json()
        return b"".join([*parts, self._tail])


class _Builder:
    """Makes the stream of a payload, whose entries come in order (`longcollection.Builder`).

    `is_ordered`: all that came so far are entries, each of which comes behind the one in front of it.
    """

    def __init__(self) -> None:
        self.stream = Stream()
        self.is_ordered = True
        self.is_empty = True
        # What came, as it came, if it is nothing of a stream.
        self._others: list[list[bytes]] = []

    def add(self, members: list[bytes], values: list[Any]) -> None:
        """Add entries: for each its id, and fields and values in turn."""
        self.is_empty = False
        entries, last = self.stream.entries, self.stream.last_id
        for row in values:
            identity = _id_in(row[0].decode("utf-8", "replace"))
            if not self.is_ordered or identity is None or identity <= last or len(row) < 3 or not len(row) % 2:
                self.is_ordered = False
                self._others.append(row)
                continue
            entries.add(identity, row[1:], _NODE_ENTRIES, _NODE_BYTES)
            last = identity
        self.stream.last_id = last

    def value(self) -> None:
        """Nothing: the stream is more than its entries."""
        return

    def pieces(self) -> Iterator[bytes]:
        """The JSON of all that was added."""
        return rows_pieces([*_rows(self.stream.entries), self._others])

    def finished(self, added: int, last_id: Id, max_deleted_id: Id) -> Stream | None:
        """The stream, or None if there is none like that."""
        stream = self.stream
        if not self.is_ordered or not stream.last_id <= last_id or not 0 <= added <= MOST:
            return None
        stream.added, stream.last_id, stream.max_deleted_id = added, last_id, max_deleted_id
        return stream


def _entries_pieces(entries: Entries) -> Iterator[bytes]:
    return rows_pieces(_rows(entries))


def _rows(entries: Entries) -> Iterator[list[list[bytes]]]:
    for items in entries.chunks():
        yield [[b"%d-%d" % identity, *strings] for identity, strings in items]


def _id_in(text: object) -> Id | None:
    """The id with this text, spelled as `text_of` does, or None."""
    if not isinstance(text, str) or not text.isascii() or not _ID_TEXT.fullmatch(text.encode()):
        return None
    milliseconds, _, sequence = text.partition("-")
    identity = int(milliseconds), int(sequence)
    return identity if FIRST <= identity <= LAST and identity[1] <= MOST else None
