"""What a medium is: a sequence of bytes that grows by whole frames and never holds half of one that counts.

`CoreMedium` is all that the library needs; a `Medium` adds what a server needs: reading in pieces, frames written in
pieces, repair, rewriting. Small on purpose, so that one on another machine could fit: every call may be refused, and
after a failed one the outcome may be unknown until the next scan.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from kvserver.errors import MediumError
from kvserver.formats.frame import HEADER_SIZE
from kvserver.formats.scan import Frame, Scan, Tail

COPY_BYTES = 1 << 20

_log = logging.getLogger("kvserver")


class CoreMedium(Protocol):
    """The least that a KVStore works on."""

    def append(self, data: bytes) -> None:
        """Add bytes at the end; when it returns they are kept. MediumError (or any OSError) otherwise."""

    def read_all(self) -> bytes:
        """All bytes."""


class FrameWriter(Protocol):
    """One frame on its way to a medium. It counts from `commit` on; before that a crash leaves a torn tail."""

    def write(self, data: bytes) -> None:
        """Add the next bytes of the payload."""

    def commit(self, header: bytes) -> None:
        """Make payload and header durable, in this order. After a MediumError: `abort`.

        MediumDisplaced (and a poisoned medium) where they are durable, but would not be found at the medium's place.
        """

    def abort(self) -> None:
        """Give up: the medium is as it was before, and its space is given back as far as it can be."""


class Rewrite(FrameWriter, Protocol):
    """A new medium in the making that takes the place of the old one when it is committed."""

    def copy(self, offset: int, length: int) -> Iterator[bytes]:
        """Copy a range of the old medium step by step, giving each piece that was copied (for its checksum)."""

    def commit(self, header: bytes | None) -> None:
        """Make all durable and take the old one's place. `header` is None where only copied frames stand in it."""


@runtime_checkable
class Medium(CoreMedium, Protocol):
    """What the server needs of a medium."""

    @property
    def poisoned(self) -> str:
        """Why nothing that is written here can be believed any more, or empty. A committed rewrite ends it."""

    def prove(self) -> None:
        """Poison the medium if what is appended would not be found at its place. MediumError where that can't be told."""

    def prove_place(self) -> None:
        """MediumDisplaced where what is read here is not what is at the medium's place."""

    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer only at the end."""

    def truncate(self, size: int) -> None:
        """Cut what is behind `size`, durably."""

    def set_aside(self, offset: int, end: int | None = None) -> str:
        """Copy what is behind `offset` (before `end`, if that is given) to a durable place of its own, and name that place."""

    def begin_frame(self) -> FrameWriter:
        """Start a frame at the end."""

    def begin_rewrite(self) -> Rewrite:
        """Start a new medium that will take this one's place."""

    def close(self) -> None:
        """Let go of it. Nothing is written."""


class WholeAppends:
    """A Medium over a CoreMedium: frames are gathered in memory and appended in one piece. Cuts and rewrites nothing."""

    poisoned = ""

    def __init__(self, core: CoreMedium) -> None:
        self._core = core
        self.append = core.append
        self.read_all = core.read_all

    def prove(self) -> None:
        """Nothing: a core medium proves its appends itself."""

    def prove_place(self) -> None:
        """Nothing: a core medium reads what is at its place."""

    def size(self) -> int:
        return len(self._core.read_all())

    def read(self, offset: int, length: int) -> bytes:
        return self._core.read_all()[offset : offset + length]

    def truncate(self, size: int) -> None:
        """Nothing: what is appended behind a torn frame stays where no scan finds it."""

    def set_aside(self, offset: int, end: int | None = None) -> str:
        return "its place"

    def begin_frame(self) -> FrameWriter:
        return GatheredFrame(self._core)

    def begin_rewrite(self) -> Rewrite:
        raise MediumError("this medium can only be appended to")

    def close(self) -> None:
        """Nothing to let go of."""


class GatheredFrame:
    """A FrameWriter that holds the payload until it is committed, then appends the whole frame at once."""

    def __init__(self, core: CoreMedium) -> None:
        self._core = core
        self._data = bytearray(HEADER_SIZE)

    def write(self, data: bytes) -> None:
        self._data += data

    def commit(self, header: bytes) -> None:
        self._data[:HEADER_SIZE] = header
        self._core.append(bytes(self._data))

    def abort(self) -> None:
        self._data.clear()


def as_medium(core: CoreMedium) -> Medium:
    """The medium itself, or an adapter where it has only `append` and `read_all`."""
    return core if isinstance(core, Medium) else WholeAppends(core)


def repair(medium: Medium, result: Scan) -> int:
    """Leave a medium with the valid frames that a scan has found, without gaps, and set aside what is damage; its length then.

    Where frames have moved, the scan's have their new places, also the one that was loaded.
    """
    if result.tail is not Tail.NONE:
        where = f"{result.tail_length} bytes at offset {result.valid_length}: {result.reason}"
        if result.tail is Tail.DAMAGED:
            _log.error("damaged medium: %s; copied to %s, then cut", where, medium.set_aside(result.valid_length))
        else:
            _log.warning("torn tail cut: %s", where)
        medium.truncate(result.valid_length)
    if result.damages:
        for offset, end, reason in result.damages:
            where = f"{end - offset} bytes at offset {offset}: {reason}"
            text = "damaged medium: %s; copied to %s, then left out of it; the frames behind them hold"
            _log.error(text, where, medium.set_aside(offset, end))
        moved = _closed_up(medium, result.frames)
        if result.loaded:
            result.loaded = moved[result.frames.index(result.loaded)]
        result.frames = moved
    return medium.size()


def _closed_up(medium: Medium, frames: list[Frame]) -> list[Frame]:
    """Rewrite a medium so that it holds these frames and nothing else; where they are then."""
    rewrite = medium.begin_rewrite()
    moved: list[Frame] = []
    try:
        for frame in frames:
            for _ in rewrite.copy(frame.offset, frame.end - frame.offset):
                pass
            moved.append(frame._replace(offset=moved[-1].end if moved else 0))
        rewrite.commit(None)
    except BaseException:
        rewrite.abort()
        raise
    return moved
