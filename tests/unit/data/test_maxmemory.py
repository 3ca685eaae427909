"""A limit of memory is kept by evicting or refusing, also in a freeze, and costs nothing where there is none."""

from __future__ import annotations

import random
from typing import Any

import pytest

from helpers.sessions import Server, run, text
from kvserver.data.footprint import EMPTY_BYTES, entry_bytes
from kvserver.data.maxmemory import EVICTIONS_AT_10, LEAST_EVICTIONS
from kvserver.data.shards import new_shards
from kvserver.engine.upkeep import Upkeep
from kvserver.state.session import Session

OOM = "OOM command not allowed when used memory > 'maxmemory'."
POLICIES = [f"{who}-{what}" for who in ("volatile", "allkeys") for what in ("lru", "lfu", "random")] + ["volatile-ttl"]


class Limited:
    """A server with a limit, whose commands run as the writer runs them."""

    def __init__(self, limit_bytes: int, policy: str = "noeviction") -> None:
        self.server = Server()
        self.session: Session = self.server.session()
        self.keyspace = self.server.keyspace
        self.memory = self.server.state.memory
        self.set(maxmemory=limit_bytes and EMPTY_BYTES + limit_bytes, maxmemory_policy=policy)

    def set(self, **options: Any) -> None:
        for name, value in options.items():
            setattr(self.server.state.config, name, value)
        self.memory.configure()
        while self.memory.is_unmeasured:
            self.memory.measure()

    def run(self, *words: bytes | str | int) -> Any:
        return run(self.session, *words)

    @property
    def total_bytes(self) -> int:
        return EMPTY_BYTES + sum(entry_bytes(key, entry) for key, entry in self.keyspace.members())


def test_without_a_limit_nobody_is_told_of_an_access() -> None:
    server = Server()
    plain = server.keyspace.get
    server.state.memory.configure()
    assert server.keyspace.get is plain
    for maxmemory, policy, is_plain in (
        (1_000_000, "allkeys-lru", False),
        (0, "allkeys-lru", False),  # the policy still wants clocks
        (0, "noeviction", True),
        (1_000_000, "noeviction", True),  # reads pay nothing for a limit alone
    ):
        server.state.config.maxmemory, server.state.config.maxmemory_policy = maxmemory, policy
        server.state.memory.configure()
        assert (server.keyspace.get is plain) is is_plain


def test_keys_are_evicted_one_by_one_and_the_room_is_told() -> None:
    limited = Limited(10_000, "allkeys-lru")
    assert limited.memory.room_bytes == 10_000
    for number in range(5):
        limited.run("SET", number, "x" * 100)
    assert limited.memory.room_bytes == 10_000 + EMPTY_BYTES - limited.total_bytes
    assert [limited.memory.evict_one() for _ in range(6)] == [True] * 5 + [False]
    assert (limited.memory.room_bytes, limited.keyspace.evicted) == (10_000, 5)
    for policy in ("noeviction", "volatile-ttl"):
        limited.set(maxmemory_policy=policy)
        limited.run("SET", "k", "x")
        assert not limited.memory.evict_one()


def test_writes_are_refused_while_too_much_is_used_and_nothing_may_go() -> None:
    limited = Limited(1_000)
    answers = [text(limited.run("SET", number, "x" * 100)) for number in range(10)]
    assert answers[:4] == ["OK"] * 4
    assert answers[5:] == [OOM] * 5
    assert limited.memory.used_bytes == limited.total_bytes > EMPTY_BYTES + 1_000
    for words in (("JSON.SET", "k", "$", "1"), ("COPY", "0", "k"), ("RESTORE", "k", 0, "x")):
        assert text(limited.run(*words)) == OOM
    assert limited.run("GET", "0") == b"x" * 100
    assert limited.run("EXPIRE", "0", 100) == 1
    assert text(limited.run("RENAME", "0", "k")) == "OK"
    assert limited.run("DEL", "k", "1") == 2
    assert text(limited.run("SET", "k", "v")) == "OK"


# What makes a collection grow by one member: a number, and some bytes.
GROWING = (("HSET", "k", "{0}", "{1}"), ("RPUSH", "k", "{0}{1}"), ("SADD", "k", "{0}{1}"), ("ZADD", "k", "{0}", "{0}{1}"))


