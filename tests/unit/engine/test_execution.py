"""Requests alone, in pipelines and of many clients at once: each client hears the same, and each call is counted."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.servers import encode
from helpers.sessions import measured
from helpers.writers import Setting, settle
from kvserver.engine.writer import Writer
from kvserver.resp.request import Request
from kvserver.state.session import Session

CALLS_STEPS = """SET k v|GET k|get k|GET|NOSUCH|SET k v x|INFO commandstats|GET k|MULTI|GET k|PING x y|DISCARD
INFO commandstats
MULTI|GET k|GET k|INFO commandstats|CONFIG GET x|CONFIG|EXEC|MULTI|SET k v|INFO commandstats|GET k|INFO commandstats|EXEC
INFO commandstats|GET k|CONFIG RESETSTAT|GET k|GET k|GET|INFO commandstats|GET k|SET k v|SET k v|SET k v|SET k v|GET k"""
# What redis-server tells of these: calls and refused calls.
CALLS_TOLD = [
    {"get": (2, 1), "set": (2, 0)},
    {"get": (3, 1), "set": (2, 0), "info": (1, 0), "multi": (1, 0), "discard": (1, 0)},
    {"get": (3, 1), "set": (3, 0), "info": (2, 0), "multi": (3, 0), "discard": (1, 0), "exec": (1, 0), "config": (0, 1)},
    {"get": (4, 1), "set": (3, 0), "info": (3, 0), "multi": (3, 0), "discard": (1, 0), "exec": (1, 0), "config": (0, 1)},
    {"get": (4, 1), "set": (3, 0), "info": (4, 0), "multi": (3, 0), "discard": (1, 0), "exec": (2, 0), "config": (0, 1)},
    {"get": (2, 1), "config|resetstat": (1, 0)},
]


@pytest.fixture
async def setting() -> Setting:
    return Setting()


def told_calls(info: str) -> dict[str, tuple[int, int]]:
    """The calls and the refused ones that INFO tells of each command."""
    found = re.findall(r"cmdstat_(.*?):calls=(\d+),.*?,rejected_calls=(\d+)", info)
    return {name: (int(calls), int(rejected)) for name, calls, rejected in found}


@pytest.mark.parametrize("together", [1, 2, 3, 64])
async def test_calls_are_those_before_whatever_comes_together_and_no_request_is_changed(
    setting: Setting, together: int
) -> None:
    client = setting.client()
    requests = [step.encode().split(b" ") for step in CALLS_STEPS.replace("\n", "|").split("|")]
    kept = [[*request] for request in requests]
    for start in range(0, len(requests), together):
        client.queue += requests[start : start + together]
        setting.writer.enqueue(client)
        await settle()
        setting.server.state.usages.fold_all()  # as the server does now and then
    assert requests == kept
    told = [told_calls(section) for section in client.said.decode().split("# Commandstats")[1:]]
    assert told == CALLS_TOLD


async def test_calls_of_others_are_counted_whatever_has_failed_before_them(setting: Setting) -> None:
    bad, good = setting.client(), setting.client()
    bad.fails = True
    setting.send(bad, encode("GET", "k"), encode("INFO"), encode("PING"))
    setting.send(good, encode("GET", "k"), encode("GET", "k"))
    await settle()
    usages = setting.server.state.usages
    usages.fold_all()
    assert usages.by_name[b"get"].calls == 3, "the first one was counted by INFO"


CALLS_ABOUT_TIME = [
    *("PERSIST k", "PEXPIRE k 1000", "GETEX k PERSIST", "GETEX k EX 9", "APPEND k v", "INCR k", "SETRANGE k 1 x", "COPY k l"),
    *(
        "RENAME k l",
        "SET k v KEEPTTL XX",
        "GETDEL k",
        "SETBIT k 1 1",
        "MOVE k 1",
        "OBJECT ENCODING k",
        "BITFIELD k SET u8 0 1",
    ),
]
CALLS_ABOUT_LISTS = [
    "LMOVE k l LEFT LEFT",
    "LMOVE k k LEFT RIGHT",
    "RPOPLPUSH k l",
    "RPUSHX k v",
    "LPUSHX k v",
    "LPOP k",
    "LTRIM k 0 0",
]
CALLS_ABOUT_OTHERS = ["ZMPOP 1 z MIN", "ZADD z XX 1 a", "ZINCRBY z 1 a", "SPOP s", "SMOVE s t a", "HINCRBY h f 1", "HDEL h f"]


@pytest.mark.parametrize("call", [*CALLS_ABOUT_TIME, *CALLS_ABOUT_LISTS, *CALLS_ABOUT_OTHERS])
@pytest.mark.parametrize("looks", [1, 2, 3])
async def test_key_does_not_expire_in_the_middle_of_a_command(setting: Setting, call: str, looks: int) -> None:
    """The clock goes on by a millisecond at each look, and the keys are gone from the third on, or so."""
    server = setting.server
    client = setting.client()
    makers = ["SET k 5"] if call in CALLS_ABOUT_TIME else ["RPUSH k a b"] if call in CALLS_ABOUT_LISTS else [
        "ZADD z 1 a", "SADD s a", "HSET h f 1"
    ]  # fmt: skip
    keys = [maker.split()[1] for maker in makers]
    start = server.clock.now_ms
    for words in (*makers, *(f"PEXPIREAT {key} {start + looks}" for key in keys)):
        setting.send(client, encode(*words.split()))
    await settle()
    keyspace, clock = server.keyspace, server.clock
    real = clock.now_ms

    def look() -> int:
        nonlocal real
        real += 1
        return real

    server.state.databases.clock._now_ms = look
    client.said = b""
    setting.send(client, encode(*call.split()))
    await settle()
    assert b"internal error" not in client.said
    assert all(entry is not None and getattr(entry, "value", entry) is not None for _, entry in keyspace.members())
    if call in ("RPUSHX k v", "LPUSHX k v"):
        assert client.said == b":0\r\n" or keyspace.peek(b"k") is None or keyspace.expires_at_ms(b"k") is not None
    if call.startswith("ZMPOP"):
        assert not client.said.endswith(b"*0\r\n")


def _own(call: str, number: int) -> bytes:
    """A call on keys that only the client of this number uses."""
    return encode(*(f"{word}:{number}" if word in ("k", "n", "h") else word for word in call.split()))


USUAL = ["GET k", "SET k v", "INCR n", "HSET h f v", "HGET h f"]
OTHERS = ["INCR k", "GET n", "GET h", "get k", "GET", "NOSUCH", "PING", "DEL k", "SET k v EX 9"]
STATES = ["SELECT 1", "HELLO 3", "MULTI", "SUBSCRIBE c", "CLIENT REPLY OFF", "CLIENT REPLY SKIP", "AUTH x"]
one_usual = st.sampled_from(USUAL).map(lambda call: [call])
a_few = st.lists(st.sampled_from(USUAL * 3 + OTHERS), max_size=9)


@given(
    st.lists(st.just("") | st.sampled_from(STATES), min_size=6, max_size=9),
    st.lists(one_usual | one_usual | a_few, min_size=9, max_size=30),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_clients_hear_together_what_they_would_hear_alone(states: list[str], sent: list[list[str]], is_held: bool) -> None:
    """Each client has its own keys, so that the order of the clients in a tick makes no difference."""

    async def run(*, together: bool) -> tuple[list[bytes], list[bytes], list[int], object]:
        setting = Setting()
        measured(setting.server)
        if is_held:
            outbox = setting.hold_replies()
        clients = [setting.client() for _ in states]
        for client, state in zip(clients, states, strict=True):
            if state:
                setting.send(client, encode(*state.split()))
                await settle()
        for start in range(0, len(sent), len(clients)):
            for number, (client, picked) in enumerate(zip(clients, sent[start : start + len(clients)], strict=False)):
                if picked:
                    setting.send(client, *(_own(call, number) for call in picked))
                if not together:
                    await settle()
            await settle()
        setting.recording.safe = setting.recording.sequence
        if is_held:
            outbox.release()
        server, keyspace = setting.server.state, setting.server.keyspace
        server.usages.fold_all()
        calls = [usage.calls for usage in server.usages.by_name.values()]
        data = [
            {key: (each.peek_live(key), each.expires_at_ms(key)) for key, _ in each.members()}
            for each in (server.databases[0], server.databases[1])
        ]
        told = (server.counters.commands_processed, keyspace.hits, keyspace.missed_gets, server.usages.errors, data)
        return [client.said for client in clients], [client.session.last_command for client in clients], calls, told

    assert asyncio.run(run(together=True)) == asyncio.run(run(together=False))


class Runs:
    """Counts the requests of each run, and runs them unless it `fails`."""

    def __init__(self, writer: Writer, *, fails: bool = False) -> None:
        self.sizes: list[int] = []
        self._execution, self._fails = writer._execution, fails
        self._run = self._execution._run_alike
        self._execution._run_alike = self  # type: ignore[assignment]

    def __call__(self, session: Session, requests: list[Request], *others: Any) -> int:
        if self._fails:
            raise RuntimeError("a defect")
        self.sizes.append(len(requests))
        return self._run(session, requests, *others)


async def test_requests_of_clients_whose_sessions_are_alike_are_one_run(setting: Setting) -> None:
    measured(setting.server)
    clients = [setting.client() for _ in range(15)]
    for client in clients[:5]:
        setting.send(client, encode("SELECT", "1"))
    for client in clients[5:10]:
        setting.send(client, encode("HELLO", "3"))
    await settle()
    runs = Runs(setting.writer)
    for client in clients:
        client.said = b""
        setting.send(client, encode("INCR", "n"))
    setting.send(clients[0], encode("INCR", "n"))
    await settle()
    assert runs.sizes == [6, 5, 5]
    assert clients[0].said == b":1\r\n:2\r\n"
    assert [int(client.said[1:-2]) for client in clients[1:5]] == [3, 4, 5, 6]
    assert [int(client.said[1:-2]) for client in clients[5:]] == list(range(1, 11))


async def test_client_whose_pipeline_ends_a_run_goes_on_in_its_turn(setting: Setting) -> None:
    measured(setting.server)
    clients = [setting.client() for _ in range(4)]
    runs = Runs(setting.writer)
    setting.send(clients[0], *[encode("INCR", "n")] * 5)
    setting.send(clients[1], *[encode("INCR", "n")] * 3, encode("PING"), encode("INCR", "n"))
    setting.send(clients[2], *[encode("INCR", "n")] * 2)
    setting.send(clients[3], encode("INCR", "n"))
    await settle()
    assert runs.sizes == [13]
    assert clients[0].said == b":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"
    assert clients[1].said == b":6\r\n:7\r\n:8\r\n+PONG\r\n:9\r\n"
    assert clients[2].said == b":10\r\n:11\r\n"
    assert clients[3].said == b":12\r\n"
    assert [client.session.last_command for client in clients] == [b"INCR"] * 4


async def test_runs_of_many_requests_are_cut(setting: Setting) -> None:
    measured(setting.server)
    clients = [setting.client() for _ in range(9)]
    runs = Runs(setting.writer)
    for client in clients:
        setting.send(client, *[encode("INCR", "n")] * 40)
    setting.send(clients[8], *[encode("INCR", "n")] * 25)
    await settle()
    assert runs.sizes == [240, 80, 64], "the last client has sent much, and has a turn of its own"
    assert [client.said.count(b":") for client in clients] == [40] * 8 + [65]


async def test_request_that_is_none_for_a_run_keeps_no_other_from_one(setting: Setting) -> None:
    measured(setting.server)
    clients = [setting.client() for _ in range(12)]
    runs = Runs(setting.writer)
    for number, client in enumerate(clients):
        setting.send(client, encode("INCR", "n") if number % 2 else encode("SET", "k", "v", "EX", "9"))
    await settle()
    assert runs.sizes == [6]
    assert [client.said for client in clients] == [
        b":%d\r\n" % (each // 2 + 1) if each % 2 else b"+OK\r\n" for each in range(12)
    ]


async def test_client_that_a_run_cannot_write_to_is_closed(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    measured(setting.server)
    clients = [setting.client() for _ in range(6)]
    clients[2].fails = True
    runs = Runs(setting.writer)
    for client in clients:
        setting.send(client, encode("INCR", "n"))
    await settle()
    assert runs.sizes == [6]
    assert [client.said for client in clients] == [b"" if each == 2 else b":%d\r\n" % (each + 1) for each in range(6)]
    assert [client.is_aborted for client in clients] == [each == 2 for each in range(6)]
    assert "a client's turn failed" in caplog.text


async def test_run_that_fails_closes_its_clients_and_no_other(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    measured(setting.server)
    clients = [setting.client() for _ in range(6)]
    Runs(setting.writer, fails=True)
    setting.send(clients[0], encode("PING"))
    for client in clients[1:]:
        setting.send(client, encode("INCR", "n"))
    await settle()
    assert [client.is_aborted for client in clients] == [False] + [True] * 5
    assert clients[0].said == b"+PONG\r\n"
    assert "a client's turn failed" in caplog.text
    assert setting.server.keyspace.get(b"n") is None, "no request of theirs runs any more"


async def test_no_request_is_looked_at_again_and_again_since_runs_end_early(setting: Setting) -> None:
    """A long string ends each run. Quadratic time would make thousands of clients wait for seconds."""
    measured(setting.server)
    clients = [setting.client() for _ in range(300)]
    for words in (("RPUSH", "l", *["x" * 5_000] * 300), ("SET", "k", "x" * 5_000)):
        setting.send(clients[0], encode(*words))
    await settle()
    runs = Runs(setting.writer)
    for number, client in enumerate(clients):
        client.said = b""
        setting.send(client, encode("LPOP", "l") if number % 2 else encode("GET", "k"))
    await settle()
    assert sum(runs.sizes) <= 300
    assert {client.said for client in clients} == {b"$5000\r\n%b\r\n" % (b"x" * 5_000)}
