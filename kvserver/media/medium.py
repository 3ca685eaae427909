"""The contracts: a Medium keeps frames, a Log keeps records, a Lease says who may write to them.

Whoever writes a new kind needs this file alone. These rules are common to all three:

- Calls block, and are made by one thread at a time, but for those of a Log that say otherwise.
- A failure is a MediumError, whose text is one line for a person. The call that failed may have done its work or not: that
  shows when the place is read again. Where a call can't be repeated for certain, it is not: the object refuses whatever
  follows (`poisoned`, `failure`), until something new has taken the place of what is in doubt. A kind whose calls can be lost
  on their way settles that itself, within the call: it looks what stands there, and returns or raises when it knows.
- A kill, or the loss of power, at any moment leaves what was durable before, and any part of what was not.
- Offsets and lengths are in bytes. Nothing here looks into a payload, and no method is a coroutine.

`CoreMedium` is all that the library needs; a `Medium` adds what a server needs: reading in pieces, frames written in
pieces, repair, rewriting.
"""

from __future__ import annotations

import enum
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol, runtime_checkable

from kvserver.errors import MediumError
from kvserver.formats.frame import HEADER_SIZE
from kvserver.formats.scan import Frame, Scan, Tail
from kvserver.media.archive import Archive

COPY_BYTES = 1 << 20

_log = logging.getLogger("kvserver")


class CoreMedium(Protocol):
    """The least that a KVStore works on."""

    def append(self, data: bytes) -> None:
        """Add bytes at the end; when the call returns they are kept. MediumError (or any OSError) otherwise."""

    def read_all(self) -> bytes:
        """All bytes."""


class FrameWriter(Protocol):
    """One frame on its way to a medium, behind all that the medium held when the frame was begun: a header, then its payload.

    The frame counts from `commit` on. Before that a crash leaves a torn tail, whose header is zeros (UNWRITTEN) or missing.
    """

    def write(self, data: bytes) -> None:
        """Add the next bytes of the payload. After a MediumError: `abort`."""

    def commit(self, header: bytes) -> None:
        """Make payload and header (HEADER_SIZE bytes) durable, in this order. After a MediumError: `abort`.

        MediumDisplaced (and a poisoned medium) if they are durable, but would not be found at the medium's place.
        """

    def abort(self) -> None:
        """Give up: the medium is as it was before, and its space is given back as far as it can be."""


class Rewrite(FrameWriter, Protocol):
    """A new medium in the making that takes the place of the old one when it is committed: copies, and a frame behind them.

    Whenever a crash comes, the old or the new medium is at the place, as a whole.
    """

    def copy(self, offset: int, length: int) -> Iterator[bytes]:
        """Copy a range of the old medium step by step, giving each piece that was copied (for its checksum)."""

    def commit(self, header: bytes | None) -> None:
        """Make all durable and take the old medium's place. `header` is None if only copied frames stand in the new one.

        After a MediumError: `abort`, and the medium is poisoned if either of the two may be at the place.
        """


class Contents(Protocol):
    """Bytes that can be read, and put in order again: those of a medium, or of one segment of a log."""

    def size(self) -> int:
        """The length in bytes. MediumError if it can't be told."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes at `offset`; fewer only at the end. MediumError if they can't be read."""

    def append(self, data: bytes) -> None:
        """Add bytes at the end; when the call returns they are durable. MediumError otherwise."""

    def truncate(self, size: int) -> None:
        """Cut off what is behind `size`, and make durable what is before it, also where there is nothing to cut."""

    def set_aside(self, offset: int, end: int | None = None) -> str:
        """Copy what is behind `offset` (before `end`, if that is given) to a durable place of its own. Return its name."""

    def close(self) -> None:
        """Let go of the bytes. Nothing is written. May be called again."""


@runtime_checkable
class Medium(CoreMedium, Contents, Protocol):
    """Frames, one behind the other, with all that a server needs. One frame or rewrite at a time is under way."""

    @property
    def poisoned(self) -> str:
        """The reason why nothing that is written here can be believed any more, or empty. A committed rewrite ends it."""

    def prove(self) -> None:
        """Poison the medium if what is appended would not be found at its place. MediumError if that can't be told."""

    def prove_place(self) -> None:
        """Raise MediumDisplaced if what is read here is not what is at the medium's place."""

    def begin_frame(self) -> FrameWriter:
        """Start a frame at the end. MediumPoisoned if the medium is poisoned."""

    def begin_rewrite(self) -> Rewrite:
        """Start a new medium that will take this one's place, as a whole. MediumLocked if somebody else has that place."""


