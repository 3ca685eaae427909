"""A source's commands run as a client's would: one record a part, told to who listens; and nothing is due for them."""

from __future__ import annotations

import asyncio

import pytest

from helpers.servers import encode
from helpers.writers import Setting, settle
from kvserver.errors import SourceUnusable
from kvserver.following.applying import Applying
from kvserver.following.stream import Commands, Transaction
from kvserver.resp.request import Request
from kvserver.state.source import SourceFacts

PAST_MS = 1_000


class Following(Setting):
    """A server that follows a source, and what applies that one's commands."""

    def __init__(self) -> None:
        super().__init__()
        state = self.server.state
        state.replication.is_primary, state.replication.source = False, SourceFacts("h", 1, lambda: 0.0)
        state.databases.follow()
        self.applying = Applying(state, self.server.table, self.writer)
        self.applying.begin()
        self.databases = state.databases

    async def run(self, *lines: str) -> None:
        await self.applying.run(Commands(requests(*lines), 0))


def requests(*lines: str) -> list[Request]:
    return [line.encode().split() for line in lines]


@pytest.fixture
async def following() -> Following:
    return Following()


async def test_part_is_one_record(following: Following) -> None:
    await following.run("SET a 1", "SELECT 3", "INCR a", "RPUSH l 1 2", "SELECT 0", "SET b 2", "SET c 3", "SET d 4", "SET e 5")
    assert following.recording.sequence == 1
    assert (following.databases[0].live(b"a"), following.databases[3].live(b"a")) == (b"1", b"1")
    await following.run()
    assert following.recording.sequence == 1, "nothing was written"


async def test_database_stays_selected_from_part_to_part(following: Following) -> None:
    await following.run("SELECT 3")
    await following.run("SET a 1")
    assert following.databases[3].live(b"a") == b"1"
    following.applying.begin()
    await following.run("SET b 1")
    assert following.databases[0].live(b"b") == b"1"


async def test_clients_are_refused_what_the_source_may_do(following: Following) -> None:
    client = following.client()
    following.send(client, encode("SET", "a", "2"), encode("GET", "a"))
    await following.run("SET a 1")
    await settle()
    assert client.said.startswith(b"-READONLY")
    assert client.said.endswith(b"$1\r\n1\r\n")


async def test_nothing_is_due_before_the_source_says_so(following: Following) -> None:
    await following.run(f"SET k v PXAT {PAST_MS}")
    keyspace = following.databases[0]
    assert keyspace.live(b"k") is None, "a client finds it missing"
    assert len(keyspace) == 1
    await following.run("APPEND k w", "PERSIST k")
    assert keyspace.live(b"k") == b"vw"
    await following.run("SET d v", f"PEXPIREAT d {PAST_MS}")
    assert len(keyspace) == 2
    await following.run("DEL d")
    assert len(keyspace) == 1


async def test_time_from_now_counts_by_the_clock(following: Following) -> None:
    await following.run("SETEX k 10 v")
    assert following.databases[0].expires_at_ms(b"k") == following.server.state.now_ms() + 10_000


async def test_who_waits_is_served_when_the_whole_part_has_run(following: Following) -> None:
    client = following.client()
    following.send(client, encode("XREAD", "BLOCK", 0, "STREAMS", "s", "$"))
    await settle()
    assert client.said == b""
    await following.applying.run(Transaction(requests("XADD s 1-1 f a", "XADD s 1-2 f b"), 0))
    await settle()
    assert b"1-1" in client.said
    assert b"1-2" in client.said, "both are of one transaction"


async def test_events_and_monitors_are_told(following: Following) -> None:
    state = following.server.state
    state.notifications.configure("E$")
    listener, monitor = following.client(), following.client()
    following.send(listener, encode("SUBSCRIBE", "__keyevent@0__:set", "news"))
    following.send(monitor, encode("MONITOR"))
    await settle()
    await following.run("SET k v", "PUBLISH news hello")
    await settle()
    assert b"$18\r\n__keyevent@0__:set\r\n$1\r\nk\r\n" in listener.said
    assert b"hello" in listener.said
    assert b'[0 source] "SET" "k" "v"\r\n' in monitor.said


