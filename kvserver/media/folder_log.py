"""A shared log in the segment files of a folder, for several processes of one machine.

An append takes the lock of the file `log.lock` (flock, which goes with its process, however that ends), looks if the end of
the log is where it has to stand, says there which bytes it adds, writes and syncs them, and only then moves the end, which
stands in that file as one line. Readers take no lock: they see what is before the end, and so nothing that a power loss may
take. Whoever finds bytes behind the end while nobody has the lock keeps the whole entries there, synced again, and cuts off
what a writer that was killed left torn.

A writer that is stopped, and not killed, amid an append has the lock until it goes on. Nobody writes meanwhile.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Final

from kvserver.errors import EntryTooLong, MediumError, Refused, Trimmed, Unknown
from kvserver.formats.manifest import BEGINNING, Position
from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.media.folder_entries import (
    END_BYTES,
    PENDING_BYTES,
    End,
    Pending,
    decode_end,
    decode_pending,
    encode_entry,
    has_entry_behind,
    segment_name,
    segments_among,
    take_entry,
)
from kvserver.media.shared import Entry, Mark

MAX_APPEND_BYTES: Final = 1 << 20
# A segment that has so many bytes gets no more entries. Only whole segments are trimmed.
SEGMENT_BYTES: Final = 4 << 20
READ_BYTES: Final = 4 << 20
# So much is read at once. It is more than the longest entry.
CONTENT_BYTES: Final = 2 * MAX_APPEND_BYTES
# Others have the lock for as long as their disk takes to sync. A disk that takes longer is taken for one that hangs.
LOCK_WAIT_S: Final = 10.0
# A reader looks for what is new at least and at most so often (seconds), and if somebody was killed amid an append.
POLL_S: Final = (0.001, 0.01)
SETTLE_S: Final = 0.1

_LOCK_NAME: Final = "log.lock"


class FolderLog:
    """The log in a folder that is there. MediumError if it can't be opened, or is damaged.

    `is_reader`: it writes nothing there, and so has no `append` and no `trim`.
    """

    max_append_bytes = MAX_APPEND_BYTES
    most_in_flight = 1

    def __init__(
        self,
        folder: str,
        filesystem: FileSystem | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        *,
        is_reader: bool = False,
    ) -> None:
        self._is_reader = is_reader
        self._folder = folder
        self._filesystem = filesystem or FileSystem()
        self._segment_bytes = segment_bytes
        # flock binds threads, too, but they would wait for each other by polling.
        self._threads = threading.Lock()
        self._closed = threading.Event()
        # Where the last read ended: the entry there, its segment and the offset behind it.
        self._cursor = (BEGINNING, BEGINNING, 0)
        # What a reader has found behind the end, which it does not move.
        self._found_end: End | None = None
        if not is_reader:
            with self._threads, self._told("open"), self._locked() as lock:
                self._settled(lock)

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        self._must_write()
        if len(data) > self.max_append_bytes:
            raise EntryTooLong(f"an entry of {len(data)} bytes is longer than {self.max_append_bytes}")
        with self._threads, self._told("write"), self._locked() as lock:
            end = self._settled(lock)
            if after != end.last:
                raise Refused(f"the last entry of {self._folder} is {end.last.number} of epoch {end.last.epoch}")
            if mark.epoch < after.epoch:
                raise Refused(f"epoch {mark.epoch} has ended in {self._folder}")
            if end.offset >= self._segment_bytes:
                end = self._begin_segment(end.last)
            position = Position(mark.epoch, after.number + 1)
            added = encode_entry(Entry(position, mark, data))
            # If that fails, nothing was done.
            pending = Pending(end.segment, end.offset, end.offset + len(added))
            self._write_all(lock, pending.encode(), END_BYTES)
            self._add(end, added)
            self._set_end(lock, end._replace(offset=end.offset + len(added), last=position))
        return position

    def read(self, after: Position, wait_s: float) -> list[Entry]:
        deadline, pause = time.monotonic() + wait_s, POLL_S[0]
        # Who reads once has no other time to look at what somebody left.
        settle_at = time.monotonic() + (0 if self._is_reader else SETTLE_S)
        with self._told("read"):
            if self._has_nothing():
                return []
            while True:
                self._must_be_open()
                end = self._look()
                if end and end.last.number > after.number:
                    return self._read(after, end)
                now = time.monotonic()
                if now >= settle_at or not end:
                    settle_at = now + SETTLE_S
                    if self._settle_if_left():
                        continue
                if now >= deadline:
                    return []
                # Who closes ends this wait.
                self._closed.wait(min(pause, deadline - now))
                pause = min(2 * pause, POLL_S[1])

    def trim(self, upto: Position) -> None:
        self._must_be_open()
        self._must_write()
        with self._told("trim"):
            segments = segments_among(self._filesystem.list(self._folder))
            # The last segment stays, and with it the number of the last entry.
            for segment, following in pairwise(segments):
                if following.number <= upto.number:
                    # Another node trims, too.
                    with suppress(FileNotFoundError):
                        self._filesystem.remove(self._path(segment))

    def close(self) -> None:
        self._closed.set()

    # Reading

    def _has_nothing(self) -> bool:
        """True for a reader of a folder with snapshots alone, or nothing. A copy of a folder may have a log and no lock."""
        if not self._is_reader or self._filesystem.exists(self._lock_path):
            return False
        return not segments_among(self._filesystem.list(self._folder))

    def _look(self) -> End | None:
        """The end as it stands there now. None if the line is not whole: it is being written, or was when the power failed."""
        try:
            descriptor = self._filesystem.open_to_read(self._lock_path)
        except FileNotFoundError:
            if not self._is_reader:
                raise
            return self._found_end
        try:
            end = decode_end(self._filesystem.read(descriptor, END_BYTES, 0))
        finally:
            self._filesystem.close(descriptor)
        found = self._found_end
        return found if found and (end is None or end.last.number < found.last.number) else end

    def _read(self, after: Position, end: End) -> list[Entry]:
        last, segment, offset = self._place_behind(after)
        found: list[Entry] = []
        size = 0
        while size < READ_BYTES and last.number < end.last.number:
            content = self._content(segment, offset, end.offset if segment == end.segment else None)
            at = 0
            while size < READ_BYTES and (taken := self._take(content, at, segment, offset)):
                entry, at = taken
                last = entry.position
                if last.number > after.number:
                    found.append(entry)
                    size += len(entry.data)
            offset += at
            if content and not at:
                raise MediumError(f"{self._path(segment)} is damaged at byte {offset}: it ends amid an entry")
            if not content:
                segment, offset = last, 0
        self._cursor = last, segment, offset
        return found

    def _place_behind(self, after: Position) -> tuple[Position, Position, int]:
        """Where to begin to read: the entry before that place, its segment and the offset in it."""
        if self._cursor[0] == after and self._filesystem.exists(self._path(self._cursor[1])):
            return self._cursor
        segments = segments_among(self._filesystem.list(self._folder))
        before = [segment for segment in segments if segment.number <= after.number]
        if not before:
            raise Trimmed(f"the entry {after.number + 1} of {self._folder} is not there any more")
        return before[-1], before[-1], 0

    def _content(self, segment: Position, offset: int, upto: int | None) -> bytes:
        """Some content of a segment from an offset on, with a whole entry at least; empty at its end."""
        try:
            descriptor = self._filesystem.open_to_read(self._path(segment))
        except FileNotFoundError:
            raise Trimmed(f"the entry {segment.number + 1} of {self._folder} is not there any more") from None
        try:
            end = self._filesystem.size(descriptor) if upto is None else upto
            return self._read_all(descriptor, offset, min(CONTENT_BYTES, end - offset))
        finally:
            self._filesystem.close(descriptor)

    def _read_all(self, descriptor: int, offset: int, length: int) -> bytes:
        pieces: list[bytes] = []
        while length > 0 and (piece := self._filesystem.read(descriptor, length, offset)):
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)

    def _take(self, content: bytes, at: int, segment: Position, offset: int) -> tuple[Entry, int] | None:
        try:
            return take_entry(content, at)
        except MediumError as error:
            raise MediumError(f"{self._path(segment)} is damaged at byte {offset + at}: {error}") from None

    # Writing, with the lock

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self._must_be_open()
        descriptor = self._filesystem.open(self._lock_path, create=True)
        try:
            deadline = time.monotonic() + LOCK_WAIT_S
            while not self._try_lock(descriptor):
                if time.monotonic() > deadline:
                    holder = self._filesystem.holder(self._lock_path)
                    raise MediumError(f"{self._lock_path} is locked by somebody who neither goes on nor ends{holder}")
                self._closed.wait(POLL_S[0])
                self._must_be_open()
            yield descriptor
        finally:
            self._filesystem.close(descriptor)

    def _try_lock(self, descriptor: int) -> bool:
        try:
            self._filesystem.lock(descriptor)
        except BlockingIOError:
            return False
        return True

    def _settle_if_left(self) -> bool:
        """Settle what somebody left behind the end, if nobody writes now. True if the end has moved."""
        if not self._threads.acquire(blocking=False):
            return False
        try:
            end = self._look()
            if end and self._is_clean(end):
                return False
            if self._is_reader and not self._filesystem.exists(self._lock_path):
                return self._settled(None) != end
            open_lock = self._filesystem.open_to_read if self._is_reader else self._filesystem.open
            descriptor = open_lock(self._lock_path)
            try:
                return self._try_lock(descriptor) and self._settled(descriptor) != end
            finally:
                self._filesystem.close(descriptor)
        finally:
            self._threads.release()

    def _is_clean(self, end: End) -> bool:
        """True if nothing stands behind the end."""
        try:
            descriptor = self._filesystem.open_to_read(self._path(end.segment))
        except FileNotFoundError:
            return False
        try:
            size = self._filesystem.size(descriptor)
        finally:
            self._filesystem.close(descriptor)
        return size == end.offset and (end.last == end.segment or not self._filesystem.exists(self._path(end.last)))

    def _settled(self, lock: int | None) -> End:
        """The end of the log, with nothing behind it. `lock` is None for a reader of a folder that has no such file."""
        lines = self._filesystem.read(lock, END_BYTES + PENDING_BYTES, 0) if lock is not None else b""
        end, pending = decode_end(lines[:END_BYTES]), decode_pending(lines[END_BYTES:])
        if end and self._is_clean(end):
            return end
        segments = segments_among(self._filesystem.list(self._folder))
        if not segments:
            if end or lock is None or self._is_reader:
                raise MediumError(f"the segments of the log in {self._folder} are gone")
            settled = self._begin_segment(BEGINNING)
        else:
            # A power loss may bring back an earlier end, or none. All segments but the last one were whole when it was begun.
            if end is None or end.segment not in segments:
                end = End(segments[-1], 0, segments[-1])
            settled = end
            for segment in segments[segments.index(end.segment) :]:
                if segment != settled.segment:
                    settled = End(segment, 0, segment)
                settled = self._settle_segment(settled, pending)
            if lock is None or self._is_reader:
                self._found_end = settled
                return settled
            # Who made a segment may not have come to this.
            sync_names(self._filesystem, self._folder)
        self._set_end(lock, settled)
        return settled

    def _settle_segment(self, end: End, pending: Pending | None) -> End:
        """Keep the whole entries behind the end in its segment, and cut off the rest, which a writer has left torn."""
        path = self._path(end.segment)
        descriptor = (self._filesystem.open_to_read if self._is_reader else self._filesystem.open)(path)
        try:
            size = self._filesystem.size(descriptor)
            if size < end.offset:
                raise MediumError(f"{path} has {size} bytes, and had {end.offset}")
            content = self._read_all(descriptor, end.offset, size - end.offset)
            at, last = 0, end.last
            with suppress(MediumError):
                while at < len(content) and (taken := take_entry(content, at)):
                    if taken[0].position.number != last.number + 1:
                        break
                    last, at = taken[0].position, taken[1]
            is_torn = at < len(content)
            begin = end.offset + at
            is_known = pending and (pending.segment, pending.begin) == (end.segment, begin) and size <= pending.end
            # One entry at a time is written: with another one behind it, this is no torn end, unless that is in its own data.
            if is_torn and not is_known and has_entry_behind(content, at, last.number):
                raise MediumError(f"{path} is damaged at byte {begin}, and goes on behind that")
            if not self._is_reader:
                if is_torn:
                    self._filesystem.truncate(descriptor, begin)
                # A sync that has failed may have left what only looks as if it were on the disk: it is written again.
                self._write_all(descriptor, content[:at], end.offset)
                self._filesystem.sync(descriptor)
        finally:
            self._filesystem.close(descriptor)
        return end._replace(offset=begin, last=last)

    def _begin_segment(self, behind: Position) -> End:
        self._filesystem.close(self._filesystem.open(self._path(behind), create=True))
        sync_names(self._filesystem, self._folder)
        return End(behind, 0, behind)

    def _add(self, end: End, added: bytes) -> None:
        """Write and sync behind the end. If that fails, take it back, or leave it to who has the lock next: Unknown."""
        descriptor = self._filesystem.open(self._path(end.segment))
        try:
            try:
                self._write_all(descriptor, added, end.offset)
                self._filesystem.sync(descriptor)
            except OSError as error:
                try:
                    self._filesystem.truncate(descriptor, end.offset)
                    self._filesystem.sync(descriptor)
                except OSError:
                    raise Unknown(f"cannot write to {self._path(end.segment)}: {error.strerror or error}") from error
                raise
        finally:
            self._filesystem.close(descriptor)

    def _write_all(self, descriptor: int, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = self._filesystem.write(descriptor, view, offset)
            view = view[written:]
            offset += written

    def _set_end(self, lock: int, end: End) -> None:
        # If it fails, the entry is durable even so, and who has the lock next finds it behind the end.
        with suppress(OSError):
            self._filesystem.write(lock, end.encode() + bytes(PENDING_BYTES), 0)

    # What is left

    @property
    def _lock_path(self) -> str:
        return os.path.join(self._folder, _LOCK_NAME)

    def _path(self, segment: Position) -> str:
        return os.path.join(self._folder, segment_name(segment))

    def _must_write(self) -> None:
        if self._is_reader:
            raise MediumError(f"the log in {self._folder} was opened to be read")

    def _must_be_open(self) -> None:
        if self._closed.is_set():
            raise MediumError(f"the log in {self._folder} is closed")

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Let errors of the system become a MediumError."""
        try:
            yield
        except MediumError:
            raise
        except OSError as error:
            raise MediumError(f"cannot {what} the log in {self._folder}: {error.strerror or error}") from error
