"""A probe of an object store: do its conditions hold when two clients race? Many that call themselves S3 only pretend.

Without that, two nodes would write at once, and neither would know. So it is looked at whenever such an engine is opened.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from kvserver.errors import MediumError
from kvserver.media.s3_bucket import Bucket, Taken

# So often two clients race for the same name, and so often to replace the same object.
ROUNDS: Final = 20
# So many races go on at once, and so often one is run again where another request was under way in both.
_AT_ONCE: Final = 5
_TRIES: Final = 5
# Each waits so long for the other one before it begins (seconds).
_PATIENCE_S: Final = 30.0


def probe(one: Bucket, other: Bucket, rounds: int = ROUNDS) -> None:
    """Let two clients of one store race for names below `probe/`, and then to replace what stands there.

    MediumError if not exactly one wins each time. What it puts there is removed.
    """
    folder = f"probe/{secrets.token_hex(8)}"
    paths = [f"{folder}/{number}" for number in range(rounds)]
    try:
        # One thread of each race runs here, and waits for the other one there: with threads for all, none waits for a thread.
        # Where one race fails, the others end before all is removed.
        with ThreadPoolExecutor(_AT_ONCE) as there, ThreadPoolExecutor(_AT_ONCE) as here:
            for start in range(0, rounds, _AT_ONCE):
                races = [here.submit(_race_for, one, other, path, there) for path in paths[start : start + _AT_ONCE]]
                for race in races:
                    race.result()
    finally:
        with suppress(MediumError):
            one.delete(paths)


def _race_for(one: Bucket, other: Bucket, path: str, there: ThreadPoolExecutor) -> None:
    tag = _race(one, other, path, there, "If-None-Match", lambda bucket, name: bucket.create(path, b"first, by " + name))
    if not tag:
        raise MediumError(f"{one.url}: its store gives no ETag")
    _race(one, other, path, there, "If-Match", lambda bucket, name: bucket.replace(path, b"then, by " + name, tag))


def _race(
    one: Bucket,
    other: Bucket,
    path: str,
    there: ThreadPoolExecutor,
    condition: str,
    put: Callable[[Bucket, bytes], str | Taken],
) -> str:
    """Let both put something at this path on a condition. Return the tag of what one of them has put there."""
    before = one.get(path)
    for _ in range(_TRIES):
        start = threading.Barrier(2)

        def run(bucket: Bucket, name: bytes, start: threading.Barrier = start) -> str | Taken:
            start.wait(_PATIENCE_S)
            return put(bucket, name)

        second = there.submit(run, other, b"other")
        results = {b"one": run(one, b"one"), b"other": second.result()}
        winners = {name: result for name, result in results.items() if not isinstance(result, Taken)}
        found = one.get(path)
        has_conflict = any(isinstance(result, Taken) and result.is_conflict for result in results.values())
        # Nobody knows yet who was first.
        if not winners and found == before and has_conflict:
            continue
        if len(winners) != 1:
            lost = "neither" if not winners else "both"
            raise MediumError(f"{one.url}: its store does not do what {condition} asks for: of two, {lost} succeeded")
        ((name, tag),) = winners.items()
        if found is None or not found.data.endswith(b", by " + name) or (before and found.data == before.data):
            raise MediumError(f"{one.url}: its store has not what it has acknowledged")
        return tag
    raise MediumError(f"{one.url}: its store answers 409 to all who ask for a name")
