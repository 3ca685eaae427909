"""The data: what commands read in the shards, expiry, and the freeze that a snapshot needs. Pure: time is told.

Commands write through the doors that a keyspace has from `recording`.

A snapshot freezes the shards instead of copying them (`cut`). From then on there is an overlay that writes go to, until
`fold` has brought it back. So there are just two ways to read and write, thawed and frozen, which `get`, `set` and
`delete` are bound to once, not asked for at each command. Whoever must see each access (memory limits) wraps what they
are bound to, so that it costs nothing where nobody does.

The order within a shard is that of its dict, and scanning (`walk`) relies on what holds for it through cut and fold: a
key that stays never gets further from the front, and a new one stands behind all others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final, Protocol

from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.expiry import Deadlines
from kvserver.data.freeze import Cut, Overlay
from kvserver.data.recording import Recording
from kvserver.data.shards import Access, Shard, drain, look_up, new_shards, plain_access, put
from kvserver.data.uses import Uses

ESTIMATE_ENTRIES: Final = 3_000  # up to so many are looked at one by one for a figure in INFO


class Witness(Protocol):
    """Who must see each access, as long as `Keyspace.attend` has been told of it."""

    def wrap(self, plain: Access) -> Access:
        """What to read and write with instead. Called again whenever the plain access is another one."""

    def restart(self) -> list[Shard]:
        """All data is other data. Returns what is not used any more, to be freed in slices."""


class Keyspace(Recording):
    """All keys of a server or a library store. `now_ms` gives Unix time in milliseconds."""

    get: Callable[[bytes], Any]  # see Access; `peek` is the same, but no access: neither `uses` nor a witness sees it

    def __init__(self, now_ms: Callable[[], int]) -> None:
        super().__init__()
        self.now_ms = now_ms
        self.is_held = False  # no key goes by itself: one whose time has come stays, though commands find it missing
        self.expired = 0  # keys whose time had come when they were looked at
        self.evicted = 0  # keys that went since memory was short
        self.hits = 0  # keys that commands have read; those of GET are its calls less its misses, at no cost for it
        self.misses = 0  # keys that they have not found
        self.missed_gets = 0  # those of GET
        self._shards = new_shards()
        self.shard_count = len(self._shards)
        self.orders = [0] * self.shard_count  # how often each shard was given another order of its keys
        self.uses = Uses(self.shard_count, now_ms())
        self.deadlines = Deadlines(self._shards)
        self._overlay: Overlay | None = None  # while frozen, until a fold has come to its end
        self._cut: Cut | None = None  # while frozen, until a fold begins
        self._witness: Witness | None = None
        self._thaw()

    # Reading

    def get_many(self, keys: list[bytes]) -> list[Any]:
        """What `get` gives for each key, by one call for all; nothing at all where somebody has to see each access."""
        return look_up(self._shards, keys, self.uses) if self._is_plain else []

    def live(self, key: bytes) -> Value | None:
        """The value of a key, or None where it is missing or its time has come (then it is removed)."""
        entry = self.get(key)
        return self.expire_if_due(key, entry) if type(entry) is Expiring else entry

    def peek_live(self, key: bytes) -> Value | None:
        """`live`, but no access, as for commands that only ask about a key."""
        entry = self.peek(key)
        return self.expire_if_due(key, entry) if type(entry) is Expiring else entry

    def expire_if_due(self, key: bytes, entry: Expiring) -> Value | None:
        """The value in an entry that `get` gave for this key, or None after removing it since its time has come."""
        if entry.expires_at_ms > self.now_ms():
            return entry.value
        if not self.is_held:
            self.delete(key)
            self.expired += 1
        return None

    def read(self, key: bytes) -> Value | None:
        """`live` for a command that reads: INFO tells how many keys were found."""
        return self._counted(self.live(key))

    def peek_read(self, key: bytes) -> Value | None:
        """`peek_live` for a command that reads."""
        return self._counted(self.peek_live(key))

    def _counted(self, value: Value | None) -> Value | None:
        if value is None:
            self.misses += 1
        else:
            self.hits += 1
        return value

    def __len__(self) -> int:
        return sum(map(len, self._shards)) + (self._overlay.growth if self._overlay else 0)

    def members(self) -> Iterator[tuple[bytes, Entry]]:
        """All keys and entries as they are, in no order. Not while somebody writes, and not on a hot path."""
        for index in range(self.shard_count):
            yield from self.shard_members(index)

    def shard_members(self, index: int) -> Collection[tuple[bytes, Entry]]:
        """The keys and entries of one shard, in its order. Not while somebody writes."""
        return self._overlay.members(index) if self._overlay else self._shards[index].items()

    @property
    def layers(self) -> tuple[list[Shard], list[Shard]]:
        """The shards, and what was written over each since it was frozen: where nothing is, the very same dicts."""
        return self._shards, self._overlay.layer if self._overlay else self._shards

    def expiring_members(self, index: int) -> list[tuple[bytes, Expiring]]:
        """Those of one shard that have an expiry."""
        if not self.deadlines.may_be_in(index):
            return []
        found = [(key, entry) for key, entry in self.shard_members(index) if type(entry) is Expiring]
        if not found:
            self.deadlines.forget(index)
        return found

    def expiries(self) -> tuple[int, int]:
        """How many entries have an expiry, and how long they have left on average, in milliseconds.

        Of many keys, what some thousands of them let expect.
        """
        if not self.deadlines.has_any:
            return 0, 0
        now_ms, seen, share = self.now_ms(), 0, 1.0
        left_ms: list[int] = []
        for index in range(self.shard_count):
            members = self.shard_members(index)
            left_ms += [entry.expires_at_ms - now_ms for _, entry in members if type(entry) is Expiring]
            seen += len(members)
            if seen >= ESTIMATE_ENTRIES:
                share = len(self) / seen
                break
        alive_ms = [each_ms for each_ms in left_ms if each_ms > 0]
        return round(share * len(left_ms)), sum(alive_ms) // (len(alive_ms) or 1)

    # Writing that is not recorded

    def set_many(self, members: Iterable[tuple[bytes, Entry]]) -> None:
        """`set` for each of them, in their order."""
        if self._is_plain:
            put(self._shards, members, self.uses)
        else:
            for key, entry in members:
                self.set(key, entry)

    def replace(self, shards: list[Shard]) -> list[Shard]:
        """Take over other data. Returns what is not used any more, for `drain` to free in slices."""
        if self.observer:
            self.observer.before_replacing()
        unused = self._shards if self._cut is None else []
        if self._overlay:
            unused += self._overlay.unfolded()
        self._shards = shards
        self.deadlines.restart(shards)
        self.uses.restart(self.now_ms())
        if self._witness:
            unused += self._witness.restart()
        self._thaw()
        if self.observer:
            self.observer.after_replacing()
        return unused

    def sweep(self) -> bool:
        """Remove what is due from the next shard that may have something due; whether there was one.

        To be called until it answers False, now and then, with pauses: a call looks at a whole shard, a thousandth of
        all keys. Does nothing while frozen or held.
        """
        if self._overlay or self.is_held:
            return False
        now_ms = self.now_ms()
        index = self.deadlines.shard_to_sweep(now_ms)
        if index is None:
            return False
        due = self.deadlines.sweep(index, self._shards[index], now_ms)
        for key in due:
            self.delete(key)
        self.expired += len(due)
        return True

    # Witnesses

    def attend(self, witness: Witness | None) -> None:
        """Let this witness, and no other, see each access from now on; to be called again when it wraps otherwise."""
        self._witness = witness
        self._bind(self._plain)

    def _bind(self, plain: Access) -> None:
        self._plain = plain
        self._is_plain = self._witness is None and self._overlay is None
        self.get, self.set, self.delete, self.peek = self._witness.wrap(plain) if self._witness else plain
        self.set_expiring = self.deadlines.setter(self.set)

    # Freezing

    def cut(self) -> Cut:
        """Freeze the present state. One cut at a time: RuntimeError while an earlier one is not folded to its end."""
        if self._overlay:
            raise RuntimeError("the keyspace is frozen already")
        self._cut = Cut(self._shards, self.orders, self.now_ms())
        self._overlay = Overlay(self._shards)
        self._bind(self._overlay.access(self.uses))
        return self._cut

    def fold(self, cut: Cut) -> Iterator[None]:
        """End a cut: each step brings one shard's overlay back. To be run to its end; yields between the steps."""
        if self._cut is not cut:  # the data was replaced meanwhile, so the cut's shards are nobody's
            yield from drain(cut.shards)
            return
        self._cut = None
        overlay = self._overlay
        assert overlay
        for index in range(self.shard_count):
            if overlay.fold(index):
                yield
                if self._overlay is not overlay:
                    return  # the data was replaced while folding
        self._thaw()

    def _thaw(self) -> None:
        self._overlay = None
        self._cut = None
        self._bind(plain_access(self._shards, self.uses))
