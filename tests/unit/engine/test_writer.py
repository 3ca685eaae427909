"""The writer alone, with clients that note what they are told: turns, what ends them, and what waits for the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from helpers.servers import encode
from helpers.sessions import Server
from kvserver.dispatch.effect import Effect
from kvserver.dispatch.table import MISCONF
from kvserver.engine.outbox import Outbox
from kvserver.engine.writer import Writer
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request, RequestParser
from kvserver.state.session import Session


class Noting:
    """A client without a connection. As a Connection, it is told of its end later than it is aborted."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.queue: list[Request] = []
        self.is_queued = self.is_waiting = self.is_choked = self.has_ended = self.is_closed = self.is_full = False
        self.said = b""
        self.is_aborted = False
        self.fails = False

    def write(self, data: bytes) -> None:
        if self.fails:
            raise RuntimeError("a defect")
        if not self.is_closed:
            self.said += data

    def wait(self) -> None:
        self.is_waiting = True

    def go_on(self) -> None:
        self.is_waiting = False

    def recognize(self) -> None: ...
    def read_on(self) -> None: ...

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        self.is_closed = self.has_ended = True
        self.queue = []

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True


class Recording:
    """A journal that is as far as a test says."""

    def __init__(self) -> None:
        self.sequence = self.safe = 0
        self.on_record: Callable[[], None] = lambda: None

    def record(self, commands: list[Request]) -> None:
        self.sequence += 1
        self.on_record()


