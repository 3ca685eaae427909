"""A key is never idle for longer than nobody has used it, and just as long where it alone has its place."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from helpers.sessions import START_MS, Clock
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import new_shards
from kvserver.data.uses import PLACES_PER_SHARD, REMEMBERED_KEYS, Uses


class Used:
    """A keyspace on a clock that ticks."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.keyspace = Keyspace(self.clock)

    @property
    def uses(self) -> Uses:
        return self.keyspace.uses

    def wait(self, milliseconds: int) -> None:
        self.clock.now_ms += milliseconds
        self.uses.tick(self.clock.now_ms)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_key_is_idle_from_its_last_use_on(is_frozen: bool) -> None:
    used = Used()
    keyspace = used.keyspace
    keyspace.set(b"k", b"v")
    if is_frozen:
        keyspace.cut()
    ways: list[Callable[[], object]] = [
        lambda: keyspace.get(b"k"),
        lambda: keyspace.set(b"k", b"w"),
        lambda: keyspace.live(b"k"),
        lambda: keyspace.read(b"k"),
        lambda: keyspace.set_expiring(b"k", b"v", START_MS * 2),
        lambda: keyspace.set_many([[b"SET", b"k", b"x"]]),
    ]
    if not is_frozen:
        ways.append(lambda: keyspace.get_many([b"k"]))
    for way in ways:
        used.wait(3_000)
        assert used.uses.idle_ms(b"k") == 3_000
        way()
        assert used.uses.idle_ms(b"k") == 0
    used.wait(500)
    keyspace.peek(b"k")
    keyspace.peek_live(b"k")
    keyspace.expires_at_ms(b"k")
    assert len(keyspace) == 1
    assert used.uses.idle_ms(b"k") == 500


def test_key_shares_the_time_of_its_place_alone_and_of_its_shard_where_many_keys_were_used_at_once() -> None:
    used = Used()
    keyspace, uses = used.keyspace, used.uses
    keys = [b"%d" % number for number in range(3_000)]
    places, shards = len(uses.places), keyspace.shard_count
    assert places == PLACES_PER_SHARD * shards
    by_place: dict[int, int] = {}
    by_shard: dict[int, int] = {}
    rng = random.Random(1)
    for _ in range(2_000):
        used.wait(rng.randrange(3))
        key = rng.choice(keys)
        if rng.random() < 0.01:
            keyspace.get_many([key]) if rng.random() < 0.5 else keyspace.set_many([[b"SET", key, b"v"]])
            by_shard[hash(key) % shards] = used.clock.now_ms
        else:
            keyspace.get(key) if rng.random() < 0.5 else keyspace.set(key, b"v")
            by_place[hash(key) % places] = used.clock.now_ms
    for key in keys:
        last_ms = max(by_place.get(hash(key) % places, START_MS), by_shard.get(hash(key) % shards, START_MS))
        assert uses.idle_ms(key) == used.clock.now_ms - last_ms


def test_other_data_counts_as_used_when_it_came() -> None:
    used = Used()
    used.keyspace.set_many([[b"SET", b"k", b"v"]])
    used.uses.set_idle(b"l", 5_000)
    used.wait(1_000)
    used.clock.now_ms += 50  # no tick yet
    used.keyspace.replace(new_shards())
    assert used.uses.idle_ms(b"k") == used.uses.idle_ms(b"l") == 0
    used.wait(7)
    assert used.uses.idle_ms(b"k") == used.uses.idle_ms(b"l") == 7


def test_idle_time_may_be_set_in_the_tick_in_which_other_data_came() -> None:
    used = Used()
    used.keyspace.replace(new_shards())
    used.keyspace.set_many([[b"SET", b"k", b"v"]])
    used.uses.set_idle(b"k", 5_000)
    assert used.uses.idle_ms(b"k") == 5_000
    used.keyspace.set_many([[b"SET", b"k", b"v"]])
    assert used.uses.idle_ms(b"k") == 0


@pytest.mark.parametrize("is_alike", [False, True])
def test_idle_time_that_was_set_lasts_until_the_next_use_be_it_in_the_same_tick(is_alike: bool) -> None:
    used = Used()

    def use() -> None:
        if is_alike:
            used.keyspace.get_many([b"k"])
        else:
            used.keyspace.get(b"k")

    use()
    used.uses.set_idle(b"k", 100_000)
    assert used.uses.idle_ms(b"k") == 100_000
    used.uses.set_idle(b"k", 200_000)
    used.wait(10)
    assert used.uses.idle_ms(b"k") == 200_010
    use()
    assert used.uses.idle_ms(b"k") == 0
    used.uses.set_idle(b"k", 100_000)
    use()
    assert used.uses.idle_ms(b"k") == 0


def test_idle_times_that_were_set_are_remembered_of_so_many_keys() -> None:
    uses = Uses(10_000, START_MS)
    for number in range(REMEMBERED_KEYS + 1):
        uses.set_idle(b"%d" % number, 5_000)
    assert uses.idle_ms(b"0") == 1
    assert uses.idle_ms(b"1") == uses.idle_ms(b"%d" % REMEMBERED_KEYS) == 5_000


def test_clock_that_is_set_back_makes_nothing_negative() -> None:
    used = Used()
    used.keyspace.set(b"k", b"v")
    used.wait(-500)
    assert used.uses.idle_ms(b"k") == 0
