"""Members of a collection by chance: for HRANDFIELD, SRANDMEMBER, SPOP and ZRANDMEMBER. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.dispatch.arguments import MAX_INTEGER, NOT_AN_INTEGER, integer
from kvserver.errors import CommandError
from kvserver.types.collection import Members

# Redis goes on until the reply exceeds the client's limit. One step may not make a reply without an end.
MOST_REPEATED: Final = 1 << 18

Below = Callable[[int], int]


def wanted_of(text: bytes) -> int:
    """The number of members that a client wants; a negative one means that a member may come several times."""
    count = integer(text, NOT_AN_INTEGER)
    if count < -MAX_INTEGER:
        raise CommandError(f"ERR value is out of range, value must between {-MAX_INTEGER} and {MAX_INTEGER}")
    return count


def one_of(members: Members, below: Below) -> bytes:
    """One of the members, which are not empty."""
    if isinstance(members, dict):
        return list(members)[below(len(members))]
    return members.random(below)


def some_of(members: Members, count: int, below: Below) -> list[bytes]:
    """So many different members, or all if there are no more; with a negative count so many that may be the same.

    CommandError for more than MOST_REPEATED of these.
    """
    if count < 0:
        return _repeated(members, -count, below)
    if count >= len(members):
        return list(members)
    if not isinstance(members, dict) and count * 3 < len(members):
        found: dict[bytes, None] = {}
        while len(found) < count:
            found[members.random(below)] = None
        return list(found)
    return _shuffled(members, count, below)


def _repeated(members: Members, count: int, below: Below) -> list[bytes]:
    if count > MOST_REPEATED:
        raise CommandError("ERR value is out of range")
    if not isinstance(members, dict):
        return [members.random(below) for _ in range(count)]
    choice = list(members)
    return [choice[below(len(choice))] for _ in range(count)]


def _shuffled(members: Members, count: int, below: Below) -> list[bytes]:
    """The first members of a random order, as Fisher and Yates make it."""
    order = list(members)
    for index in range(count):
        other = index + below(len(order) - index)
        order[index], order[other] = order[other], order[index]
    return order[:count]
