"""The kind of hashes. A small one is a packed `str` of pairs, a large one and one whose fields expire a `Hash`. Pure.

Commands that are not hot see both by the methods of a dict: `living` gives one that may be read, `changeable` one that may
be changed, and `store` keeps it. So each of them is written once. None of them sees a field whose time has come.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Self

import orjson

from kvserver.containers.packed import MOST_MEMBERS, pack_pairs, pairs_of
from kvserver.containers.table import Table
from kvserver.containers.times import Times
from kvserver.data.entries import Value
from kvserver.data.kinds import VALUE, Form, Load
from kvserver.data.steps import Steps
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.formats import rdb_collections as rdb
from kvserver.formats.digest import EMPTY, FIELD_EXPIRES, HASH_TYPE, join, mix
from kvserver.formats.longcollection import LongObject
from kvserver.formats.members import LATEST_MS, Timed, object_pieces
from kvserver.formats.nameorder import by_name
from kvserver.formats.names import as_text, bytes_of, name_of
from kvserver.formats.rdb_chunks import LONG_HASHES, Body, expiring_hash_chunks, hash_chunks
from kvserver.formats.rdb_pieces import expiring_hash_in_pieces, hash_in_pieces
from kvserver.formats.tags import EXPIRY
from kvserver.state.session import Session
from kvserver.types.collection import Collection

MARK: Final = "h"
TAG: Final = "hash"
# Redis's defaults, by which a hash that is loaded is called a listpack.
LISTPACK_FIELDS: Final = 512
LISTPACK_BYTES: Final = 64
# The name of the command that is recorded for fields that have expired: that of HDEL, in lower case, as for keys.
EXPIRED_FIELDS: Final = b"hdel"


class Hash(Table):
    """A large hash, or one whose fields expire.

    - `is_listpack`: Redis would hold it as a listpack still.
    - `deadlines` are the times of the fields that expire, in Unix milliseconds, or None if none does.

    To set a field as one of a dict takes its deadline away; `set` keeps it.
    """

    __slots__ = ("deadlines", "is_listpack")

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]], *, is_listpack: bool) -> None:
        super().__init__()
        self.is_listpack = is_listpack
        self.deadlines: Times | None = None
        self.update(pairs)

    def __setitem__(self, field: bytes, value: bytes) -> None:
        self.set(field, value)
        if self.deadlines is not None:
            self.persist(field)

    def pop(self, field: bytes, default: None) -> bytes | None:
        """Remove a field and return its value, or None if it is missing."""
        value: bytes | None = self.get(field)
        if value is not None:
            self.delete(field)
            if self.deadlines is not None:
                self.persist(field)
        return value

    @property
    def earliest_ms(self) -> int | None:
        """The Unix time in milliseconds from which on the first field is gone, or None if none expires."""
        return None if self.deadlines is None else self.deadlines.earliest

    def expire(self, field: bytes, expires_at_ms: int) -> None:
        """Let a field that is there be gone from a time on (Unix milliseconds)."""
        if self.deadlines is None:
            self.deadlines = Times()
        self.deadlines.set(field, expires_at_ms)

    def persist(self, field: bytes) -> bool:
        """Let a field never be gone by itself. True if it had a deadline."""
        if self.deadlines is None or not self.deadlines.discard(field):
            return False
        if not len(self.deadlines):
            self.deadlines = None
        return True

    def lapse(self, now_ms: int, most: int) -> list[bytes]:
        """Remove up to `most` fields whose time has come, and return them."""
        due = self.deadlines.take_due(now_ms, most) if self.deadlines is not None else []
        for field in due:
            self.delete(field)
        if self.deadlines is not None and not len(self.deadlines):
            self.deadlines = None
        return due

    def living(self, now_ms: int) -> Living:
        """The hash as it is at a time, to be read."""
        return Living(self, now_ms)

    def fork(self) -> Self:
        other = super().fork()
        other.is_listpack = self.is_listpack
        other.deadlines = None if self.deadlines is None else self.deadlines.fork()
        return other

    def size_bytes(self) -> int:
        return super().size_bytes() + (0 if self.deadlines is None else self.deadlines.size_bytes())


class Living:
    """A hash at a time (Unix milliseconds) when some of its fields are due: these are not seen. It can only be read.

    Nobody may change the hash meanwhile.
    """

    __slots__ = ("_hash", "_now_ms", "deadlines", "due_count")

    def __init__(self, hash_: Hash, now_ms: int) -> None:
        self._hash = hash_
        self._now_ms = now_ms
        self.deadlines = hash_.deadlines or Times()
        self.due_count = self.deadlines.count_due(now_ms)

    def __len__(self) -> int:
        return len(self._hash) - self.due_count

    def get(self, field: bytes) -> bytes | None:
        """The value of a field, or None."""
        value: bytes | None = self._hash.get(field)
        return None if value is None or is_due(self._hash, field, self._now_ms) else value

    def __contains__(self, field: bytes) -> bool:
        return self.get(field) is not None

    def __iter__(self) -> Iterator[bytes]:
        return (field for field in self._hash if not is_due(self._hash, field, self._now_ms))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All fields and their values."""
        return ((field, value) for field, value in self._hash.items() if not is_due(self._hash, field, self._now_ms))

    def scan(self, cursor: int) -> tuple[int, list[bytes]]:
        """As the table's. Fields that are due are among those that this gives, so that it does not look for others."""
        return self._hash.scan(cursor)

    def random(self, below: Callable[[int], int]) -> bytes:
        """A random field, all with the same chance. There must be one, and this takes long if most fields are due."""
        while is_due(self._hash, field := self._hash.random(below), self._now_ms):
            pass
        return field


