"""Large collections of a payload, which come in pieces: arrays of strings or of pairs, and objects, in short steps. Pure.

A piece is some whole members. They are parsed and written again (`members`): if the same bytes come out, the piece is
canonical, and goes to a builder, which becomes the value. If other bytes come out, or members are not in their order, the tag
was written elsewhere and is a user's document: `as_json` writes what was read of it once more, and the decoder reads it as a
whole. A member that is longer than a piece is one step.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain, islice, pairwise, starmap
from operator import lt
from sys import maxsize
from typing import Any, Final, Protocol

import orjson

from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.kinds import VALUE
from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.longstring import TAG_END
from kvserver.formats.members import INFINITIES, LATEST_MS, Timed, array_text, object_text, pairs_text, rows_text
from kvserver.formats.names import RESERVED, bytes_of
from kvserver.formats.tags import EXPIRY

_RESERVED_TEXT: Final = RESERVED.decode()
# A piece is shorter than that of a string, since a member takes longer than its bytes.
_PIECES: Final = 16
# Two strings and what is around them. No score is longer, with what is around that.
_MOST_PARTS: Final = 5
_MOST_OUTSIDE: Final = 64
# A member of an object, where escapes are gone. Its value may be one that expires: that makes four strings.
_FIELD: Final = rb'"[^"]*+":(?:"[^"]*+"|\{"%b":[0-9]++,"%b":"[^"]*+"\})' % (EXPIRY.encode(), VALUE.encode())
# Those that have something behind them.
_FIELDS: Final = re.compile(rb"(?:%b,)*+(?:%b(?=\}))?+" % (_FIELD, _FIELD))
_MOST_PARTS_OF_FIELD: Final = 9


class Builder(Protocol):
    """What is made of a collection's members, which come some hundred at a time."""

    def add(self, members: list[bytes], values: list[Any]) -> None:
        """Add members behind those that were added: with the values of an object's fields or the scores of pairs, if any."""

    def value(self) -> Value | None:
        """The value for all that was added, which is not empty, or None if the kind does not write it like this."""

    def pieces(self) -> Iterator[bytes]:
        """The JSON of all that was added."""


class _LongCollection(ABC):
    """A LongReader of a tag around a collection, which a builder makes. `expires_at_ms`: the tag's, if it has one."""

    _brackets = b"[]"
    # What stands between two members, and behind the last one. A member ends behind the first bytes of these.
    _between = b","
    _behind = b"]"
    # The number of parts between quotes that one member may have.
    _most_parts = _MOST_PARTS

    def __init__(self, opening: bytes, expires_at_ms: int | None, builder: Builder) -> None:
        # The last bracket has been read.
        self.has_ended = False
        self._opening = opening
        self._expires_at_ms = expires_at_ms
        self._builder = builder
        self._has_begun = False
        self._is_empty = True
        # The number of bytes in which whole members are looked for; None: as usual.
        self._wanted: int | None = None

    @abstractmethod
    def _parse(self, text: bytes) -> tuple[list[bytes], list[Any]] | None:
        """The members in a text, and their values, or None if the kind does not write them like this behind the others."""

    def read(self, data: bytes, position: int) -> int | None:
        if not self._has_begun:
            bracket = data[position : position + 1]
            if bracket != self._brackets[:1]:
                return None if bracket else position
            self._has_begun = True
            return position + 1
        size = self._wanted or PIECE_BYTES // _PIECES
        try:
            while (end := self._end(piece := data[position : position + size])) is None:
                if len(piece) < size:
                    self._wanted = size
                    return position
                size *= 2
            self._wanted = None
            found = self._parse(piece[:end])
        except (ValueError, TypeError):
            # Text that is no JSON, or has no UTF-8, is read again as a whole, and refused there.
            return None
        if not found or not found[0]:
            return None
        self._builder.add(*found)
        self._is_empty = False
        self.has_ended = piece[end : end + 1] == self._brackets[1:]
        return position + end + 1

    def _end(self, piece: bytes) -> int | None:
        """The position behind the last of the whole members in a piece, or None if a member may be longer than it.

        ValueError if there is none, however long the piece becomes.
        """
        parts = _masked(piece).split(b'"')
        within = len(self._between) // 2
        if self._behind in b'"'.join(parts[::2]):
            index = next(index for index in range(0, len(parts), 2) if self._behind in parts[index])
            return len(b'"'.join([*parts[:index], b""])) + parts[index].index(self._behind) + within
        end = len(piece)
        for index in reversed(range(len(parts))):
            end -= len(parts[index])
            if not index % 2 and (place := parts[index].rfind(self._between)) >= 0:
                return end + place + within
            end -= len(b'"')
        _check_parts(parts, self._most_parts)
        return None

    def finish(self, data: bytes, position: int) -> tuple[Entry, int] | None:
        """Return the entry and the position of its end, by what stands behind the last bracket, or None if this is no tag."""
        value = self._builder.value() if data.startswith(TAG_END, position) else None
        if value is None:
            return None
        entry = value if self._expires_at_ms is None else Expiring(value, self._expires_at_ms)
        return entry, position + len(TAG_END)

    def as_json(self) -> bytes:
        """The bytes that were read, as they stood there."""
        if self._is_empty:
            return self._opening + self._brackets[: self._has_begun]
        text = b"".join(self._builder.pieces())
        return self._opening + (text if self.has_ended else text[:-1] + b",")


