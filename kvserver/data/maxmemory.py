"""The memory limit: the bytes that are used, the keys that may go, and the clocks of the policy. Pure.

The limit has a witness of each keyspace (`_Account`), which counts the writes while `maxmemory` is not 0, and notes the uses
under an LRU or LFU policy. Otherwise there is no witness, and nothing costs anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.data.clocks import LFU_INITIAL, Clocks, Frequency, Recency
from kvserver.data.databases import Databases
from kvserver.data.eviction import Eviction
from kvserver.data.footprint import Footprint
from kvserver.data.keyspace import Keyspace, Witness
from kvserver.data.shards import Access, Shard
from kvserver.options.config import Config

# Redis evicts for 500 us before a command, at the default tenacity of 10, then goes on in the background.
EVICTIONS_AT_10: Final = 128
# Redis, too, evicts at least so many, at any tenacity.
LEAST_EVICTIONS: Final = 16
# The factor for each point of tenacity above 10.
TENACITY_GROWTH: Final = 1.15
# A key is looked for so often: of many keys that may not go, one look sees only some.
LOOKS: Final = 64
# Redis's clocks hold no more.
LONGEST_IDLE_S: Final = (1 << 24) - 1


class _Account:
    """The witness of one keyspace: its footprint, which counts if `is_limited`, and the clocks of the policy, or None."""

    def __init__(self, keyspace: Keyspace) -> None:
        self.keyspace = keyspace
        self.footprint = Footprint(keyspace)
        self.is_limited = False
        self.recency: Recency | None = None
        self.frequency: Frequency | None = None

    @property
    def clocks(self) -> Clocks | None:
        return self.recency or self.frequency

    def configure(
        self, config: Config, now_ms: int, random_below: Callable[[int], int], make_recency: Callable[[int], Recency]
    ) -> list[Shard]:
        """Act on the options. Returns the shards that are not used any more, to be freed in slices."""
        unused: list[Shard] = []
        if config.maxmemory_policy.endswith("-lru"):
            self.recency = self.recency or make_recency(now_ms)
        elif self.recency:
            unused, self.recency = self.recency.restart(), None
        if config.maxmemory_policy.endswith("-lfu"):
            self.frequency = self.frequency or Frequency(now_ms, random_below)
            self.frequency.log_factor, self.frequency.decay_minutes = config.lfu_log_factor, config.lfu_decay_time
        elif self.frequency:
            unused, self.frequency = self.frequency.restart(), None
        if not config.maxmemory:
            self.footprint.forget()
        elif not self.is_limited:
            self.footprint.restart()
        self.is_limited = config.maxmemory > 0
        return unused

    # What the keyspace calls

    def wrap(self, plain: Access) -> Access:
        access = self.footprint.wrap(plain) if self.is_limited else plain
        return self.clocks.wrap(access) if self.clocks else access

    def restart(self) -> list[Shard]:
        if self.is_limited:
            self.footprint.restart()
        return self.clocks.restart() if self.clocks else []


class Memory:
    """The memory limit of a server. The server calls `configure` at the start, and when the options of it change.

    `limit_bytes` is 0 if there is no limit. `peak_bytes` is the most that `used_bytes` has returned. `make_recency` gives the
    clocks of an LRU policy for a keyspace.
    """

    def __init__(
        self,
        databases: Databases,
        config: Config,
        now_ms: Callable[[], int],
        random_below: Callable[[int], int],
        make_recency: Callable[[int], Recency] = Recency,
    ) -> None:
        self.limit_bytes = 0
        self.peak_bytes = 0
        self._databases = databases
        self._config = config
        self._now_ms = now_ms
        self._random_below = random_below
        self._make_recency = make_recency
        self._accounts: dict[Keyspace, _Account] = {}
        self._footprints: list[Footprint] = []
        self._eviction: Eviction | None = None
        self._evictions_per_call = EVICTIONS_AT_10
        databases.attend(self._attend)

    def configure(self) -> list[Shard]:
        """Act on the options. Returns the shards that are not used any more, to be freed in slices."""
        config, unused = self._config, list[Shard]()
        for account in self._accounts.values():
            unused += account.configure(config, self._now_ms(), self._random_below, self._make_recency)
        self.limit_bytes = config.maxmemory
        self._evictions_per_call = _evictions_per_call(config.maxmemory_eviction_tenacity)
        self._eviction = None
        if config.maxmemory_policy != "noeviction":
            self._eviction = Eviction(
                self._databases, config.maxmemory_policy, self._clocks_of, config.maxmemory_samples, self._random_below
            )
        for account in self._accounts.values():
            account.keyspace.attend(self._witness(account))
        return unused

    def _attend(self, keyspace: Keyspace) -> Witness | None:
        """The witness of a keyspace that is new, if it needs one."""
        account = self._accounts[keyspace] = _Account(keyspace)
        self._footprints.append(account.footprint)
        account.configure(self._config, self._now_ms(), self._random_below, self._make_recency)
        return self._witness(account)

    def _witness(self, account: _Account) -> Witness | None:
        return account if account.is_limited or account.clocks else None

    def _clocks_of(self, keyspace: Keyspace) -> Clocks | None:
        return self._accounts[keyspace].clocks

    # What commands ask

    @property
    def used_bytes(self) -> int:
        """The bytes that keys and values take. Without a limit they are estimated from some thousands of the keys."""
        used = sum(account.footprint.estimate_bytes() for account in self._accounts.values())
        self.peak_bytes = max(self.peak_bytes, used)
        return used

    @property
    def is_over(self) -> bool:
        """True if more is used than the limit allows."""
        used = 0
        # Measured: a sum of what a comprehension gives takes twice the time.
        for footprint in self._footprints:
            used += footprint.used_bytes
        return 0 < self.limit_bytes < used

    @property
    def room_bytes(self) -> int:
        """The bytes that may be used besides; less than 0 if more is used than the limit allows."""
        room = self.limit_bytes
        # As in `is_over`.
        for footprint in self._footprints:
            room -= footprint.used_bytes
        return room

    def evict_one(self) -> bool:
        """Evict a key, if the policy lets one go. Return True if one went."""
        eviction = self._eviction
        if eviction is None:
            return False
        for _ in range(LOOKS):
            victim = eviction.victim()
            if victim is not None:
                self._evict(*victim)
                return True
            # Measured: this is asked only now, since to count the keys takes longer than to evict one.
            if not eviction.has_candidates:
                return False
        return False

    def _evict(self, keyspace: Keyspace, key: bytes) -> None:
        keyspace.remove(key)
        keyspace.evicted += 1

    def make_room(self) -> bool:
        """Evict some keys if too much is used. False if there is no room, and no key may go."""
        eviction = self._eviction
        # Redis, too, refuses nothing during a pause of clients that could run without the pause.
        if self._databases.is_held:
            return True
        if eviction is None or not eviction.has_candidates:
            return not self.is_over
        for _ in range(self._evictions_per_call):
            if not self.is_over:
                return True
            victim = eviction.victim()
            if victim is None:
                break
            self._evict(*victim)
        return not self.is_over or eviction.has_candidates

    def idle_s(self, keyspace: Keyspace, key: bytes) -> int:
        """The seconds since the last use of a key; under a policy other than LRU the least that they may be."""
        recency = self._accounts[keyspace].recency
        return (recency.score(key) if recency else keyspace.uses.idle_ms(key)) // 1000

    def frequency(self, keyspace: Keyspace, key: bytes) -> int | None:
        """Redis's logarithmic counter of a key's uses, or None if the policy is none of LFU."""
        frequency = self._accounts[keyspace].frequency
        return frequency.count(key) if frequency else None

    def set_use(self, keyspace: Keyspace, key: bytes, idle_s: int | None, frequency: int | None) -> None:
        """Set the idle time or the counter of a key that was just made, if the policy has any use for it."""
        account = self._accounts[keyspace]
        if account.frequency:
            account.frequency.set_count(key, LFU_INITIAL if frequency is None else frequency)
        elif idle_s is not None:
            (account.recency or keyspace.uses).set_idle(key, min(idle_s, LONGEST_IDLE_S) * 1000)

    # What upkeep calls

    def tick(self) -> None:
        """Take notice of the time. Upkeep calls this some times a second."""
        now_ms = self._now_ms()
        for account in self._accounts.values():
            account.keyspace.uses.tick(now_ms)
            if account.clocks:
                account.clocks.tick(now_ms)

    @property
    def is_unmeasured(self) -> bool:
        """True if there is a limit, and `measure` has not counted all keys yet."""
        return self.limit_bytes > 0 and any(not account.footprint.is_measured for account in self._accounts.values())

    def measure(self) -> None:
        """Count the keys of one more shard."""
        for account in self._accounts.values():
            if not account.footprint.is_measured:
                account.footprint.measure()
                break


def _evictions_per_call(tenacity: int) -> int:
    if tenacity <= 10:
        return max(LEAST_EVICTIONS, EVICTIONS_AT_10 * tenacity // 10)
    return round(EVICTIONS_AT_10 * TENACITY_GROWTH ** (tenacity - 10))
