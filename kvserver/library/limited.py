"""LimitedStore: a KVStore with a size limit, which lets go of keys by Redis's policies when there is no room.

The sizes are the estimates by which a server keeps to `maxmemory` (`data/footprint`), the policies are its own
(`data/eviction`). Room is made before a value is stored, so that the limit holds at all times. What is evicted is recorded as
deleted. Room for much is made in turns, between which others go on; what they write meanwhile takes nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from os import PathLike
from time import sleep
from typing import Final

from kvserver.data.clocks import Order
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.footprint import BLOCK_BYTES, EMPTY_BYTES, EXPIRY_BYTES, SLOT_BYTES, STRING_BYTES, entry_bytes
from kvserver.data.kinds import kind_of
from kvserver.data.maxmemory import Memory
from kvserver.errors import CacheFull, ValueTooLarge
from kvserver.library.journal import Fsync, Journal
from kvserver.library.keeping import Keeping
from kvserver.library.kept import REST_S
from kvserver.library.store import KVStore
from kvserver.library.values import expires_at_ms
from kvserver.options.config import Config
from kvserver.options.kinds import EVICTION_POLICY
from kvserver.system import now_ms, random_below

# An entry takes no more than these bytes besides those of its key and its value.
MOST_OVERHEAD: Final = SLOT_BYTES + 2 * STRING_BYTES + EXPIRY_BYTES + BLOCK_BYTES
# For more bytes than these, so many keys may have to go that room is made in turns.
LARGE_BYTES: Final = 4096
# The lock is let go after so many evictions: a millisecond or two.
EVICTIONS_A_TURN: Final = 64
# The clocks of an LFU policy are told the time each so many uses.
_USES_PER_TICK: Final = 64

Named = tuple[bytes, Entry]


def limits(size_limit: int, policy: str, ttl: float | None) -> Config:
    """A server's options for these of a cache. ValueError or TypeError if one of them makes no sense."""
    if isinstance(size_limit, bool) or not isinstance(size_limit, int) or size_limit < 1:
        raise ValueError(f"size_limit must be a positive number of bytes, not {size_limit!r}")
    config = Config()
    config.maxmemory = size_limit
    try:
        config.maxmemory_policy = EVICTION_POLICY.parse(policy)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"policy {policy!r}: {error}") from None
    if ttl is not None and ttl != math.inf:
        expires_at_ms(ttl, 0)
    return config


def most_bytes(entries: Sequence[tuple[bytes, bytes]]) -> int:
    """The bytes that strings and documents take at most, without a look at each."""
    return sum(len(name) + len(entry) for name, entry in entries) + MOST_OVERHEAD * len(entries)


