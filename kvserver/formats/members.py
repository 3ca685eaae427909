"""The members of large collections in JSON, in pieces: arrays of strings, of pairs with a score, of arrays, and objects. Pure.

A byte string in a collection stands as its name (`names`). Strings go through orjson many at a time; scores through Python's
json, which spells floats in another way.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from math import inf, isfinite
from typing import Any, Final, NamedTuple

import orjson

from kvserver.data.kinds import VALUE
from kvserver.formats.codec import PIECE_BYTES, canonical, canonical_string_pieces, utf8_pieces
from kvserver.formats.names import RESERVED, name_of
from kvserver.formats.tags import EXPIRY

# A piece has so many members at most.
PIECE_MEMBERS: Final = 128
# A piece of arrays has so many strings at most, unless it is one array.
PIECE_STRINGS: Final = 1024
# The texts of scores that have no JSON, and the scores.
_TEXT_OF_INFINITY: Final = {inf: "inf", -inf: "-inf"}
INFINITIES: Final = {text: score for score, text in _TEXT_OF_INFINITY.items()}

# The latest time of such a value, in Unix milliseconds: Redis keeps 48 bits of it.
LATEST_MS: Final = (1 << 48) - 1


class Timed(NamedTuple):
    """A value of an object that is gone from a time on, which is from 1 to LATEST_MS. Its JSON is an object of the two."""

    value: bytes
    expires_at_ms: int


# Members of which pieces are made, some hundred at a time. None is a step that found none.
Batches = Iterable[Sequence[bytes] | None]


def named(members: Iterable[bytes]) -> list[str]:
    """The names of byte strings: what most of them are themselves."""
    joined = b"".join(members := list(members))
    if joined.isascii() and RESERVED not in joined:
        return list(map(bytes.decode, members))
    return list(map(name_of, members))


def array_text(members: Iterable[bytes]) -> bytes:
    """The JSON of an array of strings, without its brackets."""
    return orjson.dumps(named(members))[1:-1]


def object_text(fields: Iterable[bytes], values: Sequence[bytes | Timed]) -> bytes:
    """The JSON of an object of strings, without its brackets. The fields are in the order of their names."""
    contents: list[Any] = named(map(_content, values))
    if Timed in map(type, values):
        contents = [
            {EXPIRY: value.expires_at_ms, VALUE: name} if isinstance(value, Timed) else name
            for name, value in zip(contents, values, strict=True)
        ]
    return orjson.dumps(dict(zip(named(fields), contents, strict=True)))[1:-1]


def _content(value: bytes | Timed) -> bytes:
    return value if isinstance(value, bytes) else value.value


def pairs_text(members: Iterable[bytes], scores: Sequence[float]) -> bytes:
    """The JSON of an array of pairs, each of a string and its score, without its brackets. An infinity is a string."""
    written = scores if all(map(isfinite, scores)) else [_TEXT_OF_INFINITY.get(score, score) for score in scores]
    return canonical(list(zip(named(members), written, strict=True)))[1:-1]


def array_pieces(batches: Batches) -> Iterator[bytes]:
    """Yield the JSON of an array of strings; an empty piece is a step."""
    return _pieces(b"[]", _array(batches))


def object_pieces(batches: Batches, value_of: Callable[[bytes], Any]) -> Iterator[bytes]:
    """Yield the JSON of an object of strings, by fields in the order of their names; an empty piece is a step.

    `value_of` gives the bytes of a field's value, or a Timed.
    """
    return _pieces(b"{}", _object(batches, value_of))


def rows_text(rows: Sequence[Sequence[bytes]]) -> bytes:
    """The JSON of an array of arrays of strings, without its brackets."""
    names = iter(named(chain.from_iterable(rows)))
    return orjson.dumps([list(islice(names, len(row))) for row in rows])[1:-1]


def rows_pieces(batches: Iterable[Sequence[Sequence[bytes]]]) -> Iterator[bytes]:
    """Yield the JSON of an array of arrays of strings, none of which is empty; an empty piece is a step."""
    return _pieces(b"[]", _rows(batches))


def pairs_pieces(chunks: Iterable[tuple[Sequence[bytes], Sequence[float]]]) -> Iterator[bytes]:
    """Yield the JSON of an array of pairs, each of a string and its score; an empty piece is a step."""
    return _pieces(b"[]", _pairs(chunks))


def _pieces(brackets: bytes, members: Iterator[bytes | Iterator[bytes] | None]) -> Iterator[bytes]:
    """Yield JSON with these brackets: of members whose JSON is one piece, or several if there is one long member."""
    separator = brackets[:1]
    for piece in members:
        if piece is None:
            yield b""
            continue
        if isinstance(piece, bytes):
            yield separator + piece
        else:
            yield separator
            yield from piece
        separator = b","
    yield brackets[1:] if separator == b"," else brackets


def _array(batches: Batches) -> Iterator[bytes | Iterator[bytes] | None]:
    for batch in batches:
        if batch is None:
            yield None
            continue
        for start, stop in _parts(list(map(len, batch))):
            members = batch[start:stop]
            yield _name_pieces(members[0]) if _is_long(members) else array_text(members)


def _object(batches: Batches, value_of: Callable[[bytes], Any]) -> Iterator[bytes | Iterator[bytes] | None]:
    for batch in batches:
        if batch is None:
            yield None
            continue
        for begin in range(0, len(batch), PIECE_MEMBERS):
            fields = batch[begin : begin + PIECE_MEMBERS]
            values = list(map(value_of, fields))
            sizes = [len(field) + len(_content(value)) for field, value in zip(fields, values, strict=True)]
            for start, stop in _parts(sizes):
                some, theirs = fields[start:stop], values[start:stop]
                is_long = sum(sizes[start:stop]) > PIECE_BYTES
                yield _field_pieces(some[0], theirs[0]) if is_long else object_text(some, theirs)


def _pairs(chunks: Iterable[tuple[Sequence[bytes], Sequence[float]]]) -> Iterator[bytes | Iterator[bytes]]:
    for members, scores in chunks:
        for start, stop in _parts(list(map(len, members))):
            some, theirs = members[start:stop], scores[start:stop]
            yield _pair_pieces(some[0], theirs) if _is_long(some) else pairs_text(some, theirs)


def _rows(batches: Iterable[Sequence[Sequence[bytes]]]) -> Iterator[bytes | Iterator[bytes]]:
    for rows in batches:
        # A string takes its time, however short it is.
        sizes = [sum(map(len, row)) + len(row) * PIECE_BYTES // PIECE_STRINGS for row in rows]
        for start, stop in _parts(sizes):
            some = rows[start:stop]
            yield _row_pieces(some[0]) if sum(sizes[start:stop]) > PIECE_BYTES else rows_text(some)


def _parts(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """The ranges of members, by their lengths in bytes, that make a piece each: a longer one is alone."""
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and (total + size > PIECE_BYTES or index - start == PIECE_MEMBERS):
            yield start, index
            start, total = index, 0
        total += size
    if sizes:
        yield start, len(sizes)


def _is_long(some: Sequence[bytes]) -> bool:
    return sum(map(len, some)) > PIECE_BYTES


def _field_pieces(field: bytes, value: bytes | Timed) -> Iterator[bytes]:
    yield from _name_pieces(field)
    if isinstance(value, bytes):
        yield b":"
        yield from _name_pieces(value)
    else:
        yield b':{"%b":%d,"%b":' % (EXPIRY.encode(), value.expires_at_ms, VALUE.encode())
        yield from _name_pieces(value.value)
        yield b"}"


def _pair_pieces(member: bytes, scores: Sequence[float]) -> Iterator[bytes]:
    text = pairs_text([b""], scores)
    yield b"["
    yield from _name_pieces(member)
    yield text.removeprefix(b'[""')


def _row_pieces(row: Sequence[bytes]) -> Iterator[bytes]:
    opening = b"["
    for start, stop in _parts(list(map(len, row))):
        yield opening
        opening = b","
        some = row[start:stop]
        if _is_long(some):
            yield from _name_pieces(some[0])
        else:
            yield array_text(some)
    yield b"]"


def _name_pieces(data: bytes) -> Iterator[bytes]:
    """Yield the JSON of the name of a byte string that may be long."""
    is_plain = not data.startswith(RESERVED)
    try:
        for _ in utf8_pieces(data) if is_plain else ():
            yield b""
    except UnicodeDecodeError:
        is_plain = False
    if is_plain:
        yield from canonical_string_pieces(data)
        return
    yield b'"' + RESERVED
    # A multiple of three, so that no piece is padded but the last.
    length = max(1, PIECE_BYTES // 4) * 3
    for start in range(0, len(data), length):
        yield b64encode(data[start : start + length])
    yield b'"'
