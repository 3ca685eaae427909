"""Bodies of small collections in RDB files to packed collections (`containers.packed`), which most of them become.

A packing is two characters: the mark of the packed collection, and the form of the body. The mark of a set is that of one that
is no intset. The forms are those of `formats.rdb_collections`:

    L Z M I   one string that is a listpack, a ziplist, a zipmap or an intset
    S         a count, and so many strings, or twice as many in a hash
    D T       a count, and so many strings, each with a score: a double, or text behind its length in one byte
    Q         a count, and so many strings that are ziplists
    N         a count, and so many nodes: a number, and a string, which is a listpack or stands for itself, as the number says
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from itertools import chain
from math import copysign
from typing import Any, Final

from kvserver._speedups.blocks import read_intset, read_ziplist, read_zipmap
from kvserver._speedups.choice import leaf
from kvserver._speedups.listpacks import read_listpack
from kvserver._speedups.packed import INTEGER, MOST_BYTES
from kvserver._speedups.rdb_parts import items_at

HASH, LIST, SET, SORTED_SET = b"hlsz"
_INTSET: Final = ord("i")
_MOST_MEMBERS: Final = 64
# A longer block is not looked at. Redis writes none that could be packed.
_BLOCK_BYTES: Final = 1 << 14
_DOUBLE: Final = struct.Struct("<d")
_PLAIN_NODE, _PACKED_NODE = 1, 2
# In place of the length of a score's text.
_NAN_SCORE: Final = 253
_INFINITIES: Final = {254: b"inf", 255: b"-inf"}
# All scores that Redis writes are made of these characters.
_SCORE: Final = re.compile(rb"[0-9+\-.einf]+")
_INTEGER: Final = re.compile(INTEGER)
_BITS: Final = 63


@leaf
def packed_of(body: bytes, packing: bytes, most_bytes: int) -> str | None:
    """The packed collection of a body. None if it can't be packed, has no members, or is no such body.

    Nothing is packed that has a compressed string of more than `most_bytes` bytes.
    """
    mark, form = packing
    try:
        words = _Body(body, most_bytes).words(form, mark)
        pairs = list(zip(words[::2], words[1::2], strict=True)) if mark in (HASH, SORTED_SET) else []
        scores = [_score(text) for _, text in pairs] if mark == SORTED_SET else []
    except (ValueError, OverflowError):
        return None
    names = [name for name, _ in pairs] or words
    if not names or len(names) > _MOST_MEMBERS or (mark != LIST and len(set(names)) < len(names)):
        return None
    if any(len(word) > MOST_BYTES or 0 in word or 1 in word for word in words):
        return None
    if mark == SORTED_SET:
        pairs = [(name, b"%.17g" % score) for score, name in sorted(zip(scores, names, strict=True))]
    if mark == SET and all(map(_is_integer, names)):
        mark = _INTSET
    return b"\0".join([bytes((mark,)), *(map(b"\1".join, pairs) if pairs else names), b""]).decode("latin-1")


class _Body:
    """Reads a body from its beginning. ValueError for what makes no sense."""

    def __init__(self, body: bytes, most_bytes: int) -> None:
        self._body = body
        self._most_bytes = most_bytes
        self._position = 0

    def words(self, form: int, mark: int) -> list[bytes]:
        """All words of the collection, names and values in turn, to the end of the body."""
        count = 0 if form in _BLOCKS else self._item("n")
        if count > _MOST_MEMBERS:
            raise ValueError("these are too many")
        if form in _BLOCKS:
            words = self._block(form)
        elif form in b"SDT":
            words = self._counted(form, 2 * count if mark == HASH else count)
        else:
            words = list(chain.from_iterable(self._node(form) for _ in range(count)))
        if self._position != len(self._body):
            raise ValueError("something stands behind the body")
        return words

    def _block(self, form: int) -> list[bytes]:
        block = self._item()
        if len(block) > _BLOCK_BYTES:
            raise ValueError("the block is too long")
        return _BLOCKS[form](block)

    def _counted(self, form: int, count: int) -> list[bytes]:
        shape = {"S": "s", "D": "s8", "T": "s1"}[chr(form)]
        words: list[bytes] = []
        for _ in range(count):
            words.append(self._item())
            if shape == "s8":
                words.append(b"%.17g" % _DOUBLE.unpack(self._item("8"))[0])
            elif shape == "s1":
                length = self._item("1")[0]
                words.append(_INFINITIES.get(length) or self._bytes(length))
        return words

    def _node(self, form: int) -> list[bytes]:
        if form == ord("Q"):
            return self._block(ord("Z"))
        kind = self._item("n")
        if kind == _PACKED_NODE:
            return self._block(ord("L"))
        string: bytes = self._item()
        if kind != _PLAIN_NODE or not string:
            raise ValueError("a node is of no kind")
        return [string]

    def _item(self, character: str = "s") -> Any:
        (item,), self._position = items_at(self._body, self._position, character.encode(), 1, self._most_bytes)
        return item

    def _bytes(self, count: int) -> bytes:
        start, self._position = self._position, self._position + count
        if count == _NAN_SCORE or self._position > len(self._body):
            raise ValueError("a score is no number, or not whole")
        return self._body[start : self._position]


_BLOCKS: Final[dict[int, Callable[[bytes], list[bytes]]]] = {
    ord("L"): read_listpack,
    ord("Z"): read_ziplist,
    ord("M"): read_zipmap,
    ord("I"): read_intset,
}


def _score(text: bytes) -> float:
    if not _SCORE.fullmatch(text):
        raise ValueError("a score is no number")
    score = float(text)
    # Redis's listpacks hold no -0.0.
    if not score and copysign(1, score) < 0:
        raise ValueError("a score is no number that a listpack has")
    return score


def _is_integer(member: bytes) -> bool:
    return bool(_INTEGER.fullmatch(member)) and -(1 << _BITS) <= int(member) < 1 << _BITS
