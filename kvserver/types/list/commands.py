"""LPUSH, LPOP, LMOVE, LRANGE, LINDEX, LSET, LREM and their kin: lists."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Any

from kvserver._speedups.packed import pop_left, pop_right, push_left, push_right
from kvserver.containers.packed import count_members, members_of
from kvserver.data.entries import Expiring
from kvserver.dispatch.alike import integers, strings
from kvserver.dispatch.arguments import MAX_INTEGER, MIN_INTEGER, SYNTAX_ERROR, at_least, integer
from kvserver.dispatch.command import command, wrong_arity
from kvserver.errors import CommandError
from kvserver.resp.reply import CACHED_BULK_HEADERS, NULL_ARRAY, OK, Reply
from kvserver.resp.request import Request
from kvserver.state.description import ANY_NUMBER
from kvserver.state.session import Session
from kvserver.types.list.ends import End, end_of, move, pop, pop_some, push, push_one
from kvserver.types.list.value import List, changeable, elements_of, list_of, store


def _rank(text: bytes) -> int:
    number = integer(text)
    if not number:
        raise CommandError(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
            "or use negative to start from the end of the list"
        )
    return number


def _push_left(session: Session, request: Request) -> int:
    return push_one(session, request[1], End.LEFT, request[2], request)


def _push_right(session: Session, request: Request) -> int:
    return push_one(session, request[1], End.RIGHT, request[2], request)


def _pop_left(session: Session, request: Request) -> bytes | None:
    return _pop_short(session, request, End.LEFT)


def _pop_right(session: Session, request: Request) -> bytes | None:
    return _pop_short(session, request, End.RIGHT)


def _pop_short(session: Session, request: Request, end: End) -> bytes | None:
    """Pop an element in a run, unless it is long: no run gathers long strings, or copies them."""
    entry = session.keyspace.get(request[1])
    if isinstance(entry, Expiring) or (
        isinstance(entry, List) and len(entry[0 if end is End.LEFT else entry.count - 1]) >= CACHED_BULK_HEADERS
    ):
        raise CommandError("this is no call for a run")
    return pop(session, request[1], end, request)


@command("lpush", "key:key element+", "write denyoom fast", access="RW insert",
         since="1.0.0", group="list",
         complexity="O(1) for each element added, so O(N) to add N elements when the command is called with multiple "
         "arguments.",
         summary="Prepend one or multiple elements to a list",
         many=integers(3, _push_left), call=push_left)  # fmt: skip
def lpush(session: Session, request: Request) -> Reply:
    if len(request) == 3:
        return push_one(session, request[1], End.LEFT, request[2], request)
    return push(session, request[1], End.LEFT, request[2:], request)


@command("rpush", "key:key element+", "write denyoom fast", access="RW insert",
         since="1.0.0", group="list",
         complexity="O(1) for each element added, so O(N) to add N elements when the command is called with multiple "
         "arguments.",
         summary="Append one or multiple elements to a list",
         many=integers(3, _push_right), call=push_right)  # fmt: skip
def rpush(session: Session, request: Request) -> Reply:
    if len(request) == 3:
        return push_one(session, request[1], End.RIGHT, request[2], request)
    return push(session, request[1], End.RIGHT, request[2:], request)


@command("lpushx", "key:key element+", "write denyoom fast", access="RW insert",
         events="lpush", since="2.2.0", group="list",
         complexity="O(1) for each element added, so O(N) to add N elements when the command is called with multiple "
         "arguments.",
         summary="Prepend an element to a list, only if the list exists")  # fmt: skip
def lpushx(session: Session, request: Request) -> Reply:
    return _push_if_there(session, End.LEFT, request)


@command("rpushx", "key:key element+", "write denyoom fast", access="RW insert",
         events="rpush", since="2.2.0", group="list",
         complexity="O(1) for each element added, so O(N) to add N elements when the command is called with multiple "
         "arguments.",
         summary="Append an element to a list, only if the list exists")  # fmt: skip
def rpushx(session: Session, request: Request) -> Reply:
    return _push_if_there(session, End.RIGHT, request)


def _push_if_there(session: Session, end: End, request: Request) -> int:
    if session.keyspace.live(request[1]) is None:
        return 0
    return push(session, request[1], end, request[2:], request)


@command("lpop", "key:key count:integer?@6.2.0", "write fast", access="RW access delete",
         since="1.0.0", group="list", complexity="O(N) where N is the number of elements returned",
         summary="Remove and get the first elements in a list",
         many=strings(2, _pop_left), call=pop_left, bounded_below=3)  # fmt: skip
def lpop(session: Session, request: Request) -> Reply:
    return _pop(session, End.LEFT, request, "lpop")


@command("rpop", "key:key count:integer?@6.2.0", "write fast", access="RW access delete",
         since="1.0.0", group="list", complexity="O(N) where N is the number of elements returned",
         summary="Remove and get the last elements in a list",
         many=strings(2, _pop_right), call=pop_right, bounded_below=3)  # fmt: skip
def rpop(session: Session, request: Request) -> Reply:
    return _pop(session, End.RIGHT, request, "rpop")


def _pop(session: Session, end: End, request: Request, name: str) -> Reply:
    if len(request) == 2:
        return pop(session, request[1], end, request)
    if len(request) > 3:
        raise wrong_arity(name)
    count = at_least(0, request[2], "ERR value is out of range, must be positive")
    popped = pop_some(session, request[1], end, count)
    return NULL_ARRAY if popped is None else list(popped)


@command("lmpop",
         "numkeys:integer key:key+ where<LEFT|RIGHT> COUNT=count:integer?!",
         "write", access="RW access delete",
         numbers={"COUNT": partial(at_least, 1, error="ERR count should be greater than 0")},
         events={"LPOP": "lpop", "RPOP": "rpop"}, since="7.0.0", group="list",
         complexity="O(N+M) where N is the number of provided keys and M is the number of elements returned.",
         summary="Pop elements from a list")  # fmt: skip
def lmpop(session: Session, request: Request) -> Reply:
    where = 2 + at_least(1, request[1], "ERR numkeys should be greater than 0")
    if where >= len(request):
        raise CommandError(SYNTAX_ERROR)
    end = end_of(request[where])
    count = lmpop.options(request, start=where + 1).number("COUNT", 1)
    for key in request[2:where]:
        popped = pop_some(session, key, end, count)
        if popped is not None:
            return [key, list(popped)]
    return NULL_ARRAY


def events_of_lmove(request: Request) -> str:
    """The events of LMOVE and BLMOVE, whose ends are the third and the fourth argument."""
    source_end, end = ("l" if word.upper() == b"LEFT" else "r" for word in request[3:5])
    return f"{end}push@2 {source_end}pop@1"


@command("lmove",
         "source:key destination:key#1 wherefrom<LEFT|RIGHT> whereto<LEFT|RIGHT>",
         "write denyoom", access="RW access delete; RW insert",
         events=events_of_lmove, since="6.2.0", group="list", complexity="O(1)",
         summary="Pop an element from a list, push it to another list and return it")  # fmt: skip
def lmove(session: Session, request: Request) -> Reply:
    source, destination = request[1:3]
    source_end, end = end_of(request[3]), end_of(request[4])
    return move(session, source, source_end, destination, end)


@command("rpoplpush", "source:key destination:key#1", "write denyoom", access="RW access delete; RW insert",
         events="lpush@2 rpop@1", since="1.2.0", group="list", complexity="O(1)",
         deprecated=("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
         summary="Remove the last element in a list, prepend it to another list and return it")  # fmt: skip
def rpoplpush(session: Session, request: Request) -> Reply:
    return move(session, request[1], End.RIGHT, request[2], End.LEFT)


@command("llen", "key:key", "readonly fast", access="RO",
         since="1.0.0", group="list", complexity="O(1)",
         summary="Get the length of a list")  # fmt: skip
def llen(session: Session, request: Request) -> Reply:
    value = list_of(session.keyspace.read(request[1]))
    if isinstance(value, str):
        return count_members(value)
    return 0 if value is None else value.count


@command("lindex", "key:key index:integer", "readonly", access="RO access",
         since="1.0.0", group="list",
         complexity="O(N) where N is the number of elements to traverse to get to the element at index. This makes asking "
         "for the first or the last element of the list O(1).",
         summary="Get an element from a list by its index",
         bounded_below=ANY_NUMBER)  # fmt: skip
def lindex(session: Session, request: Request) -> Reply:
    elements = list_of(session.keyspace.read(request[1]))
    if elements is None:
        return None
    index = integer(request[2])
    if isinstance(elements, str):
        elements_in = members_of(elements)
        return elements_in[index] if -len(elements_in) <= index < len(elements_in) else None
    index = _position(index, elements.count)
    return elements[index] if 0 <= index < elements.count else None


def _position(index: int, length: int) -> int:
    """The position that an index means, which counts from the end if it is negative. It may lie outside of the list."""
    return index + length if index < 0 else index


@command("lrange", "key:key start:integer stop:integer", "readonly", access="RO access",
         since="1.0.0", group="list",
         complexity="O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or "
         "TAIL) for large lists; and N is the number of elements in the specified range.",
         summary="Get a range of elements from a list")  # fmt: skip
def lrange(session: Session, request: Request) -> Reply:
    start, stop = integer(request[2]), integer(request[3])
    value = list_of(session.keyspace.read(request[1]))
    if value is None:
        return []
    if isinstance(value, str):
        members = members_of(value)
        start, stop = _range(start, stop, len(members))
        found: list[Any] = members[start:stop]
    else:
        found = value.slice(*_range(start, stop, value.count))
    return found


def _range(start: int, stop: int, length: int) -> tuple[int, int]:
    """The first position of a range, and the one behind its last, by two indices, of which either may be negative.

    Where the range is empty, these are equal.
    """
    # Measured: `_position`, `max` and `min` spelled out save half a microsecond.
    first = start if start >= 0 else start + length if start + length > 0 else 0
    behind = stop + 1 if stop >= 0 else stop + length + 1
    if behind > length:
        behind = length
    return (first, behind) if first < behind else (0, 0)


@command("lpos",
         "key:key element RANK=rank:integer? COUNT=num-matches:integer? MAXLEN=len:integer?",
         "readonly", access="RO access",
         numbers={
             "RANK": _rank,
             "COUNT": partial(at_least, 0, error="ERR COUNT can't be negative"),
             "MAXLEN": partial(at_least, 0, error="ERR MAXLEN can't be negative"),
         },
         since="6.0.6", group="list",
         complexity="O(N) where N is the number of elements in the list, for the average case. When searching for elements "
         "near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant "
         "time.",
         summary="Return the index of matching elements on a list")  # fmt: skip
def lpos(session: Session, request: Request) -> Reply:
    options = lpos.options(request)
    rank, count = options.number("RANK", 1), options.number("COUNT", 1)
    if rank == MIN_INTEGER:
        # To negate it gives the same number in Redis, which all matches come behind.
        rank, count = -1, 0 if "COUNT" in options else 1
    elements = elements_of(session.keyspace.read(request[1])) or List()
    found = elements.positions(request[2], backward=rank < 0, limit=options.number("MAXLEN", 0))
    first = abs(rank) - 1
    matches = list(islice(found, first, min(first + count, MAX_INTEGER) if count else None))
    if "COUNT" in options:
        return list(matches)
    return matches[0] if matches else None


@command("lset", "key:key index:integer element", "write denyoom", access="RW update",
         since="1.0.0", group="list",
         complexity="O(N) where N is the length of the list. Setting either the first or the last element of the list is "
         "O(1).",
         summary="Set the value of an element in a list by its index")  # fmt: skip
def lset(session: Session, request: Request) -> Reply:
    key, element = request[1], request[3]
    elements = changeable(session, key)
    if elements is None:
        # In a replay, the time of a list that was there may have come.
        if session.is_replay:
            return OK
        raise CommandError("ERR no such key")
    index = _position(integer(request[2]), len(elements))
    if not 0 <= index < len(elements):
        raise CommandError("ERR index out of range")
    elements.set(index, element)
    store(session, key, elements, request)
    return OK


@command("linsert", "key:key where<BEFORE|AFTER> pivot element", "write denyoom", access="RW insert",
         since="2.2.0", group="list",
         complexity="O(N) where N is the number of elements to traverse before seeing the value pivot. This means that "
         "inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the "
         "right end (tail) is O(N).",
         summary="Insert an element before or after another element in a list")  # fmt: skip
def linsert(session: Session, request: Request) -> Reply:
    key, where, pivot, element = request[1:]
    is_behind = {b"before": False, b"after": True}.get(where.lower())
    if is_behind is None:
        raise CommandError(SYNTAX_ERROR)
    elements = changeable(session, key)
    if elements is None:
        return 0
    position = next(elements.positions(pivot), None)
    if position is None:
        return -1
    elements.insert(position + is_behind, element)
    store(session, key, elements, request)
    return len(elements)


@command("lrem", "key:key count:integer element", "write", access="RW delete",
         since="1.0.0", group="list",
         complexity="O(N+M) where N is the length of the list and M is the number of elements removed.",
         summary="Remove elements from a list")  # fmt: skip
def lrem(session: Session, request: Request) -> Reply:
    key, count, element = request[1], integer(request[2]), request[3]
    elements = changeable(session, key)
    removed = elements.remove(element, count) if elements is not None else 0
    if elements is not None and removed:
        store(session, key, elements, request)
    return removed


@command("ltrim", "key:key start:integer stop:integer", "write", access="RW delete",
         since="1.0.0", group="list",
         complexity="O(N) where N is the number of elements to be removed by the operation.",
         summary="Trim a list to the specified range")  # fmt: skip
def ltrim(session: Session, request: Request) -> Reply:
    key, start, stop = request[1], integer(request[2]), integer(request[3])
    elements = changeable(session, key)
    if elements is not None:
        elements.trim(*_range(start, stop, len(elements)))
        # Where nothing goes, that counts as a write as well: Redis ends a transaction whose client watches the list.
        store(session, key, elements, request)
    return OK
