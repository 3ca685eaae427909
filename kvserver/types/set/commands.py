"""SADD, SREM, SISMEMBER, SPOP, SRANDMEMBER, SMOVE, SSCAN and their kin: commands about one set, or two."""

from __future__ import annotations

from typing import Any

from kvserver._speedups.packed import add_member, find_member, has_member, remove_member
from kvserver.containers.packed import MOST_MEMBERS, count_members
from kvserver.containers.packed import members_of as members_in
from kvserver.data.entries import Value
from kvserver.dispatch.alike import found, integers
from kvserver.dispatch.arguments import SYNTAX_ERROR, at_least
from kvserver.dispatch.command import MANY_WORDS, command
from kvserver.errors import CommandError
from kvserver.resp.reply import INTEGERS, Reply, SetOf
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.sampling import one_of, some_of, wanted_of
from kvserver.types.scanning import count_of, scan_reply
from kvserver.types.set.value import (
    MARK,
    MARKS,
    Few,
    Members,
    Set,
    add_all,
    changeable,
    in_order,
    members_of,
    store,
)


def _add_one(session: Session, request: Request) -> int:
    """SADD of one member: 1 if it is new, else 0."""
    _, key, member = request
    keyspace = session.keyspace
    get = keyspace.get
    entry = get(key)
    found = add_member(entry, request, session.server.config, MOST_MEMBERS)
    if found is not None:
        new: int
        new, changed = found
        if changed is not entry:
            keyspace.put_as(key, changed, request)
        return new
    if type(entry) is Set and not entry.is_intset:
        members = keyspace.own_plain(key, entry)
        assert type(members) is Set
        # A member that is there has None as its value, so that to set it again changes nothing.
        if not members.set(member, None):
            return 0
        keyspace.put_as(key, members, request)
        return 1
    return _add(session, request)


@command("sadd", "key:key member+", "write denyoom fast", access="RW insert",
         since="1.0.0", group="set",
         complexity="O(1) for each element added, so O(N) to add N elements when the command is called with multiple "
         "arguments.",
         summary="Add one or more members to a set",
         many=integers(3, _add_one), call=add_member)  # fmt: skip
def sadd(session: Session, request: Request) -> Reply:
    return _add_one(session, request) if len(request) == 3 else _add(session, request)


def _add(session: Session, request: Request) -> int:
    """Add members by a request that is SADD, and return the number of those that are new."""
    members = changeable(session, request[1])
    added = add_all(members, request[2:], session.server.config.set_max_intset_entries)
    if added:
        store(session, request[1], members, request)
    return added


def _remove_one(session: Session, request: Request) -> int:
    """SREM of one member: 1 if it was there, else 0."""
    keyspace = session.keyspace
    get = keyspace.get
    entry = get(request[1])
    found = remove_member(entry, request, session.server.config, MOST_MEMBERS)
    if found is not None:
        removed: int
        removed, changed = found
        if changed is not entry:
            _keep(session, request, changed)
        return removed
    if type(entry) is Set:
        return 1 if _remove_large(session, request, entry) else 0
    return _remove(session, request)


def _keep(session: Session, request: Request, left: str | None) -> None:
    """Keep what a request has left of a small set."""
    if left is None:
        session.keyspace.change(request[1], None, request)
    else:
        session.keyspace.put_as(request[1], left, request)


def _remove_large(session: Session, request: Request, members: Value) -> bool:
    """Remove a member from a large set by a request that is SREM, and return True if it was there."""
    _, key, member = request
    keyspace = session.keyspace
    members = keyspace.own_plain(key, members)
    assert type(members) is Set
    if not members.delete(member):
        return False
    if members:
        keyspace.put_as(key, members, request)
    else:
        keyspace.change(key, None, request)
    return True


def _remove(session: Session, request: Request) -> int:
    """Remove members by a request that is SREM, and return the number of those that were there."""
    members = changeable(session, request[1])
    removed = sum(map(members.discard, request[2:]))
    if removed:
        store(session, request[1], members, request)
    return removed


@command("srem", "key:key member+", "write fast", access="RW delete",
         since="1.0.0", group="set", complexity="O(N) where N is the number of members to be removed.",
         summary="Remove one or more members from a set",
         many=integers(3, _remove_one), call=remove_member, bounded_below=MANY_WORDS)  # fmt: skip
def srem(session: Session, request: Request) -> Reply:
    return _remove_one(session, request) if len(request) == 3 else _remove(session, request)


def _found(entry: Any, request: Request, protocol: int) -> bytes | None:
    if type(entry) is str and entry[0] in MARKS:
        return INTEGERS[has_member(entry, request[2])]
    return INTEGERS[request[2] in entry] if type(entry) is Set else None


@command("sismember", "key:key member", "readonly fast", access="RO",
         since="1.0.0", group="set", complexity="O(1)",
         summary="Determine if a given value is a member of a set",
         many=found(3, _found), call=find_member)  # fmt: skip
