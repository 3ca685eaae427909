"""A probe of an object store: do its conditions hold when two clients race? Many that call themselves S3 only pretend.

Without that, two nodes would write at once, and neither would know. So it is looked at whenever such an engine is opened.
"""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final

from kvserver.errors import MediumError
from kvserver.media.s3_bucket import Bucket, Taken

# So often two clients race for the same name.
ROUNDS: Final = 20
# So many races go on at once, and so often one is run again where another request was under way in both.
_AT_ONCE: Final = 5
_TRIES: Final = 5
# Each waits so long for the other one before it begins (seconds).
_PATIENCE_S: Final = 30.0


def probe(one: Bucket, other: Bucket, rounds: int = ROUNDS) -> None:
    """Let two clients of one store race for names below `probe/`. MediumError if not exactly one wins each time.

    What it puts there is removed.
    """
    folder = f"probe/{secrets.token_hex(8)}"
    paths = [f"{folder}/{number}" for number in range(rounds)]
    replaced = f"{folder}/replaced"
    try:
        # One thread of each race runs here, and waits for the other one there: with threads for all, none waits for a thread.
        # Where one race fails, the others end before all is removed.
        with ThreadPoolExecutor(_AT_ONCE) as there, ThreadPoolExecutor(_AT_ONCE) as here:
            for start in range(0, rounds, _AT_ONCE):
                races = [here.submit(_race, one, other, path, there) for path in paths[start : start + _AT_ONCE]]
                for race in races:
                    race.result()
        if rounds:
            _check_replacing(one, other, replaced)
    finally:
        with suppress(MediumError):
            one.delete([*paths, replaced])


def _race(one: Bucket, other: Bucket, path: str, there: ThreadPoolExecutor) -> None:
    for _ in range(_TRIES):
        start = threading.Barrier(2)

        def put(bucket: Bucket, data: bytes, start: threading.Barrier = start) -> bool | None:
            """True if it was put there, None if nobody knows yet who was."""
            start.wait(_PATIENCE_S)
            taken = bucket.create(path, data)
            return None if isinstance(taken, Taken) and taken.is_conflict else not isinstance(taken, Taken)

        second = there.submit(put, other, b"other")
        results = {b"one": put(one, b"one"), b"other": second.result()}
        winners = [name for name, has_won in results.items() if has_won]
        found = one.get(path)
        if not winners and found is None and None in results.values():
            continue
        if len(winners) != 1:
            lost = "neither" if not winners else "both"
            raise MediumError(f"{one.url}: its store does not do what If-None-Match asks for: of two, {lost} succeeded")
        if found is None or found.data != winners[0]:
            raise MediumError(f"{one.url}: its store has not what it has acknowledged")
        return
    raise MediumError(f"{one.url}: its store answers 409 to all who ask for a name")


def _check_replacing(one: Bucket, other: Bucket, path: str) -> None:
    first = _put_here(partial(one.create, path, b"first"), one)
    _put_here(partial(other.replace, path, b"second", first), one)
    stale = one.replace(path, b"third", first)
    found = one.get(path)
    if not isinstance(stale, Taken) or found is None or found.data != b"second":
        raise MediumError(f"{one.url}: its store does not do what If-Match asks for: a stale one has succeeded")


def _put_here(put: partial[str | Taken], bucket: Bucket) -> str:
    for _ in range(_TRIES):
        tag = put()
        if not isinstance(tag, Taken):
            if not tag:
                raise MediumError(f"{bucket.url}: its store gives no ETag")
            return tag
        if not tag.is_conflict:
            break
    raise MediumError(f"{bucket.url}: its store refuses a condition that holds")
