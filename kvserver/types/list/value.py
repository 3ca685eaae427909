"""The kind of lists. A small one is a packed `str` of members, a large one a `List`. Pure.

Commands that are not hot see both as a `List`: `elements` opens a small one, and `store` packs it again. So each of them is
written once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Self

import orjson

from kvserver.containers.packed import MOST_MEMBERS, members_of, pack_members
from kvserver.containers.sequence import Sequence
from kvserver.data.entries import Value
from kvserver.data.kinds import Elements, Form, Load
from kvserver.data.steps import Steps
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.formats import rdb_collections as rdb
from kvserver.formats.digest import LIST_TYPE, mix
from kvserver.formats.longcollection import LongArray
from kvserver.formats.members import array_pieces
from kvserver.formats.names import as_text, bytes_of, name_of
from kvserver.formats.rdb_chunks import LONG_LISTS, Body, list_chunks
from kvserver.formats.rdb_pieces import strings_in_pieces
from kvserver.state.session import Session
from kvserver.types.collection import Collection

MARK: Final = "l"
# A packed list without an element, which is never stored.
EMPTY: Final = f"{MARK}\0"
TAG: Final = "list"


class List(Sequence):
    """The elements of a list. `is_value`: it is the value of a key; else it was opened or made for a command."""

    __slots__ = ("is_value",)

    def __init__(self, elements: Iterable[bytes] = (), *, is_value: bool = False) -> None:
        super().__init__(elements)
        self.is_value = is_value

    def fork(self) -> Self:
        other = super().fork()
        other.is_value = self.is_value
        return other


def list_of(value: Value | None) -> str | List | None:
    """The value as it is, which is a list or None. CommandError for a value of another kind."""
    if value is None or type(value) is List or (type(value) is str and value[0] == MARK):
        return value
    raise CommandError(WRONG_TYPE)


def elements_of(value: Value | None) -> List | None:
    """The list that is a value, to be read; None for None. CommandError for a value of another kind."""
    found = list_of(value)
    return List(members_of(found)) if isinstance(found, str) else found


def changeable(session: Session, key: bytes) -> List | None:
    """The list under a key, which `store` must be given when it is changed; None if the key is missing."""
    return elements_of(session.keyspace.own(key))


def store(session: Session, key: bytes, elements: List, request: list[bytes]) -> None:
    """Keep a list that the request has changed; the key goes if the list is empty."""
    session.keyspace.change(key, value_of(elements) if elements else None, request)


def value_of(elements: List) -> str | List:
    """The value to store for a list that is not empty. One that was too large to be packed stays as it is."""
    if not elements.is_value:
        packed = pack_members(MARK, elements) if len(elements) <= MOST_MEMBERS else None
        if packed is not None:
            return packed
        elements.is_value = True
    return elements


def _read(document: object) -> Value | None:
    if not isinstance(document, list) or not document:
        return None
    elements: list[bytes] = []
    for name in document:
        element = bytes_of(name) if isinstance(name, str) else None
        if element is None:
            return None
        elements.append(element)
    return value_of(List(elements))


class _Builder:
    """Makes the list of a payload."""

    def __init__(self) -> None:
        self._elements = List()

    def add(self, members: list[bytes], values: list[Any]) -> None:
        self._elements.extend(members)

    def value(self) -> str | List:
        return value_of(self._elements)

    def pieces(self) -> Iterator[bytes]:
        return array_pieces(self._elements.chunks())


def _begin_long(opening: bytes, expires_at_ms: int | None) -> LongArray:
    return LongArray(opening, expires_at_ms, _Builder(), is_sorted=False)


def _load(dump_type: int, body: bytes, max_bytes: int) -> Value:
    return value_of(List(rdb.read_list(dump_type, body, max_bytes)))


def _load_long(dump_type: int, body: Body, max_bytes: int) -> Steps[Value]:
    elements = List()
    for chunk in list_chunks(dump_type, body, max_bytes):
        elements.extend(chunk)
        yield
    rdb.check_members(elements)
    return value_of(elements)


class ListKind(Collection):
    """A list. A payload holds it as an array, in which a string is named as a key is."""

    name = "list"
    types = (List,)
    mark = MARK
    forms: Mapping[str, Form] = {TAG: Form(_read, _begin_long)}
    loads: Mapping[int, Load] = {
        dump_type: Load(
            shape,
            partial(_load, dump_type),
            partial(_load_long, dump_type) if dump_type in LONG_LISTS else None,
            MARK.encode() + rdb.FORMS[dump_type],
        )
        for dump_type, shape in rdb.LIST_TYPES.items()
    }

    def encoding(self, value: str | List) -> bytes:
        # Redis holds every list as one before 7.2.
        return b"quicklist"

    def json(self, value: str | List) -> tuple[str, bytes]:
        return TAG, orjson.dumps([name_of(element) for element in elements_of(value) or ()])

    def json_steps(self, value: str | List) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        yield b""
        return TAG, array_pieces((elements_of(value) or List()).chunks())

    def dump(self, value: str | List) -> bytes:
        return rdb.write_list(elements_of(value) or ())

    def rdb(self, value: str | List, *, has_modules: bool) -> Iterator[bytes]:
        if isinstance(value, str):
            return iter([self.dump(value)])
        return strings_in_pieces(rdb.LIST, len(value), value)

    def digest(self, value: str | List, digest: bytes) -> bytes:
        return mix(mix(digest, (LIST_TYPE,)), elements_of(value) or ())

    def layout(self, value: str | List) -> str:
        elements = elements_of(value) or List()
        nodes = rdb.list_nodes(elements)
        size = sum(len(content) for _, content in nodes)
        return (
            f" ql_nodes:{len(nodes)} ql_avg_node:{len(elements) / len(nodes):.2f} ql_listpack_max:{rdb.NODE_LIMIT}"
            f" ql_compressed:0 ql_uncompressed_size:{size}"
        )

    def python(self, value: str | List) -> list[str | bytes]:
        return list(map(as_text, elements_of(value) or ()))

    def elements(self, value: str | List) -> Elements:
        return Elements(list(elements_of(value) or ()), has_order=True)


LIST: Final = ListKind()
