"""Clients that block and clients that feed them, in random conversations: each hears what it hears from redis-server.

KVSERVER_BLOCKING_COUNT is the number of conversations, KVSERVER_BLOCKING_SEED the first seed; a failure names its seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress

import pytest

from helpers.servers import COMMON_OPTIONS, ServerProcess, StartServer, Wire, encode, info, wait_until

COUNT = int(os.environ.get("KVSERVER_BLOCKING_COUNT", "100"))
SEED = int(os.environ.get("KVSERVER_BLOCKING_SEED", "1"))
STEPS = 60
CLIENTS = "ABCDEF"
KEYS = ("k", "l", "m")
# `key`, `end` and so on stand for one of the words of WORDS; `<A>` stands for the id of that client.
BLOCKING = (
    "BLPOP key 0",
    "BRPOP key key 0",
    "BLMPOP 0 2 key key end COUNT count",
    "BLMOVE key key end end 0",
    "BRPOPLPUSH key key 0",
    "BZPOPMIN key 0",
    "BZPOPMAX key key 0",
    "BZMPOP 0 2 key key extreme COUNT count",
    "XREAD BLOCK 0 STREAMS key $",
    "XREAD COUNT count BLOCK 0 STREAMS key key $ 0",
    "XREADGROUP GROUP group value BLOCK 0 STREAMS key >",
    "XREADGROUP GROUP group value COUNT count BLOCK 0 NOACK STREAMS key key > >",
)
OTHERS = (
    *("RPUSH key value", "RPUSH key value value", "LPUSH key value", "ZADD key count value", "ZADD key 1 a 2 b 3 c") * 3,
    *("XADD key count-* f value", "XGROUP CREATE key group 0 MKSTREAM", "EVAL push 1 key", "EVAL both 2 key key") * 2,
    "EVAL block 2 key key",
    "XGROUP DESTROY key group",
    "XGROUP SETID key group 0",
    "XTRIM key MAXLEN 1",
    "XACK key group 1-0",
    "XDEL key 1-0",
    "LPOP key",
    "LMOVE key key end end",
    "RPOPLPUSH key key",
    "ZINCRBY key count value",
    "ZPOPMIN key",
    "DEL key",
    "DEL key key key",
    "SET key value",
    "RENAME key key",
    "COPY key key REPLACE",
    "COPY key key DB database",
    "MOVE key database",
    "SELECT database",
    "SELECT 0",
    "SELECT 0",
    "SWAPDB 0 database",
    "FLUSHDB",
    "PEXPIRE key 100000",
    "PEXPIRE key -1",
    "CLIENT UNBLOCK <client>",
    "CLIENT UNBLOCK <client> ERROR",
    "WATCH key",
)
# Scripts, which stand for themselves in OTHERS by name.
SCRIPTS = {
    "push": "return redis.call('rpush', KEYS[1], 'x', 'y')",
    "both": "redis.pcall('rpush', KEYS[1], 'x') return redis.pcall('zadd', KEYS[2], 1, 'x', 2, 'y')",
    "block": "return {redis.pcall('blmpop', 0, 1, KEYS[1], 'LEFT'), redis.pcall('bzmpop', 0, 1, KEYS[2], 'MIN')}",
}
WORDS = {
    **{name: (script,) for name, script in SCRIPTS.items()},
    "group": ("g", "h"),
    "count-*": ("1-*", "2-*", "3-*"),
    "key": KEYS,
    "end": ("LEFT", "RIGHT"),
    "extreme": ("MIN", "MAX"),
    "count": ("1", "2", "3"),
    "value": ("a", "b", "c", "1", "2"),
    "database": ("0", "1"),
    "<client>": tuple(f"<{name}>" for name in CLIENTS),
}

Step = tuple[str, list[list[str]]]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with (
        ServerProcess("kvserver", tmp_path_factory.mktemp("kvserver"), *COMMON_OPTIONS) as ours,
        ServerProcess("redis-server", tmp_path_factory.mktemp("redis"), *COMMON_OPTIONS) as theirs,
    ):
        # The first script of a server loads the interpreter, and lets others run meanwhile.
        for server in (ours, theirs):
            assert server.once("EVAL", "return 1", 0) == b":1\r\n"
        yield ours, theirs


def a_call(rng: random.Random, rows: tuple[str, ...]) -> list[str]:
    return [rng.choice(WORDS[word]) if word in WORDS else word for word in rng.choice(rows).split()]


def a_step(rng: random.Random) -> Step:
    """A client, and the calls that it sends at once."""
    client = rng.choice(CLIENTS)
    kind = rng.random()
    if kind < 0.3:
        return client, [a_call(rng, BLOCKING)]
    if kind < 0.8:
        return client, [a_call(rng, OTHERS)]
    calls = [a_call(rng, OTHERS + BLOCKING) for _ in range(rng.randrange(1, 6))]
    return client, [["MULTI"], *calls, ["EXEC"]] if kind < 0.9 else calls


def converse(server: ServerProcess, steps: list[Step], protocols: dict[str, int]) -> tuple[dict[str, bytes], bytes]:
    """All bytes that each client got until the end, and the digest of what is left."""
    with server.connect() as observer:
        assert observer.command("FLUSHALL") == b"+OK\r\n"
        wires = {name: server.connect() for name in CLIENTS}
        try:
            ids = {f"<{name}>": wire.value("CLIENT", "ID") for name, wire in wires.items()}
            for name, wire in wires.items():
                wire.command("HELLO", protocols[name])
            for name, calls in steps:
                wires[name].send(b"".join(encode(*[ids.get(word, word) for word in words]) for words in calls))
                # The reply shows that the server has looked at both connections, so that the step is taken.
                observer.command("PING")
            observer.command("PING")
            digest = observer.command("DEBUG", "DIGEST")
            heard = {}
            for name, wire in wires.items():
                wire.half_close()
                heard[name] = wire.read_until_eof()
        finally:
            for wire in wires.values():
                wire.close()
        return heard, digest


@pytest.mark.timeout(60 + COUNT)
def test_blockers_and_feeders_hear_what_redis_tells_them(servers: tuple[ServerProcess, ServerProcess]) -> None:
    served = 0
    for seed in range(SEED, SEED + COUNT):
        rng = random.Random(seed)
        steps = [a_step(rng) for _ in range(STEPS)]
        protocols = {name: rng.choice((2, 3)) for name in CLIENTS}
        (ours, our_digest), (theirs, their_digest) = (converse(server, steps, protocols) for server in servers)
        for name in CLIENTS:
            told = "\n".join(f"{client}: {'; '.join(' '.join(words) for words in calls)}" for client, calls in steps)
            assert ours[name].split(b"\r\n") == theirs[name].split(b"\r\n"), f"KVSERVER_BLOCKING_SEED={seed}, {name}\n{told}"
        assert our_digest == their_digest, f"KVSERVER_BLOCKING_SEED={seed}"
        served += sum(each.count(b"*2\r\n") + each.count(b"*3\r\n") for each in theirs.values())
    assert served > COUNT


def test_thousand_blocked_clients_cost_nothing_while_nobody_feeds_them(kvserver: ServerProcess) -> None:
    wires: list[Wire] = []
    with kvserver.connect() as observer:
        try:
            for number in range(1000):
                wire = kvserver.connect()
                wires.append(wire)
                wire.send(encode("BLPOP", f"k{number % 10}", "queue", 0))
            wait_until(lambda: info(observer, "clients")["blocked_clients"] == "1000", "all are blocked")
            assert kvserver.work_during_s(lambda: [observer.command("SET", "k", "v") for _ in range(100)]) < 0.5
            observer.command("RPUSH", "queue", *range(600))
            observer.command("RPUSH", "k3", "x")
            replies = [wire.read_reply() for wire in wires[:600]]
            assert replies == [b"*2\r\n$5\r\nqueue\r\n$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(600)]
            assert wires[603].read_reply() == b"*2\r\n$2\r\nk3\r\n$1\r\nx\r\n"
            assert info(observer, "clients")["blocked_clients"] == "399"
        finally:
            for wire in wires:
                wire.close()
        wait_until(lambda: info(observer, "clients")["blocked_clients"] == "0", "nobody is blocked")
        assert observer.command("RPUSH", "queue", "x") == b":1\r\n"


def test_client_that_vanishes_is_not_served(kvserver: ServerProcess) -> None:
    with kvserver.connect() as observer:
        for end in (Wire.reset, Wire.close, Wire.half_close):
            wire = kvserver.connect()
            wire.send(encode("BLPOP", "k", 0))
            wait_until(lambda: info(observer, "clients")["blocked_clients"] == "1", "it is blocked")
            end(wire)
            wait_until(lambda: info(observer, "clients")["blocked_clients"] == "0", "it is gone")
            wire.close()
        assert observer.command("RPUSH", "k", "x") == b":1\r\n"
        assert observer.command("LLEN", "k") == b":1\r\n"


def test_client_that_vanishes_behind_a_long_pipeline_is_not_served(kvserver: ServerProcess) -> None:
    with kvserver.connect() as observer:
        wire = kvserver.connect()
        wire.send(encode("BLPOP", "k", 0) + encode("PING") * 5000)
        wait_until(lambda: info(observer, "clients")["blocked_clients"] == "1", "it is blocked")
        wire.send(encode("PING") * 5000)
        wire.close()
        wait_until(lambda: info(observer, "clients")["connected_clients"] == "1", "it is gone")
        assert observer.command("RPUSH", "k", "x") == b":1\r\n"
        assert observer.command("LLEN", "k") == b":1\r\n"


def test_long_pipeline_behind_a_blocked_command_runs_in_order(kvserver: ServerProcess) -> None:
    with kvserver.connect() as observer, kvserver.connect() as wire:
        wire.send(encode("BLPOP", "k", 0))
        wait_until(lambda: info(observer, "clients")["blocked_clients"] == "1", "it is blocked")
        for start in range(0, 9000, 3000):
            wire.send(b"".join(encode("ECHO", number) for number in range(start, start + 3000)))
            observer.command("PING")
        observer.command("RPUSH", "k", "x")
        assert wire.read_reply() == b"*2\r\n$1\r\nk\r\n$1\r\nx\r\n"
        assert [wire.read_reply() for _ in range(9000)] == [b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(9000)]
        assert wire.command("PING") == b"+PONG\r\n"


def test_blocked_client_that_sends_too_much_is_closed(start_server: StartServer) -> None:
    server = start_server("--client-query-buffer-limit", "1mb")
    with server.connect() as observer, server.connect() as wire:
        wire.send(encode("BLPOP", "k", 0))
        wait_until(lambda: info(observer, "clients")["blocked_clients"] == "1", "it is blocked")
        with suppress(ConnectionError):
            wire.send(encode("ECHO", "x" * 1000) * 5000)
        wait_until(lambda: info(observer, "clients")["blocked_clients"] == "0", "it is gone")


def test_protocol_error_behind_a_blocking_command_waits_for_its_end(servers: tuple[ServerProcess, ServerProcess]) -> None:
    heard = []
    for server in servers:
        with server.connect() as wire:
            wire.send(encode("BLPOP", "nobody", "0.05") + b"*1\r\nfoo\r\n")
            heard.append(wire.read_until_eof())
    assert heard[0] == heard[1] == b"*-1\r\n-ERR Protocol error: expected '$', got 'f'\r\n"


def test_load_serves_those_who_wait_for_what_it_brings(kvserver: ServerProcess) -> None:
    with kvserver.connect() as observer, kvserver.connect() as wire:
        observer.command("RPUSH", "k", "x")
        assert observer.command("SAVE") == b"+OK\r\n"
        observer.command("DEL", "k")
        wire.send(encode("BLPOP", "k", 0))
        wait_until(lambda: info(observer, "clients")["blocked_clients"] == "1", "it is blocked")
        assert observer.command("RESTORE") == b":1\r\n"
        assert wire.read_reply() == b"*2\r\n$1\r\nk\r\n$1\r\nx\r\n"
        assert observer.command("EXISTS", "k") == b":0\r\n"


def test_time_outs_that_end_together_end_for_all(kvserver: ServerProcess) -> None:
    wires = [kvserver.connect() for _ in range(60)]
    try:
        for number in range(1, 21):
            for wire in wires:
                wire.send(encode("BLPOP", "nobody", f"0.0{number % 3}1"))
            assert [wire.read_reply() for wire in wires] == [b"*-1\r\n"] * len(wires)
    finally:
        for wire in wires:
            wire.close()
