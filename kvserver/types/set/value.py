"""The kind of sets. A small one is a packed `str` of members, a large one a `Set`. Pure.

Redis holds a set of integers as an intset, and gives its members in ascending order. So a set knows if Redis would: a packed
one by its mark, a large one by its `is_intset`. The members of a packed set are in the order in which they came, so that to
add one is to append it; whoever replies with them asks `in_order`.

Commands that are not hot see both forms by the same methods: `members_of` gives members that may be read, `changeable` some
that may be changed, and `store` keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from itertools import repeat
from typing import Any, Final, Self

import orjson

from kvserver.containers import packed
from kvserver.containers.packed import MOST_MEMBERS, pack_members
from kvserver.containers.table import Table
from kvserver.data.entries import Value
from kvserver.data.kinds import Elements, Form, Load
from kvserver.data.steps import Steps
from kvserver.dispatch.arguments import MAX_INTEGER, MIN_INTEGER, WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.formats import rdb_collections as rdb
from kvserver.formats.digest import SET_TYPE, join, mix
from kvserver.formats.longcollection import LongArray
from kvserver.formats.members import array_pieces
from kvserver.formats.nameorder import by_name
from kvserver.formats.names import as_text, bytes_of, name_of
from kvserver.formats.rdb_chunks import LONG_SETS, Body, set_chunks
from kvserver.formats.rdb_pieces import strings_in_pieces
from kvserver.state.session import Session
from kvserver.types.collection import Collection

MARK: Final = "s"
# The mark of a set that Redis would hold as an intset.
INTSET_MARK: Final = "i"
MARKS: Final = (INTSET_MARK, MARK)
TAG: Final = "set"
# Redis's default, by which a set of integers that is loaded is called an intset.
INTSET_MEMBERS: Final = 512

# Texts that Redis's string2ll takes for integers, but for those of 19 digits that have more than 64 bits, each with its end.
_INTEGERS: Final = re.compile(rb"(?:(?:0|-?[1-9][0-9]{0,18})\0)*+")
_SHORTEST_TOO_LONG: Final = 19


def are_integers(members: Several) -> bool:
    """True if an intset can hold all these members."""
    if not _INTEGERS.fullmatch(text := b"\0".join([*members, b""])) or text.count(b"\0") != len(members):
        return False
    return all(MIN_INTEGER <= int(member) <= MAX_INTEGER for member in members if len(member) >= _SHORTEST_TOO_LONG)


def is_intset(members: Several, most: int) -> bool:
    """True if Redis would hold a new set of these members as an intset. `most` is its set-max-intset-entries."""
    return len(members) <= most and are_integers(members)


class Few(dict[bytes, None]):
    """The members of a small set, made for a command. `is_intset`: Redis would hold it as an intset."""

    __slots__ = ("is_intset",)

    def __init__(self, members: Iterable[bytes], *, is_intset: bool) -> None:
        super().__init__(dict.fromkeys(members))
        self.is_intset = is_intset

    def add_all(self, members: list[bytes]) -> None:
        """Add members, of which some may be there."""
        self.update(dict.fromkeys(members))

    def discard(self, member: bytes) -> bool:
        """Remove a member, and return True if it was there."""
        # No member has the set itself as its value.
        return self.pop(member, self) is None


class Set(Table):
    """A large set. `is_intset`: Redis would hold it as an intset."""

    __slots__ = ("is_intset",)

    def __init__(self, members: Iterable[bytes], *, is_intset: bool) -> None:
        super().__init__()
        self.is_intset = is_intset
        self.add_all(members)

    def add_all(self, members: Iterable[bytes]) -> None:
        """Add members, of which some may be there."""
        self.update(zip(members, repeat(None)))

    def discard(self, member: bytes) -> bool:
        """Remove a member, and return True if it was there."""
        return self.delete(member)

    def fork(self) -> Self:
        other = super().fork()
        other.is_intset = self.is_intset
        return other


# A set as commands see it: the dict of a small one, made for the command, or the large one itself.
Members = Few | Set
Several = list[bytes] | tuple[bytes, ...] | Members


def members_of(value: Value | None) -> Members | None:
    """The set that is a value, to be read; None for None. CommandError for a value of another kind."""
    if type(value) is str and value[0] in MARKS:
        return Few(packed.members_of(value), is_intset=value[0] == INTSET_MARK)
    if value is None or type(value) is Set:
        return value
    raise CommandError(WRONG_TYPE)


def in_order(members: Members) -> list[bytes]:
    """The members in the order in which Redis gives them: those of an intset ascend, all others are in no order."""
    return sorted(members, key=int) if members.is_intset else list(members)


def changeable(session: Session, key: bytes) -> Members:
    """The set under a key, which `store` must be given when it is changed; an empty one if the key is missing."""
    members = members_of(session.keyspace.own(key))
    return Few((), is_intset=True) if members is None else members


def store(session: Session, key: bytes, members: Members, request: list[bytes]) -> None:
    """Keep a set that the request has changed; the key goes if the set is empty."""
    session.keyspace.change(key, value_of(members) if members else None, request)


def add_all(members: Members, added: list[bytes], most: int) -> int:
    """Add members, and return the number of those that are new. `most` is the configured set-max-intset-entries.

    A set that was converted stays converted, and one that is an intset is converted when a member comes in, not before.
    """
    before = len(members)
    if members.is_intset and not are_integers(added):
        members.is_intset = False
    members.add_all(added)
    new = len(members) - before
    if new and len(members) > most:
        members.is_intset = False
    return new


def value_of(members: Members) -> str | Set:
    """The value to store for a set that is not empty."""
    if type(members) is Set:
        return members
    mark = INTSET_MARK if members.is_intset else MARK
    small = pack_members(mark, members) if len(members) <= MOST_MEMBERS else None
    return Set(members, is_intset=members.is_intset) if small is None else small


def new_value(members: Several, *, is_intset: bool) -> str | Set:
    """The value to store for a set that is new, and not empty, of members of which none comes twice."""
    if len(members) <= MOST_MEMBERS:
        return value_of(Few(members, is_intset=is_intset))
    return Set(members, is_intset=is_intset)


def _loaded(members: list[bytes]) -> str | Set:
    return new_value(members, is_intset=is_intset(members, INTSET_MEMBERS))


def _read(document: object) -> Value | None:
    if not isinstance(document, list) or not document:
        return None
    members: list[bytes] = []
    for name in document:
        member = bytes_of(name) if isinstance(name, str) else None
        if member is None:
            return None
        members.append(member)
    # A payload that was written elsewhere may have a member twice.
    return _loaded(list(dict.fromkeys(members)))


class _Builder:
    """Makes the set of a payload, whose members come in the order of their names."""

    def __init__(self) -> None:
        self._members = Set((), is_intset=False)

    def add(self, members: list[bytes], values: list[Any]) -> None:
        self._members.add_all(members)

    def value(self) -> str | Set:
        if len(self._members) > INTSET_MEMBERS:
            return self._members
        return _loaded(sorted(self._members, key=name_of))

    def pieces(self) -> Iterator[bytes]:
        return _pieces(self._members)


def _pieces(members: Members) -> Iterator[bytes]:
    return array_pieces(by_name(members.chunks() if isinstance(members, Set) else (members,)))


def _begin_long(opening: bytes, expires_at_ms: int | None) -> LongArray:
    return LongArray(opening, expires_at_ms, _Builder(), is_sorted=True)


def _load(dump_type: int, body: bytes, max_bytes: int) -> Value:
    return _loaded(rdb.read_set(dump_type, body, max_bytes))


def _load_long(body: Body, max_bytes: int) -> Steps[Value]:
    members, count = Set((), is_intset=False), 0
    for chunk in set_chunks(body, max_bytes):
        members.add_all(chunk)
        count += len(chunk)
        yield
    rdb.check_members(members, count)
    return members if count > INTSET_MEMBERS else _loaded(list(members))


class SetKind(Collection):
    """A set. A payload holds it as a list of its members, by name, in which a string is named as a key is."""

    name = "set"
    types = (Set,)
    mark = "".join(MARKS)
    forms: Mapping[str, Form] = {TAG: Form(_read, _begin_long)}
    loads: Mapping[int, Load] = {
        dump_type: Load(
            shape,
            partial(_load, dump_type),
            _load_long if dump_type in LONG_SETS else None,
            MARK.encode() + rdb.FORMS[dump_type],
        )
        for dump_type, shape in rdb.SET_TYPES.items()
    }

    def encoding(self, value: str | Set) -> bytes:
        is_intset = value.is_intset if isinstance(value, Set) else value[0] == INTSET_MARK
        return b"intset" if is_intset else b"hashtable"

    def json(self, value: str | Set) -> tuple[str, bytes]:
        return TAG, orjson.dumps(sorted(map(name_of, members_of(value) or ())))

    def json_steps(self, value: str | Set) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        yield b""
        return TAG, _pieces(members_of(value) or Few((), is_intset=False))

    def dump(self, value: str | Set) -> bytes:
        is_intset = self.encoding(value) == b"intset"
        return rdb.write_set(rdb.SET_INTSET if is_intset else rdb.SET, members_of(value) or ())

    def rdb(self, value: str | Set, *, has_modules: bool) -> Iterator[bytes]:
        if isinstance(value, str):
            return iter([self.dump(value)])
        return strings_in_pieces(rdb.SET, len(value), value)

    def digest(self, value: str | Set, digest: bytes) -> bytes:
        return join(mix(digest, (SET_TYPE,)), members_of(value) or ())

    def python(self, value: str | Set) -> set[str | bytes]:
        return set(map(as_text, members_of(value) or ()))

    def elements(self, value: str | Set) -> Elements:
        members = members_of(value)
        return Elements(in_order(members) if members else [], has_order=False)


SET: Final = SetKind()
