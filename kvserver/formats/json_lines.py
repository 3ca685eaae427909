"""Data as lines of JSON: a JSON object for each key and for each function library, in UTF-8. Pure.

    {"key":"user:1","db":0,"type":"string","value":"Ada"}
    {"key":"seen","db":3,"type":"set","value":{"$kvs":{"set":["a","b"]}},"expires_at_ms":1700000000000}
    {"library":"mylib","code":"#!lua name=mylib\\nredis.register_function(…)"}

Keys, code and values stand there as in the payload of a frame (`formats.names`, `formats.tags`): a string that is UTF-8 and
any JSON document as themselves, everything else in one tagged object. So every line can be read back to the same bytes. `db`
may be missing, which means 0, and so may `type`, which is for readers; where it is there, it has to be right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.kinds import kind_of
from kvserver.errors import SourceInvalid
from kvserver.formats.codec import JSON, JSONText, canonical, canonical_string, check_containers
from kvserver.formats.names import bytes_of, name_of
from kvserver.formats.tags import EXPIRY, EXPIRY_TIMES, TAG, Mapping, decode_value
from kvserver.options.table import MOST_DATABASES

KEY: Final = "key"
DATABASE: Final = "db"
TYPE: Final = "type"
VALUE: Final = "value"
LIBRARY: Final = "library"
CODE: Final = "code"
_OF_KEYS: Final = frozenset((KEY, DATABASE, TYPE, VALUE, EXPIRY))
_OF_LIBRARIES: Final = frozenset((LIBRARY, CODE))
# A longer line is read by nobody: a value of this size comes in and goes out by other forms.
MOST_LINE_BYTES: Final = 1 << 30


class Member(NamedTuple):
    """A key and what it has, in the database of this number."""

    database: int
    key: bytes
    value: Value
    expires_at_ms: int | None


class Library(NamedTuple):
    """A function library."""

    name: bytes
    text: bytes


def member_pieces(database: int, key: bytes, entry: Entry, mapping: Mapping) -> Iterator[bytes]:
    """Yield the line of a key in pieces, of which a long value has many."""
    value, expires_at_ms = (entry.value, entry.expires_at_ms) if isinstance(entry, Expiring) else (entry, None)
    kind = kind_of(value)
    yield b'{"%b":%b,"%b":%d,"%b":"%b","%b":' % (
        *(KEY.encode(), canonical_string(name_of(key)), DATABASE.encode(), database),
        *(TYPE.encode(), kind.name.encode(), VALUE.encode()),
    )
    yield from mapping.encode_long(value)
    yield b"}\n" if expires_at_ms is None else b',"%b":%d}\n' % (EXPIRY.encode(), expires_at_ms)


def library_line(name: bytes, text: bytes) -> bytes:
    """The line of a function library."""
    return b'{"%b":%b,"%b":%b}\n' % (
        *(LIBRARY.encode(), canonical_string(name_of(name))),
        *(CODE.encode(), canonical_string(name_of(text))),
    )


def read_line(line: bytes, mapping: Mapping) -> Member | Library:
    """What a line has, its end left out or not. SourceInvalid, in which the line is not named, if it is none of these."""
    members = _parse(line)
    if type(members) is not dict:
        raise SourceInvalid("it is no JSON object")
    if LIBRARY in members:
        return _library(members)
    key = _bytes(members, KEY)
    database = members.get(DATABASE, 0)
    if type(database) is not int or not 0 <= database < MOST_DATABASES:
        raise SourceInvalid(f"{DATABASE} is no number of a database")
    expires_at_ms = members.get(EXPIRY)
    if expires_at_ms is not None and (type(expires_at_ms) is not int or expires_at_ms not in EXPIRY_TIMES):
        raise SourceInvalid(f"{EXPIRY} is no Unix time in milliseconds")
    if VALUE not in members:
        raise SourceInvalid(f"it has no {VALUE}")
    if not members.keys() <= _OF_KEYS:
        _refuse_others(members, _OF_KEYS)
    value = _value(members[VALUE], mapping)
    if TYPE in members and members[TYPE] != kind_of(value).name:
        raise SourceInvalid(f"{TYPE} is {members[TYPE]!r}, and the {VALUE} is a {kind_of(value).name}")
    return Member(database, key, value, expires_at_ms)


def _parse(line: bytes) -> JSON:
    try:
        # Measured: it takes a third of the time, and reads strings as Python does. Numbers it would read otherwise.
        members = orjson.loads(line)
        if type(members) is dict and type(members.get(VALUE)) is str and type(members.get(EXPIRY, 0)) is int:
            return members
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError:
        raise SourceInvalid("it is not UTF-8") from None
    except RecursionError:
        raise SourceInvalid("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise SourceInvalid(f"it is no JSON: {error.msg} at column {error.colno}") from None
    except ValueError:
        raise SourceInvalid("it has a longer number than can be read") from None


def _value(document: JSON, mapping: Mapping) -> Value:
    # Most lines have one, for which there is nothing to find out.
    if type(document) is str:
        return decode_value(document)
    try:
        check_containers(document)
        entry = mapping.decode_entry(document)
        # A tag that is written otherwise is taken for a document, which nobody may have meant.
        is_like_tag = type(document) is dict and min(document, default="") == TAG
        if is_like_tag and type(entry) is JSONText and entry == canonical(document):
            raise SourceInvalid(
                f"{TAG} in the {VALUE} does not stand as it would be written: names in order, each once, scores as floats"
            )
    except (RecursionError, ValueError):
        raise SourceInvalid("it is nested deeper, or has longer numbers, than can be stored") from None
    if isinstance(entry, Expiring):
        raise SourceInvalid(f"{EXPIRY} stands in the {VALUE}, and not beside it")
    return entry


def _library(members: dict[str, Any]) -> Library:
    _refuse_others(members, _OF_LIBRARIES)
    return Library(_bytes(members, LIBRARY), _bytes(members, CODE))


def _bytes(members: dict[str, Any], name: str) -> bytes:
    text = members.get(name)
    if type(text) is not str:
        raise SourceInvalid(f"it has no {name}" if text is None else f"{name} is no string")
    found = bytes_of(text)
    if found is None:
        raise SourceInvalid(f"{name} is neither UTF-8 nor the base64 of something that is not")
    return found


def _refuse_others(members: dict[str, Any], known: frozenset[str]) -> None:
    if others := members.keys() - known:
        raise SourceInvalid(f"it has {sorted(others)[0]!r}, which means nothing here")
