"""KVStore: the store as a Python mapping, which blocks, and which threads may share. It never opens a socket.

Its data is kept in the frames of a medium of its own, in which no tags are used, by a ServerFolder, as a server keeps it, or
in memory alone. Values become bytes before the lock is taken, and Python objects after it is let go, where no call needs them
to decide: a caller's code, a codec of a cache, seldom runs under it.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from os import PathLike
from typing import Any, Final, cast

from kvserver.data.entries import Value
from kvserver.data.kinds import kind_of
from kvserver.data.shards import Shard, new_shards
from kvserver.data.walk import living_count, living_keys, living_member, living_members, shards_in_use
from kvserver.formats.codec import JSON, JSONText
from kvserver.library.journal import Fsync
from kvserver.library.keeping import Keeping
from kvserver.library.kept import KeptData
from kvserver.library.keys import Keys
from kvserver.library.values import Decoded, add, decode_value, encode_value, expires_at_ms
from kvserver.library.views import Items, Values
from kvserver.media.medium import CoreMedium
from kvserver.types import TAGGED

MISSING: Final = object()
# An iteration holds the lock for so many keys, or for those of a shard if they are more.
NAMES_A_TURN: Final = 256
# Values of these types are never changed. Most entries are such a value: without an expiry, or members that expire.
_INDEPENDENT: Final = frozenset((bytes, JSONText))


class KVStore(KeptData, MutableMapping[str, JSON]):
    """A mapping of str to JSON values in memory, which is kept in a folder, in a medium, or not at all.

    >>> with KVStore("users") as store:  # a folder, made if there is none; it is kept when the block is left
    ...     store["ada"] = {"born": 1815, "tags": ["maths"]}
    ...     store.set("session", "abc", ttl=3600)  # gone after an hour
    ...     store.incr("visits")
    1
    >>> with KVStore("users") as store:  # starts with what is there
    ...     store["ada"]["born"], store.get("nobody"), "session" in store, len(store)
    (1815, None, True, 3)

    - `KVStore("folder")` keeps its data as a server does, which may be started on that folder (ServerFolder). Of a server's
      collections `get` gives a dict, a list, a set, a dict of scores, or a stream's entries as a list of
      [id, [field, value, ...]]. A server's strings are bytes: whoever has written them, also as bytes here, finds a str
      where they are UTF-8, and bytes where they are not.
    - `KVStore(FileMedium("users.kvs"))`, or with another medium, keeps plain JSON in frames of its own. It starts empty,
      whatever the medium holds: `restore` loads that. No key expires there.
    - `KVStore()` keeps nothing behind its end. `shutdown` and `restore` work, in memory.

    What is written is kept by `shutdown`, and by `close`, which leaving a `with` statement is. With `journal=True`, in a
    folder, each call keeps what it has written before it returns: nothing that has returned is lost at kill -9, and at a loss
    of power nothing for `fsync="always"`, up to a second for "everysec". If a write to the journal fails, the caller gets
    MediumError, and nothing is written until a `shutdown` has succeeded. A journal that is longer than its frame, and 64 MB
    with it, is replaced by a frame at the next write, as by Redis's auto-aof-rewrite.

    `read_only=True` opens a folder beside the server or the store that has it, and touches nothing: the data is what that has
    written up to then, and `restore` looks again. What would write raises StoreReadOnly.

    >>> with KVStore("users", journal=True) as writer, KVStore("users", read_only=True) as reader:
    ...     writer["ada"] = None
    ...     before = reader["ada"]
    ...     reader.restore(), before["born"], reader["ada"]
    (True, 1815, None)

    Threads may share a store: a call is one step for all others. Iteration gives a key that is there throughout exactly once,
    whatever others change meanwhile, and `len` counts what it gives: keys whose time has come are gone. `lock` makes one step
    of several calls; never hold it over `shutdown`, `restore`, `frame` and `close`, which wait for each other first. While one
    thread is in `shutdown`, others read and write, and wait some milliseconds at most.

    A signal handler that interrupts a call of a store with a journal can't write to it, nor any flush or close: RuntimeError,
    with nothing changed. Nor must it write to a store without a journal: let it set a flag, which the program looks at.

    A process that is forked off opens a store of its own: in one that it has from before, the data can be read, what would
    write raises MediumError, and `close` lets go without a word. A store in memory alone goes on there, as a copy.

    What calls cost, for n keys, B bytes of keys and values, and S bytes of keys (µs: the best of many runs with CPython 3.11
    on a shared machine of two cores, for a str or an int, then for a document of three members):

    ========================  ==============  ==============  ================================================
    call                      time            µs              besides
    ========================  ==============  ==============  ================================================
    get, [], in               O(value)        0.8 to 1.2; 2   a new copy each time
    set, []=                  O(value)        0.8 to 1.2; 3   3.5 with a ttl
    set with a journal        O(value)        6; 8.5          "always": and a sync, which threads share
    add, setdefault; incr     O(value)        1; 2.3
    delete, pop, del          O(value)        1
    update                    O(values)       0.4 a key       one step, and one record of the journal
    iteration; items, values  O(B)            0.4; 1 a key    memory for n/1021 keys; the lock as long
    len; popitem              O(1021)         40; 3 to 50     longest for few keys; len: O(n) behind a restore
    shutdown, frame           O(B + S log S)  2 a key         memory for what others write meanwhile
    restore, opening          O(B)            1.3 a key       memory for both; others wait for a restore
    clear                     O(n)            0.2 a key
    ========================  ==============  ==============  ================================================

    A key takes some 110 bytes of memory besides its own and those of its value, an empty store half a megabyte.
    """

    def __init__(
        self,
        medium: CoreMedium | Keeping | str | PathLike[str] | None = None,
        *,
        journal: bool = False,
        fsync: Fsync = "everysec",
        read_only: bool = False,
    ) -> None:
        super().__init__(medium, journal=journal, fsync=fsync, read_only=read_only)
        self._takes_tags = self._kept.mapping is TAGGED
        self._keys = Keys(self._takes_tags)
        self._to_write, self._to_find = self._keys.to_write, self._keys.to_find
        # The index of the shard that `popitem` last took a key of.
        self._last_popped = 0

    # One key

    def set(self, key: str, value: JSON, ttl: float | None = None) -> None:
        """Store a value as it is now, which is gone after `ttl` seconds (None: never).

        TypeError or ValueError, with nothing changed, if it is no JSON, the key no str, or the ttl no positive number. Bytes
        are taken as well, but for a medium: a server has one type of strings for both, so that those which are UTF-8 come back
        as a str. To have bytes back for certain, use a Cache with a codec.

        >>> store = KVStore()
        >>> store.set("session", {"user": "Ada"}, ttl=60)
        >>> store["session"]
        {'user': 'Ada'}
        >>> store.update(picture=b"\\xff\\xd8", name=b"Ada")
        >>> store["picture"], store["name"]
        (b'\\xff\\xd8', 'Ada')
        """
        name, entry = self._to_write(key), encode_value(value, self._takes_tags)
        with self._writing:
            if ttl is None:
                if self._journal:
                    self._record(kind_of(entry).recreation(name, entry, None))
                self._keyspace.set(name, entry)
                self._is_changed = True
            else:
                self._put(name, entry, ttl)
                # So that what nobody asks for goes as well: one step for each key that comes.
                self._sweep_step()

    def add(self, key: str, value: JSON, ttl: float | None = None) -> bool:
        """`set` if the key is missing. Return True if it was.

        >>> store = KVStore()
        >>> store.add("job", "first", ttl=60), store.add("job", "second", ttl=60), store["job"]
        (True, False, 'first')
        """
        name, entry = self._to_write(key), self._encode(key, value)
        with self._writing:
            if self._live(name) is not None:
                return False
            self._put(name, entry, ttl)
        return True

    def get(self, key: str, default: Any = None) -> JSON:
        """Return a new copy of the value, or `default` if the key is missing or has expired."""
        name = self._to_find(key)
        with self.lock:
            value = self._keyspace.get(name)
            if type(value) not in _INDEPENDENT:
                value = self._live(name)
                # Others may be changed in place as soon as the lock is let go.
                return default if value is None else decode_value(value)
        return decode_value(value)

    def delete(self, key: str) -> bool:
        """Remove a key. Return True if it was there."""
        name = self._to_find(key)
        with self._writing:
            if self._live(name) is None:
                return False
            self._remove(name)
        return True

    def incr(self, key: str, by: float = 1) -> int | float:
        """Add to a number, a missing one being 0, and return the sum. Its expiry stays.

        A str of digits, such as a server's counter, stays a str, and takes integers only. TypeError if the value, or `by`, is
        no number; ValueError if the sum is none that JSON has.

        >>> store = KVStore()
        >>> store.incr("visits"), store.incr("visits", 5), store.incr("share", 0.5)
        (1, 6, 0.5)
        """
        name = self._to_write(key)
        with self._writing:
            value = self._keyspace.get(name)
            until_ms = None
            if type(value) not in _INDEPENDENT:
                value, until_ms = self._live(name), self._keyspace.expires_at_ms(name)
            number, entry = add(value, by)
            self._put_until(name, entry, until_ms)
        return number

    def ttl(self, key: str) -> float | None:
        """The seconds that a key has left, or None if it has no expiry, or is missing."""
        name = self._to_find(key)
        with self.lock:
            expires_at_ms = None if self._live(name) is None else self._keyspace.expires_at_ms(name)
            return None if expires_at_ms is None else max(expires_at_ms - self._keyspace.now_ms(), 1) / 1000

    def expire(self, key: str, ttl: float | None) -> bool:
        """Let a key be gone after `ttl` seconds, or never (None), in place of its expiry. Return True if it is there.

        >>> store = KVStore()
        >>> store.set("a", 1, ttl=60)
        >>> store.expire("a", None), store.ttl("a"), store.expire("b", 60)
        (True, None, False)
        """
        name = self._to_find(key)
        with self._writing:
            value = self._live(name)
            if value is None:
                return False
            self._put(name, value, ttl)
        return True

    def __getitem__(self, key: str) -> JSON:
        value = self.get(key, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: JSON) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        try:
            name = self._to_find(cast(str, key))
        except TypeError:
            # As in a dict, where no such key can be either.
            return False
        with self.lock:
            return self._live(name) is not None

    def pop(self, key: str, default: Any = MISSING) -> JSON:
        """Remove a key and return its value; if it is missing, return `default`, or raise KeyError without one."""
        name = self._to_find(key)
        with self._writing:
            value = self._live(name)
            if value is not None:
                # In this order, so that nothing is lost where it can't be decoded.
                decoded = self._decode(key, value)
                self._remove(name)
                return decoded
        if default is MISSING:
            raise KeyError(key)
        return default

    def setdefault(self, key: str, default: JSON = None) -> JSON:
        """Return the value of a key, which is `default` from now on if the key is missing."""
        name, entry = self._to_write(key), self._encode(key, default)
        with self._writing:
            value = self._live(name)
            if value is None:
                value = entry
                self._put(name, entry, None)
            return self._decode(key, value)

    # Many keys

    def popitem(self) -> tuple[str, JSON]:
        """Remove some key, and return it and its value. KeyError if there is none."""
        with self._writing:
            name, value = self._some_member()
            key = self._keys.text(name)
            # As for `pop`.
            decoded = self._decode(key, value)
            self._remove(name)
            return key, decoded

    def update(self, other: Any = (), /, **values: JSON) -> None:
        """Store many values, in one step. TypeError or ValueError, with nothing changed, if one of them can't be stored."""
        given: Iterable[tuple[str, JSON]] = other
        if isinstance(other, Mapping):
            given = other.items()
        elif hasattr(other, "keys"):
            given = ((key, other[key]) for key in other.keys())  # noqa: SIM118
        takes_tags = self._takes_tags
        entries = [(self._to_write(key), encode_value(value, takes_tags)) for key, value in given]
        entries += [(self._to_write(key), encode_value(value, takes_tags)) for key, value in values.items()]
        with self._writing:
            if self._journal and entries:
                self._record([request for name, entry in entries for request in kind_of(entry).recreation(name, entry, None)])
            set_, self._is_changed = self._keyspace.set, True
            for name, entry in entries:
                set_(name, entry)

    def clear(self) -> None:
        """Remove all keys."""
        with self._writing:
            if self._journal:
                self._record([[b"FLUSHDB"]])
            unused = self._keyspace.replace(new_shards())
            self._is_changed = True
        self._discard(unused)

    def __iter__(self) -> Iterator[str]:
        self._sweep()
        keyspace, index = self._keyspace, 0
        while index < keyspace.shard_count:
            names: list[bytes] = []
            with self.lock:
                # Measured: for a small store, to take the lock for each shard would be most of the time.
                while index < keyspace.shard_count and len(names) < NAMES_A_TURN:
                    names += living_keys(keyspace, index)
                    index += 1
            yield from self._keys.texts(names)

    def __len__(self) -> int:
        self._sweep()
        with self.lock:
            return living_count(self._keyspace)

    def items(self) -> ItemsView[str, JSON]:
        """The keys and values: a view that is as safe to go through as the store."""
        return Items(self, self._pairs)

    def values(self) -> ValuesView[JSON]:
        """The values: a view that is as safe to go through as the store."""
        return Values(self, self._pairs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} keys>"

    def _pairs(self) -> Iterator[tuple[str, JSON]]:
        self._sweep()
        keyspace = self._keyspace
        for index in range(keyspace.shard_count):
            with self.lock:
                members = living_members(keyspace, index)
                texts, values = self._keys.texts([name for name, _ in members]), [value for _, value in members]
                if not _INDEPENDENT.issuperset(map(type, values)):
                    # What is neither a string nor a document may be changed in place as soon as the lock is let go.
                    values = [
                        value if type(value) in _INDEPENDENT else Decoded(self._decode(text, value))
                        for text, value in zip(texts, values, strict=True)
                    ]
            yield from zip(texts, map(self._decode, texts, values), strict=True)

    def _discard(self, shards: list[Shard]) -> None:
        """Free shards that nobody uses any more, one after another, so that other threads go on."""
        while shards:
            shards.pop()

    # Values, where no call is saved by spelling this out

    def _encode(self, key: str, value: Any) -> bytes:
        """What a keyspace holds for a value of a key."""
        return encode_value(value, self._takes_tags)

    def _decode(self, key: str, value: Any) -> Any:
        """A new Python object for what a keyspace holds for a key."""
        return decode_value(value)

    # Steps, for those who hold the lock

    def _some_member(self) -> tuple[bytes, Value]:
        """A key that is there, and its value. KeyError if there is none."""
        keyspace = self._keyspace
        for index in shards_in_use(keyspace, self._last_popped):
            found = living_member(keyspace, index)
            if found is not None:
                self._last_popped = index
                return found
        raise KeyError("the store is empty")

    def _live(self, name: bytes) -> Value | None:
        """The value of a key that is there, to be read."""
        keyspace = self._keyspace
        # Measured: most keys have such a value and no expiry, so that the time is not to be asked.
        value: Value | None = keyspace.get(name)
        if value is None or type(value) in _INDEPENDENT:
            return value
        value = keyspace.live(name)
        if value is not None:
            return keyspace.living(value)
        self._drop_records()
        return None

    def _put(self, name: bytes, entry: Value, ttl: float | None) -> None:
        self._put_until(name, entry, None if ttl is None else self._expires_at_ms(ttl))

    def _put_until(self, name: bytes, entry: Value, expires_at_ms: int | None) -> None:
        if self._journal:
            self._record(kind_of(entry).recreation(name, entry, expires_at_ms))
        if expires_at_ms is None:
            self._keyspace.set(name, entry)
        else:
            self._keyspace.set_expiring(name, entry, expires_at_ms)
        self._is_changed = True

    def _remove(self, name: bytes) -> None:
        if self._journal:
            self._record([[b"DEL", name]])
        self._keyspace.delete(name)
        self._is_changed = True

    def _expires_at_ms(self, ttl: float) -> int:
        at_ms = expires_at_ms(ttl, self._keyspace.now_ms())
        if not self._takes_tags:
            raise ValueError(
                'a medium keeps plain JSON, which has no word for a ttl: KVStore("folder") and KVStore() take one'
            )
        return at_ms

    def _sweep(self) -> None:
        """Remove what is due, as far as it can be found without a look at all keys, in steps between which others go on."""
        is_swept = False
        while not is_swept:
            with self.lock:
                is_swept = not self._sweep_step()

    def _sweep_step(self) -> bool:
        if not self._keyspace.sweep():
            return False
        self._drop_records()
        return True
