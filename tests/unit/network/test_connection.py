"""network.connection: a long reply leaves in short steps, in order, uncopied, and holds up nobody but its client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

import pytest

from helpers.servers import DEADLINE_S
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.encodings import JSONText
from kvserver.data.keyspace import Keyspace
from kvserver.dispatch.effect import Effect
from kvserver.dispatch.table import CommandTable
from kvserver.engine.writer import Writer
from kvserver.network.connection import HIGH_WATER_BYTES, SENT_AT_ONCE_BYTES, Connection
from kvserver.options.config import Config
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import ServerState, Session

VALUE = bytes(range(256)) * 40_000


class Transport:
    """A transport whose client reads at once, or (`reads` is False) when the test says."""

    def __init__(self) -> None:
        self.reads = True
        self.is_closed = self.is_reading_paused = False
        self.given: list[tuple[int, bytes]] = []  # in which turn of the loop, and what
        self.sources: list[object] = []  # what the long pieces were cut out of
        self.turn = 0
        self._buffered = bytearray()
        self.high_water_bytes, self._is_paused = 0, False
        self.connection: Connection

    def write(self, data: bytes | memoryview) -> None:
        self.given.append((self.turn, bytes(data)))
        if isinstance(data, memoryview) and (not self.sources or self.sources[-1] is not data.obj):
            self.sources.append(data.obj)
        if not self.reads:
            self._buffered += data
            if len(self._buffered) > self.high_water_bytes and not self._is_paused:
                self._is_paused = True
                self.connection.pause_writing()

    def take(self) -> None:
        """The client reads all that the transport holds."""
        self._buffered.clear()
        if self._is_paused:
            self._is_paused = False
            self.connection.resume_writing()

    def get_write_buffer_size(self) -> int:
        return len(self._buffered)

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        assert high > low >= 0
        self.high_water_bytes = high

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True
        self.connection.connection_lost(None)

    async def run(self) -> None:
        """Turn by turn, until nothing more is to be written."""
        async with asyncio.timeout(DEADLINE_S):
            count = -1
            while count != len(self.given):
                count = len(self.given)
                await asyncio.sleep(0)
                self.turn += 1

    @property
    def sent(self) -> bytes:
        return b"".join(data for _, data in self.given)

    def most_in_a_turn(self) -> int:
        totals: dict[int, int] = {}
        for turn, data in self.given:
            totals[turn] = totals.get(turn, 0) + len(data)
        return max(totals.values())


class Owner:
    """What a connection needs of the server, with one client."""

    def __init__(self) -> None:
        self.state = ServerState(Config(), Keyspace(lambda: 0), COMMANDS, lambda: 0)
        table = CommandTable(COMMANDS, self.state.usages)
        self.choked: set[Connection] = set()
        self.recorded: list[Request] = []
        self.writer = Writer(self.state, table, table.lookups(), cast(Any, None), self.recorded.extend)

    def admit(self, connection: Connection) -> bool:
        connection.session = Session(self.state, 1, "client", "server", is_local=True)
        return True

    def release(self, connection: Connection) -> None:
        self.choked.discard(connection)


@pytest.fixture
async def client() -> Connection:
    connection, transport = Connection(Owner()), Transport()
    transport.connection = connection
    connection.connection_made(cast(asyncio.Transport, transport))
    return connection


def transport_of(client: Connection) -> Transport:
    return cast(Transport, client.transport)


async def test_long_reply_leaves_piece_by_piece_with_what_comes_behind_it(client: Connection) -> None:
    transport = transport_of(client)
    client.write(VALUE)
    client.write(b"+PONG\r\n")
    client.write(VALUE[::-1])
    assert client.is_choked, "its next command runs when it has been given this reply"
    await transport.run()
    assert transport.sent == VALUE + b"+PONG\r\n" + VALUE[::-1]
    assert transport.most_in_a_turn() <= SENT_AT_ONCE_BYTES
    assert not client.is_choked
    assert not client._owner.choked
    assert transport.high_water_bytes == HIGH_WATER_BYTES
    client.write(b"+OK\r\n")
    assert transport.given[-1] == (transport.turn, b"+OK\r\n"), "what is short leaves at once again"


async def test_client_that_does_not_read_is_given_one_piece_of_a_long_reply(client: Connection) -> None:
    transport = transport_of(client)
    transport.reads = False
    client.write(VALUE)
    await transport.run()
    assert len(transport.sent) == SENT_AT_ONCE_BYTES
    assert client.is_choked
    assert client._owner.choked == {client}
    while transport.get_write_buffer_size():
        transport.take()
        await transport.run()
    assert transport.sent == VALUE
    assert not client.is_choked


@pytest.mark.parametrize("is_paused", [False, True])
async def test_long_reply_behind_one_that_is_not_read_follows_it(client: Connection, is_paused: bool) -> None:
    transport = transport_of(client)
    transport.reads = False
    for _ in range(5 if is_paused else 1):
        client.write(b"x" * SENT_AT_ONCE_BYTES)
    before = len(transport.sent)
    client.write(VALUE)
    await transport.run()
    assert client.is_choked
    transport.reads = True
    for _ in range(3):
        transport.take()
        await transport.run()
    assert transport.sent[before:] == VALUE
    assert not client.is_choked


async def test_connection_closes_behind_a_long_reply(client: Connection) -> None:
    transport = transport_of(client)
    client.write(VALUE)
    client.close()
    assert not transport.is_closed
    await transport.run()
    assert transport.sent == VALUE
    assert transport.is_closed


async def test_connection_that_is_lost_amid_a_long_reply_sends_no_more(client: Connection) -> None:
    transport = transport_of(client)
    transport.reads = False
    client.write(VALUE)
    await transport.run()
    transport.take()
    client.abort()
    before = len(transport.given)
    await transport.run()
    assert len(transport.given) == before
    assert not client._owner.choked


async def test_all_of_a_long_reply_counts_as_unread(client: Connection) -> None:
    transport = transport_of(client)
    client._owner.state.config.client_output_buffer_limit["normal"] = (len(VALUE), 0, 0)
    client.write(VALUE)
    await transport.run()
    assert transport.is_closed
    assert not transport.given


async def test_client_without_any_limit_is_served(client: Connection) -> None:
    limits = client._owner.state.config.client_output_buffer_limit
    limits["normal"] = limits["pubsub"] = (0, 0, 0)
    client.apply_limits()
    client.data_received(b"PING\r\n")
    transport = transport_of(client)
    await transport.run()
    assert transport.sent == b"+PONG\r\n"
    assert transport.high_water_bytes == HIGH_WATER_BYTES


async def test_others_have_their_turn_behind_each_read_of_a_long_command(client: Connection) -> None:
    transport = transport_of(client)
    request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%b\r\n" % (len(VALUE), VALUE)
    for start in range(0, len(request), SENT_AT_ONCE_BYTES):
        client.data_received(request[start : start + SENT_AT_ONCE_BYTES])
        is_last = start + SENT_AT_ONCE_BYTES >= len(request)
        assert transport.is_reading_paused is not is_last
        await transport.run()
        assert not transport.is_reading_paused
    assert transport.sent == b"+OK\r\n"


REQUESTS = {
    b"GET k": b"$%d\r\n%b\r\n" % (len(VALUE), VALUE),
    b"MGET k s k": b"*3\r\n$%d\r\n%b\r\n$1\r\n1\r\n$%d\r\n%b\r\n" % (len(VALUE), VALUE, len(VALUE), VALUE),
    b"GET d": b'$%d\r\n"%b"\r\n' % (len(VALUE) + 2, b"x" * len(VALUE)),
    b"JSON.GET d": b'$%d\r\n"%b"\r\n' % (len(VALUE) + 2, b"x" * len(VALUE)),
}


@pytest.mark.parametrize("line", REQUESTS)
async def test_value_is_replied_without_a_copy(client: Connection, line: bytes) -> None:
    transport = transport_of(client)
    keyspace = client._owner.state.keyspace
    document = JSONText(b'"%b"' % (b"x" * len(VALUE)))
    keyspace.set(b"k", VALUE)
    keyspace.set(b"s", b"1")
    keyspace.set(b"d", document)
    client.data_received(b"PING\r\n" + line + b"\r\nPING\r\n")
    await transport.run()
    assert transport.sent == b"+PONG\r\n" + REQUESTS[line] + b"+PONG\r\n"
    longs = [source for source in transport.sources if len(cast(bytes, source)) > SENT_AT_ONCE_BYTES]
    assert longs
    assert all(source is VALUE or source is document for source in longs)


async def test_transaction_replies_a_value_without_a_copy(client: Connection) -> None:
    transport = transport_of(client)
    client._owner.state.keyspace.set(b"k", VALUE)
    client.data_received(b"MULTI\r\nGET k\r\nPING\r\nEXEC\r\nPING\r\n")
    await transport.run()
    queued = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    assert transport.sent == queued + b"*2\r\n" + REQUESTS[b"GET k"] + b"+PONG\r\n+PONG\r\n"
    assert transport.sources[0] is VALUE


async def test_transaction_that_waits_for_an_effect_replies_a_value_without_a_copy(client: Connection) -> None:
    async def sleep() -> Reply:
        return OK

    class Sleeping:
        def act(self, effect: Effect, session: Session) -> Awaitable[Reply]:
            return sleep()

    transport = transport_of(client)
    client._owner.writer.outcomes._actions = Sleeping()
    client._owner.state.keyspace.set(b"k", VALUE)
    client.data_received(b"MULTI\r\nGET k\r\nDEBUG SLEEP 0\r\nEXEC\r\nPING\r\n")
    await transport.run()
    queued = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    assert transport.sent == queued + b"*2\r\n" + REQUESTS[b"GET k"] + b"+OK\r\n+PONG\r\n"
    assert transport.sources[0] is VALUE
