"""The values that a path finds in the document of a command, and what commands do with each of them.

A path that begins with `$` has a reply for each place that it finds, a legacy one has a single reply. A place that is found
twice is changed once. A command that fails has changed nothing: what may fail is worked out for all places before one is
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from itertools import chain, islice, pairwise
from typing import Final, TypeVar

from kvserver.data.steps import Steps
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.document import Document, Location, let_go
from kvserver.types.json.filters import NOTHING
from kvserver.types.json.path import Path, parse_path
from kvserver.types.json.replies import long_reply
from kvserver.types.json.storage import Finish, edited, opened
from kvserver.types.json.work import Work, pieces

ROOT: Final = b"."
NO_PATH: Final = "ERR Path does not exist"
NO_KEY: Final = "ERR could not perform this operation on a key that doesn't exist"
# So many places are changed in one step.
AT_ONCE: Final = 256

T = TypeVar("T")


def path_at(request: Request, place: int) -> Path:
    """The path that is this word of a call; that to the root, in its older form, where the call ends before."""
    return parse_path(request[place] if len(request) > place else ROOT)


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


def wrong_type(wanted: str, found: JSON) -> CommandError:
    """The error for the only value of a legacy path, which is of another type than wanted."""
    return CommandError(f"WRONGTYPE wrong type of path value - expected {wanted} but found {name_of(found)}")


def existing(document: Document | None) -> Document:
    """The document. CommandError if there is none."""
    if document is None:
        raise CommandError(NO_KEY)
    return document


def work_of(session: Session) -> Work:
    """The work of a command of this session. What the journal repeats has no limit: perhaps more was known then."""
    return Work.unlimited() if session.is_replay else Work()


def change_each(
    session: Session,
    request: Request,
    accepts: Callable[[JSON], bool],
    plan: Callable[[Document, Location, Work], Steps[T]],
    change: Callable[[Document, Location, T], Reply],
    wrong: str,
    *,
    path: Path,
    has_all: bool = False,
    shape: Callable[[Session, Reply, Work], Steps[Reply]] = long_reply,
) -> Steps[Finish]:
    """Change the values that a command accepts of those at its path, record the call if there are any, and reply.

    `plan` works out what `change` takes: it may raise CommandError, and gives NOTHING for a value that is right, but stays
    as it is. Both get the places in the same order, what is within a place before that. `wrong` says what the values at a
    legacy path are if none is accepted, which is an error. `shape` makes the reply of what `change` has given: of all that,
    in the order of the path, or of the last one for a legacy path. With `has_all` the form of the path makes no difference.
    """
    is_single = path.is_legacy and not has_all
    key, work = request[1], work_of(session)
    document = existing((yield from opened(session, key)))
    locations = yield from path.find(document.root, work)
    last: Location | None = None
    if is_single:
        last = yield from _last_accepted(document, locations, accepts, work)
        if last is None:
            raise CommandError(f"{NO_PATH} or {wrong}")
    planned: list[tuple[Location, T]] = []
    # From the end on, so that no change in a place moves another one that is still to come.
    for some in pieces((yield from in_order(locations, work))[::-1]):
        for place in some:
            if accepts(document.at(place)):
                outcome = yield from plan(document, place, work)
                if outcome is not NOTHING:
                    planned.append((place, outcome))
        work.spend(len(some))
        if work.is_due():
            yield
    replies: dict[Location, Reply] = {}

    def edit(target: Document, work: Work) -> Steps[Reply]:
        for some in pieces(planned):
            for place, outcome in some:
                replies[place] = change(target, place, outcome)
            work.spend(len(some))
            if work.is_due():
                yield
        found: list[Reply] = []
        for every in pieces([last] if last is not None else locations):
            found += map(replies.get, every)
            work.spend(len(every))
            if work.is_due():
                yield
        let_go(locations)
        let_go(planned)
        return (yield from shape(session, found[0] if is_single else found, work))

    if not planned:
        reply = yield from edit(document, work)
        return lambda: reply
    return (yield from edited(session, key, document, edit, request, work, is_quick=len(planned) <= AT_ONCE))


def _last_accepted(
    document: Document, locations: list[Location], accepts: Callable[[JSON], bool], work: Work
) -> Steps[Location | None]:
    """Return the last location of a value that a command accepts, or None."""
    for some in pieces(locations[::-1]):
        for place in some:
            if accepts(document.at(place)):
                return place
        work.spend(len(some))
        if work.is_due():
            yield
    return None


def in_order(locations: list[Location], work: Work) -> Steps[list[Location]]:
    """Return locations in ascending order, each once: from the end on, no change in one moves one that is still to come."""
    if len(locations) <= AT_ONCE:
        return sorted(set(locations)) if len(locations) > 1 else locations
    runs = []
    for some in pieces(locations):
        runs.append(sorted(some))
        work.spend(len(some))
        if work.is_due():
            yield
    is_sorted = all(one[-1] < other[0] for one, other in pairwise(runs))
    merged: Iterator[Location] = chain.from_iterable(runs) if is_sorted else merge(*runs)
    ordered: list[Location] = []
    while piece := list(islice(merged, AT_ONCE)):
        for each in piece:
            if not ordered or each != ordered[-1]:
                ordered.append(each)
        work.spend(len(piece))
        if work.is_due():
            yield
    return ordered


def outermost(locations: list[Location], work: Work) -> Steps[list[Location]]:
    """Return the locations that are not within another one of them, in ascending order."""
    if len(locations) <= 1:
        return locations
    found: list[Location] = []
    for some in pieces((yield from in_order(locations, work))):
        for each in some:
            if not found or each[: len(found[-1])] != found[-1]:
                found.append(each)
        work.spend(len(some))
        if work.is_due():
            yield
    return found


def delete_all(document: Document, locations: list[Location], work: Work) -> Steps[None]:
    """Remove the values at locations, in ascending order, none of which is within another one."""
    of_arrays: dict[Location, set[int]] = {}
    for some in pieces(locations):
        for each in some:
            if type(each[-1]) is int:
                of_arrays.setdefault(each[:-1], set()).add(each[-1])
            else:
                document.delete(each)
        work.spend(len(some))
        if work.is_due():
            yield
    # From the end on: what goes moves what is behind it in its array.
    for container, places in reversed(of_arrays.items()):
        if len(places) == 1:
            document.delete((*container, *places))
        else:
            # To remove one by one would move the others again and again.
            left: list[JSON] = []
            array: list[JSON] = document.at(container)
            for start in range(0, len(array), AT_ONCE):
                some_members = array[start : start + AT_ONCE]
                left += [value for place, value in enumerate(some_members, start) if place not in places]
                work.spend(len(some_members))
                if work.is_due():
                    yield
            document.put(container, left)
        if work.is_due():
            yield