@pytest.mark.parametrize("words", GROWING)
@pytest.mark.parametrize("is_frozen", [False, True])
def test_collection_that_grows_in_place_comes_to_the_limit(words: tuple[str, ...], is_frozen: bool) -> None:
    limited = Limited(60_000)
    cut = None
    for number in range(1_000):
        answer = limited.run(*(word.format(number, "x" * 100) for word in words))
        if getattr(answer, "text", "") == OOM:
            break
        # Of so many members the collection is changed in place.
        if number == 100 and is_frozen:
            cut = limited.keyspace.cut()
    assert 150 < number < 600
    assert limited.memory.used_bytes == limited.total_bytes > EMPTY_BYTES + 60_000
    for _ in limited.keyspace.fold(cut) if cut else ():
        pass
    assert limited.memory.used_bytes == limited.total_bytes
    assert limited.run("DEL", "k") == 1
    assert limited.memory.used_bytes == EMPTY_BYTES


@pytest.mark.parametrize("policy", POLICIES)
def test_collections_of_all_types_are_let_go(policy: str) -> None:
    limited = Limited(50_000, policy)
    for number in range(100):
        name, _, *words = GROWING[number % 4]
        size = 20 if number % 3 else 80
        for place in range(size):
            each = (word.format(place, "x" * 10) for word in words)
            assert getattr(limited.run(name, f"{name}{number}", *each), "text", "") != OOM
            if not place:
                limited.run("EXPIRE", f"{name}{number}", 1_000)
    assert limited.memory.used_bytes == limited.total_bytes
    # One collection may be counted much higher once it is changed in place.
    assert EMPTY_BYTES + 25_000 < limited.memory.used_bytes < EMPTY_BYTES + 70_000
    # Some went before they had all their members, and were made again.
    assert limited.keyspace.evicted >= 100 - len(limited.keyspace) > 20


async def test_nothing_goes_or_is_refused_while_keys_are_held() -> None:
    limited = Limited(10_000, "allkeys-random")
    for number in range(200):
        limited.run("SET", number, "x" * 100)
    evicted, there = limited.keyspace.evicted, len(limited.keyspace)
    limited.keyspace.is_held = True
    assert text(limited.run("SET", "k", "x" * 5_000)) == "OK"
    assert text(limited.run("SET", "l", "v")) == "OK"
    upkeep = Upkeep(limited.server.state, lambda commands: None, lambda deliveries: None, lambda: None)
    upkeep.begin()
    upkeep.end()
    assert (limited.keyspace.evicted, len(limited.keyspace)) == (evicted, there + 2)
    limited.keyspace.is_held = False
    assert text(limited.run("SET", "m", "v")) == "OK"
    assert limited.memory.used_bytes <= EMPTY_BYTES + 10_200


def test_restore_that_loads_is_never_refused() -> None:
    limited = Limited(1)
    limited.run("SET", "k", "v")
    assert text(limited.run("SET", "k", "v")) == OOM
    assert not hasattr(limited.run("RESTORE"), "text")


def test_every_command_that_redis_refuses_is_refused() -> None:
    limited = Limited(1)
    for command in limited.server.table.commands.values():
        limited.keyspace.set(b"k", b"v")
        answer = limited.run(command.name, *["x"] * (abs(command.arity) - 1))
        limited.session.reset()  # a queue takes memory, too
        if "denyoom" in command.flags:
            assert getattr(answer, "text", "") == OOM, command.name
        else:
            assert getattr(answer, "text", "") != OOM, command.name