class LongArray(_LongCollection):
    """The reader of an array of strings. `is_sorted`: they stand in the order of their names, none of them twice."""

    def __init__(self, opening: bytes, expires_at_ms: int | None, builder: Builder, *, is_sorted: bool) -> None:
        super().__init__(opening, expires_at_ms, builder)
        self._is_sorted = is_sorted
        self._last: list[str] = []

    def _parse(self, text: bytes) -> tuple[list[bytes], list[Any]] | None:
        names = orjson.loads(b"[%b]" % text)
        members = _members_of(names)
        if members is None or array_text(members) != text:
            return None
        if self._is_sorted:
            if not _ascend([*self._last, *names]):
                return None
            self._last = names[-1:]
        return members, []


class LongObject(_LongCollection):
    """The reader of an object of strings, and of values that expire (`members.Timed`), by the names of its fields."""

    _brackets = b"{}"

    def __init__(self, opening: bytes, expires_at_ms: int | None, builder: Builder) -> None:
        super().__init__(opening, expires_at_ms, builder)
        self._last: list[str] = []

    def _end(self, piece: bytes) -> int | None:
        masked = _masked(piece)
        match = _FIELDS.match(masked)
        assert match is not None
        end = match.end()
        if end:
            return end - masked.startswith(b",", end - 1)
        _check_parts(masked.split(b'"'), _MOST_PARTS_OF_FIELD)
        return None

    def _parse(self, text: bytes) -> tuple[list[bytes], list[Any]] | None:
        document = orjson.loads(b"{%b}" % text)
        names = list(document)
        fields, values = _members_of(names), _values_of(list(document.values()))
        if fields is None or values is None or object_text(fields, values) != text or not _ascend([*self._last, *names]):
            return None
        self._last = names[-1:]
        return fields, values


class LongPairs(_LongCollection):
    """The reader of an array of pairs, each of a string and its score, by score and then by the bytes of the string.

    The builder has to look if a string comes twice.
    """

    _between = b"],["
    _behind = b"]]"

    def __init__(self, opening: bytes, expires_at_ms: int | None, builder: Builder) -> None:
        super().__init__(opening, expires_at_ms, builder)
        self._last: list[tuple[float, bytes]] = []

    def _parse(self, text: bytes) -> tuple[list[bytes], list[Any]] | None:
        names, scores = map(list, zip(*orjson.loads(b"[%b]" % text), strict=True))
        members = _members_of(names)
        scores = [INFINITIES.get(score) if isinstance(score, str) else score for score in scores]
        if members is None or set(map(type, scores)) != {float} or pairs_text(members, scores) != text:
            return None
        pairs = list(zip(scores, members, strict=True))
        if not _ascend([*self._last, *pairs]):
            return None
        self._last = pairs[-1:]
        return members, scores


class LongRows(_LongCollection):
    """The reader of an array of arrays of strings, none of which is empty. The builder has to look at their order."""

    _between = b"],["
    _behind = b"]]"
    _most_parts = maxsize

    def _parse(self, text: bytes) -> tuple[list[bytes], list[Any]] | None:
        rows = orjson.loads(b"[%b]" % text)
        if not all(rows):
            return None
        members = _members_of(list(chain.from_iterable(rows)))
        if members is None:
            return None
        rest = iter(members)
        values = [list(islice(rest, len(row))) for row in rows]
        if rows_text(values) != text:
            return None
        return [row[0] for row in values], values


def _members_of(names: list[Any]) -> list[bytes] | None:
    """The byte strings with these names, or None if they are not all names."""
    if set(map(type, names)) != {str}:
        return None
    if _RESERVED_TEXT not in "".join(names):
        return list(map(str.encode, names))
    members: list[bytes] = []
    for name in names:
        member = bytes_of(name)
        if member is None:
            return None
        members.append(member)
    return members


def _values_of(values: list[Any]) -> list[bytes] | list[bytes | Timed] | None:
    """The values of an object that JSON tells like this, or None if the encoder tells none like this."""
    if dict not in map(type, values):
        return _members_of(values)
    found: list[bytes | Timed] = []
    for value in values:
        expires_at_ms, name = (value.get(EXPIRY), value.get(VALUE)) if isinstance(value, dict) else (None, value)
        content = bytes_of(name) if isinstance(name, str) else None
        if content is None:
            return None
        if name is value:
            found.append(content)
        elif type(expires_at_ms) is int and 0 < expires_at_ms <= LATEST_MS:
            found.append(Timed(content, expires_at_ms))
        else:
            return None
    return found


def _masked(piece: bytes) -> bytes:
    """A piece without escaped quotes, so that the others begin and end strings."""
    return piece.replace(rb"\\", b"..").replace(rb"\"", b"..")


def _check_parts(parts: list[bytes], most: int) -> None:
    """Raise ValueError if a piece, in the parts between its quotes, can't be the beginning of one member."""
    if len(parts) > most or max(map(len, parts[::2])) > _MOST_OUTSIDE:
        raise ValueError("no member")


def _ascend(items: list[Any]) -> bool:
    return all(starmap(lt, pairwise(items)))