class Lease(Protocol):
    """The right to be the only one who writes to a place: to a medium and its log.

    To make a lease is to take the place: MediumLocked if somebody else has it, MediumError if it can't be had for another
    reason. A lease lasts until `release`, or the end of the process. That of a folder is never lost, though the folder may be
    moved away. Where a lease can be lost, medium and log refuse whatever is appended after that (MediumLocked).
    """

    def hold(self) -> bool:
        """Hold what is at the place now. Return True if others have put something else there, which is held from now on.

        MediumLocked if somebody else holds that, MediumError if nothing is there or it can't be told.
        """

    def release(self) -> None:
        """Let others take the place. May be called again."""


class Aside(enum.StrEnum):
    """The reason why a segment of a log was put aside. The names of files contain it."""

    # A start put it aside, since it is behind the end of what can be replayed.
    DAMAGED = "damaged"
    # A start put it aside, since the snapshot that it goes on from is nowhere.
    UNLINKED = "unlinked"
    # RESTORE put it aside, which went back to the snapshot before it.
    DROPPED = "dropped"
    # RESTORE put it aside, and a snapshot has succeeded since.
    DROPPED_EARLIER = "dropped-earlier"
    # A running server put it aside, since somebody else had put it there.
    FOREIGN = "foreign"
    # It was put aside, and has been replayed since by a person's decision.
    APPLIED = "applied"


# Segments that were put aside for these reasons may be replayed after all, by a person's decision.
APPLICABLE: Final = (Aside.UNLINKED, Aside.DROPPED, Aside.DROPPED_EARLIER)


class Log(ABC):
    """Records in the order in which they were appended, as bytes that the log doesn't look into.

    A log is divided into segments. A segment begins with a cut, at the moment at which the data of a snapshot is cut, too: so
    the snapshot and the segments from there on are the whole data. Segments have numbers: whoever cuts chooses a number that
    is greater than all before. If it is greater by more than one, a start doesn't go on behind the gap. A link is a record
    that names the snapshot from which its segment and the segments behind go on: when the link is durable, the segments
    before are superfluous. Three things always hold:

    - A segment begins when the one before is durable, so that a crash can't keep what is later and lose what is earlier.
      Within a segment a crash may keep any part of what is not synced: a start stops at the first record that is not whole.
    - Segments are removed from the oldest on, and put aside from the newest on, so that those that are left belong together.
    - After a failure nothing is appended. Only `cut(heals=True)` goes on, in a new segment, which then needs a link.

    A start reads and tidies what it finds (`segments` to `remove`), then says what it goes on with (`adopt`). Nothing can be
    appended before a cut. `write` and `write_now` may be called while another thread is in `sync`, `sync_all`, `prepare`,
    `drop_before` or `age_asides`. No two of the latter run at once, and `cut`, `drop` and `close` run alone.
    """

    def __init__(self) -> None:
        # The reason why nothing is appended until a cut heals it, or empty.
        self.failure = ""
        # Something that was appended is not certain to be durable.
        self.has_unsynced = False
        # The length (bytes) of all segments that a start would read, together.
        self.needed_bytes = 0
        # The number of the newest segment that there is or was: that of the next one is greater.
        self.last_number = 0

    # What a start finds

    @abstractmethod
    def segments(self) -> dict[int, str]:
        """The names of the segments that are there, by their numbers, in order: for `open`, `set_aside` and for persons."""

    @abstractmethod
    def asides(self) -> list[tuple[int, str]]:
        """The numbers and names of the segments that were put aside and may be replayed after all (APPLICABLE), in order."""

    @abstractmethod
    def open(self, name: str) -> Contents:
        """Open a segment, put aside or not, that is not appended to, to read it or cut it. The caller closes it."""

    @abstractmethod
    def set_aside(self, name: str, reason: Aside) -> str:
        """Give a segment, put aside already or not, a name that no start looks at, durably. Return that name."""

    @abstractmethod
    def remove(self, numbers: list[int]) -> None:
        """Remove segments, durably and oldest first: a crash midway leaves no gap before those that stay."""

    @abstractmethod
    def retire(self, numbers: list[int]) -> None:
        """Remove segments as `remove` does, since a snapshot has their data; where a history is kept, they go there."""

    @abstractmethod
    def last_retired(self) -> int:
        """The greatest number of a segment that is kept in a history, or 0."""

    @abstractmethod
    def adopt(self, numbers: list[int], length: int, last_number: int) -> None:
        """Go on behind these segments, of so many bytes together. Every segment to come has a number above `last_number`."""

    # Appending

    @property
    @abstractmethod
    def number(self) -> int:
        """The number of the segment that is appended to, or 0 if there is none."""

    @property
    @abstractmethod
    def needed_count(self) -> int:
        """The number of segments that a start would read."""

    @abstractmethod
    def cut(self, number: int, *, heals: bool = False) -> None:
        """Make the segment before durable, then begin one of this number. MediumError if that fails, or has failed before.

        `heals`: begin it also after a failure, since nothing of what failed is needed any more. What others have put into this
        log, in place of its segments or behind them, is put aside. MediumLocked if its place is somebody else's now.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Make what the next cut would have to wait for, if there is anything. Never raises: the cut makes what is missing."""

    @abstractmethod
    def write(self, data: bytes, *, synced: bool = False) -> None:
        """Append records, or the next piece of a long one, to the segment.

        MediumError if that fails now, or has failed before; a part of the data may be there all the same. `synced`: when the
        call returns, this and what was written before is durable.
        """

    @abstractmethod
    def write_now(self, data: bytes) -> int:
        """Append without waiting. Return the number of bytes appended; the caller sees to the rest. Raises as `write`."""

    @abstractmethod
    def sync(self) -> bool:
        """Make durable what was written. Return False if it was already.

        MediumError if that fails, has failed before, or what was written is not there any more.
        """

    @abstractmethod
    def sync_all(self) -> None:
        """Make durable what was written, whatever another thread makes durable meanwhile. MediumError as for `sync`."""

    @abstractmethod
    def drop_before(self, number: int, *, keeps_aside: bool = False) -> list[str]:
        """Retire the segments before this one, which has a durable link.

        `keeps_aside`: the data went back to what it was before those segments, so they are put aside (DROPPED), unless a
        history is kept. Return the names that they have then; else no names.
        """

    @abstractmethod
    def drop(self, number: int) -> None:
        """Remove a segment, if this log has it: the newest one, which was never linked, or is not needed any more."""

    @abstractmethod
    def age_asides(self) -> None:
        """Remove what is DROPPED_EARLIER, and make what is DROPPED that: a snapshot has succeeded."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the log. Nothing is written, and what is not synced may be lost. May be called again."""

    # What follows from these

    def link(self, frame: bytes, *, keeps_aside: bool = False) -> list[str]:
        """Write a link, and when it is durable, drop the segments before this one. Returns and raises as `drop_before`."""
        self.write(frame, synced=True)
        return self.drop_before(self.number, keeps_aside=keeps_aside)

    def end(self, number: int, frame: bytes, *, keeps_aside: bool = False) -> list[str]:
        """Go on without a log from the snapshot that this link names. Returns and raises as `link`.

        The link stands in a segment of this number until the others are gone: whenever a start looks, it finds the same data.
        """
        self.cut(number, heals=True)
        names = self.link(frame, keeps_aside=keeps_aside)
        self.drop(number)
        return names