class LimitedStore(KVStore):
    """A KVStore that takes no more than so many bytes. `config` is what `limits` returns. Cache is the one that is used."""

    def __init__(self, path: str | PathLike[str] | Keeping | None, config: Config, *, journal: bool, fsync: Fsync) -> None:
        self._policy, self._size_limit = config.maxmemory_policy, config.maxmemory
        self._uses = 0
        # There is room for so many bytes, and perhaps more: it need not be counted at each call.
        self._spare_bytes = 0
        # Room for so many bytes is being made in turns.
        self._claimed_bytes = 0
        super().__init__(path, journal=journal, fsync=fsync)
        try:
            if not self._takes_tags:
                raise TypeError("a cache is kept in a folder, or in memory: give a path, or nothing")
            config.maxmemory += EMPTY_BYTES * len(list(self.databases))
            # Nothing here tells a clock the time but at uses: their order itself is more exact, and takes no longer.
            order = partial(Order, count().__next__)
            self._memory = Memory(self.databases, config, now_ms, random_below, lambda now_ms: order())
            self._ticks = self._policy.endswith("-lfu")
            self._memory.configure()
            self._adopt()
        except BaseException:
            self._kept.close()
            raise

    def _adopt(self) -> None:
        """Count what is there, and let go of what there is no room for."""
        with self._step:
            for _ in self._adoption():
                pass

    def _adoption(self) -> Iterator[None]:
        """The steps of `_adopt`."""
        self._spare_bytes = 0
        while self._memory.is_unmeasured:
            self._memory.measure()
            yield
        while self._memory.room_bytes < 0 and self._memory.evict_one():
            yield
        if self.databases.records.has_any:
            self.settle()

    def restore(self) -> bool:
        """`KVStore.restore`; then keys go until the limit holds."""
        is_there = super().restore()
        self._adopt()
        return is_there

    def volume(self) -> int:
        """The bytes that keys and values take, by the estimate that `size_limit` is for."""
        with self.lock:
            return self._size_limit - self._memory.room_bytes

    # Room for much, for whoever does not hold the lock

    def may_need_turns(self, entries: Sequence[tuple[bytes, bytes]]) -> bool:
        """True if many keys may have to go for these."""
        return most_bytes(entries) > max(LARGE_BYTES, self._spare_bytes)

    def vacate(self, entries: Sequence[Named]) -> None:
        """Make room for entries that are about to be stored, in turns between which other threads have the lock.

        It is no promise: whoever stores looks again.
        """
        with self.claimed(entries) as steps:
            is_over = False
            while not is_over:
                with self._step:
                    is_over = not self._vacate_some(steps)
                if not is_over:
                    # A lock that is taken again at once is never had by those who wait for it: they take a while to wake up.
                    sleep(REST_S)

    @contextmanager
    def claimed(self, entries: Sequence[Named]) -> Iterator[Iterator[None]]:
        """The steps that make room for entries, a key that goes in each. Others take nothing of that room until the end.

        ValueTooLarge if there will never be room.
        """
        for name, entry in entries:
            self._refuse_if_large(name, entry)
        with self._step:
            claimed = max(0, self._growth(entries)) if self._missing(entries) > 0 else 0
            self._claimed_bytes += claimed
            if claimed:
                self._spare_bytes = 0
        try:
            yield self._vacating(entries) if claimed else iter(())
        finally:
            with self._step:
                self._claimed_bytes -= claimed

    # Steps, for whoever holds the lock

    def _vacate_some(self, steps: Iterator[None]) -> bool:
        """Go some steps of `_vacating`. False behind the last one, or if whoever stores then will be refused."""
        if self._is_closed or (isinstance(self._journal, Journal) and self._journal.failure):
            return False
        count = sum(1 for _ in islice(steps, EVICTIONS_A_TURN))
        if count:
            self.settle()
        return count == EVICTIONS_A_TURN

    def _note_use(self) -> None:
        """Tell the clocks of an LFU policy the time, now and then."""
        self._uses += 1
        if not self._uses % _USES_PER_TICK:
            self._memory.tick()

    def _put_until(self, name: bytes, entry: Value, expires_at_ms: int | None) -> None:
        self._find_room(name, entry, expires_at_ms)
        # Measured: `super()` spelled out here. The journal has what was evicted before this.
        if self._journal:
            self._record(kind_of(entry).recreation(name, entry, expires_at_ms))
        if expires_at_ms is None:
            self._keyspace.set(name, entry)
        else:
            self._keyspace.set_expiring(name, entry, expires_at_ms)
        self._is_changed = True

    def _find_room(self, name: bytes, entry: Value, expires_at_ms: int | None) -> None:
        if isinstance(entry, bytes):
            # Nearly always there is room, whatever is there now.
            self._spare_bytes -= len(name) + len(entry) + MOST_OVERHEAD
            if self._spare_bytes >= 0:
                return
        self._make_room([(name, entry if expires_at_ms is None else Expiring(entry, expires_at_ms))])

    def _make_room(self, entries: Sequence[Named]) -> None:
        for name, entry in entries:
            self._refuse_if_large(name, entry)
        if isinstance(self._journal, Journal) and self._journal.failure:
            # It raises what is wrong, before a key goes for nothing.
            self._journal.write([])
        if self._claimed_bytes:
            self._vacate_beside(entries)
        for _ in self._vacating(entries):
            pass
        growth = self._growth(entries)
        if growth > self._memory.room_bytes:
            self.settle()
            what = repr(self._keys.text(entries[0][0])) if len(entries) == 1 else f"{len(entries)} keys"
            raise CacheFull(f"no key may go, by {self._policy}, and there is no room for {what}")
        self._drop_records()
        self._spare_bytes = self._memory.room_bytes - growth - self._claimed_bytes

    def _vacate_beside(self, entries: Sequence[Named]) -> None:
        """Let go of as much as entries take, so that they take nothing of what others make room for."""
        growth, room = self._growth(entries), self._memory.room_bytes
        enough = room + min(growth, growth + self._claimed_bytes - room)
        while self._memory.room_bytes < enough and self._memory.evict_one():
            self._is_changed = True

    def _vacating(self, entries: Sequence[Named]) -> Iterator[None]:
        """Let go of one key after another, until there is room for entries or no key may go."""
        while (missing := self._missing(entries)) > 0:
            # A key that goes may be one of the entries': then more is missing, which the next round sees.
            enough = self._memory.room_bytes + missing
            while self._memory.room_bytes < enough:
                if not self._memory.evict_one():
                    return
                self._is_changed = True
                yield

    def _missing(self, entries: Sequence[Named]) -> int:
        return self._growth(entries) - self._memory.room_bytes

    def _growth(self, entries: Sequence[Named]) -> int:
        """The bytes by which the volume grows when entries are stored in the place of those that are there."""
        growth, peek = 0, self._keyspace.peek
        for name, entry in entries if len(entries) == 1 else dict(entries).items():
            present = peek(name)
            growth += entry_bytes(name, entry) - (0 if present is None else entry_bytes(name, present))
        return growth

    def _refuse_if_large(self, name: bytes, entry: Entry) -> None:
        size = entry_bytes(name, entry)
        if size > self._size_limit:
            raise ValueTooLarge(
                f"the value of {self._keys.text(name)!r} takes {size} bytes with its key, and all may take {self._size_limit}"
            )