class Waiting:
    """Actions that take until `end` is called."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def act(self, effect: Effect, session: Session) -> Reply:
        return self._act()  # type: ignore[return-value]

    async def _act(self) -> Reply:
        await self.ended.wait()
        return OK


class Setting:
    def __init__(self) -> None:
        self.server = Server()
        self.actions = Waiting()
        self.recording = Recording()
        self.writer = Writer(self.server.state, self.server.table, self.server.lookups, self.actions, self.recording.record)

    def client(self) -> Noting:
        client = Noting(self.server.session())
        self.writer.outcomes.clients[client.session.id] = client
        return client

    def hold_replies(self) -> Outbox:
        outbox = Outbox(self.recording)
        self.writer.hold_replies(outbox)
        return outbox

    def send(self, client: Noting, *requests: bytes) -> None:
        client.queue += RequestParser().feed(b"".join(requests))
        if not client.is_queued:
            self.writer.enqueue(client)


@pytest.fixture
async def setting() -> Setting:
    return Setting()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_clients_sent_runs_in_the_order_in_which_it_came(setting: Setting) -> None:
    first, second = setting.client(), setting.client()
    setting.send(first, encode("SET", "k", "1"), encode("GET", "k"))
    setting.send(second, encode("GET", "k"), encode("SET", "k", "2"))
    setting.send(first, encode("GET", "k"))
    await settle()
    assert first.said == b"+OK\r\n$1\r\n1\r\n$1\r\n1\r\n", "its third command came before its turn"
    assert second.said == b"$1\r\n1\r\n+OK\r\n"
    assert setting.recording.sequence == 1, "one tick, one record"


async def test_client_whose_turn_fails_is_closed_and_the_others_are_served(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = setting.client(), setting.client()
    bad.fails = True
    setting.send(bad, encode("PING"))
    setting.send(good, encode("PING"))
    await settle()
    assert good.said == b"+PONG\r\n"
    assert bad.is_aborted
    assert not good.is_aborted
    assert "a client's turn failed" in caplog.text


async def test_commands_of_a_killed_client_do_not_run(setting: Setting) -> None:
    killer, victim = setting.client(), setting.client()
    setting.send(killer, encode("CLIENT", "KILL", "ID", victim.session.id))
    setting.send(victim, encode("SET", "k", "v"))
    await settle()
    assert killer.said == b":1\r\n"
    assert victim.is_aborted
    assert setting.server.keyspace.peek(b"k") is None


async def test_nothing_behind_quit_runs_while_its_reply_is_held(setting: Setting) -> None:
    outbox, client = setting.hold_replies(), setting.client()
    setting.send(client, encode("SET", "a", "1"), encode("QUIT"), encode("SET", "k", "v"))
    await settle()
    assert (client.said, client.is_closed) == (b"", False)
    assert setting.server.keyspace.peek(b"k") is None
    setting.recording.safe = 1
    outbox.release()
    assert (client.said, client.is_closed) == (b"+OK\r\n+OK\r\n", True)
    assert not client.is_aborted


async def test_reply_is_held_until_its_record_is_safe_and_so_is_what_others_saw_of_it(setting: Setting) -> None:
    outbox, writer, reader = setting.hold_replies(), setting.client(), setting.client()
    setting.send(writer, encode("SET", "k", "v"))
    setting.send(reader, encode("GET", "k"))
    await settle()
    assert writer.said == reader.said == b""
    setting.recording.safe = 1
    outbox.release()
    assert (writer.said, reader.said) == (b"+OK\r\n", b"$1\r\nv\r\n")


async def test_replies_of_a_tick_leave_behind_the_write_of_its_record(setting: Setting) -> None:
    setting.hold_replies()
    client, said_before = setting.client(), []

    def write() -> None:
        said_before.append(client.said)
        setting.recording.safe = setting.recording.sequence

    setting.recording.on_record = write
    setting.send(client, encode("SET", "k", "v"))
    await settle()
    assert said_before == [b""]
    assert client.said == b"+OK\r\n"


async def test_replies_of_a_tick_whose_write_fails_are_never_sent(setting: Setting) -> None:
    outbox, client = setting.hold_replies(), setting.client()

    def fail() -> None:
        outbox.abort()
        setting.recording.safe = setting.recording.sequence

    setting.recording.on_record = fail
    setting.send(client, encode("SET", "k", "v"))
    await settle()
    assert client.is_aborted
    assert client.said == b""


async def test_commands_behind_one_that_waits_run_after_it_and_are_counted_once(setting: Setting) -> None:
    client, counters = setting.client(), setting.server.state.counters
    setting.send(client, encode("SAVE"), *[encode("PING")] * 10)
    await settle()
    assert (client.said, client.is_waiting, counters.commands_processed) == (b"", True, 1)
    setting.actions.ended.set()
    await settle()
    assert not client.is_waiting
    setting.writer.enqueue(client)
    await settle()
    assert client.said == b"+OK\r\n" + b"+PONG\r\n" * 10
    assert counters.commands_processed == 11


async def test_transaction_is_refused_as_a_whole_by_what_stands_against_one_of_its_requests(setting: Setting) -> None:
    client, server = setting.client(), setting.server
    setting.send(client, encode("MULTI"), encode("SET", "a", "1"), encode("GET", "a"))
    await settle()
    client.said = b""
    server.lookups.use(server.table.read_only)
    setting.send(client, encode("EXEC"), encode("GET", "a"))
    await settle()
    assert client.said == b"-EXECABORT Transaction discarded because of: %b\r\n$-1\r\n" % MISCONF.encode()
    server.lookups.use(server.table.open)
    setting.send(client, encode("EXEC"))
    await settle()
    assert client.said.endswith(b"-ERR EXEC without MULTI\r\n")
    assert (server.state.usages.errors["EXECABORT"], server.state.usages.by_name[b"exec"].failed) == (1, 2)


@pytest.mark.parametrize("end", ["RESET", "QUIT"])
async def test_commands_are_shown_to_monitors_while_there_are_some(setting: Setting, end: str) -> None:
    monitor, client = setting.client(), setting.client()
    setting.send(monitor, encode("MONITOR"))
    setting.send(client, encode("PING"))
    await settle()
    assert monitor.said.endswith(b'"PING"\r\n')
    assert setting.server.lookups[0] is not setting.server.table.open
    setting.send(monitor, encode(end))
    await settle()
    if monitor.is_closed:
        setting.writer.outcomes.forget(monitor)
    assert setting.server.lookups[0] is setting.server.table.open, "the way of a command is the short one again"