def sismember(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    if type(value) is str and value[0] in MARKS:
        return 1 if has_member(value, request[2]) else 0
    members = members_of(value)
    return 1 if members is not None and request[2] in members else 0


@command("smismember", "key:key member+", "readonly fast", access="RO access",
         since="6.2.0", group="set",
         complexity="O(N) where N is the number of elements being checked for membership",
         summary="Returns the membership associated with the given elements for a set")  # fmt: skip
def smismember(session: Session, request: Request) -> Reply:
    members = members_of(session.keyspace.read(request[1])) or ()
    return [int(member in members) for member in request[2:]]


@command("scard", "key:key", "readonly fast", access="RO",
         since="1.0.0", group="set", complexity="O(1)",
         summary="Get the number of members in a set")  # fmt: skip
def scard(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    if type(value) is str and value[0] in MARKS:
        return count_members(value)
    return len(members_of(value) or ())


@command("smembers", "key:key", "readonly", access="RO access",
         since="1.0.0", group="set", complexity="O(N) where N is the set cardinality.",
         tips="nondeterministic_output_order",
         summary="Get all the members in a set")  # fmt: skip
def smembers(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    if type(value) is str and value[0] == MARK:
        return SetOf(members_in(value))
    members = members_of(value)
    return SetOf(in_order(members) if members else ())


@command("spop", "key:key count:integer?@3.2.0", "write fast", access="RW access delete",
         events={"": "spop", "DEL": "spop"}, since="1.0.0", group="set",
         complexity="Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
         tips="nondeterministic_output",
         summary="Remove and return one or multiple random members from a set",
         bounded_below=3)  # fmt: skip
def spop(session: Session, request: Request) -> Reply:
    if len(request) > 2:
        return _pop_some(session, request)
    key, below = request[1], session.server.random_below
    entry = session.keyspace.get(key)
    if type(entry) is str and entry[0] in MARKS:
        choice = members_in(entry)
        member = choice[below(len(choice))]
        request = [b"SREM", key, member]
        found = remove_member(entry, request, session.server.config, MOST_MEMBERS)
        assert found
        _keep(session, request, found[1])
        return member
    if type(entry) is Set:
        member = entry.random(below)
        _remove_large(session, [b"SREM", key, member], entry)
        return member
    members = changeable(session, key)
    if not members:
        return None
    member = one_of(members, below)
    members.discard(member)
    store(session, key, members, [b"SREM", key, member])
    return member


def _pop_some(session: Session, request: Request) -> SetOf:
    if len(request) > 3:
        raise CommandError(SYNTAX_ERROR)
    key, count = request[1], at_least(0, request[2], "ERR value is out of range, must be positive")
    members = changeable(session, key)
    if not members or not count:
        return SetOf()
    if count >= len(members):
        session.keyspace.remove(key)
        return SetOf(in_order(members))
    popped = some_of(members, count, session.server.random_below)
    for member in popped:
        members.discard(member)
    store(session, key, members, [b"SREM", key, *popped])
    return SetOf(popped)


@command("srandmember", "key:key count:integer?@2.6.0", "readonly", access="RO access",
         since="1.0.0", group="set",
         complexity="Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.",
         tips="nondeterministic_output",
         summary="Get one or multiple random members from a set")  # fmt: skip
def srandmember(session: Session, request: Request) -> Reply:
    below = session.server.random_below
    if len(request) == 2:
        members = members_of(session.keyspace.read(request[1]))
        return one_of(members, below) if members else None
    if len(request) > 3:
        raise CommandError(SYNTAX_ERROR)
    count = wanted_of(request[2])
    members = members_of(session.keyspace.read(request[1]))
    if not members or not count:
        return []
    chosen = in_order(members) if count >= len(members) else some_of(members, count, below)
    return list(chosen)


@command("smove", "source:key destination:key#1 member", "write fast", access="RW access delete; RW insert",
         events={"SREM": "srem", "SADD": "sadd"}, since="1.0.0", group="set", complexity="O(1)",
         summary="Move a member from one set to another")  # fmt: skip
def smove(session: Session, request: Request) -> Reply:
    keyspace, (_, source, destination, member) = session.keyspace, request
    if keyspace.live(source) is None:
        return 0
    members = changeable(session, source)
    # The type of the destination is checked also if the member is missing.
    members_of(keyspace.live(destination))
    if source == destination:
        return int(member in members)
    if not members.discard(member):
        return 0
    # The journal gets what each of the two sets is changed by.
    store(session, source, members, [b"SREM", source, member])
    _add(session, [b"SADD", destination, member])
    return 1


@command("sscan",
         "key:key cursor:integer MATCH=pattern:pattern? COUNT=count:integer?",
         "readonly", access="RO access", numbers={"COUNT": count_of},
         since="2.8.0", group="set",
         complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to "
         "return back to 0. N is the number of elements inside the collection..",
         tips="nondeterministic_output",
         summary="Incrementally iterate Set elements")  # fmt: skip
def sscan(session: Session, request: Request) -> Reply:
    return scan_reply(sscan, session, request, _scanned, lambda member, _: (member,))


def _scanned(value: Value | None) -> Members | None:
    """The members to walk through: an intset comes whole and in order, as in Redis."""
    members = members_of(value)
    return Few(in_order(members), is_intset=True) if members is not None and members.is_intset else members
