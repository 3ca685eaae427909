"""The keyspace: all keys of one database. Commands read here, and write through the doors that `recording` gives a keyspace.

It also expires keys, and freezes the data for a snapshot. Pure: callers pass the time.

A snapshot freezes the shards (`cut`) instead of copying them. Writes then go to an overlay, until `fold` has brought it back.
So there are two ways to read and write, thawed and frozen, to which `get`, `set`, `delete` and `peek` are bound once, not
looked up at each command. A witness that must see each access (memory limits) wraps the functions that they are bound to, so
that no witness costs nothing.

The order within a shard is that of its dict. Scanning (`walk`) relies on two things that stay true through cut and fold: a
key that stays never gets further from the front, and a new key stands behind all others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, Protocol

from kvserver._speedups.ahead import fetch_ahead
from kvserver._speedups.places import items_between
from kvserver.data.awaited import Awaited
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.expiry import Deadlines
from kvserver.data.freeze import Cut, Overlay
from kvserver.data.kinds import LAPSES_A_STEP, earliest_ms, fork, kind_of
from kvserver.data.notes import Notes
from kvserver.data.recording import Recording
from kvserver.data.records import Records
from kvserver.data.shards import (
    Access,
    Shard,
    drain,
    look_up,
    new_shards,
    plain_access,
    run_usual,
    set_pairs_of,
    set_requests,
    values_for,
)
from kvserver.data.uses import Uses
from kvserver.resp.request import Request

# A step looks at so many entries.
ENTRIES_A_LOOK: Final = 512
# So many keys may be noted for their members, whatever has become of them.
MOST_LAPSES: Final = 4_096
# Figures in INFO come from so many entries, where there are more.
ESTIMATE_ENTRIES: Final = 3_000
# Of a shard they are so many, that stand together at one of so many places of its order.
_ESTIMATE_PIECE: Final = 125
_ESTIMATE_PLACES: Final = 12


class Witness(Protocol):
    """An object that sees each access to a keyspace, since `Keyspace.attend` has been given it."""

    def wrap(self, plain: Access) -> Access:
        """The access that the keyspace uses instead. It calls this again whenever it has another plain access."""

    def restart(self) -> list[Shard]:
        """Begin again, for other data. Returns the shards that are not used any more, to be freed in slices."""


class Keyspace(Recording):
    """All keys of a database. `now_ms` returns Unix time in milliseconds, by which keys expire.

    - `records` takes what is recorded, and `number` is that of the database.
    - `get`, `set`, `delete` and `peek` are those of an Access.
    - While `is_held`, no key goes by itself: a key whose time has come stays, though commands find it missing. While it
      `keeps_due`, they find it, too.
    - `expired` counts the keys that went since their time had come, `evicted` those that went since memory was short.
    - `hits` and `misses` count the keys that commands found and did not find. GET only counts `missed_gets`: its hits are its
      calls less these.
    - `orders` counts for each shard how often its keys were given another order.
    - `notes`, where there are any, take what `take_notes` says, and `awaited`, where there is one, what `await_keys` says.
    """

    get: Callable[[bytes], Any]

    def __init__(self, now_ms: Callable[[], int], records: Records | None = None, number: int = 0) -> None:
        super().__init__(records or Records(), number)
        self.now_ms = self._clock = now_ms
        self.is_held = False
        self.keeps_due = False
        self.expired = 0
        self.evicted = 0
        self.hits = 0
        self.misses = 0
        self.missed_gets = 0
        self._shards = new_shards()
        self.shard_count = len(self._shards)
        self.orders = [0] * self.shard_count
        self.uses = Uses(self.shard_count, now_ms())
        self.deadlines = Deadlines(self._shards)
        # The writes since a cut, until a fold has come to its end.
        self._overlay: Overlay | None = None
        # The cut, until its fold begins.
        self._cut: Cut | None = None
        self._witness: Witness | None = None
        self.notes: Notes | None = None
        self.awaited: Awaited | None = None
        self._thaw()

    # Reading

    def get_many(self, keys: list[bytes]) -> list[Any]:
        """The results of `get` for these keys. The list is empty while there is an overlay or a witness.

        Measured: this is what a client's run of reads takes.
        """
        return look_up(self._shards, keys, self.uses) if self._is_plain else []

    def values_for(self, request: Request) -> list[Any] | None:
        """The values of the keys behind the name in a request, each a hit or a miss in INFO; None for those of other types.

        The list itself is None while there is an overlay or a witness, and where an entry may have expired: then look at the
        keys one by one (`read`).
        """
        found = values_for(self._shards, request, self.uses) if self._is_plain else None
        if found is None:
            return None
        values, missed = found
        self.misses += missed
        self.hits += len(values) - missed
        return values

    def fetch_ahead(self, requests: list[Request]) -> None:
        """Have the memory fetched that looking up the first argument of each request will read, where that is possible."""
        fetch_ahead(self._shards, self.uses.places, requests)

    def live(self, key: bytes) -> Value | None:
        """The value of a key, or None if the key is missing or its time has come. Then it is removed."""
        entry = self.get(key)
        return self.expire_if_due(key, entry) if type(entry) is Expiring else entry

    def peek_live(self, key: bytes) -> Value | None:
        """`live` without an access, for commands that only ask about a key."""
        entry = self.peek(key)
        return self.expire_if_due(key, entry) if type(entry) is Expiring else entry

    def expire_if_due(self, key: bytes, entry: Expiring) -> Value | None:
        """The value of an entry that `get` returned for this key, or None if its time has come. Then the key is removed."""
        if not entry.is_due(self.now_ms()) or self.keeps_due:
            return entry.value
        if not self.is_held:
            self.remove_expired(key)
            self.expired += 1
        return None

    def own(self, key: bytes) -> Value | None:
        """`live` for a command that changes the value in place, which it then gives to `change`.

        No value that `live` or another function here gives may be changed: it may be frozen. This one is not: while the data
        is frozen, the first call for a key leaves the frozen value alone and makes a fork of it.
        """
        # Measured: `live` spelled out here and in `read` saves a call of each hot command on collections.
        get = self.get
        entry = get(key)
        value = self.expire_if_due(key, entry) if type(entry) is Expiring else entry
        if self._overlay is None or value is None or self._overlay.has(key):
            return value
        forked = fork(value)
        if forked is not value:
            self._store(key, forked, self.expires_at_ms(key))
        return forked

    def own_plain(self, key: bytes, value: Value) -> Value:
        """`own` for a value that `get` has just given, so that it has no expiry. Measured: no second `get`."""
        overlay = self._overlay
        if overlay is None or overlay.has(key):
            return value
        forked = fork(value)
        self.set(key, forked)
        return forked

    def living(self, value: Value) -> Value | None:
        """A value that `live` or another function here gave, to be read: without the members whose time has come.

        None if no other member is left. Nothing is removed: a sweep does that, some members at a time.
        """
        first_ms, now_ms = earliest_ms(value), self.now_ms()
        if first_ms is None or first_ms > now_ms:
            return value
        left: Any = value.living(now_ms)  # type: ignore[attr-defined]
        return left if len(left) else None

    def read(self, key: bytes) -> Value | None:
        """`live` for a command that reads: it is a hit or a miss in INFO."""
        get = self.get
        entry = get(key)
        value = self.expire_if_due(key, entry) if type(entry) is Expiring else entry
        if value is None:
            self.misses += 1
            if self.notes:
                self.note_miss(key)
        else:
            self.hits += 1
        return value

    def peek_read(self, key: bytes) -> Value | None:
        """`peek_live` for a command that reads."""
        value = self.peek_live(key)
        if value is None:
            self.misses += 1
            if self.notes:
                self.note_miss(key)
        else:
            self.hits += 1
        return value

    def hide_uses(self) -> None:
        """Let nothing that is read from now on count as a use of its key, until `show_uses`. What is written does."""
        self.get, self._is_plain = self.peek, False

    def show_uses(self) -> None:
        """Let what is read count as a use of its key again."""
        self._bind(self._plain)

    def note_miss(self, key: bytes) -> None:
        """Note that a command has looked for a key in vain, where there are notes."""
        if self.notes:
            self.notes.miss(self.records.position, (self.number, key))

    def __len__(self) -> int:
        return sum(map(len, self._shards)) + (self._overlay.growth if self._overlay else 0)

    def members(self) -> Iterator[tuple[bytes, Entry]]:
        """All keys and entries as they are, in no order. Nobody may write meanwhile. Slow."""
        for index in range(self.shard_count):
            yield from self.shard_members(index)

    def shard_members(self, index: int) -> Collection[tuple[bytes, Entry]]:
        """The keys and entries of one shard, in its order. Nobody may write meanwhile."""
        return self._overlay.members(index) if self._overlay else self._shards[index].items()

    def shard_length(self, index: int) -> int:
        """The number of places in the order of a shard: that of its entries, and of the writes over it since it was frozen."""
        shard, overlay = (layer[index] for layer in self.layers)
        return len(shard) if overlay is shard else len(shard) + len(overlay)

    def members_between(self, index: int, start: int, stop: int) -> list[tuple[bytes, Entry]]:
        """The keys and entries at some places of a shard's order (`Overlay.items_between`)."""
        overlay = self._overlay
        return overlay.items_between(index, start, stop) if overlay else items_between(self._shards[index], start, stop)

    def sample(self) -> Iterator[Collection[tuple[bytes, Entry]]]:
        """Keys and entries for an estimate, in pieces: all of them, or some thousands where there are more.

        These come from the fronts, the middles and the ends of shards, since a shard may be in the order of its names.
        """
        if len(self) <= ESTIMATE_ENTRIES:
            yield from map(self.shard_members, range(self.shard_count))
            return
        looked = seen = index = 0
        while index < self.shard_count and not (seen and looked >= ESTIMATE_ENTRIES):
            length = self.shard_length(index)
            count = min(length, _ESTIMATE_PIECE)
            start = (length - count) * (index % _ESTIMATE_PLACES) // (_ESTIMATE_PLACES - 1)
            members = self.members_between(index, start, start + count)
            yield members
            looked, seen, index = looked + count, seen + len(members), index + 1

    @property
    def is_frozen(self) -> bool:
        """True from a cut to the end of its fold."""
        return self._overlay is not None

    @property
    def may_lapse(self) -> bool:
        """True if a value may have members that expire, as far as that is known."""
        return bool(self.lapses.unknown) or len(self.lapses) > 0

    @property
    def layers(self) -> tuple[list[Shard], list[Shard]]:
        """The shards, and for each the dict of the writes over it since it was frozen, or the shard itself if it is not."""
        return self._shards, self._overlay.layer if self._overlay else self._shards

    def expiring_members(self, index: int) -> list[tuple[bytes, Expiring]]:
        """The keys and entries of one shard that have an expiry."""
        if not self.deadlines.may_be_in(index):
            return []
        found = [(key, entry) for key, entry in self.shard_members(index) if type(entry) is Expiring]
        if not found:
            self.deadlines.forget(index)
        return found

    def expiries(self) -> tuple[int, int]:
        """The number of entries with an expiry, and the milliseconds that they have left on average.

        Where there are many keys, both are estimated from some thousands of them.
        """
        if not self.deadlines.has_any:
            return 0, 0
        now_ms, seen = self._clock(), 0
        left_ms: list[int] = []
        for members in self.sample():
            left_ms += [entry.expires_at_ms - now_ms for _, entry in members if type(entry) is Expiring]
            seen += len(members)
        alive_ms = [each_ms for each_ms in left_ms if each_ms > 0]
        return round(len(left_ms) * len(self) / (seen or 1)), sum(alive_ms) // (len(alive_ms) or 1)

    # Writing

    def run_usual(
        self, requests: list[Request], start: int, codes: dict[bytes, int], config: Any, null: bytes
    ) -> tuple[bytes, int]:
        """Run usual calls, from one place on, and record what they change.

        Returns their replies as they are sent, and their number. They end before a call that is not so usual, or has no code
        (`_speedups.runs`). None run while there is an overlay or a witness. While somebody waits for keys, no code may be of a
        command that writes.
        """
        if not self._is_plain:
            return b"", 0
        records: list[Request] = []
        try:
            found = run_usual(self._shards, requests, start, codes, config, null, self.uses, self.now_ms(), records)
        finally:
            # What has run is recorded, even if memory has ended meanwhile.
            if records:
                self._record_all(records)
        replies, done, hits, misses, missed_gets = found
        self.hits += hits
        self.misses += misses
        self.missed_gets += missed_gets
        return replies, done

    # Writing that is not recorded

    def set_many(self, requests: list[Request]) -> None:
        """Set the keys that stand second in requests to their third words, in order."""
        if self._is_written_plainly:
            set_requests(self._shards, requests, self.uses)
        else:
            for request in requests:
                self.set(request[1], request[2])

    def set_pairs(self, request: Request) -> None:
        """Set the keys and values that stand in turn behind the name in a request."""
        if self._is_written_plainly:
            set_pairs_of(self._shards, request, self.uses)
        else:
            for key, value in zip(request[1::2], request[2::2], strict=True):
                self.set(key, value)

    @property
    def _is_written_plainly(self) -> bool:
        return self._is_plain and not (self.awaited and self.awaited.keys)

    def replace(self, shards: list[Shard]) -> list[Shard]:
        """Take over other data. Returns the shards that are not used any more, for `drain` to free in slices."""
        observers = self.records.observers
        for observer in observers:
            observer.before_replacing(self.number)
        unused = self._shards if self._cut is None else []
        if self._overlay:
            unused += self._overlay.unfolded()
        # What is asked from here on must not find the writes since a cut over the new data.
        self._shards, self._overlay, self._cut = shards, None, None
        self.deadlines.restart(shards)
        self.lapses.restart(shards)
        self.uses.restart(self._clock())
        if self._witness:
            unused += self._witness.restart()
        self._thaw()
        for observer in observers:
            observer.after_replacing(self.number)
        if self.awaited:
            self.awaited.touch_all(self.number)
        return unused

    def sweep(self) -> bool:
        """Remove some members that are due, or keys of the next shard that may have some. False if there is nothing to do.

        Upkeep calls this now and then until it returns False, with pauses: each call looks at some keys of a shard, or at one
        value. Nothing is removed while the data `is_held`, and no key while it is frozen.
        """
        if self.is_held:
            return False
        # A key that goes otherwise stays noted, so that it costs nothing to let it go.
        if len(self.lapses) > MOST_LAPSES and not self._overlay and len(self.lapses) > 2 * len(self):
            self.lapses.restart(self._shards)
        if self.lapses.unknown:
            self._look_for_members()
            return True
        now_ms = self.now_ms()
        key = self.lapses.take_due(now_ms)
        if key is not None:
            self._lapse_some(key, now_ms)
            return True
        if self._overlay:
            return False
        index = self.deadlines.shard_to_sweep(now_ms)
        if index is None:
            return False
        due = self.deadlines.take_due(index, self._shards[index], now_ms, self.orders[index])
        if due:
            self.remove_expired(*due)
            self.expired += len(due)
        return True

    def _look_for_members(self) -> None:
        """Note the values that have members that expire, of some keys of a shard where that is unknown.

        A shard is looked at from its end to its front, as SCAN does it: what is written meanwhile is noted by itself.
        """
        lapses = self.lapses
        index = lapses.unknown[-1]
        stop, order = self.shard_length(index), self.orders[index]
        if lapses.left and lapses.order == order:
            stop = min(stop, lapses.left)
        start = max(0, stop - ENTRIES_A_LOOK)
        lapses.left, lapses.order = start, order
        if not start:
            lapses.unknown.pop()
        for key, entry in self.members_between(index, start, stop):
            if type(entry) is not bytes:
                self.expect(key, entry.value if type(entry) is Expiring else entry)

    def _lapse_some(self, key: bytes, now_ms: int) -> None:
        """Remove some members that are due from a value, if it is there and has any."""
        value: Any = self.own(key) if earliest_ms(self.peek_live(key)) is not None else None
        if value is None:
            return
        request = kind_of(value).lapse(key, value, now_ms, LAPSES_A_STEP)
        if request:
            self.lapse(key, value if len(value) else None, request)
        self.expect(key, value)

    # Replays

    def stop_clock(self, at_ms: int = 0) -> None:
        """Let keys expire as if it were this time from now on. At 0 none is due, whatever expiry it is given."""
        self.now_ms, self.keeps_due = (lambda: at_ms), False

    def keep_due(self, at_ms: int) -> None:
        """Let it be this time from now on, and let keys that are due stay: what is replayed may let them live on."""
        self.stop_clock(at_ms)
        self.keeps_due = True

    def start_clock(self) -> None:
        """Let keys expire by the clock again."""
        self.now_ms, self.keeps_due = self._clock, False

    # Witnesses

    def attend(self, witness: Witness | None) -> None:
        """Let this witness, and no other, see each access from now on. It calls this again when it wraps otherwise."""
        self._witness = witness
        self._bind(self._plain)

    def take_notes(self, notes: Notes | None) -> None:
        """Note here which keys are looked for in vain, and which are made, from now on; with None, nowhere."""
        self.notes = notes
        self._bind(self._plain)

    def await_keys(self, awaited: Awaited) -> None:
        """Note there which awaited keys are stored or removed from now on."""
        self.awaited = awaited
        self._bind(self._plain)

    def _bind(self, plain: Access) -> None:
        self._plain = plain
        self._is_plain = self._witness is None and self._overlay is None and self.notes is None
        access = self._witness.wrap(plain) if self._witness else plain
        if self.notes:
            access = self.notes.wrap(access, lambda: (self.number, self.now_ms()))
        if self.awaited:
            access = self.awaited.wrap(access, lambda: self.number)
        self.get, self.set, self.delete, self.peek = access
        self.set_expiring = self.deadlines.setter(self.set)

    # Freezing

    def cut(self) -> Cut:
        """Freeze the present state. RuntimeError while an earlier cut is not folded to its end."""
        if self._overlay:
            raise RuntimeError("the keyspace is frozen already")
        self._cut = Cut(self._shards, self.orders, self.number)
        self._overlay = Overlay(self._shards)
        self._bind(self._overlay.access(self.uses))
        return self._cut

    def fold(self, cut: Cut) -> Iterator[None]:
        """End a cut: each step brings some writes over a shard back. The caller runs the iterator to its end."""
        # The data may have been replaced meanwhile. Then nobody else has the shards of the cut.
        if self._cut is not cut:
            yield from drain(cut.shards)
            return
        self._cut = None
        overlay = self._overlay
        assert overlay
        for index in range(self.shard_count):
            is_folded = False
            while not is_folded:
                is_folded = overlay.fold(index)
                yield
                # The data may have been replaced during the fold.
                if self._overlay is not overlay:
                    return
        self._thaw()

    def thaw(self) -> None:
        """End a cut at once, if there is one, where whoever made it is gone, and its iterator with it."""
        overlay = self._overlay
        if overlay:
            for index in range(self.shard_count):
                while not overlay.fold(index):
                    pass
            self._thaw()

    def _thaw(self) -> None:
        self._overlay = None
        self._cut = None
        self._bind(plain_access(self._shards, self.uses))
