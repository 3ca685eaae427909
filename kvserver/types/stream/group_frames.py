"""The consumer groups of a stream in payloads of frames. Pure.

In a frame each group stands by its name, with those of its consumers and when they were seen, and with each pending entry,
its consumer, and when and how often it was delivered:

    {"workers":{"consumers":[["alice",1526919030700]],"entries_read":1,"last_id":"1526919030474-0",
                "pending":[["1526919030474-0","alice",1526919030500,1]]}}

`entries_read` is null where it is not known, and never -1, which stands for that in a group. Consumers come in the order of
their names, entries in that of their ids. The form counts as groups only if the same JSON would be written of them.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import orjson

from kvserver.containers.named import Named
from kvserver.errors import PayloadInvalid
from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.longcollection import LongRows
from kvserver.formats.nameorder import by_name
from kvserver.formats.names import bytes_of, name_of
from kvserver.types.stream.group import COUNTS, UNKNOWN, Consumer, Group, Groups
from kvserver.types.stream.ids import LAST, MOST, Id, text_of

_CONSUMERS, _PENDING = b'{"consumers":', b',"pending":'
_FACTS: Final = re.compile(rb',"entries_read":(null|0|-?[1-9][0-9]{0,18}),"last_id":"([0-9]{1,20}-[0-9]{1,20})","pending":')
_NAME: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
NO_GROUPS: Final = "these are no consumer groups"
_NAMES: Final = {"consumers", "entries_read", "last_id", "pending"}
# No text between the names and the arrays is longer.
_MOST_TEXT: Final = 128
_MOST_INTEGER: Final = 2**63 - 1


def groups_pieces(groups: Groups) -> Iterator[bytes]:
    """Yield the canonical JSON of the groups, by name, in pieces; an empty piece is a step."""
    opening = b"{"
    for names in by_name(groups.chunks()):
        yield b""
        for name in names or ():
            group = groups.get(name)
            assert group is not None
            yield opening + orjson.dumps(name_of(name)) + b":"
            yield from _group_pieces(group)
            opening = b","
    yield b"}" if opening == b"," else b"{}"


def _group_pieces(group: Group) -> Iterator[bytes]:
    read = b"null" if group.entries_read == UNKNOWN else b"%d" % group.entries_read
    yield _CONSUMERS
    yield from _array_pieces(_consumer_rows(group))
    yield b',"entries_read":%b,"last_id":"%b"' % (read, text_of(group.last_id))
    yield _PENDING
    yield from _array_pieces(_pending_rows(group))
    yield b"}"


def _consumer_rows(group: Group) -> Iterator[list[list[object]]]:
    for names in by_name(group.consumers.chunks()):
        yield [[name_of(name), consumer.seen_ms] for name in names or () if (consumer := group.consumers.get(name))]


def _pending_rows(group: Group) -> Iterator[list[list[object]]]:
    for columns in group.pending.chunks():
        yield [
            [f"{milliseconds}-{sequence}", name_of(name), time_ms, count]
            for milliseconds, sequence, name, time_ms, count in zip(*columns, strict=True)
        ]


def _array_pieces(batches: Iterable[list[list[object]]]) -> Iterator[bytes]:
    opening = b"["
    for rows in batches:
        yield b""
        for row in rows if _is_long(rows) else [rows]:
            text = orjson.dumps(row if row is rows else [row])[1:-1]
            if text:
                yield opening + text
                opening = b","
    yield b"]" if opening == b"," else b"[]"


def _is_long(rows: list[list[Any]]) -> bool:
    """True if the names in some rows are so long that each row is a piece of its own."""
    return sum(len(cell) for row in rows for cell in row if isinstance(cell, str)) > PIECE_BYTES


def groups_of(document: object) -> Groups | None:
    """The groups that parsed JSON tells of, or None if `groups_pieces` writes none like this."""
    if not isinstance(document, dict):
        return None
    groups: Groups = Named()
    for text, facts in document.items():
        name = bytes_of(text)
        if name is None or not isinstance(facts, dict) or facts.keys() != _NAMES:
            return None
        read, last_id = facts["entries_read"], _id_in(facts["last_id"])
        is_known = type(read) is int and _is_signed(read) and read != UNKNOWN
        if last_id is None or not (is_known or read is None):
            return None
        group = groups.add(name, Group(last_id, read if is_known else UNKNOWN))
        builders = _Consumers(group), _Pending(group)
        for builder, rows in zip(builders, (facts["consumers"], facts["pending"]), strict=True):
            if not isinstance(rows, list) or not builder.take(rows):
                return None
    return groups


class _Rows:
    """What is made of the rows of an array of a group (`longcollection.Builder`)."""

    def __init__(self, group: Group) -> None:
        self._group = group

    def take(self, rows: list[Any]) -> bool:
        """Add rows behind those that were added. Return False, and add none, if they are not what is written there."""
        raise NotImplementedError

    def add(self, members: list[bytes], values: list[Any]) -> None:
        """Nothing: the rows were taken when they were looked at."""

    def value(self) -> None:
        """Nothing: the group is more than its rows."""

    def pieces(self) -> Iterator[bytes]:
        """The JSON of all that was added."""
        raise NotImplementedError


class _Consumers(_Rows):
    """The consumers of a group, by name."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self._last: list[str] = []

    def take(self, rows: list[Any]) -> bool:
        if not all(_is_row(row, (str, int)) and _is_signed(row[1]) for row in rows):
            return False
        texts = [row[0] for row in rows]
        names = list(map(bytes_of, texts))
        if None in names or not _ascend([*self._last, *texts]):
            return False
        for name, (_, seen_ms) in zip(names, rows, strict=True):
            assert name is not None
            self._group.consumers.add(name, Consumer(name, seen_ms))
        self._last = texts[-1:] or self._last
        return True

    def pieces(self) -> Iterator[bytes]:
        return _array_pieces(_consumer_rows(self._group))


