"""Nodes of streams in RDB files, each of them a listpack, to columns: what `types.stream.node` makes a node of.

A listpack holds the number of entries, that of deleted ones, the fields of the first entry behind their number, and 0. Behind
that, each entry has flags, its id less that of the node, its values (or, behind the number of fields, all its strings) and the
number of these parts. Source: streamAppendItem in t_stream.c of redis 7.0.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

from kvserver._speedups.choice import leaf
from kvserver._speedups.listpacks import DECIMAL_BYTES, read_listpack

_DELETED, _SAME_FIELDS = 1, 2
_FLAGS: Final = 4
_MODULUS: Final = 1 << 64
_HALF: Final = 1 << 63
# An entry has four numbers at least, each in two bytes or more.
_LEAST_ENTRY_BYTES: Final = 8

Id = tuple[int, int]
# The fields of the first entry; for each entry, as numbers of 8 bytes, the milliseconds behind the key's, the sequence number,
# and how many strings it has if its fields are others, else 0; the strings of all; a byte for each, 1 if it was deleted. There
# are no counts where all entries have the fields of the first, and no such bytes where none was deleted.
Columns = tuple[list[bytes], bytes, bytes, bytes | None, list[bytes], bytes | None]


@leaf
def read_node(data: bytes, milliseconds: int, sequence: int) -> Columns:
    """Read the listpack of a node whose key is this id. ValueError if the data is none, or its entries are not in order.

    A deleted entry may be out of order, if XSETID had set back the last id since then: it gets an id that is in order.
    """
    try:
        return _read(data, read_listpack(data), (milliseconds, sequence))
    except StopIteration:
        raise ValueError("the listpack ends inside an entry") from None


def _read(data: bytes, strings: list[bytes], first: Id) -> Columns:
    parts = iter(strings)
    live, gone, width = _number(parts), _number(parts), _number(parts)
    count = live + gone
    if not 0 < width <= len(strings) or min(live, gone) < 0 or not 0 < count <= len(data) // _LEAST_ENTRY_BYTES:
        raise ValueError(f"{width} fields, {count} entries")
    fields = _take(parts, width)
    if _number(parts):
        raise ValueError("no zero behind the fields")
    ids: list[Id] = []
    counts: list[int] = []
    kept: list[bytes] = []
    marks: list[int] = []
    for _ in range(count):
        flags = _number(parts)
        if not 0 <= flags < _FLAGS:
            raise ValueError(f"{flags} as flags")
        ids.append(((first[0] + _number(parts)) % _MODULUS, (first[1] + _number(parts)) % _MODULUS))
        marks.append(flags & _DELETED)
        if flags & _SAME_FIELDS:
            row, wanted, others = _take(parts, width), width + 3, 0
        else:
            others = 2 * _number(parts)
            if not 0 < others <= len(strings):
                raise ValueError(f"{others} fields and values")
            row, wanted = _take(parts, others), others + 4
            if row[::2] == fields:
                row, others = row[1::2], 0
        if _number(parts) != wanted:
            raise ValueError("an entry has another number of parts than it says")
        counts.append(others)
        kept += row
    if next(parts, None) is not None or sum(marks) != gone:
        raise ValueError("another number of entries than it says")
    ids = _in_order(first, ids, marks)
    return (
        fields,
        array("Q", [number - first[0] for number, _ in ids]).tobytes(),
        array("Q", [number for _, number in ids]).tobytes(),
        array("Q", counts).tobytes() if any(counts) else None,
        kept,
        bytes(marks) if gone else None,
    )


def _in_order(first: Id, ids: list[Id], marks: list[int]) -> list[Id]:
    """The ids, and for deleted entries that are out of order the one in front. ValueError if another one is."""
    # For each entry, the id of the next one that was not deleted.
    ends: list[Id | None] = []
    end: Id | None = None
    for identity, mark in zip(reversed(ids), reversed(marks), strict=True):
        ends.append(end)
        end = end if mark else identity
    last, ordered = first, list[Id]()
    for identity, mark, end in zip(ids, marks, reversed(ends), strict=True):
        if mark and (identity < last or (end is not None and identity >= end)):
            ordered.append(last)
            continue
        if identity < last or (identity == last and ordered):
            raise ValueError("an entry comes before the one in front of it")
        ordered.append(identity)
        last = identity
    return ordered


def _number(parts: Iterator[bytes]) -> int:
    text = next(parts)
    number = int(text) if len(text) <= DECIMAL_BYTES else _HALF
    if not -_HALF <= number < _HALF or b"%d" % number != text:
        raise ValueError("text stands where a number should")
    return number


def _take(parts: Iterator[bytes], count: int) -> list[bytes]:
    return [next(parts) for _ in range(count)]
