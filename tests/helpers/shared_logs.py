"""A writer of a shared log and its vault in memory, for tests of those who read them: it writes what nodes write."""

from __future__ import annotations

import hashlib
import json

from kvserver.cli.stored import Stored
from kvserver.formats.control import Lead, encode_lead, encode_yield
from kvserver.formats.manifest import Manifest, StoredFrame
from kvserver.formats.record import encode_link, encode_records, pack
from kvserver.media.memory_engine import MemoryLog, MemoryVault
from kvserver.media.shared import Tip

TIME_MS = 1_700_000_000_000


def record(*commands: str) -> bytes:
    """The record of a tick with these commands, each as words with spaces between."""
    return encode_records([pack([command.encode().split() for command in commands])], [TIME_MS])


class Writer:
    """A node that leads from the beginning, and others that follow it: `epoch` is that of the present one."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.vault = MemoryVault()
        self.stored = Stored("memory://data", self.vault, self.log)
        self.tip = Tip()
        self.epoch = 0

    def append(self, data: bytes) -> int:
        """Append an entry and return its number."""
        mark = self.tip.mark(self.epoch)
        self.tip = self.tip.behind(self.log.append(data, mark, self.tip.position), mark, data)
        return mark.number

    def lead(self) -> int:
        self.epoch += 1
        return self.append(encode_lead(Lead(self.epoch, f"node{self.epoch}", "10.0.0.1", 6379, 3000)))

    def write(self, *commands: str) -> int:
        return self.append(record(*commands))

    def cease(self) -> int:
        return self.append(encode_yield(self.epoch))

    def relink(self, digest: str) -> int:
        return self.append(encode_link(digest))

    def snapshot(self, data: dict[str, str], *, links: bool = True, trims: bool = False, owner: str = "") -> StoredFrame:
        """Put a snapshot into the vault; from here on, the log goes on from that if it `links`. It may trim the log."""
        payload = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
        writer = self.vault.begin()
        writer.write(payload)
        writer.commit()
        frame = StoredFrame(writer.name, len(payload), hashlib.sha256(payload).hexdigest())
        before, tag = self.vault.manifest()
        manifest = (before or Manifest())._replace(epoch=self.epoch, owner=owner)
        manifest = manifest._replace(counter=manifest.counter + 1, frames=(*manifest.frames, frame))
        if links:
            manifest = manifest._replace(
                linked=frame.digest,
                position=self.tip.position,
                mark_number=self.tip.number,
                mark_digest=self.tip.digest,
            )
        self.vault.commit(manifest, tag)
        if trims:
            self.log.trim(self.tip.position)
        return frame