# A hash as commands see it: the dict of a small one, made for the command, or the large one itself.
Fields = dict[bytes, bytes] | Hash


def fields_of(value: Value | None) -> Fields | None:
    """The hash that is a value, as it is; None for None. CommandError for a value of another kind."""
    if type(value) is str and value[0] == MARK:
        return pairs_of(value)
    if value is None or type(value) is Hash:
        return value
    raise CommandError(WRONG_TYPE)


def living(session: Session, value: Value | None) -> Fields | Living | None:
    """The hash that the keyspace gave, to be read; None for None. CommandError for a value of another kind."""
    fields = fields_of(value)
    if type(fields) is Hash and fields.deadlines is not None:
        left: Any = session.keyspace.living(fields)
        return left  # type: ignore[no-any-return]
    return fields


def read(session: Session, key: bytes) -> Fields | Living | None:
    """The hash under a key, to be read; None if the key is missing. CommandError for a value of another kind."""
    return living(session, session.keyspace.read(key))


def changeable(session: Session, key: bytes, named: list[bytes]) -> Fields:
    """The hash under a key, which `store` must be given when it is changed; an empty one if the key is missing.

    Only the named fields may be changed or looked at: those of them that are due are removed.
    """
    fields = fields_of(session.keyspace.own(key))
    return {} if fields is None else without_due(session, key, fields, named)


def without_due(session: Session, key: bytes, fields: Fields, named: list[bytes]) -> Fields:
    """A hash that may be changed, without those of the named fields that are due; an empty one if no field is left."""
    if type(fields) is not Hash or fields.deadlines is None:
        return fields
    keyspace = session.keyspace
    if keyspace.living(fields) is None:
        # However many there are, they go at once, to be freed later.
        keyspace.remove_emptied(key)
        return {}
    now_ms = keyspace.now_ms()
    due = [field for field in named if is_due(fields, field, now_ms)]
    for field in due:
        fields.pop(field, None)
    if due:
        # The last one may have become due since the look at the whole hash, where nobody holds the clock.
        keyspace.lapse(key, fields if len(fields) else None, [EXPIRED_FIELDS, key, *due])
    return fields


def is_due(fields: Fields | Living, field: bytes, now_ms: int) -> bool:
    """True if the time of a field has come."""
    expires_at_ms = deadline_of(fields, field)
    return expires_at_ms is not None and expires_at_ms <= now_ms


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


def deadline_of(fields: Fields | Living, field: bytes) -> int | None:
    """The time of a field in Unix milliseconds, or None if it is missing or does not expire."""
    return None if isinstance(fields, dict) or fields.deadlines is None else fields.deadlines.get(field)


def revise(fields: Fields, field: bytes, value: bytes) -> None:
    """Give a field another value, and let it keep its deadline."""
    if isinstance(fields, Hash):
        fields.set(field, value)
    else:
        fields[field] = value