@pytest.mark.parametrize("policy", POLICIES)
def test_limit_is_kept_by_letting_keys_go(policy: str) -> None:
    limited = Limited(50_000, policy)
    chance = random.Random(1)
    for number in range(2_000):
        assert text(limited.run("SET", number, "x" * chance.randrange(100), "EX", 1_000)) == "OK"
        limited.run("GET", chance.randrange(number + 1))
        assert limited.memory.used_bytes < EMPTY_BYTES + 50_000 + 400
    assert limited.memory.used_bytes == limited.total_bytes > EMPTY_BYTES + 45_000
    assert limited.keyspace.evicted == 2_000 - len(limited.keyspace)


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy.startswith("volatile")])
def test_volatile_policies_refuse_writes_when_no_key_expires(policy: str) -> None:
    limited = Limited(10_000, policy)
    answers = [text(limited.run("SET", number, "x" * 100)) for number in range(100)]
    assert answers[-1] == OOM
    assert limited.keyspace.evicted == 0
    limited.set(maxmemory=EMPTY_BYTES + 11_000)
    assert text(limited.run("SET", "expiring", "v", "EX", 100)) == "OK"
    limited.set(maxmemory=EMPTY_BYTES + 10_000)
    assert text(limited.run("SET", "k", "v")) == OOM
    assert limited.keyspace.evicted == 1, "it was let go though that was not enough"


def test_what_goes_is_written_as_deleted_so_that_a_replay_gives_the_same() -> None:
    limited = Limited(20_000, "allkeys-random")
    for number in range(500):
        limited.run("SET", number, "x" * 50)
    replica = Server()
    for args in limited.keyspace.records.take():
        run(replica.session(), *args)
    assert dict(replica.keyspace.members()) == dict(limited.keyspace.members())
    assert limited.keyspace.evicted > 300


def test_limit_set_on_data_is_measured_in_steps_and_kept_in_bounded_calls() -> None:
    server = Server()
    for number in range(15_000):
        server.keyspace.set(b"%d" % number, b"v")
    memory = server.state.memory
    used = EMPTY_BYTES + sum(entry_bytes(key, entry) for key, entry in server.keyspace.members())
    server.state.config.maxmemory, server.state.config.maxmemory_policy = used // 2, "allkeys-lru"
    memory.configure()
    steps = 0
    while memory.is_unmeasured:
        memory.measure()
        steps += 1
    assert steps > 900
    assert memory.used_bytes == used
    calls = 0
    while memory.is_over:
        before = len(server.keyspace)
        assert memory.make_room()
        assert before - len(server.keyspace) <= EVICTIONS_AT_10
        calls += 1
    assert calls > 10
    assert used * 0.48 < memory.used_bytes <= used // 2


def test_what_goes_while_frozen_counts_as_gone_though_the_snapshot_still_holds_it() -> None:
    limited = Limited(50_000, "allkeys-lru")
    for number in range(400):
        limited.run("SET", number, "x" * 50)
    cut = limited.keyspace.cut()
    there = len(limited.keyspace)
    for number in range(400, 500):
        assert text(limited.run("SET", number, "x" * 50)) == "OK"
    assert there - 30 < len(limited.keyspace) <= there + 1, "more was let go than the new ones needed"
    assert len(cut) == there
    for _ in limited.keyspace.fold(cut):
        pass
    assert limited.memory.used_bytes == limited.total_bytes <= EMPTY_BYTES + 50_200


def test_replaced_data_is_measured_anew() -> None:
    limited = Limited(10_000, "allkeys-lru")
    for number in range(50):
        limited.run("SET", number, "v")
    limited.keyspace.replace(new_shards())
    assert limited.memory.used_bytes == EMPTY_BYTES
    limited.run("SET", "k", "v")
    assert limited.memory.used_bytes == limited.total_bytes


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_without_a_limit_what_is_used_is_estimated_when_asked(policy: str) -> None:
    limited = Limited(0, policy)
    limited.run("SET", "k", "v")
    assert limited.memory.used_bytes == limited.total_bytes
    limited.set(maxmemory=10_000_000)
    limited.run("SET", "l", "v")
    limited.set(maxmemory=0)
    limited.run("SET", "m", "v")
    assert limited.memory.used_bytes == limited.total_bytes
    limited.keyspace.replace(new_shards())
    limited.run("SET", "m", "v")
    assert limited.memory.used_bytes == limited.total_bytes


def test_tenacity_says_how_many_may_go_at_once() -> None:
    limited = Limited(0, "allkeys-random")
    for number in range(3_000):
        limited.keyspace.set(b"%d" % number, b"v")
    gone = []
    for tenacity in (0, 10, 20):
        limited.set(maxmemory=1, maxmemory_eviction_tenacity=tenacity)
        before = len(limited.keyspace)
        assert limited.memory.make_room()
        gone.append(before - len(limited.keyspace))
    assert gone == [LEAST_EVICTIONS, EVICTIONS_AT_10, 518]


