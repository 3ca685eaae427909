"""Where a part of an RDB file ends: found by its shape before it is read, also while it still comes in pieces. Pure.

A value has no length in front of it: its end is known by its type alone. The shape of a part is written in these characters:

    s          a string, as `rdb` reads it
    n          a length or a number
    t          a score as text, behind its length in one byte
    1 to 9     so many bytes
    m          what a module has saved: items, each behind its kind, up to an item of no kind
    [ ]        a count, and what stands between the brackets so many times

No memory is taken for what is only declared, and nothing is looked at twice, in however small pieces it comes.
Source: rdbLoadObject, rdbLoadRio and rdbLoadCheckModuleValue in rdb.c of redis 7.0.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from kvserver._speedups.rdb_parts import number_at, pass_rounds, string_head_at
from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import BAD_FORMAT

_STRING, _NUMBER, _TEXT, _MODULE, _OPEN, _CLOSE = b"sntm[]"
# The characters of rounds that are passed at once.
_AT_ONCE: Final = b"sn123456789"
_BYTES: Final = {character: int(chr(character)) for character in b"123456789"}
# What stands behind each kind of a module's items: signed and unsigned integers, floats of 4 and 8 bytes, strings.
_ITEMS: Final = dict(enumerate(b"nn48s", start=1))
_NO_ITEM: Final = 0
# From this length on, a score's text is a code instead.
_CODED_SCORES: Final = 253


class Extent:
    """The end of one part, found in as many steps as its bytes come in. `size` is the length in bytes as far as it is known.

    No string in the part may have more than `max_string_bytes` bytes.
    """

    __slots__ = ("_item", "_left", "_max_string_bytes", "_place", "_shape", "size")

    def __init__(self, shape: bytes, max_string_bytes: int) -> None:
        self.size = 0
        self._max_string_bytes = max_string_bytes
        self._shape = shape
        self._place = 0
        # Of each bracket that is open, the place behind it and how often what is in it is still to come.
        self._left: list[tuple[int, int]] = []
        # The character for an item of a module of which the kind was read.
        self._item = 0

    def is_whole(self, data: bytearray, start: int) -> bool:
        """True if the part, which begins at this position, is in the data to its end. DumpInvalid for what makes no sense.

        What was there in an earlier call is there again.
        """
        try:
            self._go_on(data, start)
        except ValueError:
            raise DumpInvalid(BAD_FORMAT) from None
        return self._place == len(self._shape) and start + self.size <= len(data)

    def _go_on(self, data: bytearray, start: int) -> None:
        """Pass what is there of the part."""
        shape, end = self._shape, len(data)
        while self._place < len(shape):
            position = start + self.size
            # It is behind the end where a string goes on.
            if position >= end and shape[self._place] != _CLOSE:
                return
            following = self._pass(data, position, self._item or shape[self._place])
            if following is None:
                return
            self.size = following - start

    def _pass(self, data: bytearray, position: int, character: int) -> int | None:
        """Go on to the next place, and return the position there, or None if more data is needed for that."""
        if character == _OPEN:
            return self._open(data, position)
        if character == _CLOSE:
            return self._close(data, position)
        if character == _MODULE:
            return self._begin_item(data, position)
        if character == _STRING:
            following = self._behind_string(data, position)
        elif character == _NUMBER:
            number = number_at(data, position)
            following = number and number[1]
        elif character == _TEXT:
            length = data[position]
            following = position + 1 + (length if length < _CODED_SCORES else 0)
        else:
            following = position + _BYTES[character]
        if following is not None:
            if self._item:
                self._item = 0
            else:
                self._place += 1
        return following

    def _open(self, data: bytearray, position: int) -> int | None:
        found = number_at(data, position)
        if found is None:
            return None
        count, following = found
        return self._pass_rounds(data, following, self._place + 1, count)

    def _close(self, data: bytearray, position: int) -> int:
        place, count = self._left.pop()
        return self._pass_rounds(data, position, place, count - 1)

    def _pass_rounds(self, data: bytearray, position: int, place: int, count: int) -> int:
        """Pass as many rounds as are there of what stands in brackets, if that can be done at once, and begin the next one.

        `place` is behind the bracket. Return the position behind these rounds.
        """
        closing = _closing(self._shape, place)
        inner = self._shape[place:closing]
        if count and position < len(data) and not inner.translate(None, _AT_ONCE):
            count, position = pass_rounds(data, position, inner, count, self._max_string_bytes)
        if count:
            self._left.append((place, count))
            self._place = place
        else:
            self._place = closing + 1
        return position

    def _begin_item(self, data: bytearray, position: int) -> int | None:
        found = number_at(data, position)
        if found is None:
            return None
        kind, following = found
        if kind == _NO_ITEM:
            self._place += 1
        elif kind in _ITEMS:
            self._item = _ITEMS[kind]
        else:
            raise DumpInvalid(BAD_FORMAT)
        return following

    def _behind_string(self, data: bytearray, position: int) -> int | None:
        found = string_head_at(data, position)
        if found is None:
            return None
        following, stored_bytes, string_bytes = found
        most_bytes = max(stored_bytes, string_bytes)
        if most_bytes > self._max_string_bytes:
            raise DumpInvalid(f"a string has {most_bytes} bytes, and may have {self._max_string_bytes}")
        return following + stored_bytes


@cache
def _closing(shape: bytes, place: int) -> int:
    """The place of the bracket that closes the one before this place."""
    depth = 1
    for index in range(place, len(shape)):
        depth += (shape[index] == _OPEN) - (shape[index] == _CLOSE)
        if not depth:
            return index
    raise ValueError(f"{shape!r} has a bracket that is not closed")