def expiry_request(key: bytes, expires_at_ms: int, fields: list[bytes]) -> list[bytes]:
    """The command that gives fields a deadline (Unix milliseconds), if they are there when it runs."""
    return [b"HPEXPIREAT", key, b"%d" % expires_at_ms, b"FIELDS", b"%d" % len(fields), *fields]


def _loaded(fields: dict[bytes, bytes], deadlines: dict[bytes, int]) -> str | Hash:
    longest = max(max(map(len, fields)), max(map(len, fields.values())))
    is_listpack = len(fields) <= LISTPACK_FIELDS and longest <= LISTPACK_BYTES
    if not deadlines:
        return value_of(fields, is_listpack=is_listpack)
    hash_ = Hash(fields.items(), is_listpack=is_listpack)
    hash_.deadlines = Times(deadlines)
    return hash_


def _read(document: object) -> Value | None:
    if not isinstance(document, dict) or not document:
        return None
    fields: dict[bytes, bytes] = {}
    deadlines: dict[bytes, int] = {}
    for name, text in document.items():
        expires_at_ms = None
        if isinstance(text, dict):
            expires_at_ms, text = text.get(EXPIRY), text.get(VALUE)
            if type(expires_at_ms) is not int or not 0 < expires_at_ms <= LATEST_MS:
                return None
        field, value = bytes_of(name), bytes_of(text) if isinstance(text, str) else None
        if field is None or value is None:
            return None
        fields[field] = value
        if expires_at_ms is not None:
            deadlines[field] = expires_at_ms
    return _loaded(fields, deadlines)


class _Builder:
    """Makes the hash of a payload, whose fields come in the order of their names."""

    def __init__(self) -> None:
        self._fields = Hash((), is_listpack=False)

    def add(self, fields: list[bytes], values: list[Any]) -> None:
        made = self._fields
        if Timed not in map(type, values):
            made.update(zip(fields, values, strict=True))
            return
        for field, value in zip(fields, values, strict=True):
            made.set(field, value.value if isinstance(value, Timed) else value)
            if isinstance(value, Timed):
                made.expire(field, value.expires_at_ms)

    def value(self) -> str | Hash:
        if len(self._fields) > LISTPACK_FIELDS:
            return self._fields
        return _loaded(dict(sorted(self._fields.items(), key=_name_of_pair)), dict(_deadlines(self._fields)))

    def pieces(self) -> Iterator[bytes]:
        return _pieces(self._fields)


def _name_of_pair(pair: tuple[bytes, bytes]) -> str:
    return name_of(pair[0])


def _pieces(fields: Fields) -> Iterator[bytes]:
    def timed(field: bytes) -> bytes | Timed | None:
        value, expires_at_ms = fields.get(field), deadline_of(fields, field)
        return value if value is None or expires_at_ms is None else Timed(value, expires_at_ms)

    has_deadlines = isinstance(fields, Hash) and fields.deadlines is not None
    batches = by_name(fields.chunks() if isinstance(fields, Hash) else (fields,))
    return object_pieces(batches, timed if has_deadlines else fields.get)


def _begin_long(opening: bytes, expires_at_ms: int | None) -> LongObject:
    return LongObject(opening, expires_at_ms, _Builder())


def _load(dump_type: int, body: bytes, max_bytes: int) -> Value:
    return _loaded(rdb.read_hash(dump_type, body, max_bytes), {})


def _load_long(dump_type: int, body: Body, max_bytes: int) -> Steps[Value]:
    made, count = Hash((), is_listpack=False), 0
    for chunk in hash_chunks(dump_type, body, max_bytes):
        made.update(chunk)
        count += len(chunk)
        yield
    return _made(made, count)


def _load_expiring(dump_type: int, body: bytes, max_bytes: int) -> Value:
    fields, deadlines = rdb.read_expiring_hash(dump_type, body, max_bytes)
    return _loaded(fields, {field: _deadline(expires_at_ms) for field, expires_at_ms in deadlines.items()})


def _load_long_expiring(dump_type: int, body: Body, max_bytes: int) -> Steps[Value]:
    made, count = Hash((), is_listpack=False), 0
    for chunk in expiring_hash_chunks(dump_type, body, max_bytes):
        for field, value, expires_at_ms in chunk:
            made.set(field, value)
            if expires_at_ms is not None:
                made.expire(field, _deadline(expires_at_ms))
        count += len(chunk)
        yield
    return _made(made, count)


