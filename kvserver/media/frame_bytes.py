"""The bytes of one frame in a vault, as a file would have them: its header, which the manifest has, and then the object.

Each read of a store that is far away takes a round trip. So who asks for a little gets it out of a long piece, and who reads
from the left to the right finds the next pieces on their way, each longer than the one before: while one is parsed, others
come, each by a thread of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

from kvserver.formats.frame import HEADER_SIZE
from kvserver.formats.manifest import StoredFrame
from kvserver.media.shared import Vault

# The length of the first piece, and of the longest: each of those that come in a row is twice as long as the one before.
PIECE_BYTES: Final = 2 << 20
LONGEST_BYTES: Final = 16 << 20
# So many pieces are on their way at once, or wait to be asked for: with the one that is being parsed, they have 48 MB at most.
PIECES_AHEAD: Final = 2


class FrameBytes:
    """The bytes of this frame. Every call raises MediumError if the object is not there, or can't be read."""

    def __init__(self, vault: Vault, frame: StoredFrame) -> None:
        self.frame = frame
        self._vault = vault
        self._begin(0)

    def read(self, offset: int, length: int) -> bytes:
        """Return so many bytes at this offset, from the header on; fewer at the end of the object."""
        if offset < HEADER_SIZE:
            header = self.frame.header[offset : offset + length]
            return header + (self.read(HEADER_SIZE, length - len(header)) if length > len(header) else b"")
        start = offset - HEADER_SIZE
        end = min(start + length, self.frame.length)
        parts: list[bytes] = []
        # An empty part: the object is shorter.
        while start < end and (part := self._part(start, end)):
            parts.append(part)
            start += len(part)
        if end >= self.frame.length:
            # Who reads from the left to the right is at the end, and needs no piece any more.
            self._begin(0)
        return b"".join(parts)

    def payload(self) -> Iterator[bytes]:
        """The payload in pieces, as far as it is there."""
        for offset in range(0, self.frame.length, PIECE_BYTES):
            yield self.read(HEADER_SIZE + offset, PIECE_BYTES)

    def wrong_length(self) -> str:
        """What is wrong with the length of the object, in words, or nothing."""
        offset = max(self.frame.length - 1, 0)
        found = offset + len(self._vault.read(self.frame.name, offset, 2))
        if found < self.frame.length:
            return "the object is shorter"
        return "the object is longer" if found > self.frame.length else ""

    def _begin(self, offset: int) -> None:
        """Hold no piece, and have none on its way; the next one is as short as the first, and begins at this offset."""
        # The piece that was read last, and where it begins and ends; it has less where the object is shorter.
        self._piece, self._start, self._end = b"", offset, offset
        # Those behind it that were asked for, in a row; where the next one begins, and its length.
        self._ahead: deque[_Reading] = deque()
        self._next, self._length = offset, PIECE_BYTES

    def _part(self, start: int, end: int) -> bytes:
        """What the piece with this offset of the object has from there to `end`. It is kept until another one is asked for."""
        if not self._start <= start < self._end:
            self._turn_to(start)
        return self._piece[start - self._start : end - self._start]

    def _turn_to(self, offset: int) -> None:
        """Wait for the piece that begins at this offset, and ask for those behind it."""
        wanted = 1 + PIECES_AHEAD
        if offset != self._end:
            # Who does not come from the piece before may go anywhere next.
            self._begin(offset)
            wanted = 1
        self._piece = b""
        while len(self._ahead) < wanted and self._next < self.frame.length:
            reading = _Reading(self._vault, self.frame.name, self._next, min(self._length, self.frame.length - self._next))
            self._ahead.append(reading)
            self._next, self._length = reading.end, min(2 * self._length, LONGEST_BYTES)
        reading = self._ahead.popleft()
        try:
            self._piece, self._start, self._end = reading.result(), reading.start, reading.end
        except BaseException:
            # Who asks once more gets it read once more.
            self._begin(0)
            raise


class _Reading:
    """A read of a piece of an object, from `start` to `end`, in a thread of its own, which ends with it."""

    def __init__(self, vault: Vault, name: str, start: int, length: int) -> None:
        self.start, self.end = start, start + length
        self._vault = vault
        self._name = name
        self._data = b""
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="kvserver-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._data = self._vault.read(self._name, self.start, self.end - self.start)
        except BaseException as error:
            self._error = error

    def result(self) -> bytes:
        """Wait for the read, and return what it returned, or raise what it raised."""
        self._thread.join()
        if self._error:
            raise self._error
        return self._data
