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

from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import BAD_FORMAT, length_at, string_head_at

_STRING, _NUMBER, _TEXT, _MODULE, _OPEN, _CLOSE = b"sntm[]"
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
        shape, end = self._shape, len(data)
        while self._place < len(shape):
            position = start + self.size
            # It is behind the end where a string goes on.
            if position >= end and shape[self._place] != _CLOSE:
                return False
            following = self._pass(data, position, self._item or shape[self._place])
            if following is None:
                return False
            self.size = following - start
        return start + self.size <= end

    def _pass(self, data: bytearray, position: int, character: int) -> int | None:
        """Go on to the next place, and return the position there, or None if more data is needed for that."""
        if character == _OPEN:
            return self._open(data, position)
        if character == _CLOSE:
            self._close()
            return position
        if character == _MODULE:
            return self._begin_item(data, position)
        if character == _STRING:
            following = self._behind_string(data, position)
        elif character == _NUMBER:
            following = _behind_number(data, position)
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
        found = length_at(data, position)
        if found is None:
            return None
        count, is_encoded, following = found
        if is_encoded:
            raise DumpInvalid(BAD_FORMAT)
        if count:
            self._place += 1
            self._left.append((self._place, count))
        else:
            self._place = _closing(self._shape, self._place) + 1
        return following

    def _close(self) -> None:
        place, count = self._left.pop()
        if count > 1:
            self._left.append((place, count - 1))
            self._place = place
        else:
            self._place += 1

    def _begin_item(self, data: bytearray, position: int) -> int | None:
        found = length_at(data, position)
        if found is None:
            return None
        kind, is_encoded, following = found
        if is_encoded or (kind and kind not in _ITEMS):
            raise DumpInvalid(BAD_FORMAT)
        if kind == _NO_ITEM:
            self._place += 1
        else:
            self._item = _ITEMS[kind]
        return following

    def _behind_string(self, data: bytearray, position: int) -> int | None:
        found = string_head_at(data, position)
        if found is None:
            return None
        following, stored_bytes, string_bytes = found
        if max(stored_bytes, string_bytes) > self._max_string_bytes:
            raise DumpInvalid(f"a string has {max(stored_bytes, string_bytes)} bytes")
        return following + stored_bytes


def _behind_number(data: bytearray, position: int) -> int | None:
    found = length_at(data, position)
    if found is None:
        return None
    _, is_encoded, following = found
    if is_encoded:
        raise DumpInvalid(BAD_FORMAT)
    return following


@cache
def _closing(shape: bytes, place: int) -> int:
    """The place of the bracket that closes the one at this place."""
    depth = 0
    for index in range(place, len(shape)):
        depth += (shape[index] == _OPEN) - (shape[index] == _CLOSE)
        if not depth:
            return index
    raise ValueError(f"{shape!r} has a bracket that is not closed")