def _deadline(expires_at_ms: int) -> int:
    # In a listpack, a time of 0 means none.
    return max(1, expires_at_ms)


def _made(fields: Hash, count: int) -> str | Hash:
    """The value of a hash that was made of so many fields of a payload of RESTORE."""
    rdb.check_members(fields, count)
    return fields if count > LISTPACK_FIELDS else _loaded(dict(fields.items()), dict(_deadlines(fields)))


def _deadlines(fields: Fields) -> Iterable[tuple[bytes, int]]:
    return fields.deadlines.items() if isinstance(fields, Hash) and fields.deadlines is not None else ()


def _seen(value: str | Hash | Living) -> Fields | Living:
    return value if isinstance(value, Living) else fields_of(value) or {}


class HashKind(Collection):
    """A hash. A payload holds it as an object, by name, in which a string is named as a key is."""

    name = "hash"
    types = (Hash, Living)
    mark = MARK
    forms: Mapping[str, Form] = {TAG: Form(_read, _begin_long)}
    loads: Mapping[int, Load] = {
        dump_type: Load(
            shape,
            partial(_load, dump_type),
            partial(_load_long, dump_type) if dump_type in LONG_HASHES else None,
            MARK.encode() + rdb.FORMS[dump_type],
        )
        for dump_type, shape in rdb.HASH_TYPES.items()
    } | {
        dump_type: Load(
            shape,
            partial(_load_expiring, dump_type),
            partial(_load_long_expiring, dump_type) if dump_type in LONG_HASHES else None,
        )
        for dump_type, shape in rdb.EXPIRING_HASH_TYPES.items()
    }

    def encoding(self, value: str | Hash) -> bytes:
        if not isinstance(value, Hash):
            return b"listpack"
        return b"hashtable" if not value.is_listpack else b"listpack" if value.deadlines is None else b"listpackex"

    def lapse(self, key: bytes, value: Any, now_ms: int, most: int) -> list[bytes]:
        due = value.lapse(now_ms, most)
        return [EXPIRED_FIELDS, key, *due] if due else []

    def json(self, value: str | Hash) -> tuple[str, bytes]:
        fields = fields_of(value) or {}
        named: dict[str, object] = {name_of(field): name_of(text) for field, text in fields.items()}
        for field, expires_at_ms in _deadlines(fields):
            name = name_of(field)
            named[name] = {EXPIRY: expires_at_ms, VALUE: named[name]}
        return TAG, orjson.dumps(named, option=orjson.OPT_SORT_KEYS)

    def json_steps(self, value: str | Hash) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        yield b""
        return TAG, _pieces(fields_of(value) or {})

    def dump(self, value: str | Hash) -> bytes:
        fields, is_hash = fields_of(value) or {}, self.encoding(value) == b"hashtable"
        if isinstance(fields, Hash) and fields.deadlines is not None:
            expiring = [(field, text, fields.deadlines.get(field)) for field, text in fields.items()]
            return rdb.write_expiring_hash(rdb.HASH_METADATA if is_hash else rdb.HASH_LISTPACK_EX, expiring)
        return rdb.write_hash(rdb.HASH if is_hash else rdb.HASH_LISTPACK, fields.items())

    def rdb(self, value: str | Hash, *, has_modules: bool) -> Iterator[bytes]:
        if isinstance(value, str) or value.is_listpack:
            return iter([self.dump(value)])
        deadlines = value.deadlines
        if deadlines is None or deadlines.earliest is None:
            return hash_in_pieces(len(value), value.items())
        fields = ((field, text, deadlines.get(field)) for field, text in value.items())
        return expiring_hash_in_pieces(len(value), deadlines.earliest, fields)

    def digest(self, value: str | Hash, digest: bytes) -> bytes:
        fields = fields_of(value) or {}
        expiring = {field for field, _ in _deadlines(fields)}
        of_fields = (join(mix(EMPTY, pair), (FIELD_EXPIRES,) if pair[0] in expiring else ()) for pair in fields.items())
        return join(mix(digest, (HASH_TYPE,)), of_fields)

    def python(self, value: str | Hash | Living) -> dict[str | bytes, str | bytes]:
        return {as_text(field): as_text(text) for field, text in _seen(value).items()}

    def part(self, value: str | Hash | Living, field: bytes | None) -> bytes | None:
        return None if field is None else _seen(value).get(field)


HASH: Final = HashKind()
