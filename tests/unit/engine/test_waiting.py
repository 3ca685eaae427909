"""Clients wait and are served in order, in the tick that feeds them, or end when their time is up or somebody says so."""

from __future__ import annotations

import asyncio

import pytest

from helpers.servers import encode
from helpers.writers import Noting, Setting, settle
from kvserver.engine import waiting
from kvserver.resp.request import Request
from kvserver.state.replication import NodeFacts


@pytest.fixture
async def setting() -> Setting:
    return Setting()


async def blocked(setting: Setting, *words: str | int) -> Noting:
    client = setting.client()
    setting.send(client, encode(*words))
    await settle()
    assert (client.said, client.is_waiting, client.session.is_blocked) == (b"", True, True)
    return client


async def test_first_who_came_is_served_and_the_others_go_on_waiting(setting: Setting) -> None:
    first, second = await blocked(setting, "BLPOP", "k", 0), await blocked(setting, "BLPOP", "k", 0)
    feeder = setting.client()
    setting.send(feeder, encode("RPUSH", "k", "a"))
    await settle()
    assert first.said == b"*2\r\n$1\r\nk\r\n$1\r\na\r\n"
    assert (first.is_waiting, first.session.is_blocked) == (False, False)
    assert (feeder.said, second.said, second.is_waiting) == (b":1\r\n", b"", True)


async def test_what_a_served_one_took_is_in_the_record_of_the_tick_that_fed_it(setting: Setting) -> None:
    records: list[list[Request]] = []
    setting.writer._record = lambda commands, clients: records.append(commands)
    await blocked(setting, "BLMOVE", "a", "b", "LEFT", "LEFT", 0)
    await blocked(setting, "BLPOP", "b", 0)
    setting.send(setting.client(), encode("MULTI"), encode("RPUSH", "a", "x"), encode("SET", "s", "v"), encode("EXEC"))
    await settle()
    assert records == [
        [
            [b"RPUSH", b"a", b"x"],
            [b"SET", b"s", b"v"],
            [b"LPOP", b"a"],
            [b"LPUSH", b"b", b"x"],
            [b"LPOP", b"b"],
        ]
    ]


async def test_served_reply_is_held_until_its_record_is_safe(setting: Setting) -> None:
    outbox = setting.hold_replies()
    client = await blocked(setting, "BLPOP", "k", 0)
    setting.send(setting.client(), encode("RPUSH", "k", "a"))
    await settle()
    assert client.said == b""
    setting.recording.safe = 1
    outbox.release()
    assert client.said == b"*2\r\n$1\r\nk\r\n$1\r\na\r\n"


async def test_each_command_of_a_pipeline_feeds_before_the_next_runs(setting: Setting) -> None:
    client = await blocked(setting, "BLPOP", "k", 0)
    feeder = setting.client()
    setting.send(feeder, *[encode("LPUSH", "k", element) for element in "abcdef"])
    await settle()
    assert client.said == b"*2\r\n$1\r\nk\r\n$1\r\na\r\n"
    assert feeder.said == b":1\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"


async def test_client_of_a_wait_that_is_over_runs_what_it_sent_meanwhile(setting: Setting) -> None:
    client = await blocked(setting, "BLPOP", "k", 0)
    setting.send(client, encode("PING"))
    await settle()
    assert client.said == b""
    setting.send(setting.client(), encode("RPUSH", "k", "a"))
    await settle()
    setting.writer.enqueue(client)
    await settle()
    assert client.said == b"*2\r\n$1\r\nk\r\n$1\r\na\r\n+PONG\r\n"


async def test_killed_and_those_who_hang_up_are_not_served(setting: Setting) -> None:
    killed, gone, patient = [await blocked(setting, "BLPOP", "k", 0) for _ in range(3)]
    setting.writer.results.hang_up(gone)
    setting.send(setting.client(), encode("CLIENT", "KILL", "ID", killed.session.id), encode("RPUSH", "k", "a"))
    await settle()
    assert (killed.said, gone.said, gone.is_closed) == (b"", b"", True)
    assert patient.said == b"*2\r\n$1\r\nk\r\n$1\r\na\r\n"


async def test_client_whose_input_has_ended_does_not_wait(setting: Setting) -> None:
    client = setting.client()
    client.has_ended = client.has_hung_up = True
    setting.send(client, encode("PING"), encode("BLPOP", "k", 0), encode("PING"))
    await settle()
    assert (client.said, client.is_closed) == (b"+PONG\r\n", True)
    setting.send(setting.client(), encode("RPUSH", "k", "a"))
    await settle()
    assert setting.server.keyspace.peek(b"k") is not None


async def test_time_ends_a_wait_and_an_earlier_end_comes_first(setting: Setting) -> None:
    late, soon, ended = await blocked(setting, "BLPOP", "k", 30), setting.client(), asyncio.Event()
    soon.on_go_on = ended.set
    setting.send(soon, encode("BZPOPMIN", "k", "0.001"))
    await ended.wait()
    assert (soon.said, soon.session.is_blocked, late.said) == (b"*-1\r\n", False, b"")


