"""SINTER, SUNION, SDIFF, what stores their results, and SINTERCARD: commands about many sets.

A result is an intset if it is one in Redis, which adds its members to an empty intset one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Final

from kvserver.dispatch.arguments import SYNTAX_ERROR, at_least
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply, SetOf
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.set.value import Few, Members, in_order, is_intset, members_of, new_value

NO_LIMIT: Final = 0


def _sets(session: Session, keys: list[bytes]) -> list[Members | None]:
    """The sets under keys, None for missing ones. CommandError if a key has a value of another kind."""
    return [members_of(session.keyspace.read(key)) for key in keys]


def _common(sets: list[Members | None]) -> Iterable[bytes]:
    """The members that are in all sets, in the order of the smallest one."""
    present = [members for members in sets if members is not None]
    if len(present) < len(sets):
        return ()
    present.sort(key=len)
    smallest, *others = present
    common: Iterable[bytes] = in_order(smallest)
    for members in others:
        if members is not smallest:
            common = filter(members.__contains__, common)
    return common


def _intersection(sets: list[Members | None], most: int) -> Few:
    common = list(_common(sets))
    # The order of the smallest set is that of the reply, so that nothing is left to sort.
    return Few(common, is_intset=is_intset(common, most))


def _union(sets: list[Members | None], most: int) -> Few:
    union = Few(chain.from_iterable(members for members in sets if members), is_intset=False)
    union.is_intset = is_intset(union, most)
    return union


def _difference(sets: list[Members | None], most: int) -> Few:
    """The members of the first set that are in no other one."""
    first, others = sets[0], [members for members in sets[1:] if members]
    if not first or any(members is first for members in others):
        return Few((), is_intset=True)
    rest: Iterable[bytes] = first
    for members in sorted(others, key=len, reverse=True):
        rest = _without(rest, members)
    difference = Few(rest, is_intset=False)
    # Redis looks for each member in the others, or, where that is more work, removes the others from a copy of the first set.
    # Then the encoding is the one that the copy of all members got.
    looks_for_each = (len(others) + 1) * len(first) // 2 <= len(first) + sum(map(len, others))
    difference.is_intset = is_intset(difference if looks_for_each else first, most)
    return difference


def _without(members: Iterable[bytes], others: Members) -> Iterable[bytes]:
    return (member for member in members if member not in others)


_Operation = Callable[[list[Members | None], int], Few]


def _store(session: Session, request: Request, operation: _Operation) -> int:
    """Store the result of an operation in the first key, of the sets under the others. Return the number of its members."""
    keyspace, (_, destination, *sources) = session.keyspace, request
    result = operation(_sets(session, sources), session.server.config.set_max_intset_entries)
    if result:
        keyspace.put_as(destination, new_value(result, is_intset=result.is_intset), request)
    elif keyspace.live(destination) is not None:
        keyspace.remove(destination)
    return len(result)


@command("sinter", "key:key+", "readonly", access="RO access",
         since="1.0.0", group="set",
         complexity="O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
         tips="nondeterministic_output_order",
         summary="Intersect multiple sets")  # fmt: skip
def sinter(session: Session, request: Request) -> Reply:
    return SetOf(_common(_sets(session, request[1:])))


@command("sinterstore", "destination:key key:key#1+", "write denyoom", access="RW update; RO access",
         since="1.0.0", group="set",
         complexity="O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
         summary="Intersect multiple sets and store the resulting set in a key")  # fmt: skip
def sinterstore(session: Session, request: Request) -> Reply:
    return _store(session, request, _intersection)


@command("sintercard", "numkeys:integer key:key+ LIMIT=limit:integer?", "readonly", access="RO access",
         since="7.0.0", group="set",
         complexity="O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.",
         summary="Intersect multiple sets and return the cardinality of the result")  # fmt: skip
def sintercard(session: Session, request: Request) -> Reply:
    count = at_least(1, request[1], "ERR numkeys should be greater than 0")
    if count > len(request) - 2:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    limit = _limit(request[2 + count :])
    common = _common(_sets(session, request[2 : 2 + count]))
    return sum(1 for _ in (common if limit == NO_LIMIT else islice(common, limit)))


def _limit(words: list[bytes]) -> int:
    """The number behind LIMIT, of which the last one counts."""
    limit = NO_LIMIT
    for place in range(0, len(words), 2):
        if words[place].lower() != b"limit" or place + 1 == len(words):
            raise CommandError(SYNTAX_ERROR)
        limit = at_least(0, words[place + 1], "ERR LIMIT can't be negative")
    return limit


@command("sunion", "key:key+", "readonly", access="RO access",
         since="1.0.0", group="set",
         complexity="O(N) where N is the total number of elements in all given sets.",
         tips="nondeterministic_output_order",
         summary="Add multiple sets")  # fmt: skip
def sunion(session: Session, request: Request) -> Reply:
    return _result(session, request, _union)


def _result(session: Session, request: Request, operation: _Operation) -> SetOf:
    sets = _sets(session, request[1:])
    return SetOf(in_order(operation(sets, session.server.config.set_max_intset_entries)))


@command("sunionstore", "destination:key key:key#1+", "write denyoom", access="OW update; RO access",
         since="1.0.0", group="set",
         complexity="O(N) where N is the total number of elements in all given sets.",
         summary="Add multiple sets and store the resulting set in a key")  # fmt: skip
def sunionstore(session: Session, request: Request) -> Reply:
    return _store(session, request, _union)


@command("sdiff", "key:key+", "readonly", access="RO access",
         since="1.0.0", group="set",
         complexity="O(N) where N is the total number of elements in all given sets.",
         tips="nondeterministic_output_order",
         summary="Subtract multiple sets")  # fmt: skip
def sdiff(session: Session, request: Request) -> Reply:
    return _result(session, request, _difference)


@command("sdiffstore", "destination:key key:key#1+", "write denyoom", access="OW update; RO access",
         since="1.0.0", group="set",
         complexity="O(N) where N is the total number of elements in all given sets.",
         summary="Subtract multiple sets and store the resulting set in a key")  # fmt: skip
def sdiffstore(session: Session, request: Request) -> Reply:
    return _store(session, request, _difference)
