"""Values that several places in a document get, each for itself, and how deep they may stand there. Pure."""

from __future__ import annotations

from itertools import islice
from typing import Final

from kvserver.data.steps import Steps
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON, MAX_DEPTH
from kvserver.state.session import Session
from kvserver.types.json.document import Location
from kvserver.types.json.parsing import parse_steps
from kvserver.types.json.work import Work
from kvserver.types.json.writing import text_steps

TOO_LONG: Final = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
_TOO_DEEP: Final = "ERR recursion limit exceeded"
# So many members are looked at together.
_MEMBERS: Final = 256


class Copies:
    """Values for several places, which have this text together: a place gets values that no other one has.

    CommandError if all together are longer than the longest string that a command may make.
    """

    def __init__(self, session: Session, values: list[JSON], texts: list[bytes]) -> None:
        self._values = values
        self._length = sum(map(len, texts))
        self._left = None if session.is_replay else session.server.config.proto_max_bulk_len
        self._is_given = False

    def take(self) -> Steps[list[JSON]]:
        """Return the values, for a place to keep."""
        if not self._is_given:
            self._is_given = True
            return self._values
        if self._left is not None:
            self._left -= self._length
            if self._left < 0:
                raise CommandError(TOO_LONG)
        copies = []
        for value in self._values:
            # By way of the text, since a deep value would take too many calls.
            text = yield from text_steps(value)
            copy, _ = yield from parse_steps(text, is_canonical=True)
            copies.append(copy)
        return copies


def check_depth(location: Location, depth: int) -> None:
    """CommandError if values of a depth would be too deep in a document if they are put into the container at a location."""
    if len(location) + 1 + depth > MAX_DEPTH:
        raise CommandError(_TOO_DEEP)


def depth_of(values: list[JSON], work: Work) -> Steps[int]:
    """Return the number of containers that are around the deepest of values and what is in them: 0 for scalars."""
    depth, level = 0, _containers(values)
    while level:
        depth += 1
        below: list[JSON] = []
        for container in level:
            members = iter(container.values() if type(container) is dict else container)
            while some := list(islice(members, _MEMBERS)):
                below += _containers(some)
                work.spend(len(some))
                if work.is_due():
                    yield
        level = below
    return depth


def _containers(values: list[JSON]) -> list[JSON]:
    return [each for each in values if type(each) is dict or type(each) is list]
