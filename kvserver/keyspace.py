"""The data: keys and values in memory, with expiry, and the freeze that a snapshot needs. Pure: the clock is passed in.

Keys are bytes. A value is `bytes` (a string), `JSONText` (any other JSON value), or `Expiring` around one of the two.

The dict is split into SHARDS small ones, because a dict that outgrows its table rehashes it in one go: at 700,000 keys
that stalled the event loop for 30 to 90 ms, and a restore passes that point. A shard's rehash takes microseconds.

A snapshot freezes the shards instead of copying them (`cut`). From then on writes go to an overlay, where a deletion is
a tombstone, and reads look there first; `fold` brings one shard after another back. A folded shard's overlay *is* the
shard, so that reading and writing know just two states, thawed and frozen, which `get`, `set` and `delete` are bound to
once, not asked for at each command. Whoever must see each access (memory limits) wraps what they are bound to, so that
it costs nothing where nobody does.

The order within a shard is that of its dict, and scanning (`walk`) relies on what holds for it through cut and fold: a
key that stays never gets further from the front, and a new one stands behind all others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from kvserver.codec import JSONText

# A prime, for `hash % SHARDS`: the low bits alone, which dict uses as well, would make every key of a shard collide.
SHARDS: Final = 1021

NEVER_MS: Final = 1 << 63  # behind every time that a command takes
# After a sweep a shard rests for so long per entry, which bounds what sweeping takes: some 35 ns per entry, and 1021 shards
# at the same time, are 7 % of a processor whatever the number of keys, where keys expire all the time.
SWEEP_REST_MS: Final = 0.5
ESTIMATE_ENTRIES: Final = 3_000  # up to so many are looked at one by one for a figure in INFO

Value = bytes | JSONText
Shard = dict[bytes, Any]  # Value | Expiring, in an overlay also TOMBSTONE


class Expiring:
    """A value that is gone from `expires_at_ms` (Unix time in milliseconds) on. Never changed, only replaced."""

    __slots__ = ("expires_at_ms", "value")

    def __init__(self, value: Value, expires_at_ms: int) -> None:
        self.value = value
        self.expires_at_ms = expires_at_ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expiring) and (self.value, self.expires_at_ms) == (other.value, other.expires_at_ms)

    def __hash__(self) -> int:
        return hash((self.value, self.expires_at_ms))


Entry = Value | Expiring

_MISSING: Final = object()
TOMBSTONE: Final = object()


class Access(NamedTuple):
    """What reading and writing are bound to."""

    # Entry, or None where the key is missing. May be an Expiring whose time has come: `live` is what commands use.
    get: Callable[[bytes], Any]
    # Stores an entry, replacing what was there with its expiry.
    set: Callable[[bytes, Any], None]
    # Removes a key; whether it was there.
    delete: Callable[[bytes], bool]


class Witness(Protocol):
    """Who must see each access, as long as `Keyspace.attend` has been told of it."""

    def wrap(self, plain: Access) -> Access:
        """What to read and write with instead. Called again whenever the plain access is another one."""

    def restart(self) -> list[Shard]:
        """All data is other data. Returns what is not used any more, to be freed in slices."""


def new_shards() -> list[Shard]:
    """The shards of an empty keyspace."""
    return [{} for _ in range(SHARDS)]


def load_shards(shards: list[Shard], members: Iterable[tuple[bytes, Entry]]) -> None:
    """Put members into shards that no keyspace uses yet; of a repeated key the last one counts."""
    for key, entry in members:
        shards[hash(key) % SHARDS][key] = entry


class Cut:
    """The state at one instant: shards that nobody changes until the keyspace has been told to fold them.

    Whoever encodes a cut may give a shard another order (`reorder`).
    """

    def __init__(self, keyspace: Keyspace, shards: list[Shard], at_ms: int) -> None:
        self.shards = shards
        self.at_ms = at_ms
        self.keys_encoded = 0  # so far
        self._keyspace = keyspace

    def reorder(self, index: int, ordered: Shard) -> None:
        """Put an equal dict of another order in the place of a shard."""
        self.shards[index] = ordered
        self._keyspace.orders[index] += 1

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def lookup(self, key: bytes) -> Entry:
        """The entry of a key that is in the cut. KeyError elsewhere."""
        entry: Entry = self.shards[hash(key) % SHARDS][key]
        return entry


class Observer(Protocol):
    """Who wants to know what becomes of the keys (`Watches`)."""

    def before_taking(self) -> None:
        """`written` is about to be handed out."""

    def before_replacing(self) -> None:
        """All data is about to be replaced."""

    def after_replacing(self) -> None:
        """All data was replaced."""


class Keyspace:
    """All keys of a server or a library store. `now_ms` gives Unix time in milliseconds."""

    get: Callable[[bytes], Any]  # these three: see Access
    set: Callable[[bytes, Entry], None]
    delete: Callable[[bytes], bool]
    peek: Callable[[bytes], Any]  # `get`, but no access: no witness sees it

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        # The write commands since `take_written`, each in a form that gives the same result whenever it runs again.
        self.written: list[list[bytes]] = []
        self.observer: Observer | None = None
        self._taken = 0
        self.expired = 0  # keys whose time had come when they were looked at
        self.orders = [0] * SHARDS  # how often each shard was given another order of its keys
        self.evicted = 0  # keys that went since memory was short
        self.hits = 0  # keys that commands have read; those of GET are its calls less its misses, at no cost for it
        self.misses = 0  # keys that they have not found
        self.missed_gets = 0  # those of GET
        self._shards = new_shards()
        self._overlay: list[Shard] | None = None
        self._overlay_growth = [0] * SHARDS  # keys that a shard's overlay adds to it, less those it takes away
        self._cut: Cut | None = None
        self._witness: Witness | None = None
        self._earliest_ms = [NEVER_MS] * SHARDS  # no entry of the shard expires before
        self._rests_until_ms = [0.0] * SHARDS  # it need not be swept before
        self._sweep_position = 0  # the shard that comes next
        self._thaw()

    @property
    def changes(self) -> int:
        """How many write commands there were since the start: save points and INFO subtract what they last saw."""
        return self._taken + len(self.written)

    def take_written(self) -> list[list[bytes]]:
        """The write commands since the last call, in order."""
        if self.observer:
            self.observer.before_taking()
        written, self.written = self.written, []
        self._taken += len(written)
        return written

    # Reading

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

    def expires_at_ms(self, key: bytes) -> int | None:
        """When a key that is there will be gone, or None: never."""
        entry = self.peek(key)
        return entry.expires_at_ms if type(entry) is Expiring else None

    def __len__(self) -> int:
        return sum(map(len, self._shards)) + sum(self._overlay_growth)

    def members(self) -> Iterator[tuple[bytes, Entry]]:
        """All keys and entries as they are, in no order. Not while somebody writes, and not on a hot path."""
        for index in range(SHARDS):
            yield from self.shard_members(index)

    def shard_members(self, index: int) -> Collection[tuple[bytes, Entry]]:
        """The keys and entries of one shard, in its order. Not while somebody writes."""
        shard = self._shards[index]
        overlay = self._overlay[index] if self._overlay else shard
        if overlay is shard or not overlay:
            return shard.items()
        merged = shard | overlay
        return [(key, entry) for key, entry in merged.items() if entry is not TOMBSTONE]

    @property
    def layers(self) -> tuple[list[Shard], list[Shard]]:
        """The shards, and what was written over each since it was frozen: where nothing is, the very same dicts."""
        return self._shards, self._overlay or self._shards

    @property
    def has_expiring(self) -> bool:
        """Whether an entry may have an expiry."""
        return min(self._earliest_ms) < NEVER_MS

    def may_expire(self, index: int) -> bool:
        """Whether an entry of this shard may have an expiry."""
        return self._earliest_ms[index] < NEVER_MS

    def expiring_members(self, index: int) -> list[tuple[bytes, Expiring]]:
        """Those of one shard that have an expiry."""
        if not self.may_expire(index):
            return []
        found = [(key, entry) for key, entry in self.shard_members(index) if type(entry) is Expiring]
        if not found:
            self._earliest_ms[index] = NEVER_MS
        return found

    @property
    def expiring(self) -> int:
        """How many entries have an expiry; of many keys, what some thousands of them let expect."""
        if not self.has_expiring:
            return 0
        found = seen = 0
        for index in range(SHARDS):
            entries = [type(entry) for _, entry in self.shard_members(index)]
            found += entries.count(Expiring)
            seen += len(entries)
            if seen >= ESTIMATE_ENTRIES:
                return round(found * len(self) / seen)
        return found

    # Writing

    def replace(self, shards: list[Shard]) -> list[Shard]:
        """Take over other data (FLUSHALL, RESTORE). Returns what is not used any more, for `drain` to free in slices."""
        if self.observer:
            self.observer.before_replacing()
        unused = self._shards if self._cut is None else []
        if self._overlay:
            unused += [overlay for overlay, shard in zip(self._overlay, self._shards, strict=True) if overlay is not shard]
        self._shards = shards
        self._overlay = None
        self._overlay_growth = [0] * SHARDS
        self._earliest_ms = [0 if shard else NEVER_MS for shard in shards]  # until `sweep` has looked
        self._rests_until_ms = [0.0] * SHARDS
        if self._witness:
            unused += self._witness.restart()
        self._thaw()
        if self.observer:
            self.observer.after_replacing()
        return unused

    def set_expiring(self, key: bytes, value: Value, expires_at_ms: int) -> None:
        """Store a value that is gone from this time on (Unix milliseconds)."""
        self.set(key, Expiring(value, expires_at_ms))
        index = hash(key) % SHARDS
        if expires_at_ms < self._earliest_ms[index]:
            self._earliest_ms[index] = expires_at_ms

    def sweep(self) -> bool:
        """Remove what is due from the next shard that may have something due; whether there was one.

        To be called until it answers False, now and then, with pauses: a call looks at a whole shard, a thousandth of
        all keys. Does nothing while frozen.
        """
        if self._overlay:
            return False
        now_ms = self.now_ms()
        position, earliest_ms, rests_until_ms = self._sweep_position, self._earliest_ms, self._rests_until_ms
        for index in (*range(position, SHARDS), *range(position)):
            if earliest_ms[index] <= now_ms and rests_until_ms[index] <= now_ms:
                self._sweep_shard(index, now_ms)
                self._sweep_position = (index + 1) % SHARDS
                return True
        return False

    def _sweep_shard(self, index: int, now_ms: int) -> None:
        shard = self._shards[index]
        self._rests_until_ms[index] = now_ms + SWEEP_REST_MS * len(shard)
        timed = [(entry.expires_at_ms, key) for key, entry in shard.items() if type(entry) is Expiring]
        due = [key for expires_at_ms, key in timed if expires_at_ms <= now_ms]
        self._earliest_ms[index] = min((time for time, _ in timed if time > now_ms), default=NEVER_MS)
        for key in due:
            self.delete(key)
        self.expired += len(due)

    # Witnesses

    def attend(self, witness: Witness | None) -> None:
        """Let this witness, and no other, see each access from now on; to be called again when it wraps otherwise."""
        self._witness = witness
        self._bind(self._plain)

    def _bind(self, plain: Access) -> None:
        self._plain = plain
        self.peek = plain.get
        self.get, self.set, self.delete = self._witness.wrap(plain) if self._witness else plain

    # Freezing

    def cut(self) -> Cut:
        """Freeze the present state. One cut at a time: RuntimeError while an earlier one is not folded to its end."""
        if self._cut is not None or self._overlay is not None:
            raise RuntimeError("the keyspace is frozen already")
        self._cut = Cut(self, self._shards, self.now_ms())
        self._overlay = new_shards()
        self._bind(Access(self._get_frozen, self._set_frozen, self._delete_frozen))
        return self._cut

    def fold(self, cut: Cut) -> Iterator[None]:
        """End a cut: each step brings one shard's overlay back. To be run to its end; yields between the steps."""
        if self._cut is not cut:  # the data was replaced meanwhile, so the cut's shards are nobody's
            yield from drain(cut.shards)
            return
        self._cut = None
        for index, shard in enumerate(cut.shards):
            if self._shards is not cut.shards or self._overlay is None:
                return  # replaced while folding
            overlay = self._overlay[index]
            for key, entry in overlay.items():
                if entry is TOMBSTONE:
                    del shard[key]
                else:
                    shard[key] = entry
            self._overlay[index] = shard
            self._overlay_growth[index] = 0
            if overlay:
                yield
        if self._shards is cut.shards:
            self._thaw()

    def _thaw(self) -> None:
        self._overlay = None
        self._cut = None
        shards = self._shards

        # Closures, not methods: no attribute look-ups on the path of every GET and SET.
        def get(key: bytes) -> Any:
            return shards[hash(key) % SHARDS].get(key)

        def set_(key: bytes, entry: Entry) -> None:
            shards[hash(key) % SHARDS][key] = entry

        def delete(key: bytes) -> bool:
            return shards[hash(key) % SHARDS].pop(key, _MISSING) is not _MISSING

        self._bind(Access(get, set_, delete))

    def _get_frozen(self, key: bytes) -> Any:
        index = hash(key) % SHARDS
        assert self._overlay is not None
        entry = self._overlay[index].get(key, _MISSING)
        if entry is _MISSING:
            return self._shards[index].get(key)
        return None if entry is TOMBSTONE else entry

    def _set_frozen(self, key: bytes, entry: Entry) -> None:
        index = hash(key) % SHARDS
        assert self._overlay is not None
        overlay, shard = self._overlay[index], self._shards[index]
        if overlay is not shard:
            previous = overlay.get(key, _MISSING)
            if previous is TOMBSTONE or (previous is _MISSING and key not in shard):
                self._overlay_growth[index] += 1
        overlay[key] = entry

    def _delete_frozen(self, key: bytes) -> bool:
        index = hash(key) % SHARDS
        assert self._overlay is not None
        overlay, shard = self._overlay[index], self._shards[index]
        if overlay is shard:
            return shard.pop(key, _MISSING) is not _MISSING
        was_there = overlay.get(key, _MISSING)
        if was_there is TOMBSTONE or (was_there is _MISSING and key not in shard):
            return False
        if key in shard:
            overlay[key] = TOMBSTONE
        else:
            del overlay[key]
        self._overlay_growth[index] -= 1
        return True


def drain(shards: list[Shard]) -> Iterator[None]:
    """Free shards that nobody uses any more, one per step: freeing a million entries at once would stall the loop."""
    while shards:
        shards.pop().clear()
        yield
