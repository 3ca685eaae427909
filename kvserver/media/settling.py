"""An append, or a new manifest, whose outcome is known: what an engine leaves open is settled by reading, never guessed.

`settled` goes on until it knows: the entry stands there (then it is durable), or somebody else's does (Refused). Where nothing
stands there, the same entry is sent again, to the same place: if the first one lands late, the engine refuses one of the two,
and a look tells whose it is. Both are steps, which say how long to wait: `wait_for` drives them where a thread may wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Final, Protocol, TypeVar

from kvserver.errors import EntryTooLong, LogLost, MediumError, Refused, Trimmed, Unknown
from kvserver.formats.manifest import Manifest, Position
from kvserver.media.shared import Mark, SharedLog, Vault

T = TypeVar("T")
# The seconds to wait before the next step.
Steps = Generator[float, None, T]

# The first wait before a call is made again, and the longest; each is twice the one before.
FIRST_WAIT_S: Final = 0.005
LONGEST_WAIT_S: Final = 0.5
# A manifest that certainly was not replaced is tried so often, for about 1.6 s: whoever wants it may come again later.
TRIES: Final = 10
# Whoever waits looks so often if it is over.
LOOK_S: Final = 0.02


class Outcomes(Protocol):
    """How the calls of an engine have ended, which is counted here.

    - `unknown` counts those whose outcome was open: of these, `unknown_landed` were found there, `unknown_sent_again` not.
    - `failed` counts those that certainly did nothing, and were made again.
    - `error` is the last failure, if no call has succeeded since; else empty.
    """

    unknown: int
    unknown_landed: int
    unknown_sent_again: int
    failed: int
    error: str


class Counted:
    """Outcomes that nobody else looks at."""

    def __init__(self) -> None:
        self.unknown = self.unknown_landed = self.unknown_sent_again = self.failed = 0
        self.error = ""


class _Waits:
    def __init__(self) -> None:
        self._next_s = FIRST_WAIT_S

    def next(self) -> float:
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, LONGEST_WAIT_S)
        return wait_s


def settled(
    log: SharedLog,
    data: bytes,
    mark: Mark,
    after: Position,
    outcomes: Outcomes,
    first: MediumError | None = None,
    *,
    may_give_up: bool = False,
) -> Steps[Position]:
    """Append an entry and return its position, however often that has to be tried. Refused if somebody else's stands there.

    LogLost if the log does not reach to that place any more. EntryTooLong if the engine does not take as much at once any
    more: parts may be appended there. If it lands late all the same, these are refused.

    `first` is what became of an append of this entry that was begun before. `may_give_up`: MediumError if a call certainly did
    nothing, and no other is open; else it is made again.
    """
    waits = _Waits()
    # An earlier call may have landed, or land yet.
    is_open = False
    while True:
        try:
            if first:
                error, first = first, None
                raise error
            position = log.append(data, mark, after)
        except EntryTooLong as error:
            # Nothing stands there: what was open was looked for.
            outcomes.error = str(error)
            raise
        except Refused:
            # Without an open call it can't be ours that stands there.
            if not is_open:
                raise
        except LogLost as lost:
            outcomes.error = str(lost)
            raise
        except Unknown as error:
            is_open = True
            outcomes.unknown += 1
            outcomes.error = str(error)
        except MediumError as error:
            outcomes.failed += 1
            outcomes.error = str(error)
            if may_give_up and not is_open:
                raise
            yield waits.next()
            continue
        else:
            outcomes.error = ""
            return position
        found = yield from _look(log, data, mark, after, outcomes, waits)
        if found is not None:
            outcomes.unknown_landed += 1
            outcomes.error = ""
            return found
        outcomes.unknown_sent_again += 1
        yield waits.next()


def _look(
    log: SharedLog, data: bytes, mark: Mark, after: Position, outcomes: Outcomes, waits: _Waits
) -> Steps[Position | None]:
    """The position of this entry if it stands there, None if nothing does. Refused if something else does."""
    while True:
        try:
            entries = log.read(after, 0)
        except Trimmed as trimmed:
            # Others have gone on behind that place, and a snapshot of theirs has what stood there: ours or not, we are fenced.
            raise Refused(str(trimmed)) from trimmed
        except LogLost as lost:
            outcomes.error = str(lost)
            raise
        except MediumError as error:
            outcomes.error = str(error)
            yield waits.next()
            continue
        if not entries:
            return None
        if (entries[0].mark, entries[0].data) != (mark, data):
            raise Refused(f"an entry of the epoch {entries[0].mark.epoch} stands behind {after.number}, where ours was to be")
        return entries[0].position


def replaced(vault: Vault, manifest: Manifest, tag: str, outcomes: Outcomes) -> Steps[str]:
    """Replace the manifest with this tag and return the new tag. Refused if somebody else has replaced it.

    MediumError if it can't be done, after some tries: then this manifest is not there, and never will be. As long as that is
    not certain, this goes on.
    """
    waits = _Waits()
    is_open = False
    failures = 0
    while True:
        try:
            return vault.commit(manifest, tag)
        except Refused:
            if not is_open:
                raise
        except Unknown as error:
            is_open = True
            outcomes.unknown += 1
            outcomes.error = str(error)
        except MediumError as error:
            outcomes.failed += 1
            outcomes.error = str(error)
            failures += 1
            if failures >= TRIES and not is_open:
                raise
            yield waits.next()
            continue
        while True:
            # Each call is a step of its own, so that whoever stops this waits for one at most.
            yield waits.next()
            try:
                found, found_tag = vault.manifest()
            except MediumError as error:
                outcomes.error = str(error)
                continue
            break
        if found == manifest:
            outcomes.unknown_landed += 1
            return found_tag
        if found_tag != tag:
            raise Refused("somebody else has replaced the manifest")
        outcomes.unknown_sent_again += 1
        yield waits.next()


def wait_for(
    steps: Generator[float, None, T],
    is_over: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Drive steps to their end, in this thread. Return and raise what they do.

    Unknown if it `is_over` before: then no further step is made, and what was done may have its effect, or have it later.
    """
    try:
        while not is_over():
            left_s = next(steps)
            while left_s > 0 and not is_over():
                sleep(min(left_s, LOOK_S))
                left_s -= LOOK_S
    except StopIteration as stop:
        result: T = stop.value
        return result
    steps.close()
    raise Unknown("the engine is closed")
