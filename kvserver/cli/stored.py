"""The data at a URL, opened by one who only reads: the snapshots in a vault, and the log behind them if there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from kvserver.formats.frame import HEADER_SIZE
from kvserver.formats.manifest import Manifest, StoredFrame
from kvserver.media.engine_urls import look_at_engine
from kvserver.media.shared import SharedLog, Tip, Vault

# Each read of a store that is far away takes a round trip.
PIECE_BYTES: Final = 8 << 20

# Whoever writes to a log says at least each second that it lives, or that it has ended.
NO_ENTRY: Final = "no entry of the log is here: if the log is elsewhere, name its URL, and this one by --snapshots"

_URL = re.compile(r"[A-Za-z0-9]+://|file:")


def is_url(path: str) -> bool:
    """True for a URL of an engine or a vault; else it is a path."""
    return _URL.match(path) is not None


class Stored(NamedTuple):
    """What is at a URL, which is without a password. `log` is None where snapshots are all that is kept."""

    url: str
    vault: Vault
    log: SharedLog | None

    def close(self) -> None:
        """Let go of it."""
        self.vault.close()
        if self.log:
            self.log.close()

    def manifest(self) -> Manifest:
        """The manifest, or an empty one if there is none. MediumError if it can't be read."""
        return self.vault.manifest()[0] or Manifest()

    def has_log(self, manifest: Manifest) -> bool:
        """True if a log goes on behind the snapshots: those that one server has made of its directory have an owner."""
        return self.log is not None and not manifest.owner


def open_stored(url: str, snapshots: str = "") -> Stored:
    """What is at the URL of an engine, whose snapshots are in the vault at another URL if one is given; or at that of a vault.

    Nothing is made or changed there. MediumError and ExtraMissing, in one line, if it can't be opened.
    """
    engine = look_at_engine(url, snapshots)
    engine.presence.close()
    return Stored(engine.url, engine.vault, engine.log)


def tip_of(manifest: Manifest) -> Tip:
    """The place in the log from which it goes on behind the snapshot that the manifest links to."""
    return Tip(manifest.position, manifest.mark_number, manifest.mark_digest)


class FrameBytes:
    """The bytes of one frame in a vault, as a file would have them: its header, then the object."""

    def __init__(self, vault: Vault, frame: StoredFrame) -> None:
        self._vault = vault
        self._frame = frame
        # The piece that was read last, and its offset in the object.
        self._piece, self._piece_at = b"", 0

    def read(self, offset: int, length: int) -> bytes:
        """Return so many bytes at this offset; fewer at the end of the object. MediumError."""
        if offset < HEADER_SIZE:
            header = self._frame.header[offset : offset + length]
            return header + (self.read(HEADER_SIZE, length - len(header)) if length > len(header) else b"")
        offset -= HEADER_SIZE
        if not self._piece_at <= offset <= offset + length <= self._piece_at + len(self._piece):
            wanted = min(max(length, PIECE_BYTES), self._frame.length - offset)
            self._piece, self._piece_at = self._vault.read(self._frame.name, offset, wanted), offset
        start = offset - self._piece_at
        return self._piece[start : start + length]

    def payload(self) -> Iterator[bytes]:
        """The payload in pieces, as far as it is there."""
        for offset in range(0, self._frame.length, PIECE_BYTES):
            yield self._vault.read(self._frame.name, offset, min(PIECE_BYTES, self._frame.length - offset))

    def wrong_length(self) -> str:
        """What is wrong with the length of the object, in words, or nothing. MediumError if it can't be read."""
        offset = max(self._frame.length - 1, 0)
        found = offset + len(self._vault.read(self._frame.name, offset, 2))
        if found < self._frame.length:
            return "the object is shorter"
        return "the object is longer" if found > self._frame.length else ""
