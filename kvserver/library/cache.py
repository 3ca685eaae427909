"""Cache: a KVStore with a size limit (`limited`), a ttl of its own, values by a codec, hits and misses, and memoize.

Codec code, as that of any caller, never runs under the lock: a value is made of bytes that nobody changes, after the lock was
let go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, overload

from kvserver.data.entries import Expiring, Value
from kvserver.data.kinds import kind_of
from kvserver.errors import CodecError
from kvserver.formats.codec import JSONText
from kvserver.library.codec import Codec, decoded, encoded
from kvserver.library.journal import Fsync
from kvserver.library.keeping import Keeping
from kvserver.library.limited import LARGE_BYTES, MOST_OVERHEAD, LimitedStore, limits, most_bytes
from kvserver.library.memoized import Memoized, memoizing
from kvserver.library.store import MISSING
from kvserver.library.values import Decoded, add, decode_value

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Stats(NamedTuple):
    """The figures of a cache since it was opened, or since they were reset."""

    hits: int
    misses: int
    evictions: int


class Cache(LimitedStore, Generic[T]):
    """A KVStore that takes no more than `size_limit` bytes: when there is no room, it lets go of what is used least.

    >>> from kvserver import Cache
    >>> cache = Cache()                        # in memory; Cache("folder") keeps it, as KVStore("folder") does
    >>> cache.set("user:1", {"name": "Ada"}, ttl=60)
    >>> cache.get("user:1")
    {'name': 'Ada'}
    >>> cache.incr("visits"), cache.incr("visits", 10)
    (1, 11)
    >>> @cache.memoize(ttl=60)
    ... def square(number):
    ...     print("computed")
    ...     return number * number
    >>> square(3), square(number=3)
    computed
    (9, 9)
    >>> cache.stats().hits
    2
    >>> cache.close()

    - `size_limit` counts keys and values as a server's `maxmemory` does: an estimate of the memory that they take, some 140
      bytes a key besides its own and its value's. The files hold earlier frames as well, and may be larger.
    - `policy` is one of Redis's names. By allkeys-lru the least recently used key of some that are looked at goes; `-lfu`: the
      least often used; `-random`; `volatile-` policies let only those go that have a ttl; noeviction none: then CacheFull.
    - `ttl` (seconds) is that of values that are set without one; a ttl of `math.inf` is for ever.
    - `codec` makes bytes of values, which are JSON without one. CodecError if it fails, ValueTooLarge if there will never be
      room: then nothing has changed. It is called without the lock, by several threads at a time.
    - `journal` and `fsync` are those of KVStore.

    Threads may share a cache; one process at a time has a folder. What calls cost beside those of KVStore (µs: as there):

    ==================  ==============  ==========  =======================================================
    call                time            µs          besides
    ==================  ==============  ==========  =======================================================
    get, peek           O(value)        1 more      under -lru and -lfu 70 bytes a key that was ever used
    set, add, incr      O(value)        3 more      20 to 40 more for each key that goes
    memoize, a hit      O(arguments)    3 and a get
    volume, stats       O(1)            1
    opening, restore    O(n)            1 a key     the count of what is there
    ==================  ==============  ==========  =======================================================
    """

    @overload
    def __init__(
        self: Cache[Any],
        path: str | PathLike[str] | Keeping | None = None,
        *,
        size_limit: int = 1 << 30,
        policy: str = "allkeys-lru",
        ttl: float | None = None,
        codec: None = None,
        journal: bool = False,
        fsync: Fsync = "everysec",
    ) -> None: ...

    @overload
    def __init__(
        self,
        path: str | PathLike[str] | Keeping | None = None,
        *,
        size_limit: int = 1 << 30,
        policy: str = "allkeys-lru",
        ttl: float | None = None,
        codec: Codec[T] | None = None,
        journal: bool = False,
        fsync: Fsync = "everysec",
    ) -> None: ...

    def __init__(
        self,
        path: str | PathLike[str] | Keeping | None = None,
        *,
        size_limit: int = 1 << 30,
        policy: str = "allkeys-lru",
        ttl: float | None = None,
        codec: Codec[T] | None = None,
        journal: bool = False,
        fsync: Fsync = "everysec",
    ) -> None:
        config = limits(size_limit, policy, ttl)
        self._ttl = None if ttl == math.inf else ttl
        self._codec = codec
        self._hits = self._misses = self._evicted_before = 0
        super().__init__(path, config, journal=journal, fsync=fsync)

    # One key

    def set(self, key: str, value: T, ttl: float | None = None) -> None:
        """Store a value as it is now, which is gone after `ttl` seconds (None: the cache's own ttl; math.inf: never).

        TypeError or ValueError if it is no JSON, the key no str or the ttl no positive number; CodecError; ValueTooLarge, or
        CacheFull. Then nothing has changed, but that other keys may have gone. MediumError if the journal can't be written.
        """
        name, entry = self._to_write(key), self._encode(key, value)
        if len(entry) > LARGE_BYTES:
            self.vacate([(name, entry)])
        self.put(name, entry, ttl)

    def add(self, key: str, value: T, ttl: float | None = None) -> bool:
        """`set` if the key is missing. Return True if it was."""
        name, entry = self._to_write(key), self._encode(key, value)
        if len(entry) > LARGE_BYTES and key not in self:
            self.vacate([(name, entry)])
        return self.put_new(name, entry, ttl) is None

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, which is `default` from now on if the key is missing."""
        name, entry = self._to_write(key), self._encode(key, default)
        if len(entry) > LARGE_BYTES and key not in self:
            self.vacate([(name, entry)])
        present = self.put_new(name, entry, None)
        return self._decode(key, entry if present is None else present)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a new copy of the value, or `default` if the key is missing or has expired. It is a hit or a miss."""
        name = self._to_find(key)
        with self.lock:
            if self._ticks:
                self._note_use()
            value = self._keyspace.get(name)
            kind = type(value)
            if kind is not bytes and kind is not JSONText:
                value = self._live(name)
                if value is None:
                    self._misses += 1
                    return default
                value = self._to_decode(value)
            self._hits += 1
        return self._decode(key, value)

    def peek(self, key: str, default: Any = None) -> Any:
        """`get` that is no use of the key, and neither hit nor miss."""
        name = self._to_find(key)
        with self.lock:
            value = self._keyspace.peek_live(name)
            living = None if value is None else self._keyspace.living(value)
            if living is None:
                return default
            living = self._to_decode(living)
        return self._decode(key, living)

    def incr(self, key: str, by: float = 1) -> int | float:
        """Add to a number, a missing one being 0, and return the sum. An expiry stays; a new key has the cache's ttl."""
        name = self._to_write(key)
        while True:
            with self._writing:
                if self._ticks:
                    self._note_use()
                value = self._live(name)
                if self._codec is None:
                    total, entry = add(value, by)
                    self._put_sum(name, entry, value)
                    return total
            total, entry = self._added(key, value, by)
            with self._writing:
                # Another thread may have changed it meanwhile.
                if self._live(name) == value:
                    self._put_sum(name, entry, value)
                    return total

    def _added(self, key: str, value: Value | None, by: float) -> tuple[int | float, bytes]:
        """`values.add` for a number that the codec has encoded."""
        number = 0 if value is None else self._decode(key, value)
        for each, what in ((number, f"the value of {key!r}"), (by, "by")):
            if isinstance(each, bool) or not isinstance(each, int | float):
                raise TypeError(f"{what} is no number, but a {type(each).__name__}")
        try:
            total = number + by
        except OverflowError:
            raise ValueError("the sum is too large for a float") from None
        return total, self._encode(key, total)

    def pop(self, key: str, default: Any = MISSING) -> Any:
        """Remove a key and return its value; if it is missing, return `default`, or raise KeyError without one."""
        if self._codec is None:
            return super().pop(key) if default is MISSING else super().pop(key, default)
        name = self._to_find(key)
        while True:
            with self.lock:
                value = self._live(name)
            if value is None:
                if default is MISSING:
                    raise KeyError(key)
                return default
            decoded = self._decode(key, value)
            if self._remove_if_same(name, value):
                return decoded

    def popitem(self) -> tuple[str, Any]:
        """Remove some key, and return it and its value. KeyError if there is none."""
        if self._codec is None:
            return super().popitem()
        while True:
            with self.lock:
                name, value = self._some_member()
            key = self._keys.text(name)
            decoded = self._decode(key, value)
            if self._remove_if_same(name, value):
                return key, decoded

    def _remove_if_same(self, name: bytes, value: Value) -> bool:
        """Remove a key whose value was decoded meanwhile. False, with nothing changed, if it has another one now."""
        with self._writing:
            is_same: bool = self._live(name) == value
            if is_same:
                self._remove(name)
            return is_same

    def decr(self, key: str, by: float = 1) -> int | float:
        """`incr` by the negative number."""
        return self.incr(key, -by)

    def touch(self, key: str, ttl: float | None = None) -> bool:
        """Let a key be gone after `ttl` seconds (None: the cache's own; math.inf: never). Return True if it is there."""
        if self._ticks:
            with self.lock:
                self._note_use()
        return super().expire(key, ttl)

    def expire(self, key: str, ttl: float | None) -> bool:
        """Let a key be gone after `ttl` seconds, or never (None), in place of its expiry. Return True if it is there."""
        return super().expire(key, math.inf if ttl is None else ttl)

    # Many keys

    def update(self, other: Any = (), /, **values: Any) -> None:
        """`set` many values. TypeError, ValueError, CodecError or ValueTooLarge, with nothing changed, if one can't be stored.

        MediumError or CacheFull: none of them is stored, but other keys may have gone. All are stored in one step, unless they
        take more than the whole cache may, and the policy lets them go: then the last ones stay, as if each were set.
        """
        entries = self.encode_all(other, values)
        for group in self.groups(entries):
            if self.may_need_turns(group):
                self.vacate(group)
            self.put_all(group)

    # The cache as a whole

    def stats(self, *, reset: bool = False) -> Stats:
        """The hits and misses of `get`, and the keys that went for want of room. `reset`: they are counted from 0 again."""
        with self.lock:
            evicted = sum(keyspace.evicted for keyspace in self.databases)
            found = Stats(self._hits, self._misses, evicted - self._evicted_before)
            if reset:
                self._hits, self._misses, self._evicted_before = 0, 0, evicted
        return found

    @overload
    def memoize(self, function: Callable[P, R], /) -> Memoized[P, R]: ...

    @overload
    def memoize(
        self, /, *, ttl: float | None = None, key: Callable[..., Any] | None = None, name: str | None = None
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]: ...

    def memoize(
        self,
        function: Any = None,
        /,
        *,
        ttl: float | None = None,
        key: Callable[..., Any] | None = None,
        name: str | None = None,
    ) -> Any:
        """Keep the results of a function for `ttl` seconds: a decorator, `@cache.memoize` or `@cache.memoize(ttl=60)`.

        Results are known by the function's module and qualified name, or by `name`, and the arguments as JSON, defaults
        included: f((1,)) and f([1]) are one call. Of the variables of an enclosing function that are used in this one, those
        that are str, int, float, bool or None at the call tell results apart; others, such as functions, lists and objects,
        do not. Arguments that are no JSON raise TypeError at the call, unless there is a `key`, a function of the same
        arguments that gives JSON which stands for them. None is kept, exceptions are not. A result for which there is no
        room is returned, but not kept. Of threads that ask at the same time one computes.
        """
        return memoizing(function, lambda: self, ttl, key, name=name)

    # Values

    def _encode(self, key: str, value: Any) -> bytes:
        return super()._encode(key, value) if self._codec is None else encoded(self._codec, key, value)

    def _decode(self, key: str, value: Any) -> Any:
        if self._codec is None:
            return super()._decode(key, value)
        if isinstance(value, bytes):
            return decoded(self._codec, key, value)
        raise CodecError(f"the value of {key!r} is none that a codec has made")

    # What has become bytes

    def encode_all(self, other: Any, values: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
        """The names and entries of what `update` is given."""
        given: Iterable[tuple[str, Any]] = other
        if isinstance(other, Mapping):
            given = other.items()
        elif hasattr(other, "keys"):
            given = ((key, other[key]) for key in other.keys())  # noqa: SIM118
        entries = [(self._to_write(key), self._encode(key, value)) for key, value in given]
        return entries + [(self._to_write(key), self._encode(key, value)) for key, value in values.items()]

    def put(self, name: bytes, entry: bytes, ttl: float | None) -> None:
        """Store it, as `set` does."""
        with self._writing:
            if self._ticks:
                self._note_use()
            if ttl is None and self._ttl is None:
                self._put_until(name, entry, None)
            else:
                self._put(name, entry, ttl)
                self._sweep_step()

    def put_new(self, name: bytes, entry: bytes, ttl: float | None) -> Any:
        """Store it if the name is missing, and return None; else return what is there, for `_decode`."""
        with self._writing:
            present = self._live(name)
            if present is None:
                self._put(name, entry, ttl)
                return None
            return self._to_decode(present)

    def groups(self, entries: list[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
        """The entries of an `update`: all, or as many at a time as there is room for. ValueTooLarge if one is."""
        sizes = [len(name) + len(entry) + MOST_OVERHEAD for name, entry in entries]
        for size, named in zip(sizes, entries, strict=True):
            if size > self._size_limit:
                self._refuse_if_large(*named)
        may_go = self._policy.startswith("allkeys-") or (self._policy.startswith("volatile-") and self._ttl is not None)
        if sum(sizes) <= self._size_limit or not may_go:
            yield entries
            return
        begin = total = 0
        for index, size in enumerate(sizes):
            total += size
            if total > self._size_limit and index > begin:
                yield entries[begin:index]
                begin, total = index, size
        yield entries[begin:]

    def put_all(self, entries: list[tuple[bytes, bytes]]) -> None:
        """Store all of them, in one step, and one record of the journal."""
        with self._writing:
            if self._ticks:
                self._note_use()
            at_ms = None if self._ttl is None else self._expires_at_ms(self._ttl)
            self._spare_bytes -= most_bytes(entries)
            if self._spare_bytes < 0 and entries:
                self._make_room([(name, entry if at_ms is None else Expiring(entry, at_ms)) for name, entry in entries])
            if self._journal:
                self._record([each for name, entry in entries for each in kind_of(entry).recreation(name, entry, at_ms)])
            self._is_changed = True
            for name, entry in entries:
                if at_ms is None:
                    self._keyspace.set(name, entry)
                else:
                    self._keyspace.set_expiring(name, entry, at_ms)

    # Steps, for whoever holds the lock

    def _to_decode(self, value: Value) -> Any:
        """What `_decode` takes when the lock was let go: others may change in place what is no string."""
        return value if type(value) is bytes or type(value) is JSONText else Decoded(decode_value(value))

    def _put_sum(self, name: bytes, entry: bytes, before: Value | None) -> None:
        if before is None:
            self._put(name, entry, None)
        else:
            self._put_until(name, entry, self._keyspace.expires_at_ms(name))

    def _put(self, name: bytes, entry: Value, ttl: float | None) -> None:
        if ttl is None:
            ttl = self._ttl
        self._put_until(name, entry, None if ttl is None or ttl == math.inf else self._expires_at_ms(ttl))
