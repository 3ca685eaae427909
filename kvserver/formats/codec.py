"""Canonical JSON: Python values to bytes and back. Pure; knows nothing of tags, keys or stores.

Canonical is the UTF-8 of `json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`. A lone surrogate
that was read from a frame written elsewhere is the one text that has no UTF-8: it keeps its `\\ud800` escape.
"""

from __future__ import annotations

import json
import sys
from codecs import utf_8_decode
from collections.abc import Iterator
from typing import Any, Final

import orjson

# None, bool, int, float, str, or lists and str-keyed dicts of these: a recursive type would cost more than it says.
JSON = Any

# Python's own reader gives up near a depth of 1,000, earlier under a deep stack: what we take, every start must read.
MAX_DEPTH = 512
TOO_DEEP = f"JSON nested deeper than {MAX_DEPTH} levels"
# A longer value is read and written in pieces of this length, each of which takes some hundred microseconds at most.
PIECE_BYTES: Final = 1 << 15


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_encode_finite = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class JSONText(bytes):
    """Canonical JSON of a value that is no string. Immutable, compact, and already what a flush writes.

    It is here, and not with its type, since payloads are made of it: all JSON that is neither a string nor a tag.
    """

    __slots__ = ()


def canonical(value: JSON) -> bytes:
    """The canonical JSON of what Python's reader gave, `NaN` and lone surrogates included."""
    return _encode(value).encode("utf-8", "backslashreplace")


def canonical_string(text: str) -> bytes:
    """The canonical JSON of a string, in a tenth of the time that `canonical` takes."""
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        # It holds a lone surrogate.
        return canonical(text)


def utf8_pieces(data: bytes) -> Iterator[str]:
    """Yield the text of UTF-8 in pieces. UnicodeDecodeError at the piece that is no UTF-8."""
    view, position = memoryview(data), 0
    while position < len(data):
        end = min(position + PIECE_BYTES, len(data))
        text, length = utf_8_decode(view[position:end], "strict", end == len(data))
        position += length
        yield text


def canonical_string_pieces(data: bytes) -> Iterator[bytes]:
    """Yield the canonical JSON of a string, given in UTF-8, in pieces. UnicodeDecodeError as for `utf8_pieces`."""
    yield b'"'
    for text in utf8_pieces(data):
        yield orjson.dumps(text)[1:-1]
    yield b'"'


def canonical_strict(value: object) -> bytes:
    """The canonical JSON of a value that comes from outside. TypeError or ValueError if the value is not JSON.

    It refuses types that JSON does not have, keys that are not str (json.dumps would turn 1 into "1"), NaN and infinities,
    lone surrogates, cycles, integers that Python won't print (over 4,300 digits), and a depth over MAX_DEPTH.
    """
    try:
        # This comes first, since it finds cycles, on which the walk below would not end.
        text = _encode_finite(value)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except ValueError as error:
        raise ValueError(plainly(error)) from None
    check_containers(value)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate has no UTF-8") from None


def parse_strict(text: bytes) -> JSON:
    """The value of a JSON text from outside. ValueError if it is not JSON; `canonical_strict` has the limits."""
    try:
        return json.loads(text.decode("utf-8"), parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except UnicodeDecodeError:
        raise ValueError("JSON must be UTF-8") from None
    except ValueError as error:
        raise ValueError(plainly(error)) from None


def plainly(error: ValueError) -> str:
    """The text of an error of Python's json; where that speaks of Python, the same said of the value."""
    text = str(error)
    if "integer string conversion" in text:
        return f"an integer has more than {sys.get_int_max_str_digits()} digits"
    if text.startswith("Out of range float"):
        return "a number is out of range: NaN and infinities are not JSON"
    return text


def refuse_constant(name: str) -> None:
    """Refuse what Python's json takes for a number. ValueError always."""
    raise ValueError(f"{name} is not JSON")


def check_containers(value: object) -> None:
    """TypeError for an object in a value whose keys are not all str. ValueError if it is nested deeper than MAX_DEPTH."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                for key in item:
                    if not isinstance(key, str):
                        raise TypeError(f"keys of JSON objects must be str, not {type(key).__name__}")
                below.extend(item.values())
            elif isinstance(item, (list, tuple)):
                below.extend(item)
        if not below:
            return
        level = below
    raise ValueError(TOO_DEEP)