async def test_ends_of_waits_that_are_over_do_not_pile_up(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_PAST", 4)
    last = await blocked(setting, "BLPOP", "other", 1000)
    for _ in range(50):
        await blocked(setting, "BLPOP", "k", 1000)
        setting.send(setting.client(), encode("RPUSH", "k", "a"))
        await settle()
    ends = setting.writer.results.waiting._ends
    assert len(ends) < 12
    assert [end[2].client for end in ends if not end[2].is_over] == [last]


@pytest.mark.parametrize(
    ("reason", "reply"), [("", b"*-1\r\n"), ("ERROR", b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")]
)
async def test_other_client_ends_a_wait(setting: Setting, reason: str, reply: bytes) -> None:
    client, other = await blocked(setting, "BLPOP", "k", 0), setting.client()
    words = ["CLIENT", "UNBLOCK", str(client.session.id), *reason.split()]
    setting.send(other, encode(*words), encode(*words), encode("RPUSH", "k", "a"), encode("LLEN", "k"))
    await settle()
    assert client.said == reply
    assert other.said == b":1\r\n:0\r\n:1\r\n:1\r\n"
    assert setting.server.state.usages.errors.get("UNBLOCKED", 0) == (1 if reason else 0)


async def test_defect_of_one_attempt_is_an_error_for_its_client_alone(setting: Setting) -> None:
    broken, patient = await blocked(setting, "BLPOP", "k", 0), await blocked(setting, "BLPOP", "k", 0)

    def fail(key: bytes) -> None:
        raise RuntimeError("a defect")

    setting.writer.results.waiting._waits[broken.session.id].block.attempt = fail
    setting.send(setting.client(), encode("RPUSH", "k", "a"))
    await settle()
    assert broken.said.startswith(b"-ERR internal error")
    assert patient.said == b"*2\r\n$1\r\nk\r\n$1\r\na\r\n"


async def test_wake_serves_those_who_wait_for_what_no_command_of_a_client_wrote(setting: Setting) -> None:
    client = await blocked(setting, "BLPOP", "k", 0)
    other = setting.server.session()
    setting.server.table.call(other, [b"RPUSH", b"k", b"a"])
    setting.writer.wake()
    await settle()
    assert client.said == b"*2\r\n$1\r\nk\r\n$1\r\na\r\n"


async def test_writes_of_a_server_without_waiters_go_the_short_way(setting: Setting) -> None:
    table, client = setting.server.table, setting.client()
    assert table.plain(client.session) is table.open
    waiter = await blocked(setting, "BLPOP", "k", 0)
    assert table.plain(client.session) is table.feeding
    assert table.feeding[b"get"] is table.open[b"get"]
    setting.writer.results.hang_up(waiter)
    assert table.plain(client.session) is table.open


# --- Waits for other nodes ---


def told(setting: Setting, applied: int, written: int = 7) -> None:
    """Let another node have come so far, and the last write stand at this number."""
    facts = setting.server.state.replication
    facts.written = lambda: written
    facts.others = [NodeFacts("id", "host", 1, is_primary=False, applied=applied, seen_s_ago=0.0)]
    facts.on_progress()


async def test_wait_for_nodes_ends_when_enough_have_told(setting: Setting) -> None:
    told(setting, 6)
    first, second = await blocked(setting, "WAIT", 1, 0), await blocked(setting, "WAIT", 2, 0)
    setting.send(first, encode("PING"))
    told(setting, 6)
    assert first.said == b""
    told(setting, 7)
    await settle()
    assert (first.said, first.is_waiting, first.session.is_blocked) == (b":1\r\n+PONG\r\n", False, False)
    assert (second.said, second.is_waiting) == (b"", True)


async def test_wait_for_nodes_counts_when_its_time_is_up_or_somebody_ends_it(setting: Setting) -> None:
    told(setting, 7)
    late, unblocked = await blocked(setting, "WAIT", 2, 90_000), await blocked(setting, "WAIT", 2, 0)
    setting.writer.results.waiting.hasten(90)
    assert late.said == b":1\r\n"
    for kind, said in (("TIMEOUT", b":1\r\n"), ("ERROR", b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")):
        setting.send(setting.client(), encode("CLIENT", "UNBLOCK", unblocked.session.id, kind))
        await settle()
        assert unblocked.said == said
        unblocked = await blocked(setting, "WAIT", 2, 0)


async def test_wait_for_nodes_is_forgotten_with_its_client(setting: Setting) -> None:
    client = await blocked(setting, "WAIT", 1, 0)
    setting.writer.results.forget(client)
    told(setting, 7)
    assert client.said == b""


async def test_transaction_waits_for_no_node(setting: Setting) -> None:
    told(setting, 6)
    client = setting.client()
    setting.send(
        client, encode("MULTI"), encode("SET", "k", "v"), encode("WAIT", 1, 0), encode("WAIT", "x", 0), encode("EXEC")
    )
    await settle()
    queued = b"+OK\r\n" + b"+QUEUED\r\n" * 3
    assert client.said == queued + b"*3\r\n+OK\r\n:0\r\n-ERR value is not an integer or out of range\r\n"


async def test_reply_of_a_wait_for_nodes_is_held_as_others_are(setting: Setting) -> None:
    outbox = setting.hold_replies()
    told(setting, 6)
    client = await blocked(setting, "WAIT", 1, 0)
    setting.recording.sequence = 1
    told(setting, 7)
    assert client.said == b""
    setting.recording.safe = 1
    outbox.release()
    assert client.said == b":1\r\n"
