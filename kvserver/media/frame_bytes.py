"""The bytes of one frame in a vault, as a file would have them: its header, which the manifest has, and then the object.

Whoever asks for a little gets it out of a long piece: each read of a store that is far away takes a round trip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kvserver.formats.frame import HEADER_SIZE
from kvserver.formats.manifest import StoredFrame
from kvserver.media.shared import Vault

PIECE_BYTES: Final = 8 << 20


class FrameBytes:
    """The bytes of this frame. Every call raises MediumError if the object is not there, or can't be read."""

    def __init__(self, vault: Vault, frame: StoredFrame) -> None:
        self.frame = frame
        self._vault = vault
        # The piece that was read last, and its offset in the object.
        self._piece, self._piece_at = b"", 0

    def read(self, offset: int, length: int) -> bytes:
        """Return so many bytes at this offset, from the header on; fewer at the end of the object."""
        if offset < HEADER_SIZE:
            header = self.frame.header[offset : offset + length]
            return header + (self.read(HEADER_SIZE, length - len(header)) if length > len(header) else b"")
        offset -= HEADER_SIZE
        if not self._piece_at <= offset <= offset + length <= self._piece_at + len(self._piece):
            wanted = min(max(length, PIECE_BYTES), self.frame.length - offset)
            self._piece, self._piece_at = self._vault.read(self.frame.name, offset, wanted) if wanted > 0 else b"", offset
        start = offset - self._piece_at
        data = self._piece[start : start + length]
        if offset + length >= self.frame.length:
            # Who reads from the left to the right is at the end, and needs no piece any more.
            self._piece = b""
        return data

    def payload(self) -> Iterator[bytes]:
        """The payload in pieces, as far as it is there."""
        for offset in range(0, self.frame.length, PIECE_BYTES):
            yield self._vault.read(self.frame.name, offset, min(PIECE_BYTES, self.frame.length - offset))

    def wrong_length(self) -> str:
        """What is wrong with the length of the object, in words, or nothing."""
        offset = max(self.frame.length - 1, 0)
        found = offset + len(self._vault.read(self.frame.name, offset, 2))
        if found < self.frame.length:
            return "the object is shorter"
        return "the object is longer" if found > self.frame.length else ""
