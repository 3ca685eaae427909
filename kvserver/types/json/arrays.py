"""JSON.ARRAPPEND, JSON.ARRINSERT, JSON.ARRPOP, JSON.ARRTRIM, JSON.ARRLEN, JSON.ARRINDEX: arrays in documents."""

from __future__ import annotations

from typing import Final

from kvserver.data.steps import Steps
from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command, wrong_arity
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import reads_ahead, writes_ahead
from kvserver.types.json.copies import Copies, check_depth, depth_of
from kvserver.types.json.document import Document, Location, size_of
from kvserver.types.json.filters import NOTHING, is_same
from kvserver.types.json.path import Path, parse_path
from kvserver.types.json.places import AT_ONCE, NO_PATH, change_each, existing, path_at, work_of, wrong_type
from kvserver.types.json.replies import each_reply, long_reply
from kvserver.types.json.storage import Finish, read, sent
from kvserver.types.json.work import Work, pieces
from kvserver.types.json.writing import text_steps

_NO_ARRAY: Final = "not an array"


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
@writes_ahead()
def json_arrappend(session: Session, request: Request) -> Steps[Finish]:
    return _add(session, request, parse_path(request[2]), None, request[3:])


def _add(session: Session, request: Request, path: Path, index: int | None, texts: list[bytes]) -> Steps[Finish]:
    """Insert the values of these texts before an index, or behind the end for None, of each array at a path."""
    values: list[JSON] = []
    work = Work.unlimited()
    for text in texts:
        values.append((yield from sent(text)))
        work.spend(1 + (len(text) >> 6))
        if work.is_due():
            yield
    depth = yield from depth_of(values, work)
    copies = Copies(session, values, texts)

    def plan(document: Document, location: Location, work: Work) -> Steps[list[JSON]]:
        length = len(document.at(location))
        if index is not None and not -length <= index <= length:
            raise CommandError("ERR index out of bounds")
        check_depth(location, depth)
        return (yield from copies.take())

    def insert(document: Document, location: Location, own: list[JSON]) -> Reply:
        length = len(document.at(location))
        place = length if index is None else index if index >= 0 else length + index
        return _insert(document, location, place, own)

    return (yield from change_each(session, request, _is_array, plan, insert, _NO_ARRAY, path=path))


