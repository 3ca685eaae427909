"""The contract of an archive: the frames and segments of a place that are older than its last snapshot.

It is kept beside a medium and its log. Whoever reads there reads what others write, and never changes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol


class KeptFrame(NamedTuple):
    """A frame of an archive.

    `number` is that of the segment behind it, or 0. `time_ms` is the time at which its data was cut (Unix milliseconds),
    `keys` their number, and `bytes` the length of all that is kept at `path`.
    """

    number: int
    time_ms: int
    keys: int
    path: str
    bytes: int


class KeptSegment(NamedTuple):
    """A segment of the log, in the archive or not, and its length in bytes."""

    number: int
    path: str
    bytes: int


class Readable(Protocol):
    """Bytes that are read as they are."""

    def size(self) -> int:
        """The length in bytes. MediumError if it can't be told."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes at `offset`; fewer only at the end. MediumError if they can't be read."""

    def close(self) -> None:
        """Let go of them. May be called again."""


class Archive(Protocol):
    """An archive. Every call raises MediumError where the disk fails.

    `is_kept`: segments that a snapshot takes the place of go there. Whoever has the place open says so; else it is so where
    there is an archive.
    """

    is_kept: bool
    # The reason why something could not be kept since the last frame was, or empty.
    failure: str

    # What there is

    def frames(self) -> list[KeptFrame]:
        """The frames that are there, by the number of their segments and by time."""

    def segments(self) -> list[KeptSegment]:
        """The segments that are there, by number."""

    def journal(self) -> list[KeptSegment]:
        """The segments that the log has, by number."""

    def open(self, path: str) -> Readable:
        """Open a frame or a segment. MediumDisplaced if it has gone."""

    def open_medium(self) -> Readable | None:
        """Open the medium beside which this is, or return None where there is none."""

    # What is kept

    def create(self) -> None:
        """Make the archive, if there is none."""

    def tidy(self) -> None:
        """Remove what a crash has left there."""

    def add(self, number: int, time_ms: int, keys: int, digest: str, length: int, pieces: Iterable[bytes]) -> Iterator[None]:
        """Add a frame, whose payload has this digest and length (bytes), in steps.

        MediumError if it can't be written, or the pieces are not this payload: then nothing is left of it.
        """

    def remove(self, paths: Iterable[str]) -> None:
        """Remove frames or segments, in this order."""

    def set_aside(self, first: int) -> None:
        """Put the archive aside if it has a segment of this number or a later one, since it is of other data then.

        A start calls this: an older state was put back.
        """
