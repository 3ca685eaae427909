"""A write, and the command that repeats it: the doors through which commands change data, so that no change goes unrecorded.

The records (`records`), run again in order on a keyspace whose clock stands still at 0, give the same data, whatever time it
is: nothing is due then, and a key that had gone since its time had come goes by a DEL that is recorded as well. So a command
that keeps a value need not bring it along.

Data that is loaded from a frame is not recorded. Pure; names no data type.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Final

from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.expiry import Lapses
from kvserver.data.kinds import earliest_ms, kind_of
from kvserver.data.records import Records
from kvserver.data.shards import Shard, new_shards
from kvserver.resp.request import Request

# The name of the command that is recorded for keys that have expired. It is that of DEL, in lower case: so it can be told from
# what `remove` records for commands.
EXPIRED: Final = b"del"
# That for a key all of whose members have expired.
EMPTIED: Final = b"unlink"


def expiry_request(key: bytes, expires_at_ms: int) -> list[bytes]:
    """The command that gives a key an expiry (Unix milliseconds), if the key is there when it runs."""
    return [b"PEXPIREAT", key, b"%d" % expires_at_ms]


class Recording(ABC):
    """The doors of a keyspace: each stores or removes, and records what repeats it.

    `set`, `set_expiring`, `set_many`, `set_pairs`, `delete` and `replace` record nothing. They are for the doors, for loads of
    data, and for a store that has no journal. A handler that called one of them would lose data: the tests raise there.

    `set`, `delete` and `peek` are those of an Access. `set_expiring` stores a value that is gone from a time on (Unix
    milliseconds). `number` is that of the database.
    """

    set: Callable[[bytes, Entry], None]
    delete: Callable[[bytes], bool]
    peek: Callable[[bytes], Any]
    set_expiring: Callable[[bytes, Value, int], None]

    def __init__(self, records: Records, number: int) -> None:
        self.records = records
        self.lapses = Lapses()
        self.renumber(number)

    def renumber(self, number: int) -> None:
        """Be the database of this number from now on."""
        self.number = number
        self._record, self._record_all = self.records.recorders(number)

    @abstractmethod
    def set_many(self, requests: list[Request]) -> None:
        """Set the keys that stand second in requests to their third words, in order."""

    @abstractmethod
    def set_pairs(self, request: Request) -> None:
        """Set the keys and values that stand in turn behind the name in a request."""

    @abstractmethod
    def own(self, key: bytes) -> Value | None:
        """The value of a key, to be changed in place."""

    @abstractmethod
    def replace(self, shards: list[Shard]) -> list[Shard]:
        """Take over other data. Return the shards that are not used any more, for `drain` to free in slices."""

    # The doors

    def put(self, key: bytes, value: Value, expires_at_ms: int | None = None) -> None:
        """Store a whole value, with its expiry (Unix milliseconds) or none, in place of what was there."""
        self.put_recreated(key, value, expires_at_ms, kind_of(value).recreation(key, value, expires_at_ms))

    def put_recreated(self, key: bytes, value: Value, expires_at_ms: int | None, requests: list[Request]) -> None:
        """Do what `put` does, with the requests that the value's kind gives for it, which take long for a long value."""
        self._store(key, value, expires_at_ms)
        self.expect(key, value)
        self._record_all(requests)

    def put_as(self, key: bytes, value: Value, request: Request) -> None:
        """Store a whole value without an expiry, and record the request of the caller, which stores it, too.

        This is for a request that is shorter than the value (BITOP), for one that says the value as the client did
        (JSON.SET), and for SET and INCR: measured, `put` takes longer than to record a request that is there already. It is
        also `change` for a plain value, which has no expiry, and takes less time.
        """
        # Measured: a function that is an attribute of the instance is called faster by a local name.
        store, record = self.set, self._record
        store(key, value)
        record(request)

    def put_copy(self, source: bytes, destination: bytes, value: Value, target: Recording) -> None:
        """Store a value that is equal to that of a key which is alive, with the expiry of that key, in a database."""
        target._store(destination, value, self.expires_at_ms(source))
        target.expect(destination, value)
        elsewhere = [] if target is self else [b"DB", b"%d" % target.number]
        self._record([b"COPY", source, destination, *elsewhere, b"REPLACE"])
        self._tell_of(target, destination)

    def move(self, key: bytes, value: Value, target: Recording) -> None:
        """Store a value that `own` gave in another database, with its expiry, and remove it here."""
        target._store(key, value, self.expires_at_ms(key))
        target.expect(key, value)
        self.delete(key)
        self._record([b"MOVE", key, b"%d" % target.number])
        self._tell_of(target, key)

    def _tell_of(self, target: Recording, key: bytes) -> None:
        """Tell the observers of a key that was written in another database: the record stands in this one."""
        if target is not self:
            for observer in self.records.observers:
                observer.wrote_beside(target.number, key)

    def rename(self, old: bytes, new: bytes, value: Value) -> None:
        """Store a value under another key, with its expiry, in place of what was there."""
        expires_at_ms = self.expires_at_ms(old)
        self.delete(old)
        self._store(new, value, expires_at_ms)
        self.expect(new, value)
        self._record([b"RENAME", old, new])

    def put_many(self, members: Iterable[tuple[bytes, Value]], requests: list[Request]) -> None:
        """Store whole values without an expiry, and record the requests that store them."""
        store = self.set
        for key, value in members:
            store(key, value)
        self._record_all(requests)

    def put_sets(self, requests: list[Request]) -> None:
        """Store what SETs store, whose third words are whole values without an expiry, and record them.

        Measured: a run of SETs of one client takes less time by this than by `put_as`.
        """
        # The record comes first: a store that fails for want of memory leaves nothing that a replay would not have.
        self._record_all(requests)
        self.set_many(requests)

    def put_all(self, request: Request) -> None:
        """Store whole values without an expiry, and record the one request that stores them all: MSET."""
        self._record(request)
        self.set_pairs(request)

    def change(self, key: bytes, value: Value | None, request: Request) -> None:
        """Store the value that `request` makes of a value that is alive, or of a missing key. Both keep the expiry.

        `value` may be the very object that `own` gave, changed in place. None removes the key: `request` takes the last
        member out of a collection.
        """
        # Measured: `_store` and `expires_at_ms` spelled out here, this takes half the time.
        if value is None:
            self.delete(key)
        else:
            peek = self.peek
            entry = peek(key)
            if type(entry) is Expiring:
                self.set_expiring(key, value, entry.expires_at_ms)
            else:
                store = self.set
                store(key, value)
        self._record(request)

    def put_equal(self, key: bytes, value: Value) -> None:
        """Put an equal value of another form in place of the one that is there. The expiry is kept; nothing is recorded."""
        self._store(key, value, self.expires_at_ms(key))

    def expire(self, key: bytes, expires_at_ms: int | None) -> None:
        """Let a key that is alive be gone from a time on (Unix milliseconds), or never (None), in place of its expiry."""
        value = self.own(key)
        # Its time may have come since the caller looked, where nobody holds the clock.
        if value is None:
            return
        self._store(key, value, expires_at_ms)
        self._record([b"PERSIST", key] if expires_at_ms is None else expiry_request(key, expires_at_ms))

    def remove(self, *keys: bytes) -> None:
        """Remove keys. This is recorded for missing keys, too: a SET whose time has passed counts as a write to its key."""
        for key in keys:
            self.delete(key)
        self._record([b"DEL", *keys])

    def remove_expired(self, *keys: bytes) -> None:
        """Remove keys since their time has come."""
        for key in keys:
            self.delete(key)
        self._record([EXPIRED, *keys])
        self.records.expiries += 1

    def remove_emptied(self, key: bytes) -> None:
        """Remove a key since the time of all its members has come."""
        self.delete(key)
        self._record([EMPTIED, key])
        self.records.expiries += 1

    def lapse(self, key: bytes, value: Value | None, request: Request) -> None:
        """Store the value that is left since the time of members has come, as `change` does. `request` removes them, too."""
        self.change(key, value, request)
        self.records.expiries += 1

    def clear(self) -> list[Shard]:
        """Remove all keys. Return the shards that are not used any more, for `drain` to free in slices."""
        self._record([b"FLUSHDB"])
        return self.replace(new_shards())

    def expect(self, key: bytes, value: Value) -> None:
        """Note when the first member of a value that was stored expires. `put`, `put_copy` and `rename` have done so."""
        first_ms = earliest_ms(value)
        if first_ms is not None:
            self.lapses.expect(key, first_ms)

    # The parts of the doors

    def expires_at_ms(self, key: bytes) -> int | None:
        """The Unix time in milliseconds from which on a key that is there will be gone, or None for never."""
        entry = self.peek(key)
        return entry.expires_at_ms if type(entry) is Expiring else None

    def _store(self, key: bytes, value: Value, expires_at_ms: int | None) -> None:
        if expires_at_ms is None:
            self.set(key, value)
        else:
            self.set_expiring(key, value, expires_at_ms)