class Place(NamedTuple):
    """A place and all that is kept there, for one who writes there. One in memory has no archive."""

    lease: Lease
    medium: Medium
    log: Log
    archive: Archive | None = None

    def close(self) -> None:
        """Let go of log, medium and lease, in this order. Nothing is written."""
        self.log.close()
        self.medium.close()
        self.lease.release()


class WholeAppends:
    """A Medium over a CoreMedium: gathers a frame in memory and appends it in one piece. It can neither cut nor rewrite."""

    poisoned = ""

    def __init__(self, core: CoreMedium) -> None:
        self._core = core
        self.append = core.append
        self.read_all = core.read_all

    def prove(self) -> None:
        """Do nothing: a core medium proves its appends itself."""

    def prove_place(self) -> None:
        """Do nothing: a core medium reads what is at its place."""

    def size(self) -> int:
        return len(self._core.read_all())

    def read(self, offset: int, length: int) -> bytes:
        return self._core.read_all()[offset : offset + length]

    def truncate(self, size: int) -> None:
        """Do nothing: what is appended behind a torn frame stays where no scan finds it."""

    def set_aside(self, offset: int, end: int | None = None) -> str:
        return "its place"

    def begin_frame(self) -> FrameWriter:
        return GatheredFrame(self._core)

    def begin_rewrite(self) -> Rewrite:
        raise MediumError("this medium can only be appended to")

    def close(self) -> None:
        """Do nothing: a core medium holds nothing open."""


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
    """The medium itself, or an adapter if it has only `append` and `read_all`."""
    return core if isinstance(core, Medium) else WholeAppends(core)


def repair(medium: Medium, result: Scan) -> int:
    """Leave a medium with the valid frames that a scan has found, without gaps, and set aside what is damaged.

    Return the medium's length (bytes) then. If frames have moved, the scan has their new places, also of the one that was
    loaded. MediumError if the medium can't be read or written.
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
    """Rewrite a medium so that it holds these frames and nothing else. Return the frames with their new places."""
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
