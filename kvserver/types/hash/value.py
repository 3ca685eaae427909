"""The kind of hashes. A small one is a packed `str` of pairs, a large one a `Hash`. Pure.

Commands that are not hot see both by the methods of a dict: `fields` gives one that may be read, `changeable` one that may
be changed, and `store` keeps it. So each of them is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import Final, Self

import orjson

from kvserver.containers.packed import MOST_MEMBERS, pack_pairs, pairs_of
from kvserver.containers.table import Table
from kvserver.data.entries import Value
from kvserver.data.kinds import Form
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.formats import rdb_collections as rdb
from kvserver.formats.longcollection import LongObject
from kvserver.formats.members import object_pieces
from kvserver.formats.nameorder import by_name
from kvserver.formats.names import as_text, bytes_of, name_of
from kvserver.state.session import Session
from kvserver.types.collection import Collection

MARK: Final = "h"
TAG: Final = "hash"
# Redis's defaults, by which a hash that is loaded is called a listpack.
LISTPACK_FIELDS: Final = 512
LISTPACK_BYTES: Final = 64


class Hash(Table):
    """A large hash. `is_listpack`: Redis would hold it as a listpack still."""

    __slots__ = ("is_listpack",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]], *, is_listpack: bool) -> None:
        super().__init__()
        self.is_listpack = is_listpack
        self.update(pairs)

    def __setitem__(self, field: bytes, value: bytes) -> None:
        self.set(field, value)

    def pop(self, field: bytes, default: None) -> bytes | None:
        """Remove a field and return its value, or None if it is missing."""
        value: bytes | None = self.get(field)
        if value is not None:
            self.delete(field)
        return value

    def fork(self) -> Self:
        other = super().fork()
        other.is_listpack = self.is_listpack
        return other


# A hash as commands see it: the dict of a small one, made for the command, or the large one itself.
Fields = dict[bytes, bytes] | Hash


def fields_of(value: Value | None) -> Fields | None:
    """The hash that is a value, to be read; None for None. CommandError for a value of another kind."""
    if type(value) is str and value[0] == MARK:
        return pairs_of(value)
    if value is None or type(value) is Hash:
        return value
    raise CommandError(WRONG_TYPE)


def changeable(session: Session, key: bytes) -> Fields:
    """The hash under a key, which `store` must be given when it is changed; an empty one if the key is missing."""
    fields = fields_of(session.keyspace.own(key))
    return {} if fields is None else fields


def store(session: Session, key: bytes, fields: Fields, request: list[bytes], longest: int | None = None) -> None:
    """Keep a hash that the request has changed; the key goes if the hash is empty.

    `longest` is the length, in bytes, of the longest name or value that the request has brought, or None if it brought none.
    """
    config = session.server.config
    is_listpack = longest is None or (
        len(fields) <= config.hash_max_listpack_entries and longest <= config.hash_max_listpack_value
    )
    session.keyspace.change(key, value_of(fields, is_listpack=is_listpack) if fields else None, request)


def value_of(fields: Fields, *, is_listpack: bool) -> str | Hash:
    """The value to store for a hash that is not empty. `is_listpack`: Redis may hold it as a listpack, if it has so far."""
    if type(fields) is Hash:
        fields.is_listpack = fields.is_listpack and is_listpack
        return fields
    packed = pack_pairs(MARK, fields.items()) if is_listpack and len(fields) <= MOST_MEMBERS else None
    return Hash(fields.items(), is_listpack=is_listpack) if packed is None else packed


def _loaded(fields: dict[bytes, bytes]) -> str | Hash:
    longest = max(max(map(len, fields)), max(map(len, fields.values())))
    return value_of(fields, is_listpack=len(fields) <= LISTPACK_FIELDS and longest <= LISTPACK_BYTES)


def _read(document: object) -> Value | None:
    if not isinstance(document, dict) or not document:
        return None
    fields: dict[bytes, bytes] = {}
    for name, text in document.items():
        field, value = bytes_of(name), bytes_of(text) if isinstance(text, str) else None
        if field is None or value is None:
            return None
        fields[field] = value
    return _loaded(fields)


class _Builder:
    """Makes the hash of a payload, whose fields come in the order of their names."""

    def __init__(self) -> None:
        self._fields = Hash((), is_listpack=False)

    def add(self, fields: list[bytes], values: list[bytes]) -> None:
        self._fields.update(zip(fields, values, strict=True))

    def value(self) -> str | Hash:
        if len(self._fields) > LISTPACK_FIELDS:
            return self._fields
        return _loaded(dict(sorted(self._fields.items(), key=_name_of_pair)))

    def pieces(self) -> Iterator[bytes]:
        return _pieces(self._fields)


def _name_of_pair(pair: tuple[bytes, bytes]) -> str:
    return name_of(pair[0])


def _pieces(fields: Fields) -> Iterator[bytes]:
    return object_pieces(by_name(fields.chunks() if isinstance(fields, Hash) else (fields,)), fields.get)


def _begin_long(opening: bytes, expires_at_ms: int | None) -> LongObject:
    return LongObject(opening, expires_at_ms, _Builder())


def _load(dump_type: int, body: bytes, max_bytes: int) -> Value:
    return _loaded(dict(rdb.read_hash(dump_type, body, max_bytes)))


class HashKind(Collection):
    """A hash. A payload holds it as an object, by name, in which a string is named as a key is."""

    name = "hash"
    types = (Hash,)
    mark = MARK
    forms: Mapping[str, Form] = {TAG: Form(_read, _begin_long)}
    loads: Mapping[int, Callable[[bytes, int], Value]] = {dump_type: partial(_load, dump_type) for dump_type in rdb.HASH_TYPES}

    def encoding(self, value: str | Hash) -> bytes:
        return b"hashtable" if isinstance(value, Hash) and not value.is_listpack else b"listpack"

    def json(self, value: str | Hash) -> tuple[str, bytes]:
        fields = fields_of(value) or {}
        named = {name_of(field): name_of(text) for field, text in fields.items()}
        return TAG, orjson.dumps(named, option=orjson.OPT_SORT_KEYS)

    def json_steps(self, value: str | Hash) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        yield b""
        return TAG, _pieces(fields_of(value) or {})

    def dump(self, value: str | Hash) -> bytes:
        fields = fields_of(value) or {}
        return rdb.write_hash(rdb.HASH_LISTPACK if self.encoding(value) == b"listpack" else rdb.HASH, fields.items())

    def python(self, value: str | Hash) -> dict[str | bytes, str | bytes]:
        return {as_text(field): as_text(text) for field, text in (fields_of(value) or {}).items()}

    def part(self, value: str | Hash, field: bytes | None) -> bytes | None:
        return None if field is None else (fields_of(value) or {}).get(field)


HASH: Final = HashKind()
