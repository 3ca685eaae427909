"""The bytes of one frame in a vault, as a file would have them: its header, which the manifest has, and then the object.

Each read of a store that is far away takes a round trip. So who asks for a little gets it out of a long piece, and who reads
from the left to the right finds the next pieces on their way: while one is parsed, others come, each by a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from kvserver.formats.frame import HEADER_SIZE
from kvserver.formats.manifest import StoredFrame
from kvserver.media.shared import Vault

PIECE_BYTES: Final = 2 << 20
# So many pieces are on their way at once, or wait to be asked for: 8 MB with the one that is being parsed.
PIECES_AHEAD: Final = 3


class FrameBytes:
    """The bytes of this frame. Every call raises MediumError if the object is not there, or can't be read."""

    def __init__(self, vault: Vault, frame: StoredFrame) -> None:
        self.frame = frame
        self._vault = vault
        # The piece that was read last, and its index; -1 before the first.
        self._piece, self._index = b"", -1
        # Those that were asked for before somebody needed them, by their indexes.
        self._ahead: dict[int, _Reading] = {}

    def read(self, offset: int, length: int) -> bytes:
        """Return so many bytes at this offset, from the header on; fewer at the end of the object."""
        if offset < HEADER_SIZE:
            header = self.frame.header[offset : offset + length]
            return header + (self.read(HEADER_SIZE, length - len(header)) if length > len(header) else b"")
        start = offset - HEADER_SIZE
        end = min(start + length, self.frame.length)
        parts: list[bytes] = []
        while start < end:
            index, begin = divmod(start, PIECE_BYTES)
            part = self._get(index)[begin : begin + end - start]
            parts.append(part)
            start += len(part)
            if start < min(end, (index + 1) * PIECE_BYTES):
                # The object is shorter.
                break
        if end >= self.frame.length:
            # Who reads from the left to the right is at the end, and needs no piece any more.
            self._piece, self._index = b"", -1
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

    def _get(self, index: int) -> bytes:
        """The piece with this index, which is kept until another one is asked for."""
        if index != self._index:
            end = -(-self.frame.length // PIECE_BYTES)
            # Who does not come from the piece before may go anywhere next.
            wanted = range(index + 1, min(index + 1 + PIECES_AHEAD, end) if index == self._index + 1 else 0)
            reading = self._ahead.pop(index, None)
            self._piece, self._index = b"", -1
            self._ahead = {other: self._ahead.get(other) or _Reading(partial(self._read, other)) for other in wanted}
            self._piece, self._index = reading.result() if reading else self._read(index), index
        return self._piece

    def _read(self, index: int) -> bytes:
        offset = index * PIECE_BYTES
        return self._vault.read(self.frame.name, offset, min(PIECE_BYTES, self.frame.length - offset))


class _Reading:
    """A call in a thread of its own, which ends with it."""

    def __init__(self, call: Callable[[], bytes]) -> None:
        self._call = call
        self._data = b""
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="kvserver-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._data = self._call()
        except BaseException as error:
            self._error = error

    def result(self) -> bytes:
        """Wait for the call, and return what it returned, or raise what it raised."""
        self._thread.join()
        if self._error:
            raise self._error
        return self._data