def test_clocks_last_when_other_options_change_and_not_when_the_policy_does() -> None:
    limited = Limited(1_000_000, "allkeys-lru")
    limited.run("SET", "k", "v")
    limited.server.clock.now_ms += 5_000
    limited.memory.tick()
    assert limited.run("OBJECT", "IDLETIME", "k") == 5
    limited.set(maxmemory=2_000_000, maxmemory_samples=10)
    assert limited.run("OBJECT", "IDLETIME", "k") == 5
    limited.set(maxmemory_policy="volatile-lru")
    assert limited.run("OBJECT", "IDLETIME", "k") == 5
    limited.set(maxmemory_policy="allkeys-lfu")
    assert "An LFU maxmemory policy is selected" in text(limited.run("OBJECT", "IDLETIME", "k"))
    assert limited.run("OBJECT", "FREQ", "k") == 5
    limited.set(lfu_decay_time=0)
    limited.server.clock.now_ms += 600_000
    limited.memory.tick()
    assert limited.run("OBJECT", "FREQ", "k") == 5
    limited.set(lfu_decay_time=2)
    assert limited.run("OBJECT", "FREQ", "k") == 0
    limited.set(maxmemory_policy="allkeys-random")
    assert limited.run("OBJECT", "IDLETIME", "k") == 605
    assert "An LFU maxmemory policy is not selected" in text(limited.run("OBJECT", "FREQ", "k"))


def test_limit_below_what_an_empty_keyspace_takes_refuses_every_write() -> None:
    for policy in ("noeviction", "allkeys-lru", "volatile-ttl"):
        limited = Limited(0, policy)
        limited.run("SET", "k", "v")
        limited.set(maxmemory=1)
        assert text(limited.run("SET", "l", "v")) == OOM
        assert limited.run("EXISTS", "k") == (policy != "allkeys-lru")


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl"])
def test_limit_is_for_all_databases_together(policy: str) -> None:
    limited = Limited(300_000, policy)
    for number in range(1_500):
        assert text(limited.run("SELECT", number % 3)) == "OK"
        assert text(limited.run("SET", number, "x" * 500, "EX", 1_000 + number)) == "OK"
    databases = limited.server.state.databases
    total = sum(EMPTY_BYTES + sum(entry_bytes(*member) for member in keyspace.members()) for keyspace in databases)
    assert limited.memory.used_bytes == total
    assert total <= limited.memory.limit_bytes + 1_000
    assert all(keyspace.evicted > 50 for keyspace in databases)
    limited.run("FLUSHALL")
    assert limited.memory.used_bytes == 3 * EMPTY_BYTES


def test_clocks_are_those_of_the_database() -> None:
    limited = Limited(0, "allkeys-lru")
    limited.run("SET", "k", "v")
    limited.run("SELECT", 1)
    limited.server.clock.now_ms += 10_000
    limited.memory.tick()
    limited.run("SET", "k", "v")
    assert limited.run("OBJECT", "IDLETIME", "k") == 0
    limited.run("SELECT", 0)
    assert limited.run("OBJECT", "IDLETIME", "k") == 10


@pytest.mark.parametrize("change", ["SET", "DEL"])
def test_data_that_is_replaced_while_it_is_frozen_is_counted_without_the_writes_since_the_cut(change: str) -> None:
    limited = Limited(10_000_000)
    for number in range(100):
        limited.run("SET", f"k{number}", "v")
    frozen = limited.server.state.databases.cut()
    for number in range(100):
        limited.run(change, f"k{number}", *["x" * 10_000] * (change == "SET"))
    limited.server.state.databases.clear()
    assert (len(limited.keyspace), limited.memory.used_bytes) == (0, EMPTY_BYTES)
    limited.run("SET", "k1", "new")
    for _ in frozen.fold():
        pass
    assert (len(limited.keyspace), limited.memory.used_bytes) == (1, limited.total_bytes)
    assert limited.run("GET", "k1") == b"new"