class _Pending(_Rows):
    """The pending entries of a group, whose consumers are there, by id."""

    def take(self, rows: list[Any]) -> bool:
        last = self._group.pending.last_id()
        found: list[tuple[Id, Consumer, int, int]] = []
        for row in rows:
            if not _is_row(row, (str, str, int, int)) or not _is_signed(row[2]) or not 0 <= row[3] < COUNTS:
                return False
            identity, name = _id_in(row[0]), bytes_of(row[1])
            consumer = None if name is None else self._group.consumers.own(name)
            if identity is None or consumer is None or (last is not None and identity <= last):
                return False
            last = identity
            found.append((identity, consumer, row[2], row[3]))
        for identity, consumer, time_ms, count in found:
            self._group.pending.put(identity, consumer.name, time_ms, count)
            consumer.ids.put(identity)
        return True

    def pieces(self) -> Iterator[bytes]:
        return _array_pieces(_pending_rows(self._group))


class _LongRows(LongRows):
    """The reader of a long array of rows, which are given to a builder."""

    def __init__(self, builder: _Rows) -> None:
        super().__init__(b"", None, builder)
        self._rows = builder

    def _parse(self, text: bytes) -> tuple[list[bytes], list[Any]] | None:
        rows = orjson.loads(b"[%b]" % text)
        if orjson.dumps(rows)[1:-1] != text or not self._rows.take(rows):
            return None
        return rows, []


# A reader in steps: it is sent the data and the position, and yields the position that it has read up to.
_Place = tuple[bytes, int]
_Steps = Generator[int, _Place, _Place]


