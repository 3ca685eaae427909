"""HSCAN, SSCAN and ZSCAN: a walk through one collection. Pure.

A small collection comes whole, as in Redis. Of a large one, a call gives some chunks of some hundred members: COUNT is the
least number, and not the exact one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kvserver import patterns as glob
from kvserver.data.entries import Value
from kvserver.dispatch.arguments import SYNTAX_ERROR, cursor_of, integer
from kvserver.dispatch.command import Command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.collection import Members

DEFAULT_COUNT: Final = 10


def count_of(text: bytes) -> int:
    """The number of an option COUNT. CommandError unless it is positive."""
    count = integer(text)
    if count < 1:
        raise CommandError(SYNTAX_ERROR)
    return count


def scan_reply(
    command: Command,
    session: Session,
    request: Request,
    members_of: Callable[[Value | None], Members | None],
    item: Callable[[bytes, Any], tuple[bytes, ...]],
) -> Reply:
    """The reply to a call of HSCAN or its kin.

    `members_of` gives the members of a value, or raises CommandError. `item` makes what the reply has of a member and its
    value.
    """
    # As in Redis, the options are not looked at if the key is missing.
    cursor = cursor_of(request[2])
    members = members_of(session.keyspace.read(request[1]))
    if members is None:
        return [b"0", []]
    options = command.options(request)
    cursor, found = _scan(members, cursor, options.number("COUNT", DEFAULT_COUNT))
    pattern = options.get("MATCH")
    if pattern is not None and pattern != glob.EVERYTHING:
        found = list(filter(glob.matcher(pattern), found))
    return [b"%d" % cursor, [part for member in found for part in item(member, members.get(member))]]


def _scan(members: Members, cursor: int, count: int) -> tuple[int, list[bytes]]:
    if isinstance(members, dict):
        return 0, list(members)
    cursor, found = members.scan(cursor)
    while cursor and len(found) < count:
        cursor, some = members.scan(cursor)
        found += some
    return cursor, found
