"""Values of documents to canonical JSON, at once or in short steps. Pure.

orjson writes them in a tenth of the time of Python's json, and almost as that does: integers over 64 bits, lone surrogates and
great depth it refuses, and floats with an exponent it spells in another way, which is found in what it has written. `NaN` and
infinities, which a frame written elsewhere may have, are `null` for it: whoever holds such values has to say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from io import BytesIO
from itertools import islice
from typing import Any, Final, NamedTuple

import orjson

from kvserver.data.steps import Steps
from kvserver.formats.codec import JSON, PIECE_BYTES, canonical, canonical_string

# A value of a greater weight is written in steps of so much: 1 for each value in it, and for so many bytes.
STEP_WEIGHT: Final = 512
# A value of a lower weight is written in one step.
_LONG_WEIGHT: Final = 4096
_WEIGHT_BITS: Final = 6
_DIGIT_BITS: Final = 4
# The names of an object that are sorted at once.
_SORTED_NAMES: Final = 512
# Digits become zeros, so that an exponent is found by the search for a fixed text.
_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")


def write(value: JSON, *, has_constants: bool = False) -> bytes:
    """Return the canonical JSON of a value. `has_constants`: `NaN` or infinities may be among its numbers."""
    if not has_constants:
        try:
            text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            return canonical(value)
        # Numbers that are nearly zero have no exponent where Python's have one.
        if b"0.0000" not in text:
            zeros = text.translate(_ZEROS)
            if b"0e0" not in zeros and b"0e-" not in zeros:
                return text
    return canonical(value)


def write_steps(value: JSON, *, has_constants: bool = False) -> Iterator[bytes]:
    """Yield what `write` returns in pieces, each after a step of some hundred microseconds. An empty one is a step, too.

    Nobody may change the value meanwhile.
    """
    gathered: list[bytes] = []
    length = 0
    for piece in _pieces(value, has_constants=has_constants):
        gathered.append(piece)
        length += len(piece)
        # Brackets and names come alone.
        if length > PIECE_BYTES // 4 or len(piece) > len(b",[") or not piece:
            yield b"".join(gathered)
            gathered, length = [], 0
    if gathered:
        yield b"".join(gathered)


def text_steps(value: JSON, *, has_constants: bool = False) -> Steps[bytes]:
    """Return what `write` returns, in steps if the value is large. Nobody may change it meanwhile."""
    if weight(value, _LONG_WEIGHT) < _LONG_WEIGHT:
        return write(value, has_constants=has_constants)
    # The buffer becomes the text, so that nothing is copied twice.
    gathered = BytesIO()
    for piece in write_steps(value, has_constants=has_constants):
        gathered.write(piece)
        yield
    return gathered.getvalue()


def weight(value: JSON, most: int) -> int:
    """Return how much there is to do for a value, in units of some dozens of nanoseconds: exactly, up to the most.

    It takes no longer than the most says, however large the value is.
    """
    kind = type(value)
    if kind is str:
        return 1 + (len(value) >> _WEIGHT_BITS)
    if kind is int:
        bits: int = value.bit_length()
        return 1 + (bits >> _DIGIT_BITS)
    if kind is not dict and kind is not list:
        return 1
    total = 1 + len(value)
    if total >= most:
        return total
    if kind is dict:
        total += sum(map(len, value)) >> _WEIGHT_BITS
    for child in value.values() if kind is dict else value:
        if total >= most:
            break
        child_kind = type(child)
        # Measured: most values are such ones.
        if child_kind is str or child_kind is dict or child_kind is list or child_kind is int:
            total += weight(child, most - total)
    return total


class _Within(NamedTuple):
    """A value within another one, whose text stands here."""

    value: JSON


def _pieces(value: JSON, *, has_constants: bool) -> Iterator[bytes]:
    """Yield a text piece by piece. A generator for each level would take more frames than Python allows."""
    open_values = [_parts(value, has_constants=has_constants)]
    while open_values:
        for part in open_values[-1]:
            if isinstance(part, _Within):
                open_values.append(_parts(part.value, has_constants=has_constants))
                break
            yield part
        else:
            open_values.pop()


def _parts(value: JSON, *, has_constants: bool) -> Iterator[bytes | _Within]:
    kind = type(value)
    if kind is str and len(value) > PIECE_BYTES:
        yield b'"'
        for start in range(0, len(value), PIECE_BYTES // 4):
            yield canonical_string(value[start : start + PIECE_BYTES // 4])[1:-1]
        yield b'"'
    elif (kind is dict or kind is list) and weight(value, STEP_WEIGHT) >= STEP_WEIGHT:
        yield from (_object if kind is dict else _array)(value, has_constants=has_constants)
    else:
        yield write(value, has_constants=has_constants)


def _array(value: list[JSON], *, has_constants: bool) -> Iterator[bytes | _Within]:
    yield b"["
    separator = b""
    batch: list[JSON] = []
    total = 0
    for child in value:
        child_weight = weight(child, STEP_WEIGHT)
        total += child_weight
        if batch and total >= STEP_WEIGHT:
            yield separator + write(batch, has_constants=has_constants)[1:-1]
            separator, batch, total = b",", [], child_weight
        if child_weight >= STEP_WEIGHT:
            yield separator
            yield _Within(child)
            separator, total = b",", 0
        else:
            batch.append(child)
    if batch:
        yield separator + write(batch, has_constants=has_constants)[1:-1]
    yield b"]"


def _object(value: dict[str, JSON], *, has_constants: bool) -> Iterator[bytes | _Within]:
    yield b"{"
    separator = b""
    batch: dict[str, JSON] = {}
    total = 0
    for names in names_in_order(value):
        if not names:
            yield b""
        for name in names:
            child = value[name]
            child_weight = weight(child, STEP_WEIGHT)
            total += child_weight + (len(name) >> _WEIGHT_BITS)
            if batch and total >= STEP_WEIGHT:
                yield separator + write(batch, has_constants=has_constants)[1:-1]
                separator, batch, total = b",", {}, child_weight
            if child_weight >= STEP_WEIGHT:
                yield b"%b%b:" % (separator, canonical_string(name))
                yield _Within(child)
                separator, total = b",", 0
            else:
                batch[name] = child
    if batch:
        yield separator + write(batch, has_constants=has_constants)[1:-1]
    yield b"}"


def names_in_order(value: dict[str, JSON]) -> Iterator[list[str]]:
    """Yield the names of an object in their order, some at a time; an empty list is a step that sorted."""
    runs: list[list[str]] = []
    is_sorted = True
    names = iter(value)
    last = ""
    while run := list(islice(names, _SORTED_NAMES)):
        ordered = sorted(run)
        is_sorted = is_sorted and last <= ordered[0]
        last = ordered[-1]
        runs.append(ordered)
        yield []
    if is_sorted:
        yield from runs
        return
    merged: Any = merge(*runs)
    while some := list(islice(merged, _SORTED_NAMES // 4)):
        yield some
