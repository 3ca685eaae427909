"""A shared log in an object store: an entry is an object, named by the position that it stands at.

    log/0000000002/0000000000000041     the entry at (2, 41), put there on the condition that nothing is
    log/trimmed.json                    up to where entries may have been removed

The first entry of a new epoch is a fence: it stands where the next one of the epoch before it would have come, so that this
one is refused, and its own position is (epoch, 0). Entries of the new epoch go on in the folder of that epoch. A fence is
never removed: in a place that is free again, an entry that comes late would be taken. Nothing is listed to read: the names
are known.

Several entries may be on their way. One that arrives behind a hole is seen by nobody until the hole is filled; a fence in the
hole makes that never.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from kvserver.errors import EntryTooLong, MediumError, Refused, Trimmed, Unknown
from kvserver.formats.manifest import BEGINNING, Position
from kvserver.media.s3_bucket import Bucket, Found, Taken
from kvserver.media.shared import Entry, Mark, digest_of

MAX_APPEND_BYTES: Final = 4 << 20
MOST_IN_FLIGHT: Final = 4
# So many names are asked for at once, where entries come fast, and so many bytes are returned at most, or one entry.
MOST_AHEAD: Final = 16
READ_BYTES: Final = 8 << 20
# The pauses of a reader who waits, from the first to the longest: each look has its price.
PAUSES_S: Final = (0.02, 0.25)
# A reader who finds nothing looks at what was trimmed at most so often (seconds).
TRIMMED_LOOK_S: Final = 2.0

_TRIMMED: Final = "log/trimmed.json"


def path_of(epoch: int, number: int) -> str:
    """The path of the object with this number in the folder of an epoch."""
    return f"log/{epoch:010d}/{number:016d}"


class S3Log:
    """The log below the prefix of a bucket."""

    max_append_bytes = MAX_APPEND_BYTES
    most_in_flight = MOST_IN_FLIGHT

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(MOST_AHEAD, thread_name_prefix="kvserver-s3")
        # Where the last read ended, and how many names the next one asks for.
        self._read_to = BEGINNING
        self._ahead = 1
        # The pause of the next look that finds nothing, and when one has looked at what was trimmed.
        self._pause_s = PAUSES_S[0]
        self._looked_at = float("-inf")

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        self._must_be_open()
        if len(data) > self.max_append_bytes:
            raise EntryTooLong(f"an entry of {len(data)} bytes is longer than {self.max_append_bytes}")
        if mark.epoch < after.epoch:
            raise Refused(f"epoch {mark.epoch} has ended in {self._bucket.url}")
        path, metadata = path_of(after.epoch, after.number + 1), _metadata_of(mark, data)
        taken = self._bucket.create(path, data, metadata)
        if isinstance(taken, Taken):
            self._must_be_ours(path, metadata, taken)
        if mark.epoch == after.epoch:
            return Position(after.epoch, after.number + 1)
        # What stood at this place may have been trimmed. That was told before it was done.
        if self._trimmed_or_unknown() > after:
            raise Refused(f"entries behind {after.number} of epoch {after.epoch} in {self._bucket.url} were trimmed")
        return Position(mark.epoch, 0)

    def read(self, after: Position, wait_s: float) -> list[Entry]:
        deadline = time.monotonic() + wait_s
        while True:
            self._must_be_open()
            ahead = self._ahead if after == self._read_to else 1
            if found := self._take(after, ahead):
                self._read_to = found[-1].position
                self._ahead = self._next_ahead(ahead, found)
                self._pause_s = PAUSES_S[0]
                if found[0].position.epoch != after.epoch and self._trimmed() > after:
                    # A fence that was put where something had been trimmed: it fences nobody.
                    raise Trimmed(f"the entry behind {after.number} of epoch {after.epoch} is not there any more")
                return found
            if after != self._read_to or time.monotonic() - self._looked_at > TRIMMED_LOOK_S:
                self._read_to, self._ahead = after, 1
                self._looked_at = time.monotonic()
                if self._trimmed() > after:
                    raise Trimmed(f"the entry behind {after.number} of epoch {after.epoch} is not there any more")
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return []
            # Who closes ends this wait.
            self._closed.wait(min(self._pause_s, left_s))
            self._pause_s = min(2 * self._pause_s, PAUSES_S[1])

    def trim(self, upto: Position) -> None:
        self._must_be_open()
        self._tell_of_trim(upto)
        self._bucket.delete(self._superfluous(upto))

    def close(self) -> None:
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # Appends

    def _must_be_ours(self, path: str, metadata: dict[str, str], taken: Taken) -> None:
        """Return if what stands at this path is this very entry, which an earlier call may have put there. Refused if not."""
        try:
            found = self._bucket.look(path)
        except MediumError as error:
            raise Unknown(str(error)) from error
        if found is None:
            if taken.is_conflict:
                raise Unknown(f"{self._bucket.url}/{path}: another request was under way, and nothing was written")
            raise Refused(f"{self._bucket.url}/{path} stood there, and was trimmed")
        if any(found.get(name) != value for name, value in metadata.items()):
            raise Refused(f"something else stands at {self._bucket.url}/{path}")

    def _trimmed_or_unknown(self) -> Position:
        try:
            return self._trimmed()
        except MediumError as error:
            raise Unknown(str(error)) from error

    # Reads

    def _take(self, after: Position, ahead: int) -> list[Entry]:
        """The entries that stand behind a position without a hole, of so many names; none behind a fence."""
        paths = [path_of(after.epoch, after.number + step) for step in range(1, ahead + 1)]
        entries: list[Entry] = []
        size = 0
        for path, object_ in zip(paths, self._get_all(paths), strict=True):
            if object_ is None or (entries and size + len(object_.data) > READ_BYTES):
                break
            mark = _mark_of(object_, f"{self._bucket.url}/{path}")
            size += len(object_.data)
            if mark.epoch != after.epoch:
                return [*entries, Entry(Position(mark.epoch, 0), mark, object_.data)]
            entries.append(Entry(Position(mark.epoch, after.number + 1 + len(entries)), mark, object_.data))
        return entries

    def _next_ahead(self, ahead: int, found: list[Entry]) -> int:
        longest = max(len(entry.data) for entry in found)
        room = READ_BYTES // max(1, longest)
        return max(1, min(2 * ahead if len(found) == ahead else len(found), MOST_AHEAD, room))

    def _get_all(self, paths: list[str]) -> Iterator[Found | None]:
        if len(paths) == 1:
            return iter([self._bucket.get(paths[0])])
        try:
            return self._pool.map(self._bucket.get, paths)
        except RuntimeError as error:
            raise MediumError(f"{self._bucket.url} is closed") from error

    # Trims

    def _trimmed(self) -> Position:
        """The entries up to this position may have been removed."""
        found = self._bucket.get(_TRIMMED)
        return _position_in(found, self._bucket.url) if found else BEGINNING

    def _tell_of_trim(self, upto: Position) -> None:
        """Tell what is trimmed before that is done. It never goes back: somebody else may have trimmed more."""
        data = json.dumps(upto._asdict(), sort_keys=True).encode() + b"\n"
        while True:
            found = self._bucket.get(_TRIMMED)
            if found and _position_in(found, self._bucket.url) >= upto:
                return
            told = self._bucket.replace(_TRIMMED, data, found.tag) if found else self._bucket.create(_TRIMMED, data)
            if not isinstance(told, Taken):
                return
            if told.is_conflict:
                raise MediumError(f"{self._bucket.url}: somebody else trims at this moment")

    def _superfluous(self, upto: Position) -> Iterator[str]:
        """The paths of all entries up to a position that are no fences.

        Nothing in a list tells a fence from an entry. It is the last object of its epoch but for those that were in flight
        behind it: so the last objects of each epoch that has ended are left, as many as may be in flight.
        """
        epoch, kept = -1, list[str]()
        for listed in self._bucket.list("log"):
            parts = listed.path.split("/")
            if len(parts) != 3 or not (parts[1] + parts[2]).isdigit():
                continue
            place = Position(int(parts[1]), int(parts[2]))
            if place > upto:
                return
            if place.epoch != epoch:
                epoch, kept = place.epoch, []
            if place.epoch == upto.epoch:
                yield listed.path
            else:
                kept.append(listed.path)
                if len(kept) > self.most_in_flight:
                    yield kept.pop(0)

    def _must_be_open(self) -> None:
        if self._closed.is_set():
            raise MediumError(f"{self._bucket.url} is closed")


def _metadata_of(mark: Mark, data: bytes) -> dict[str, str]:
    return {"kv-mark": f"{mark.epoch} {mark.number} {mark.digest or '-'}", "kv-check": digest_of(mark, data)}


def _mark_of(found: Found, url: str) -> Mark:
    try:
        epoch, number, digest = found.metadata["kv-mark"].split(" ")
        mark = Mark(int(epoch), int(number), digest.removeprefix("-"))
    except (KeyError, ValueError):
        raise MediumError(f"{url} is no entry of a log: it has no mark") from None
    if digest_of(mark, found.data) != found.metadata.get("kv-check"):
        raise MediumError(f"{url} is damaged: it is not what its mark says")
    return mark


def _position_in(found: Found, url: str) -> Position:
    try:
        document = json.loads(found.data)
        return Position(int(document["epoch"]), int(document["number"]))
    except (ValueError, KeyError, TypeError):
        raise MediumError(f"{url}/{_TRIMMED} is no position") from None