async def test_calls_are_counted(following: Following) -> None:
    await following.run(*["SET k v"] * 10, "GEOADD g 1 1 m")
    following.server.state.usages.fold_all()
    by_name = following.server.state.usages.by_name
    assert (by_name[b"set"].calls, by_name[b"geoadd"].calls) == (10, 1)
    assert following.server.state.counters.commands_processed == 11


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("FT.CREATE i x", "FT.CREATE i …: ERR unknown command"),
        ("SET k", "SET k: ERR wrong number of arguments"),
        ("LPUSH there x", "LPUSH there …: WRONGTYPE"),
        ("SELECT 5000", "SELECT 5000: ERR DB index is out of range"),
        ("BLPOP nothing 0", "BLPOP nothing …: it would wait"),
        ("EVALSHA 0123456789012345678901234567890123456789 0", "NOSCRIPT"),
    ],
)
@pytest.mark.parametrize("in_transaction", [True, False])
async def test_what_cannot_run_ends_it_with_what_is_before_done(
    following: Following, line: str, told: str, *, in_transaction: bool
) -> None:
    part = (Transaction if in_transaction else Commands)(requests("SET there 1", line, "SET behind 1"), 0)
    with pytest.raises(SourceUnusable, match="the source sends what can't be run here: ") as caught:
        await following.applying.run(part)
    assert told in str(caught.value)
    keyspace = following.databases[0]
    assert (keyspace.live(b"there"), keyspace.live(b"behind")) == (b"1", None)
    assert keyspace.now_ms() > PAST_MS, "the clock goes again"
    assert following.recording.sequence == 1


@pytest.mark.parametrize(
    "line",
    [
        "SHUTDOWN NOSAVE",
        "CONFIG SET requirepass x",
        "ACL SETUSER eve on nopass +@all",
        "DEBUG SLEEP 0",
        "REPLICAOF NO ONE",
        "SAVE",
        "MONITOR",
        "SUBSCRIBE news",
        "CLIENT REPLY OFF",
        "AUTH x",
        "KVS.RESTORE 1h",
        "RESTORE",
        "MIGRATE 127.0.0.1 1 there 0 100",
        "SCRIPT KILL",
        "FUNCTION STATS",
    ],
)
@pytest.mark.parametrize("in_transaction", [True, False])
async def test_source_is_no_administrator(following: Following, line: str, *, in_transaction: bool) -> None:
    part = (Transaction if in_transaction else Commands)(requests("SET there 1", line, "SET behind 1"), 0)
    with pytest.raises(SourceUnusable, match=f"the source sends what no source sends: {line.split()[0]}"):
        await following.applying.run(part)
    keyspace = following.databases[0]
    assert (keyspace.live(b"there"), keyspace.live(b"behind")) == (b"1", None)


async def test_what_sources_send_beside_writes_comes(following: Following) -> None:
    await following.run("SELECT 1", "SCRIPT FLUSH", "PUBLISH a b", "SPUBLISH a b", "PFADD h 1", "PFCOUNT h", "FLUSHALL")
    await following.run("SET a 1")
    assert following.databases[1].live(b"a") == b"1"


async def test_it_waits_while_the_writer_is_paused(following: Following) -> None:
    following.writer.pause()
    work = following.run("SET k v")
    task = asyncio.get_running_loop().create_task(work)
    await settle()
    assert not task.done()
    following.writer.resume()
    await task
    assert following.databases[0].live(b"k") == b"v"


async def test_eviction_is_off(following: Following) -> None:
    config = following.server.state.config
    config.maxmemory, config.maxmemory_policy = 1, "allkeys-random"
    following.server.state.memory.configure()
    await following.run("SET a 1", "SET b 2")
    client = following.client()
    following.send(client, encode("SET", "c", "3"), encode("GET", "a"))
    await settle()
    assert client.said == b"-READONLY You can't write against a read only replica.\r\n$1\r\n1\r\n"
    assert len(following.databases[0]) == 2
