"""JSON.ARRAPPEND, JSON.ARRINSERT, JSON.ARRPOP, JSON.ARRTRIM, JSON.ARRLEN, JSON.ARRINDEX: arrays in documents."""

from __future__ import annotations

from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command, wrong_arity
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import sent_value, works_ahead
from kvserver.types.json.document import Document, Location, read_document, size_of
from kvserver.types.json.filters import NOTHING, is_same
from kvserver.types.json.path import parse_path
from kvserver.types.json.places import (
    NO_PATH,
    Copies,
    change_each,
    check_depth,
    existing,
    path_at,
    value_from,
    wrong_type,
)
from kvserver.types.json.writing import write

_NO_ARRAY = "not an array"


def _is_array(value: JSON) -> bool:
    return type(value) is list


def _insert(document: Document, location: Location, index: int, values: list[JSON]) -> int:
    """Insert values into an array. Return the number of its members then."""
    array = document.list_at(location)
    array[index:index] = values
    document.changed(sum(map(size_of, values)))
    return len(array)


@command("json.arrappend", "key:key path value+", "write denyoom", access="RW access update",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Append JSON values to the arrays at a path")  # fmt: skip
@works_ahead(values=slice(3, None))
def json_arrappend(session: Session, request: Request) -> Reply:
    path = parse_path(request[2])
    values = [sent_value(session, request, text) for text in request[3:]]
    copies = Copies(values)

    def check(document: Document, location: Location) -> None:
        check_depth(location, values)

    def append(document: Document, location: Location) -> Reply:
        return _insert(document, location, len(document.at(location)), copies.take())

    return change_each(session, request, _is_array, append, _NO_ARRAY, path=path, check=check)


@command("json.arrinsert", "key:key path index:integer value+", "write denyoom", access="RW access update",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Insert JSON values into the arrays at a path before an index")  # fmt: skip
@works_ahead(values=slice(4, None))
def json_arrinsert(session: Session, request: Request) -> Reply:
    path, index = parse_path(request[2]), integer(request[3])
    values = [sent_value(session, request, text) for text in request[4:]]
    copies = Copies(values)

    def check(document: Document, location: Location) -> None:
        length = len(document.at(location))
        if not -length <= index <= length:
            raise CommandError("ERR index out of bounds")
        check_depth(location, values)

    def insert(document: Document, location: Location) -> Reply:
        place = index if index >= 0 else len(document.at(location)) + index
        return _insert(document, location, place, copies.take())

    return change_each(session, request, _is_array, insert, _NO_ARRAY, path=path, check=check)


def _near(index: int, length: int) -> int:
    """The index of a member, counted from the start; that of the first or last member if there is none at the index."""
    return max(length + index, 0) if index < 0 else min(index, length - 1)


@command("json.arrpop", "key:key path_index{path index:integer?}?", "write", access="RW access update", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Remove and return the member at an index, by default the last one, of each array at a path")  # fmt: skip
@works_ahead()
def json_arrpop(session: Session, request: Request) -> Reply:
    if len(request) > _POP_WORDS:
        raise wrong_arity("json.arrpop")
    path = path_at(request, 2)
    index = integer(request[3]) if len(request) == _POP_WORDS else -1

    def pop(document: Document, location: Location) -> Reply:
        array = document.at(location)
        place = (*location, _near(index, len(array)))
        text = write(document.at(place), has_constants=document.has_constants)
        document.delete(place)
        return text

    return change_each(session, request, _is_array, pop, _NO_ARRAY, path=path, will_change=bool)


_POP_WORDS = 4


@command("json.arrtrim", "key:key path start:integer stop:integer", "write", access="RW access update",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Remove all but a range of members from the arrays at a path")  # fmt: skip
@works_ahead()
def json_arrtrim(session: Session, request: Request) -> Reply:
    path, start, stop = parse_path(request[2]), integer(request[3]), integer(request[4])

    def trim(document: Document, location: Location) -> Reply:
        array = document.at(location)
        length = len(array)
        first = length if start >= length else _near(start, length)
        left = array[first : _near(stop, length) + 1] if length else []
        document.put(location, left)
        return len(left)

    return change_each(session, request, _is_array, trim, _NO_ARRAY, path=path)


@command("json.arrlen", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the lengths of the arrays at a path")  # fmt: skip
@works_ahead()
def json_arrlen(session: Session, request: Request) -> Reply:
    path = path_at(request, 2)
    document = read_document(session.keyspace, request[1])
    if not path.is_legacy:
        return [len(value) if type(value) is list else None for value in path.values(existing(document).root)]
    if document is None:
        return None
    value = path.first(document.root)
    if value is NOTHING:
        raise CommandError(NO_PATH)
    if type(value) is not list:
        raise CommandError(f"{NO_PATH} or {_NO_ARRAY}")
    return len(value)


@command("json.arrindex", "key:key path value range{start:integer stop:integer?}?", "readonly", access="RO access",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the index of the first member that is a JSON value in each array at a path")  # fmt: skip
@works_ahead()
def json_arrindex(session: Session, request: Request) -> Reply:
    if len(request) > _INDEX_WORDS:
        raise wrong_arity("json.arrindex")
    path, wanted = parse_path(request[2]), value_from(request[3])
    start = integer(request[4]) if len(request) > 4 else 0
    stop = integer(request[5]) if len(request) > 5 else 0

    def index(array: list[JSON]) -> int:
        length = len(array)
        first = max(_near(start, length), 0)
        # 0 is the end.
        end = length if stop == 0 else max(length + stop, 0) if stop < 0 else min(stop, length)
        return next((place for place in range(first, end) if is_same(array[place], wanted)), -1)

    document = read_document(session.keyspace, request[1])
    if document is None:
        raise CommandError(NO_PATH)
    if not path.is_legacy:
        return [index(value) if type(value) is list else None for value in path.values(document.root)]
    value = path.first(document.root)
    if value is NOTHING:
        raise CommandError(NO_PATH)
    if type(value) is not list:
        raise wrong_type("array", value)
    return index(value)


_INDEX_WORDS = 6
