"""Cache: a KVStore with a size limit, eviction by Redis's policies, values by a codec, and memoize.

The sizes are the estimates by which a server keeps to `maxmemory` (`data/footprint`), the policies are its own
(`data/eviction`). Room is made before a value is stored, so that the limit holds at all times. What is evicted is recorded as
deleted. This never decides how anything is kept: KVStore does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from os import PathLike
from typing import Any, Final, Generic, NamedTuple, ParamSpec, TypeVar, overload

from kvserver.data.clocks import Order
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.footprint import BLOCK_BYTES, EMPTY_BYTES, EXPIRY_BYTES, SLOT_BYTES, STRING_BYTES, entry_bytes
from kvserver.data.kinds import kind_of
from kvserver.data.maxmemory import Memory
from kvserver.errors import CacheFull, CodecError, ValueTooLarge
from kvserver.formats.codec import JSONText
from kvserver.library.codec import Codec, decoded, encoded
from kvserver.library.journal import Fsync
from kvserver.library.keeping import Keeping
from kvserver.library.memoized import Memoized, memoizing
from kvserver.library.store import KVStore
from kvserver.library.values import add, expires_at_ms
from kvserver.options.config import Config
from kvserver.options.kinds import EVICTION_POLICY
from kvserver.system import now_ms, random_below

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# An entry takes no more than these bytes besides those of its key and its value.
_MOST_OVERHEAD: Final = SLOT_BYTES + 2 * STRING_BYTES + EXPIRY_BYTES + BLOCK_BYTES
# The clocks of an LFU policy are told the time each so many uses.
_USES_PER_TICK: Final = 64


class Stats(NamedTuple):
    """The figures of a cache since it was opened, or since they were reset."""

    hits: int
    misses: int
    evictions: int


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


class Cache(KVStore, Generic[T]):
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
      room: then nothing has changed.
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
        self._policy = config.maxmemory_policy
        self._ttl = None if ttl == math.inf else ttl
        self._codec = codec
        self._size_limit = size_limit
        self._hits = self._misses = self._uses = self._evicted_before = 0
        # There is room for so many bytes, and perhaps more: it need not be counted at each call.
        self._spare_bytes = 0
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

    # One key

    def set(self, key: str, value: T, ttl: float | None = None) -> None:
        """Store a value as it is now, which is gone after `ttl` seconds (None: the cache's own ttl; math.inf: never).

        TypeError or ValueError if it is no JSON, the key no str or the ttl no positive number; CodecError; ValueTooLarge, or
        CacheFull. Then nothing has changed, but that other keys may have gone. MediumError if the journal can't be written.
        """
        name, entry = self._to_write(key), self._encode(key, value)
        with self._writing:
            if self._ticks:
                self._note_use()
            if ttl is None and self._ttl is None:
                self._put_until(name, entry, None)
            else:
                self._put(name, entry, ttl)
                self._sweep_step()

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
                self._hits += 1
                # Others may be changed in place as soon as the lock is let go.
                return self._decode(key, value)
            self._hits += 1
        return self._decode(key, value)

    def peek(self, key: str, default: Any = None) -> Any:
        """`get` that is no use of the key, and neither hit nor miss."""
        name = self._to_find(key)
        with self.lock:
            value = self._keyspace.peek_live(name)
            living = None if value is None else self._keyspace.living(value)
            return default if living is None else self._decode(key, living)

    def incr(self, key: str, by: float = 1) -> int | float:
        """Add to a number, a missing one being 0, and return the sum. An expiry stays; a new key has the cache's ttl."""
        name = self._to_write(key)
        with self._writing:
            if self._ticks:
                self._note_use()
            value = self._live(name)
            total, entry = add(value, by) if self._codec is None else self._added(key, value, by)
            if value is None:
                self._put(name, entry, None)
            else:
                self._put_until(name, entry, self._keyspace.expires_at_ms(name))
        return total

    def _added(self, key: str, value: Value | None, by: float) -> tuple[int | float, bytes]:
        """`values.add` for a number that the codec has encoded."""
        number = 0 if value is None else self._decode(key, value)
        for each, what in ((number, f"the value of {key!r}"), (by, "by")):
            if isinstance(each, bool) or not isinstance(each, int | float):
                raise TypeError(f"{what} is no number, but a {type(each).__name__}")
        return number + by, self._encode(key, number + by)

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
        """Store many values. TypeError, ValueError or CodecError, with nothing changed, if one of them can't be stored."""
        given: Iterable[tuple[str, Any]] = other
        if isinstance(other, Mapping):
            given = other.items()
        elif hasattr(other, "keys"):
            given = ((key, other[key]) for key in other.keys())  # noqa: SIM118
        entries = [(self._to_write(key), self._encode(key, value)) for key, value in given]
        entries += [(self._to_write(key), self._encode(key, value)) for key, value in values.items()]
        for name, entry in entries:
            if len(name) + len(entry) + _MOST_OVERHEAD > self._size_limit:
                self._refuse_if_large(name, entry)
        # The journal has all as one record, with the keys that go meanwhile.
        store: Callable[[bytes, Value, int | None], None] = self._keyspace.put if self._journal else super()._put_until
        with self._writing:
            if self._ticks:
                self._note_use()
            expires_at_ms = None if self._ttl is None else self._expires_at_ms(self._ttl)
            try:
                for name, entry in entries:
                    self._find_room(name, entry, expires_at_ms)
                    store(name, entry, expires_at_ms)
            finally:
                self.settle()

    def restore(self) -> bool:
        """`KVStore.restore`; then keys go until the limit holds."""
        is_there = super().restore()
        self._adopt()
        return is_there

    # The cache as a whole

    def volume(self) -> int:
        """The bytes that keys and values take, by the estimate that `size_limit` is for."""
        with self.lock:
            return self._size_limit - self._memory.room_bytes

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
        self, /, *, ttl: float | None = None, key: Callable[..., Any] | None = None
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]: ...

    def memoize(self, function: Any = None, /, *, ttl: float | None = None, key: Callable[..., Any] | None = None) -> Any:
        """Keep the results of a function for `ttl` seconds: a decorator, `@cache.memoize` or `@cache.memoize(ttl=60)`.

        Results are known by the function's module and qualified name and the arguments as JSON, defaults included. Arguments
        that are no JSON raise TypeError at the call, unless there is a `key`, a function of the same arguments that gives
        JSON which stands for them. None is kept, exceptions are not. Of threads that ask at the same time one computes.
        """
        return memoizing(function, lambda: self, ttl, key)

    # Values

    def _encode(self, key: str, value: Any) -> bytes:
        return super()._encode(key, value) if self._codec is None else encoded(self._codec, key, value)

    def _decode(self, key: str, value: Any) -> Any:
        if self._codec is None:
            return super()._decode(key, value)
        if isinstance(value, bytes):
            return decoded(self._codec, key, value)
        raise CodecError(f"the value of {key!r} is none that a codec has made")

    # Steps, for whoever holds the lock

    def _note_use(self) -> None:
        """Tell the clocks of an LFU policy the time, now and then."""
        self._uses += 1
        if not self._uses % _USES_PER_TICK:
            self._memory.tick()

    def _put(self, name: bytes, entry: Value, ttl: float | None) -> None:
        if ttl is None:
            ttl = self._ttl
        self._put_until(name, entry, None if ttl is None or ttl == math.inf else self._expires_at_ms(ttl))

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
            self._spare_bytes -= len(name) + len(entry) + _MOST_OVERHEAD
            if self._spare_bytes >= 0:
                return
        self._make_room(name, entry if expires_at_ms is None else Expiring(entry, expires_at_ms))

    def _make_room(self, name: bytes, entry: Entry) -> None:
        self._refuse_if_large(name, entry)
        while self._memory.room_bytes < self._growth(name, entry):
            if not self._memory.evict_one():
                self.settle()
                raise CacheFull(f"no key may go, by {self._policy}, and there is no room for {self._keys.text(name)!r}")
            self._is_changed = True
        self._drop_records()
        self._spare_bytes = self._memory.room_bytes - self._growth(name, entry)

    def _growth(self, name: bytes, entry: Entry) -> int:
        """The bytes by which the volume grows when this is stored. A key that is there may be evicted meanwhile."""
        present = self._keyspace.peek(name)
        return entry_bytes(name, entry) - (0 if present is None else entry_bytes(name, present))

    def _refuse_if_large(self, name: bytes, entry: Entry) -> None:
        size = entry_bytes(name, entry)
        if size > self._size_limit:
            raise ValueTooLarge(
                f"the value of {self._keys.text(name)!r} takes {size} bytes with its key, and all may take {self._size_limit}"
            )