class LongGroups:
    """Reads the groups of a long stream, which come in chunks.

    `has_begun` is set by the caller, when what stands in front of the groups was read. `has_ended`: the groups have been read,
    and are in `groups`.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self.has_ended = False
        self.groups: Groups = Named()
        # What was read: texts, and the readers of arrays.
        self._parts: list[bytes | _LongRows] = []
        self._steps = self._read_all()
        next(self._steps)

    def read(self, data: bytes, position: int) -> int | None:
        """Read a piece: as `data.kinds.LongReader.read`."""
        before = len(self._parts)
        try:
            return self._steps.send((data, position))
        except StopIteration as end:
            self.has_ended = True
            place: _Place = end.value
            return place[1]
        except PayloadInvalid:
            # What stands behind the position was not read.
            del self._parts[before:]
            return None

    def as_json(self) -> bytes:
        """What was read so far."""
        return b"".join([part if isinstance(part, bytes) else part.as_json() for part in self._parts])

    def _read_all(self) -> _Steps:
        place = yield 0
        while len(place[0]) - place[1] < len(b"{}"):
            place = yield place[1]
        if place[0].startswith(b"{}", place[1]):
            return self._took(b"{}", place)
        place = yield from self._text(b"{", place)
        last: list[str] = []
        while True:
            place = yield from self._match(_NAME, place, None)
            last = [*last[-1:], self._string()]
            if not _ascend(last):
                raise PayloadInvalid(NO_GROUPS)
            name = bytes_of(last[-1])
            if name is None:
                raise PayloadInvalid(NO_GROUPS)
            place = yield from self._text(b":", place)
            place = yield from self._read_group(name, place)
            # Between two groups there is a step.
            place = yield place[1]
            while len(place[0]) == place[1]:
                place = yield place[1]
            if place[0].startswith(b"}", place[1]):
                return self._took(b"}", place)
            place = yield from self._text(b",", place)

    def _read_group(self, name: bytes, place: _Place) -> _Steps:
        group = self.groups.add(name, Group((0, 0)))
        pending = _Pending(group)
        place = yield from self._text(_CONSUMERS, place)
        place = yield from self._array(_Consumers(group), place)
        place = yield from self._match(_FACTS, place, _MOST_TEXT)
        match = _FACTS.fullmatch(self._last_text())
        assert match is not None
        last_id = _id_in(match[2].decode())
        if last_id is None or match[1] == b"%d" % UNKNOWN:
            raise PayloadInvalid(NO_GROUPS)
        group.entries_read = UNKNOWN if match[1] == b"null" else int(match[1])
        if not _is_signed(group.entries_read):
            raise PayloadInvalid(NO_GROUPS)
        group.last_id = last_id
        place = yield from self._array(pending, place)
        return (yield from self._text(b"}", place))

    def _array(self, builder: _Rows, place: _Place) -> _Steps:
        while len(place[0]) - place[1] < len(b"[]"):
            place = yield place[1]
        if place[0].startswith(b"[]", place[1]):
            return self._took(b"[]", place)
        reader = _LongRows(builder)
        self._parts.append(reader)
        data, position = place
        while True:
            end = reader.read(data, position)
            if end is None:
                raise PayloadInvalid(NO_GROUPS)
            place = yield end
            if reader.has_ended:
                return place
            data, position = place

    def _text(self, text: bytes, place: _Place) -> _Steps:
        """Read this very text."""
        while len(place[0]) - place[1] < len(text):
            place = yield place[1]
        if not place[0].startswith(text, place[1]):
            raise PayloadInvalid(NO_GROUPS)
        return self._took(text, place)

    def _match(self, pattern: re.Pattern[bytes], place: _Place, most: int | None) -> _Steps:
        """Read what the pattern matches, which has no more than so many bytes."""
        while True:
            data, position = place
            match = pattern.match(data, position)
            if match:
                return self._took(match[0], place)
            if most is not None and len(data) - position >= most:
                raise PayloadInvalid(NO_GROUPS)
            if most is None and not data.startswith(b'"', position) and len(data) > position:
                raise PayloadInvalid(NO_GROUPS)
            place = yield position

    def _took(self, text: bytes, place: _Place) -> _Place:
        self._parts.append(text)
        return place[0], place[1] + len(text)

    def _last_text(self) -> bytes:
        text = self._parts[-1]
        assert isinstance(text, bytes)
        return text

    def _string(self) -> str:
        """The string that was read last. It is written as it would be written."""
        text = self._last_text()
        try:
            found: str = orjson.loads(text)
        except ValueError:
            raise PayloadInvalid(NO_GROUPS) from None
        if orjson.dumps(found) != text:
            raise PayloadInvalid(NO_GROUPS)
        return found


def _is_row(row: object, types: tuple[type, ...]) -> bool:
    return isinstance(row, list) and tuple(map(type, row)) == types


def _is_signed(number: int) -> bool:
    """True for an integer of 64 bits."""
    return -_MOST_INTEGER - 1 <= number <= _MOST_INTEGER


def _ascend(texts: list[str]) -> bool:
    return all(one < other for one, other in pairwise(texts))


def _id_in(text: object) -> Id | None:
    """The id with this text, spelled as `text_of` does, or None."""
    if not isinstance(text, str) or not text.isascii():
        return None
    milliseconds, _, sequence = text.partition("-")
    if not milliseconds.isdigit() or not sequence.isdigit():
        return None
    identity = int(milliseconds), int(sequence)
    is_exact = identity <= LAST and identity[1] <= MOST and text_of(identity) == text.encode()
    return identity if is_exact else None
