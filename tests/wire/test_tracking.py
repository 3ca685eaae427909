"""Client-side caching: what each client hears, byte for byte and in order, is what redis-server lets it hear.

KVSERVER_TRACKING_COUNT is the number of random conversations, KVSERVER_TRACKING_SEED the first seed.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator

import pytest

from helpers.servers import PROJECT, parse
from wire.talks import Pair, compare, pair_of_servers
from wire.tracking_conversations import ELSEWHERE, OF_REDIS, OTHERS, SUBSCRIBED

COUNT = int(os.environ.get("KVSERVER_TRACKING_COUNT", "12"))
SEED = int(os.environ.get("KVSERVER_TRACKING_SEED", "1"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair_of_servers(tmp_path_factory) as pair:
        yield pair


@pytest.mark.parametrize("name", OF_REDIS)
def test_conversation_of_the_suite_of_redis_is_heard_alike(pair: Pair, name: str) -> None:
    compare(pair, f"{SUBSCRIBED}\n{OF_REDIS[name]}")


@pytest.mark.parametrize("name", OTHERS)
def test_conversation_is_heard_alike(pair: Pair, name: str) -> None:
    compare(pair, f"{SUBSCRIBED}\n{OTHERS[name]}")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_tests_of_the_suite_of_redis_are_where_the_table_says(name: str) -> None:
    path, line = ELSEWHERE[name]
    assert line in (PROJECT / path).read_text()


def test_keys_over_the_limit_are_each_told_once(pair: Pair) -> None:
    for server in pair:
        with server.connect() as reader:
            reader.command("HELLO", 3)
            reader.command("CLIENT", "TRACKING", "ON")
            keys = [b"key%d" % number for number in range(250)]
            for key in keys:
                reader.command("GET", key)
            assert reader.command("CONFIG", "SET", "tracking-table-max-keys", 1) == b"+OK\r\n"
            told = [parse(reader.read_reply())[1][0] for _ in keys[1:]]
            assert len(set(told)) == len(told)
            assert set(told) < set(keys)
            while b"tracking_total_keys:1\r\n" not in reader.command("INFO", "stats"):
                pass
            assert reader.command("CONFIG", "SET", "tracking-table-max-keys", 1_000_000) == b"+OK\r\n"


# The words of random conversations. With BCAST NOLOOP, Redis tells a client of what its own scripts have written, though
# with NOLOOP alone it does not: here, no client is told so.
KEYS = ["k1", "k2", "k3", "l1", "l2"]
READS = ["GET $", "MGET $ $", "EXISTS $", "LRANGE $ 0 -1", "TYPE $", "EVAL \"return redis.call('get', KEYS[1])\" 1 $"]
WRITES = [
    "SET $ 1", "SET $ 2", "DEL $", "DEL $ $", "INCR $", "APPEND $ 3", "RPUSH $ 4", "LPOP $", "MSET $ 5 $ 6", "GETDEL $",
    "SETNX $ 7", "EXPIRE $ 1000", "PERSIST $", "RENAME $ $", "COPY $ $ REPLACE", "EVAL \"redis.call('set', KEYS[1], 9)\" 1 $",
    "EVAL \"redis.call('get', KEYS[1]) redis.call('append', KEYS[2], 9)\" 2 $ $",
]  # fmt: skip
RARE = ["FLUSHDB", "FLUSHALL", "SELECT 1", "SELECT 0", "MULTI", "MULTI", "EXEC", "EXEC", "DISCARD", "WATCH $", "NOSUCH", "GET"]
OPTIONS = [
    "",
    "",
    "NOLOOP",
    "OPTIN",
    "OPTOUT",
    "BCAST",
    "BCAST PREFIX k",
    "BCAST PREFIX k1 PREFIX l",
    "REDIRECT @i2",
    "OPTIN NOLOOP",
    "OPTOUT REDIRECT @i2 NOLOOP",
    "BCAST OPTIN",
    "PREFIX k",
]
OF_TRACKING = [
    "CLIENT TRACKING on ^", "CLIENT TRACKING off", "CLIENT CACHING yes", "CLIENT CACHING no", "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR", "HELLO 3", "HELLO 2", "CLIENT NO-EVICT on",
]  # fmt: skip


def random_conversation(rng: random.Random) -> str:
    """A conversation of three clients, and of one more that keeps a server from forgetting who has tracked before."""

    def line(name: str, kinds: list[list[str]]) -> str:
        said = "; ".join(rng.choice(rng.choice(kinds)) for _ in range(rng.choice((1, 1, 1, 2, 5))))
        filled = re.sub(r"[$^]", lambda mark: rng.choice(KEYS if mark[0] == "$" else OPTIONS), said)
        return f"{name}: {filled}"

    of_one_that_tracks = [READS, READS, READS, WRITES, RARE, OF_TRACKING]
    lines = [f"s3: {words}" for words in ("SET k1 a", "RPUSH l1 a b")]
    names = [f"{letter}{rng.choice((2, 3, 3))}" for letter in "rd"]
    lines += [f"{name}: CLIENT TRACKING on {rng.choice(OPTIONS)}" for name in names if rng.random() < 0.9]
    for _ in range(30):
        name = rng.choice((names[0], *names, "s3"))
        lines.append(line(name, [READS, WRITES, WRITES] if name == "s3" else of_one_that_tracks))
    return "\n".join(["k3: CLIENT TRACKING on", SUBSCRIBED, *lines, "* info"])


@pytest.mark.parametrize("number", range(COUNT))
def test_random_conversation_is_heard_alike(pair: Pair, number: int) -> None:
    conversation = random_conversation(random.Random(SEED + number))
    print(f"seed {SEED + number}\n{conversation}")
    compare(pair, conversation)