@command("json.arrinsert", "key:key path index:integer value+", "write denyoom", access="RW access update",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Insert JSON values into the arrays at a path before an index")  # fmt: skip
@writes_ahead()
def json_arrinsert(session: Session, request: Request) -> Steps[Finish]:
    return _add(session, request, parse_path(request[2]), integer(request[3]), request[4:])


def _near(index: int, length: int) -> int:
    """The index of a member, counted from the start; that of the first or last member if there is none at the index."""
    return max(length + index, 0) if index < 0 else min(index, length - 1)


@command("json.arrpop", "key:key path_index{path index:integer?}?", "write", access="RW access update", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Remove and return the member at an index, by default the last one, of each array at a path")  # fmt: skip
@writes_ahead()
def json_arrpop(session: Session, request: Request) -> Steps[Finish]:
    if len(request) > _POP_WORDS:
        raise wrong_arity("json.arrpop")
    path = path_at(request, 2)
    index = integer(request[3]) if len(request) == _POP_WORDS else -1
    popped: list[Location] = []
    # The document without what was popped so far, once an array is met within which there was something.
    left: Document | None = None

    def plan(document: Document, location: Location, work: Work) -> Steps[JSON]:
        nonlocal left
        array = document.at(location)
        if not array:
            return NOTHING
        place = (*location, _near(index, len(array)))
        if left is None and popped and popped[-1][: len(location)] == location:
            left = document.draft()
            yield from _delete_each(left, popped, work)
        text = yield from text_steps((left or document).at(place), has_constants=document.has_constants)
        popped.append(place)
        if left is not None:
            left.delete(place)
        work.spend(len(text) >> 6)
        if work.is_due():
            yield
        return text

    def pop(document: Document, location: Location, text: JSON) -> Reply:
        document.delete((*location, _near(index, len(document.at(location)))))
        reply: bytes = text
        return reply

    return (yield from change_each(session, request, _is_array, plan, pop, _NO_ARRAY, path=path))


_POP_WORDS: Final = 4


def _delete_each(document: Document, locations: list[Location], work: Work) -> Steps[None]:
    """Remove the values at locations, one after the other."""
    for some in pieces(locations):
        for place in some:
            document.delete(place)
        work.spend(len(some))
        if work.is_due():
            yield


@command("json.arrtrim", "key:key path start:integer stop:integer", "write", access="RW access update",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Remove all but a range of members from the arrays at a path")  # fmt: skip
@writes_ahead()
def json_arrtrim(session: Session, request: Request) -> Steps[Finish]:
    path, start, stop = parse_path(request[2]), integer(request[3]), integer(request[4])

    def plan(document: Document, location: Location, work: Work) -> Steps[slice]:
        yield from ()
        length = len(document.at(location))
        first = length if start >= length else _near(start, length)
        return slice(first, _near(stop, length) + 1 if length else 0)

    def trim(document: Document, location: Location, kept: slice) -> Reply:
        left = document.at(location)[kept]
        document.put(location, left)
        return len(left)

    return change_each(session, request, _is_array, plan, trim, _NO_ARRAY, path=path)


@command("json.arrlen", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the lengths of the arrays at a path")  # fmt: skip
@reads_ahead()
def json_arrlen(session: Session, request: Request) -> Steps[Reply]:
    path, work = path_at(request, 2), work_of(session)
    document = yield from read(session, request[1])
    if not path.is_legacy:
        values = yield from path.values(existing(document).root, work)
        return (yield from each_reply(session, values, lambda value: len(value) if type(value) is list else None, work))
    if document is None:
        return None
    value = yield from path.first(document.root, work)
    if value is NOTHING:
        raise CommandError(NO_PATH)
    if type(value) is not list:
        raise CommandError(f"{NO_PATH} or {_NO_ARRAY}")
    return len(value)


@command("json.arrindex", "key:key path value range{start:integer stop:integer?}?", "readonly", access="RO access",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the index of the first member that is a JSON value in each array at a path")  # fmt: skip
@reads_ahead()
def json_arrindex(session: Session, request: Request) -> Steps[Reply]:
    if len(request) > _INDEX_WORDS:
        raise wrong_arity("json.arrindex")
    path, work = parse_path(request[2]), work_of(session)
    wanted = yield from sent(request[3])
    start = integer(request[4]) if len(request) > 4 else 0
    stop = integer(request[5]) if len(request) > 5 else 0

    def index(array: list[JSON]) -> Steps[int]:
        length = len(array)
        first = max(_near(start, length), 0)
        # 0 is the end.
        end = length if stop == 0 else max(length + stop, 0) if stop < 0 else min(stop, length)
        for place in range(first, end):
            if (yield from is_same(array[place], wanted, work)):
                return place
            if place % AT_ONCE == 0:
                work.spend(AT_ONCE)
                if work.is_due():
                    yield
        return -1

    document = yield from read(session, request[1])
    if document is None:
        raise CommandError(NO_PATH)
    if not path.is_legacy:
        replies: list[Reply] = []
        for value in (yield from path.values(document.root, work)):
            replies.append((yield from index(value)) if type(value) is list else None)
            work.spend(1)
            if work.is_due():
                yield
        return (yield from long_reply(session, replies, work))
    value = yield from path.first(document.root, work)
    if value is NOTHING:
        raise CommandError(NO_PATH)
    if type(value) is not list:
        raise wrong_type("array", value)
    return (yield from index(value))


_INDEX_WORDS: Final = 6
