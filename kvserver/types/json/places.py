"""The values that a path finds in the document of a command, and what commands do with each of them.

A path that begins with `$` has a reply for each place that it finds, a legacy one has a single reply. A place that is found
twice is changed once. A command that fails has changed nothing: what may fail is asked of all places before one is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from sys import maxsize
from typing import Final

from kvserver.dispatch.arguments import MAX_INTEGER, MIN_INTEGER
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON, MAX_DEPTH
from kvserver.resp.reply import BigNumber, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.document import Document, Location, change_document, own_document, size_of
from kvserver.types.json.parsing import parse, parse_outside
from kvserver.types.json.path import Path, parse_path
from kvserver.types.json.segments import Work
from kvserver.types.json.writing import write

ROOT: Final = b"."
NO_PATH: Final = "ERR Path does not exist"
NO_KEY: Final = "ERR could not perform this operation on a key that doesn't exist"
TOO_LONG: Final = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
_TOO_DEEP: Final = "ERR recursion limit exceeded"


def path_at(request: Request, place: int) -> Path:
    """The path that is this word of a call; that to the root, in its older form, where the call ends before."""
    return parse_path(request[place] if len(request) > place else ROOT)


def value_from(text: bytes) -> JSON:
    """The value of JSON that a client sends. CommandError if it is none, or could not be read again later."""
    try:
        return parse_outside(text)
    except ValueError as error:
        raise CommandError(f"ERR {error}") from None


def name_of(value: JSON) -> str:
    """RedisJSON's name of the type of a value."""
    return _NAMES[type(value)]


_NAMES: Final = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def is_number(value: JSON) -> bool:
    return type(value) is int or type(value) is float


def integer_reply(number: int) -> Reply:
    """The reply that is an integer, whatever its length."""
    return number if MIN_INTEGER <= number <= MAX_INTEGER else BigNumber(b"%d" % number)


def wrong_type(wanted: str, found: JSON) -> CommandError:
    """The error for the only value of a legacy path, which is of another type than wanted."""
    return CommandError(f"WRONGTYPE wrong type of path value - expected {wanted} but found {name_of(found)}")


def existing(document: Document | None) -> Document:
    """The document. CommandError if there is none."""
    if document is None:
        raise CommandError(NO_KEY)
    return document


# Changing


def places_at(session: Session, document: Document, path: Path) -> list[Location]:
    """The locations that a path finds in a document that is to be changed: see `Path.find`.

    The journal's session, and a standby's, have no limit: what was searched ahead or known before was cheaper then.
    """
    return path.find(document.root, Work(maxsize) if session.is_replay else Work())


def change_each(
    session: Session,
    request: Request,
    accepts: Callable[[JSON], bool],
    change: Callable[[Document, Location], Reply],
    wrong: str,
    *,
    path: Path,
    check: Callable[[Document, Location], object] = lambda document, location: None,
    will_change: Callable[[JSON], bool] = lambda value: True,
) -> Reply:
    """Change the values that a command accepts of those at its path, record the call if there are any, and return the reply.

    `check` raises CommandError for a place that can't be changed, `will_change` is False for a value that is right, but stays
    as it is. `wrong` says what the values at a legacy path are if none is accepted, which is an error.
    """
    document = existing(own_document(session.keyspace, request[1]))
    locations = places_at(session, document, path)
    right = [each for each in dict.fromkeys(locations) if accepts(document.at(each))]
    if path.is_legacy and not right:
        raise CommandError(f"{NO_PATH} or {wrong}")
    changing = [each for each in right if will_change(document.at(each))]
    for each in changing:
        check(document, each)
    replies = {each: change(document, each) for each in inner_first(changing)}
    if replies:
        change_document(session.keyspace, request[1], document, request)
    if path.is_legacy:
        return replies.get(right[-1])
    return [replies.get(each) for each in locations]


def inner_first(locations: Iterable[Location]) -> list[Location]:
    """Locations in an order in which no change in one of them, or removal of one, moves another that is still to come."""
    return sorted(locations, reverse=True)


def delete_all(document: Document, locations: list[Location]) -> None:
    """Remove the values at locations, none of which is within another one."""
    of_arrays: dict[Location, set[int]] = {}
    for each in locations:
        if type(each[-1]) is int:
            of_arrays.setdefault(each[:-1], set()).add(each[-1])
        else:
            document.delete(each)
    for container, places in of_arrays.items():
        if len(places) == 1:
            document.delete((*container, *places))
            continue
        # To remove one by one would move the others again and again.
        array = document.list_at(container)
        document.changed(-sum(size_of(array[place]) for place in places))
        array[:] = [value for place, value in enumerate(array) if place not in places]


def outermost(locations: Iterable[Location]) -> list[Location]:
    """The locations that are not within another one of them, in order."""
    found: list[Location] = []
    for each in sorted(locations):
        if not found or each[: len(found[-1])] != found[-1]:
            found.append(each)
    return found


class Copies:
    """Values for several places: a place gets values that no other one has."""

    def __init__(self, values: list[JSON]) -> None:
        self._values = values
        self._is_given = False

    def take(self) -> list[JSON]:
        """The values, for a place to keep."""
        if self._is_given:
            # By way of the text, since a deep value would take too many calls.
            return [parse(write(value))[0] for value in self._values]
        self._is_given = True
        return self._values


def check_depth(location: Location, values: list[JSON]) -> None:
    """CommandError if the values would be too deep in a document if they are put into the container at a location."""
    if len(location) + 1 + max(map(depth_of, values), default=0) > MAX_DEPTH:
        raise CommandError(_TOO_DEEP)


def depth_of(value: JSON) -> int:
    """The number of containers that are around the deepest value: 0 for a scalar."""
    depth, level = 0, [value]
    while level := [each for each in level if type(each) is dict or type(each) is list]:
        depth += 1
        level = [member for each in level for member in (each.values() if type(each) is dict else each)]
    return depth
