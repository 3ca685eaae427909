"""Alike commands that a client sends in one go, run at once, give the same replies and leave the same data as one by one."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from helpers.documents import exact
from helpers.sessions import START_MS, Server, measured, run
from kvserver._speedups import choice
from kvserver._speedups.runs import run_calls
from kvserver.data.entries import Expiring, Value
from kvserver.data.kinds import fork
from kvserver.data.notes import Notes
from kvserver.data.recording import EXPIRED
from kvserver.data.shards import new_shards
from kvserver.dispatch.command import Many
from kvserver.formats.codec import JSONText
from kvserver.resp.reply import CACHED_BULK_HEADERS, encode
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.hash.value import Hash
from kvserver.types.list.value import List
from kvserver.types.set.value import Set
from kvserver.types.sorted_set.value import SortedSet
from kvserver.types.stream.ids import LAST, Id
from kvserver.types.stream.stream import Stream

T = TypeVar("T")

SEED = int(os.environ.get("KVSERVER_MANY_SEED", random.randrange(1 << 32)))
ROUNDS = 25
# More rounds than this are not made until one of them has run as many calls at once as shows something.
MOST_ROUNDS = 100 * ROUNDS
VALUES = (
    b"", b"v", b"7", b"0", b"-3", b"007", b"9" * 18, b"9223372036854775807", b"x" * (CACHED_BULK_HEADERS - 1),
    b"x" * CACHED_BULK_HEADERS, JSONText(b"41"), JSONText(b'{"a":1}'),
)  # fmt: skip
# A new server measures so many commands, one and all.

FIELDS = ([b"f", b"v"], [b"f", b"v"], [b"f", b"v", b"g", b"7"], [b"f"], [b"f", b"x" * 2000])
MEMBERS = (b"", b"a", b"b", b"1", b"-7", b"a\0", b"a\x01b", b"x" * 65, b"m3", b"m40", b"m99")
NUMBERS = (b"1", b"2.5", b"-3", b"0", b"-0", b"inf", b"-inf", b"nan", b"9223372036854775807", b"x", b"NX", b"INCR")
MANY_MEMBERS = [b"m%d" % number for number in range(100)]
LONG_MEMBERS = [b"x" * CACHED_BULK_HEADERS, *MANY_MEMBERS, b"x" * CACHED_BULK_HEADERS]

ADDITIONS = (
    [b"*"], [b"maxlen", b"~", b"3", b"*"], [b"MAXLEN", b"=", b"5", b"*"], [b"MINID", b"~", b"%d-2" % START_MS, b"*"],
    [b"MAXLEN", b"x", b"*"], [b"NOMKSTREAM", b"*"], [b"%d-*" % START_MS], [b"1-1"],
)  # fmt: skip

WORDS: dict[str, Callable[[random.Random, bytes], Request]] = {
    "get": lambda rng, key: [b"GET", key],
    "set": lambda rng, key: [b"SET", key, rng.choice(VALUES[:10])],
    "incr": lambda rng, key: [b"INCR", key],
    "hset": lambda rng, key: [b"HSET", key, rng.choice(MEMBERS), rng.choice(VALUES[:8])],
    "hget": lambda rng, key: [b"HGET", key, rng.choice(MEMBERS)],
    "hincrby": lambda rng, key: [b"HINCRBY", key, rng.choice(MEMBERS), mostly(rng, NUMBERS)],
    "lpush": lambda rng, key: [b"LPUSH", key, rng.choice(MEMBERS)],
    "rpush": lambda rng, key: [b"RPUSH", key, rng.choice(MEMBERS)],
    "lpop": lambda rng, key: [b"LPOP", key],
    "rpop": lambda rng, key: [b"RPOP", key],
    "sadd": lambda rng, key: [b"SADD", key, rng.choice(MEMBERS)],
    "srem": lambda rng, key: [b"SREM", key, rng.choice(MEMBERS)],
    "sismember": lambda rng, key: [b"SISMEMBER", key, rng.choice(MEMBERS)],
    "zadd": lambda rng, key: [b"ZADD", key, mostly(rng, NUMBERS), rng.choice(MEMBERS)],
    "xadd": lambda rng, key: [b"XADD", key, *mostly(rng, ADDITIONS), *rng.choice(FIELDS)],
    "zrank": lambda rng, key: [b"ZRANK", key, rng.choice(MEMBERS)],
}
READS = ("get", "hget", "sismember", "zrank")


# The values that the commands of a type are about, by the first letters of their names. Large ones are forked for each key.
def stream(*ids: Id) -> Stream:
    made = Stream()
    for identity in ids:
        made.entries.add(identity, [b"f", b"v"], 100, 4096)
        made.last_id = identity
    return made


USUAL: dict[str, tuple[Value, ...]] = {
    "h": ("h\0a\x011\0b\x01x\0", "h\0a\x019\0", Hash([(each, b"5") for each in MANY_MEMBERS], is_listpack=False)),
    "l": ("l\0a\0b\0", "l\0\0", List(MANY_MEMBERS, is_value=True), List(LONG_MEMBERS, is_value=True)),
    "r": ("l\0a\0b\0", "l\0\0", List(MANY_MEMBERS, is_value=True), List(LONG_MEMBERS, is_value=True)),
    "s": ("s\0a\0b\0", "i\x001\0", Set(MANY_MEMBERS, is_intset=False)),
    "x": (
        stream(),
        stream((START_MS + 7, 3)),
        stream((5, 0), LAST),
        stream(*((START_MS - 1, number) for number in range(120))),
    ),
    "z": (
        "z\0a\x011\0b\x012.5\0",
        SortedSet([(each, float(place)) for place, each in enumerate(MANY_MEMBERS)], is_listpack=True),
        SortedSet([(each, float(place)) for place, each in enumerate(MANY_MEMBERS)], is_listpack=False),
    ),
}


def mostly(rng: random.Random, words: tuple[T, ...]) -> T:
    """The first word in nine cases of ten."""
    return words[0] if rng.randrange(10) else rng.choice(words)


def many_of(server: Server, name: str) -> Many:
    """The function for runs of a command that the writer finds for an ordinary session."""
    many = server.table.plain(server.session())[name.encode()][3]
    assert many
    return many


def refill(server: Server, rng: random.Random, keys: list[bytes], name: str) -> None:
    keyspace = server.keyspace
    keyspace.replace(new_shards())
    keyspace.records.take()
    usual = USUAL.get(name[0], ())
    is_usual = usual and rng.randrange(4)
    for key in keys:
        if is_usual or (usual and not rng.randrange(3)):
            value = fork(rng.choice(usual))
            if rng.randrange(30):
                keyspace.set(key, value)
            else:
                keyspace.set_expiring(key, value, START_MS + rng.choice((0, 1000)))
            continue
        value = rng.choice(VALUES)
        kind = rng.randrange(4)
        if kind == 0:
            keyspace.set(key, value)
        elif kind == 1:
            keyspace.set_expiring(key, value, START_MS + rng.choice((0, 1000)))
        elif kind == 2:
            keyspace.set(key, b"12")


def one_by_one(session: Session, commands: list[Request]) -> bytes:
    return b"".join(encode(run(session, *args), session.protocol) for args in commands)  # type: ignore[arg-type]


def state(server: Server) -> tuple[dict[bytes, object], list[Request], tuple[int, ...]]:
    keyspace = server.keyspace
    entries: dict[bytes, object] = {
        key: (exact(entry.value), entry.expires_at_ms) if isinstance(entry, Expiring) else exact(entry)
        for key, entry in keyspace.members()
    }
    counts = keyspace.missed_gets, keyspace.hits, keyspace.misses, keyspace.expired
    return entries, keyspace.records.take(), counts


def test_every_command_with_many_is_here() -> None:
    assert {each.name for each in Server().table.commands.values() if each.many} == WORDS.keys()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", WORDS)
def test_many_at_once_give_what_they_give_one_by_one(name: str, protocol: int) -> None:
    print(f"KVSERVER_MANY_SEED={SEED}")
    rng = random.Random(SEED)
    server, other = measured(Server()), measured(Server())
    session, expected = server.session(), other.session()
    session.protocol = expected.protocol = protocol
    most = 0
    for number in range(MOST_ROUNDS):
        if number >= ROUNDS and most > 4:
            break
        keys = [b"k%d" % place for place in range(rng.choice((3, 40)))]
        seed = rng.randrange(1 << 32)
        for each in (server, other):
            refill(each, random.Random(seed), keys, name)
        frozen = server.keyspace.cut() if rng.randrange(4) == 0 else None
        content = [{key: exact(entry) for key, entry in shard.items()} for shard in frozen.shards] if frozen else []
        commands = [WORDS[name](rng, rng.choice(keys)) for _ in range(rng.randrange(1, 64))]
        output: list[bytes] = []
        done = many_of(server, name).run(session, [args[:] for args in commands], output)
        assert b"".join(output) == one_by_one(expected, commands[:done])
        assert state(server) == state(other)
        assert one_by_one(session, commands[done:]) == one_by_one(expected, commands[done:])
        assert state(server) == state(other)
        if frozen:
            assert name not in READS or done == 0
            assert [{key: exact(entry) for key, entry in shard.items()} for shard in frozen.shards] == content
            for _ in server.keyspace.fold(frozen):
                pass
        most = max(most, done)
    assert most > 4


def test_runs_of_one_pipeline_give_what_its_calls_give_one_by_one() -> None:
    print(f"KVSERVER_MANY_SEED={SEED}")
    rng = random.Random(SEED)
    server, other = measured(Server()), measured(Server())
    session, expected = server.session(), other.session()
    most, wanted = 0, 20 if choice.IS_COMPILED else 4
    for number in range(MOST_ROUNDS):
        if number >= ROUNDS and most > wanted:
            break
        keys = [b"k%d" % place for place in range(rng.choice((3, 40)))]
        seed = rng.randrange(1 << 32)
        for each in (server, other):
            refill(each, random.Random(seed), keys, "get")
        commands: list[Request] = []
        names = rng.sample(("get", "set", "incr", "hget", "sadd"), 2)
        while len(commands) < 30:
            name = rng.choice(names)
            commands += [WORDS[name](rng, rng.choice(keys)) for _ in range(rng.choice((1, 5, 9)))]
        output: list[bytes] = []
        done = server.table.run_alike(session, [args[:] for args in commands], server.table.plain(session), output)
        assert b"".join(output) == one_by_one(expected, commands[:done])
        assert state(server) == state(other)
        most = max(most, done)
    assert most > wanted


# By the first letter of the type, as `refill` knows it.
FAMILIES = {
    "h": ("hset", "hget"),
    "l": ("lpush", "rpush", "lpop", "rpop"),
    "s": ("sadd", "srem", "sismember"),
    "z": ("zadd",),
}
if choice.IS_COMPILED:
    FAMILIES["get"] = ("get", "set", "incr")
USUAL_CALLS = {name: WORDS[name] for names in FAMILIES.values() for name in names}
# What a pipeline has beside these.
OTHER_CALLS = {name: WORDS[name] for name in ("get", "set", "hincrby", "zrank")}


def test_every_command_with_usual_calls_is_here() -> None:
    commands = Server().table.commands.values()
    assert {each.name for each in commands if each.call} == USUAL_CALLS.keys()
    # None of them takes a time that is always measured.
    assert all(len(USUAL_CALLS[each.name](random.Random(), b"k")) < each.bounded_below for each in commands if each.call)


@pytest.mark.parametrize("protocol", [2, 3])
def test_usual_calls_of_one_pipeline_give_what_they_give_one_by_one(protocol: int) -> None:
    print(f"KVSERVER_MANY_SEED={SEED}")
    rng = random.Random(SEED)
    server, other = measured(Server()), measured(Server())
    session, expected = server.session(), other.session()
    session.protocol = expected.protocol = protocol
    most = 0
    for number in range(MOST_ROUNDS):
        if number >= 2 * ROUNDS and most > 20:
            break
        # Each of the keys is about one type, most of the time.
        family = rng.choice([*FAMILIES])
        seed = rng.randrange(1 << 32)
        keys = [b"k%d" % place for place in range(rng.choice((3, 40)))]
        for each in (server, other):
            refill(each, random.Random(seed), keys, family)
        frozen = server.keyspace.cut() if rng.randrange(4) == 0 else None
        usual = [USUAL_CALLS[name] for name in FAMILIES[family]]
        commands = [
            rng.choice(usual if rng.randrange(20) else [*OTHER_CALLS.values()])(rng, rng.choice(keys))
            for _ in range(rng.randrange(4, 64))
        ]
        output: list[bytes] = []
        done = server.table.run_alike(session, [args[:] for args in commands], server.table.plain(session), output)
        assert b"".join(output) == one_by_one(expected, commands[:done])
        assert state(server) == state(other)
        if frozen:
            for _ in server.keyspace.fold(frozen):
                pass
        else:
            most = max(most, done)
    assert most > 20


HASH_CALLS: list[Request] = [[b"HSET", b"k", b"f", b"v"], [b"HGET", b"k", b"f"]] * 4
CALLS_DONE = b":1\r\n$1\r\nv\r\n" + b":0\r\n$1\r\nv\r\n" * 3


def run_usual(server: Server) -> tuple[int, bytes]:
    """How many of these calls a pipeline runs at once beside others, and all replies that it gave."""
    session, output = server.session(), [b""]
    done = server.table.run_alike(session, [*HASH_CALLS], server.table.plain(session), output)
    return done, b"".join(output)


def beside_a_limit(server: Server) -> None:
    server.state.config.maxmemory = 1 << 40
    server.state.memory.configure()


def beside_a_policy(server: Server) -> None:
    server.state.config.maxmemory_policy = "allkeys-lru"
    server.state.memory.configure()


def beside_notes(server: Server) -> None:
    server.keyspace.take_notes(Notes())


def beside_a_snapshot(server: Server) -> None:
    server.keyspace.cut()


def beside_one_who_waits(server: Server) -> None:
    server.state.databases.awaited.add(b"k")
    server.keyspace.await_keys(server.state.databases.awaited)


def while_all_is_measured(server: Server) -> None:
    server.table.timing.begin_sample()


WITNESSES = [beside_a_limit, beside_a_policy, beside_notes, beside_a_snapshot, beside_one_who_waits, while_all_is_measured]


def test_what_is_read_runs_as_usual_beside_one_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def noted(*words: Any) -> Any:
        found = run_calls(*words)
        ran.append(found[1])
        return found

    monkeypatch.setattr("kvserver.data.shards.run_calls", noted)
    server = measured(Server())
    run(server.session(), "HSET", "k", "f", "v")
    beside_one_who_waits(server)
    session, output = server.session(), [b""]
    requests = [[b"HGET", b"k", b"f"]] * 5 + [[b"HSET", b"k", b"f", b"w"]] + [[b"HGET", b"k", b"f"]] * 3
    assert server.table.run_alike(session, requests, server.table.plain(session), output) == 5
    assert ran == [5]
    assert b"".join(output) == b"$1\r\nv\r\n" * 5


@pytest.mark.parametrize("change", WITNESSES)
def test_calls_that_somebody_must_see_run_no_other_way(
    change: Callable[[Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []

    def noted(*words: Any) -> Any:
        starts.append(words[5])
        return run_calls(*words)

    monkeypatch.setattr("kvserver.data.shards.run_calls", noted)
    server = measured(Server())
    assert run_usual(server) == (len(HASH_CALLS), CALLS_DONE)
    assert starts == [0]
    server = measured(Server())
    change(server)
    done, replies = run_usual(server)
    assert starts == [0]
    assert CALLS_DONE.startswith(replies)
    for request in HASH_CALLS[done:]:
        run(server.session(), *request)
    assert server.keyspace.live(b"k") == "h\0f\x01v\0"
    assert server.keyspace.records.take() == HASH_CALLS[::2]


@pytest.mark.skipif(not choice.IS_COMPILED, reason="GETs run by their Many")
def test_keys_that_expire_are_read_as_usual_until_they_are_due() -> None:
    server = measured(Server())
    session, output = server.session(), [b""]
    run(session, "SET", "k", "v", "PX", "1000")
    run(session, "HSET", "h", "f", "v")
    run(session, "PEXPIRE", "h", "1000")
    server.keyspace.records.take()
    requests = [[b"GET", b"k"], [b"HGET", b"h", b"f"], [b"GET", b"missing"]] * 2
    hits, missed = server.keyspace.hits, server.keyspace.missed_gets
    assert server.table.run_alike(session, requests, server.table.plain(session), output) == 6
    assert b"".join(output) == b"$1\r\nv\r\n$1\r\nv\r\n$-1\r\n" * 2
    assert (server.keyspace.hits, server.keyspace.missed_gets) == (hits + 2, missed + 2)
    server.clock.now_ms += 1000
    assert server.table.run_alike(session, [[b"GET", b"missing"], *requests], server.table.plain(session), []) == 1
    assert run(session, "GET", "k") is None
    assert server.keyspace.records.take() == [[EXPIRED, b"k"]]


def test_run_ends_before_a_long_string() -> None:
    server = measured(Server())
    server.keyspace.set(b"k", List(LONG_MEMBERS, is_value=True))
    assert many_of(server, "rpop").run(server.session(), [[b"RPOP", b"k"]] * 5, []) == 0
    run(server.session(), "RPOP", "k")
    assert many_of(server, "rpop").run(server.session(), [[b"RPOP", b"k"]] * 5, []) == 5


def test_gets_that_somebody_must_see_are_run_one_by_one() -> None:
    server = measured(Server())
    server.keyspace.set(b"k", b"v")
    many = many_of(server, "get")
    assert many.run(server.session(), [[b"GET", b"k"]] * 5, []) == 5
    server.state.config.maxmemory_policy = "allkeys-lru"
    server.state.memory.configure()
    assert many.run(server.session(), [[b"GET", b"k"]] * 5, []) == 0


@pytest.mark.parametrize("name", WORDS)
def test_handler_that_something_stands_before_has_no_many(name: str) -> None:
    server = Server()
    table = server.table
    assert table.timing.is_sampling
    spelled = name.encode()
    assert table.open[spelled][3] is None
    measured(server)
    assert table.open[spelled][3] is not None
    session = server.session()
    run(session, "MULTI")
    assert not table.plain(session), "nothing is found there, so everything goes through the gate"
    if "denyoom" in table.commands[spelled].flags:
        assert table.limited[spelled][3] is None
    table.timing.begin_sample()
    assert table.open[spelled][3] is None
