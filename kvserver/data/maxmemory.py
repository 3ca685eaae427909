"""The memory limit: the bytes that are used, the keys that may go, and the clocks of the policy. Pure.

The limit is a witness of the keyspace: it counts the writes while `maxmemory` is not 0, and notes the uses under an LRU or LFU
policy. Otherwise it is no witness, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.data.clocks import LFU_INITIAL, Clocks, Frequency, Recency
from kvserver.data.eviction import Eviction
from kvserver.data.footprint import Footprint
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import Access, Shard
from kvserver.options.config import Config

# Redis evicts for 500 us before a command, at the default tenacity of 10, then goes on in the background.
EVICTIONS_AT_10: Final = 128
# Redis, too, evicts at least so many, at any tenacity.
LEAST_EVICTIONS: Final = 16
# The factor for each point of tenacity above 10.
TENACITY_GROWTH: Final = 1.15
# Redis's clocks hold no more.
LONGEST_IDLE_S: Final = (1 << 24) - 1


class Memory:
    """The memory limit of a server. The server calls `configure` at the start, and when the options of it change.

    `limit_bytes` is 0 if there is no limit. `peak_bytes` is the most that `used_bytes` has returned.
    """

    def __init__(self, keyspace: Keyspace, now_ms: Callable[[], int], random_below: Callable[[int], int]) -> None:
        self.limit_bytes = 0
        self.peak_bytes = 0
        self._keyspace = keyspace
        self._now_ms = now_ms
        self._random_below = random_below
        self._footprint = Footprint(keyspace)
        self._recency: Recency | None = None
        self._frequency: Frequency | None = None
        self._eviction: Eviction | None = None
        self._evictions_per_call = EVICTIONS_AT_10

    def configure(self, config: Config) -> list[Shard]:
        """Act on the options. Returns the shards that are not used any more, to be freed in slices."""
        unused: list[Shard] = []
        policy = config.maxmemory_policy
        if policy.endswith("-lru"):
            self._recency = self._recency or Recency(self._now_ms())
        elif self._recency:
            unused, self._recency = self._recency.restart(), None
        if policy.endswith("-lfu"):
            if not self._frequency:
                self._frequency = Frequency(self._now_ms(), self._random_below)
            self._frequency.log_factor, self._frequency.decay_minutes = config.lfu_log_factor, config.lfu_decay_time
        elif self._frequency:
            unused, self._frequency = self._frequency.restart(), None
        if not config.maxmemory:
            self._footprint.forget()
        elif not self.limit_bytes:
            self._footprint.restart()
        self.limit_bytes = config.maxmemory
        self._evictions_per_call = _evictions_per_call(config.maxmemory_eviction_tenacity)
        self._eviction = None
        if policy != "noeviction":
            self._eviction = Eviction(self._keyspace, policy, self._clocks, config.maxmemory_samples, self._random_below)
        self._keyspace.attend(self if self.limit_bytes or self._clocks else None)
        return unused

    @property
    def _clocks(self) -> Clocks | None:
        return self._recency or self._frequency

    # What the keyspace calls

    def wrap(self, plain: Access) -> Access:
        access = self._footprint.wrap(plain) if self.limit_bytes else plain
        return self._clocks.wrap(access) if self._clocks else access

    def restart(self) -> list[Shard]:
        if self.limit_bytes:
            self._footprint.restart()
        return self._clocks.restart() if self._clocks else []

    # What commands ask

    @property
    def used_bytes(self) -> int:
        """The bytes that keys and values take. Without a limit they are estimated from some thousands of the keys."""
        used = self._footprint.estimate_bytes()
        self.peak_bytes = max(self.peak_bytes, used)
        return used

    @property
    def is_over(self) -> bool:
        """True if more is used than the limit allows."""
        return 0 < self.limit_bytes < self._footprint.used_bytes

    def make_room(self) -> bool:
        """Evict some keys if too much is used. False if there is no room, and no key may go."""
        keyspace, eviction = self._keyspace, self._eviction
        # Redis, too, refuses nothing during a pause of clients that could run without the pause.
        if keyspace.is_held:
            return True
        if eviction is None or not eviction.has_candidates:
            return not self.is_over
        for _ in range(self._evictions_per_call):
            if not self.is_over:
                return True
            key = eviction.victim()
            if key is None:
                break
            keyspace.remove(key)
            keyspace.evicted += 1
        return not self.is_over or eviction.has_candidates

    def idle_s(self, key: bytes) -> int:
        """The seconds since the last use of a key; under a policy other than LRU the least that they may be."""
        return (self._recency.score(key) if self._recency else self._keyspace.uses.idle_ms(key)) // 1000

    def frequency(self, key: bytes) -> int | None:
        """Redis's logarithmic counter of a key's uses, or None if the policy is none of LFU."""
        return self._frequency.count(key) if self._frequency else None

    def set_use(self, key: bytes, idle_s: int | None, frequency: int | None) -> None:
        """Set the idle time or the counter of a key that was just made, if the policy has any use for it."""
        if self._frequency:
            self._frequency.set_count(key, LFU_INITIAL if frequency is None else frequency)
        elif idle_s is not None:
            (self._recency or self._keyspace.uses).set_idle(key, min(idle_s, LONGEST_IDLE_S) * 1000)

    # What upkeep calls

    def tick(self) -> None:
        """Take notice of the time. Upkeep calls this some times a second."""
        now_ms = self._now_ms()
        self._keyspace.uses.tick(now_ms)
        if self._clocks:
            self._clocks.tick(now_ms)

    @property
    def is_unmeasured(self) -> bool:
        """True if there is a limit, and `measure` has not counted all keys yet."""
        return self.limit_bytes > 0 and not self._footprint.is_measured

    def measure(self) -> None:
        """Count the keys of one more shard."""
        self._footprint.measure()


def _evictions_per_call(tenacity: int) -> int:
    if tenacity <= 10:
        return max(LEAST_EVICTIONS, EVICTIONS_AT_10 * tenacity // 10)
    return round(EVICTIONS_AT_10 * TENACITY_GROWTH ** (tenacity - 10))
