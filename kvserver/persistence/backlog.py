"""The backlog of the journal: the records and orders that wait for the disk's thread, in their order.

Owns the count of their bytes. Never touches the disk: a batch of them carries them out where it is run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from kvserver.errors import MediumError
from kvserver.formats.record import SHORT_RECORD_BYTES, LongPayload, encode_pieces


class Order:
    """A call for the disk's thread, between two batches of records; `done` gets its result or its error.

    `heals`: the call is a cut, behind which an earlier failure counts no more.
    """

    def __init__(self, carry_out: Callable[[], object], done: asyncio.Future[None], *, heals: bool = False) -> None:
        self.carry_out = carry_out
        self.done = done
        self.heals = heals
        self.error: MediumError | None = None

    def settle(self) -> None:
        """Give those who wait for `done` the result, or the error."""
        if not self.done.done():
            if self.error:
                self.done.set_exception(self.error)
            else:
                self.done.set_result(None)


class Long(NamedTuple):
    """A tick's writes that are long: they become a record on the disk's thread. `time_ms`: when it ran (Unix milliseconds)."""

    payload: bytes | LongPayload
    time_ms: int


class Ticks:
    """The writes of some ticks in a row, each a record already or a long one."""

    def __init__(self) -> None:
        self.ticks: list[bytes | Long] = []

    def encode(self) -> list[bytes]:
        """The records in pieces: in one, unless there are long ones."""
        pieces: list[bytes] = []
        short: list[bytes] = []
        for tick in self.ticks:
            if isinstance(tick, bytes):
                short.append(tick)
            else:
                head, *rest = encode_pieces(*tick)
                pieces += (b"".join([*short, head]), *rest)
                short = []
        return [*pieces, b"".join(short)] if short else pieces


class Batch(NamedTuple):
    """The part of a backlog that the disk's thread takes at once, and what it amounts to. So many clients wait for it.

    Bytes among the items are the end of a record. `shared_bytes` are those that wait in no memory of their own.
    """

    items: deque[Ticks | bytes | Order]
    clients: int
    byte_count: int
    shared_bytes: int


class Backlog:
    """What waits: ticks that follow each other are together, so that they are written at once."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._items: deque[Ticks | bytes | Order] = deque()
        self.clients = self.byte_count = self.shared_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def has_orders(self) -> bool:
        return any(isinstance(item, Order) for item in self._items)

    def add(self, tick: bytes | Long, clients: int) -> None:
        """Add the writes of a tick, for which so many clients wait."""
        last = self._items[-1] if self._items else None
        if not isinstance(last, Ticks):
            last = Ticks()
            self._items.append(last)
        last.ticks.append(tick)
        self.clients += clients
        self.byte_count += _bytes_of(tick)
        self.shared_bytes += _shared_bytes_of(tick)

    def add_rest(self, data: bytes) -> None:
        """Add the end of a record whose start is written."""
        self._items.append(data)
        self.byte_count += len(data)

    def add_order(self, order: Order) -> None:
        self._items.append(order)

    def take(self) -> Batch:
        """Take all that waits."""
        batch = Batch(self._items, self.clients, self.byte_count, self.shared_bytes)
        self._begin()
        return batch

    def take_short(self) -> tuple[bytes, int] | None:
        """Take all that waits, if it is records as short as one that the loop may write, and the number of clients."""
        ticks = self._items[0] if len(self._items) == 1 else None
        if not isinstance(ticks, Ticks) or self.byte_count > SHORT_RECORD_BYTES:
            return None
        clients = self.clients
        self._begin()
        return b"".join(ticks.encode()), clients

    def fail(self) -> tuple[int, bool]:
        """Drop the records up to a cut that heals, or all. Return the number of ticks that stay, and True if there is one."""
        items = list(self._items)
        begun = next((index for index, item in enumerate(items) if isinstance(item, Order) and item.heals), len(items))
        kept = [tick for item in items[begun:] if isinstance(item, Ticks) for tick in item.ticks]
        self._items = deque([*(item for item in items[:begun] if isinstance(item, Order)), *items[begun:]])
        self.clients, self.byte_count = len(kept), sum(map(_bytes_of, kept))
        self.shared_bytes = sum(map(_shared_bytes_of, kept))
        return len(kept), begun < len(items)


def _bytes_of(tick: bytes | Long) -> int:
    return len(tick) if isinstance(tick, bytes) else len(tick.payload)


def _shared_bytes_of(tick: bytes | Long) -> int:
    """The bytes of a tick that wait in no memory of their own."""
    return len(tick.payload) if isinstance(tick, Long) and isinstance(tick.payload, LongPayload) else 0
