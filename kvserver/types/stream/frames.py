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
from kvserver.types.stream.group_frames import LongGroups, groups_of, groups_pieces
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
    rows: list[list[bytes]] = []
    for names in document["entries"] if isinstance(document["entries"], list) else [None]:
        row = _strings(names)
        if row is None:
            return None
        rows.append(row)
    groups = groups_of(document["groups"])
    ids = _strings([document["last_id"], document["max_deleted_id"]])
    found = _ids_of(rows, None)
    if groups is None or ids is None or found is None:
        return None
    last_id, max_deleted_id = map(_id_in, ids)
    if last_id is None or max_deleted_id is None:
        return None
    builder = _Builder()
    if found:
        builder.add(found, rows)
    builder.stream.groups = groups
    return builder.finished(document["added"], last_id, max_deleted_id)


def _strings(names: Any) -> list[bytes] | None:
    """The byte strings with these names, or None if these are no names, or none at all."""
    if not isinstance(names, list) or not names:
        return None
    found: list[bytes] = []
    for name in names:
        string = bytes_of(name) if isinstance(name, str) else None
        if string is None:
            return None
        found.append(string)
    return found


class LongStream:
    """The reader of a long stream (`data.kinds.LongReader`). `opening` and `expires_at_ms` are those of the tag."""

    def __init__(self, opening: bytes, expires_at_ms: int | None) -> None:
        self.has_ended = False
        self._opening = opening
        self._expires_at_ms = expires_at_ms
        self._builder = _Builder()
        self._entries = _LongEntries(self._builder)
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
        last_id, max_deleted_id = _id_in(match[1]), _id_in(match[2])
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
        return end

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


class _LongEntries(LongRows):
    """The reader of the entries: for each its id, and fields and values in turn."""

    def __init__(self, builder: _Builder) -> None:
        super().__init__(b"", None, builder)
        self._last_id: Id | None = None

    def _parse(self, text: bytes) -> tuple[list[bytes], list[Any]] | None:
        found = super()._parse(text)
        ids = _ids_of(found[1], self._last_id) if found else None
        if not found or not ids:
            return None
        self._last_id = ids[-1]
        # The builder takes the ids as they were read.
        return ids, found[1]  # type: ignore[return-value]


class _Builder:
    """Makes the stream of a payload, whose entries come in order (`longcollection.Builder`)."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.is_empty = True

    def add(self, members: list[Any], values: list[Any]) -> None:
        """Add entries: the ids, and for each the text of its id, and fields and values in turn."""
        self.is_empty = False
        add = self.stream.entries.add
        for identity, row in zip(members, values, strict=True):
            add(identity, row[1:], _NODE_ENTRIES, _NODE_BYTES)
        self.stream.last_id = members[-1]

    def value(self) -> None:
        """Nothing: the stream is more than its entries."""
        return

    def pieces(self) -> Iterator[bytes]:
        """The JSON of all that was added."""
        return _entries_pieces(self.stream.entries)

    def finished(self, added: int, last_id: Id, max_deleted_id: Id) -> Stream | None:
        """The stream, or None if there is none like that."""
        stream = self.stream
        if not stream.last_id <= last_id or not 0 <= added <= MOST:
            return None
        stream.added, stream.last_id, stream.max_deleted_id = added, last_id, max_deleted_id
        return stream


def _ids_of(rows: list[list[bytes]], last: Id | None) -> list[Id] | None:
    """The ids of entries, the first of which comes behind an id, if one is given; or None if they are no entries in order."""
    ids: list[Id] = []
    for row in rows:
        identity = _id_in(row[0])
        if identity is None or (last is not None and identity <= last) or len(row) < 3 or not len(row) % 2:
            return None
        last = identity
        ids.append(identity)
    return ids


def _entries_pieces(entries: Entries) -> Iterator[bytes]:
    return rows_pieces(_rows(entries))


def _rows(entries: Entries) -> Iterator[list[list[bytes]]]:
    for items in entries.chunks():
        yield [[b"%d-%d" % identity, *strings] for identity, strings in items]


def _id_in(text: bytes) -> Id | None:
    """The id with this text, spelled as `text_of` does, or None."""
    if not _ID_TEXT.fullmatch(text):
        return None
    milliseconds, _, sequence = text.partition(b"-")
    identity = int(milliseconds), int(sequence)
    return identity if FIRST <= identity <= LAST and identity[1] <= MOST else None
