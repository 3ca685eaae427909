"""A parcel is what leaves together on its way to a shared log: records that have gathered, a control frame, or nothing.

It becomes one entry, or more where it is long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from kvserver.media.shared import Tip
from kvserver.persistence.backlog import Long, Ticks


class Parcel:
    """Records that leave together, up to the one with the number `sequence`; or a control frame; or nothing, a heartbeat."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.ticks = Ticks()
        self.control = b""
        self.clients = 0
        self.byte_count = 0
        self.is_short = True
        # Nothing more is added to it.
        self.is_sealed = False
        self.is_acknowledged = False
        # The end of the log behind it, once that is known, and the time at which its last entry was first sent.
        self.tip = Tip()
        self.sent_at = 0.0
        # Those who wait for the end of the log behind it.
        self.waiters: list[asyncio.Future[Tip]] = []

    def add(self, tick: bytes | Long, sequence: int, clients: int) -> None:
        self.ticks.ticks.append(tick)
        self.sequence = sequence
        self.clients += clients
        if isinstance(tick, bytes):
            self.byte_count += len(tick)
        else:
            self.byte_count += len(tick.payload)
            self.is_short = False

    def pieces(self) -> list[bytes]:
        return [self.control] if self.control else self.ticks.encode()


def cut(pieces: list[bytes], most_bytes: int) -> Iterator[bytes]:
    """Cut pieces of the journal into the data of entries: short ones together, long ones anywhere. Of nothing, one empty."""
    gathered: list[bytes] = []
    size = 0
    has_any = False
    for piece in pieces:
        rest = memoryview(piece)
        while size + len(rest) > most_bytes:
            room = most_bytes - size
            yield b"".join([*gathered, rest[:room]])
            has_any = True
            gathered, size, rest = [], 0, rest[room:]
        if rest:
            gathered.append(piece if len(rest) == len(piece) else bytes(rest))
            size += len(rest)
    if gathered or not has_any:
        yield b"".join(gathered)
