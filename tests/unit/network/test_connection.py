"""A connection sends a long reply in short steps, uncopied, limits the replies left unread, and tells the bytes it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

import pytest

from helpers.servers import DEADLINE_S, encode
from helpers.sessions import Server
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.dispatch.effect import Effect, Fetch, Fetched
from kvserver.dispatch.table import CommandTable
from kvserver.engine.writer import Writer
from kvserver.formats.codec import JSONText
from kvserver.network.connection import HIGH_WATER_BYTES, SENT_AT_ONCE_BYTES, Connection
from kvserver.options.config import Config
from kvserver.resp.reply import OK, Push, Reply
from kvserver.resp.request import Request
from kvserver.state.channels import Message
from kvserver.state.session import ServerState, Session
from kvserver.state.statistics import CLIENT_BYTES, Buffers

VALUE = bytes(range(256)) * 40_000


# --- Long replies ---


class Transport:
    """A transport whose client reads at once, or (`reads` is False) when the test says."""

    def __init__(self) -> None:
        self.reads = True
        self.is_closed = self.is_reading_paused = False
        # The turn of the loop in which each piece was given, and the piece.
        self.given: list[tuple[int, bytes]] = []
        # The objects that the long pieces were cut out of.
        self.sources: list[object] = []
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
    """The part of the server that a connection needs, with one client."""

    def __init__(self) -> None:
        self.state = ServerState(Config(), Databases(lambda: 0), COMMANDS, lambda: 0)
        table = CommandTable(COMMANDS, self.state.usages)
        self.choked: set[Connection] = set()
        self.recorded: list[Request] = []
        self.writer = Writer(self.state, table, cast(Any, None), lambda commands, clients: self.recorded.extend(commands))

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
    keyspace = client._owner.state.databases[0]
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
    client._owner.state.databases[0].set(b"k", VALUE)
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

        def fetch(self, effect: Fetch, session: Session) -> Awaitable[Fetched]:
            raise AssertionError(effect)

    transport = transport_of(client)
    client._owner.writer.results._jobs = Sleeping()
    client._owner.state.databases[0].set(b"k", VALUE)
    client.data_received(b"MULTI\r\nGET k\r\nDEBUG SLEEP 0\r\nEXEC\r\nPING\r\n")
    await transport.run()
    queued = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    assert transport.sent == queued + b"*2\r\n" + REQUESTS[b"GET k"] + b"+OK\r\n+PONG\r\n"
    assert transport.sources[0] is VALUE


# --- What may be left unread, on a transport that a test fills and a clock that it moves ---


class CountedTransport:
    """Takes what is written; `unread_bytes` of it are still there."""

    def __init__(self) -> None:
        self.unread_bytes = 0
        self.written: list[bytes] = []
        self.is_aborted = False
        self.high_bytes = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        self.high_bytes = high

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None:
        self.is_aborted = True


class Loop:
    """A clock, and calls that come soon."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def time(self) -> float:
        return self.now_s

    def call_soon(self, call: Any, *args: Any) -> None:
        call(*args)


class LimitingOwner:
    def __init__(self, limits: bytes) -> None:
        server = Server()
        self.state: ServerState = server.state
        self.state.config.set([(b"client-output-buffer-limit", limits)])
        self.choked: set[Connection] = set()
        self.writer = Writer(self.state, server.table, cast(Any, None), lambda commands, clients: None)
        self._session = server.session()

    def admit(self, connection: Connection) -> bool:
        connection.session = self._session
        return True

    def release(self, connection: Connection) -> None: ...


class Client:
    """A connection with what is around it."""

    def __init__(self, limits: bytes = b"normal 0 0 0") -> None:
        self.transport, self.loop = CountedTransport(), Loop()
        self.connection = Connection(LimitingOwner(limits))
        setattr(self.connection, "_loop", self.loop)  # noqa: B010  # whatever its type
        self.connection.connection_made(cast(asyncio.Transport, self.transport))

    def leave_unread(self, count: int) -> None:
        """So many bytes, as the event loop would tell of it."""
        was_choked = self.connection.is_choked
        self.transport.unread_bytes = count
        if count > self.transport.high_bytes and not was_choked:
            self.connection.pause_writing()
        elif count <= self.transport.high_bytes // 4 and was_choked:
            self.connection.resume_writing()

    def look_after(self, seconds: float) -> bool:
        """True if the connection is closed when it is looked at after so many seconds."""
        self.loop.now_s += seconds
        if self.connection.is_choked:
            self.connection.check_unread()
        return self.transport.is_aborted


@pytest.mark.parametrize(
    ("unread", "data", "is_closed"), [(0, 99_999, False), (0, 100_000, True), (60_000, 39_999, False), (60_000, 40_000, True)]
)
async def test_reply_beyond_a_low_hard_limit_is_not_sent(unread: int, data: int, is_closed: bool) -> None:
    """Whoever would read it: else the system's buffer would take it, and nobody would see it."""
    client = Client(b"normal 100000 0 0")
    client.leave_unread(unread)
    client.connection.write(b"x" * data)
    assert client.transport.is_aborted is client.connection.is_closed is is_closed
    assert client.transport.written == ([] if is_closed else [b"x" * data])
    client.connection.write(b"more")
    assert len(client.transport.written) == (0 if is_closed else 2)


async def test_low_limit_holds_again_when_what_was_unread_is_read() -> None:
    client = Client(b"normal 100000 0 0")
    client.leave_unread(100_001 - 2)
    client.leave_unread(0)
    client.connection.write(b"x" * 100_000)
    assert client.transport.is_aborted


async def test_each_class_has_its_own_limit() -> None:
    client = Client(b"normal 0 0 0 pubsub 1000 0 0")
    message = Message(Push([b"message", b"c", b"x" * 1000])).wire(2)
    client.connection.write(message)
    assert not client.transport.is_aborted
    client.connection.session.channels[b"c"] = None
    client.connection.write(message)
    assert client.transport.is_aborted
    assert client.transport.written == [message]


async def test_without_a_low_limit_writes_go_straight_to_the_transport() -> None:
    client = Client(b"normal 1gb 0 0")
    client.connection.write(b"x" * 200_000)
    assert client.transport.written == [b"x" * 200_000]
    sent = vars(client.connection)["_send"] if hasattr(client.connection, "__dict__") else client.transport.write
    assert sent == client.transport.write, "nothing in between that costs"


async def test_limit_of_run_time_holds_for_those_who_are_there() -> None:
    client = Client()
    client.connection.write(b"x" * 5000)
    config = client.connection.session.server.config
    for limits in (b"normal 1000 0 0", b"normal 0 0 0"):
        config.set([(b"client-output-buffer-limit", limits)])
        client.connection.apply_limits()
    client.connection.write(b"x" * 5000)
    config.set([(b"client-output-buffer-limit", b"normal 1000 0 0")])
    client.connection.apply_limits()
    client.connection.write(b"x" * 5000)
    assert (len(client.transport.written), client.transport.is_aborted) == (2, True)


async def test_soft_limit_closes_after_its_seconds_and_not_before() -> None:
    client = Client(b"normal 0 100000 3")
    client.leave_unread(100_001)
    assert not client.look_after(0)
    assert not client.look_after(3)
    assert client.look_after(0.1)


async def test_seconds_of_the_soft_limit_begin_anew_below_it() -> None:
    client = Client(b"normal 0 100000 3")
    client.leave_unread(100_001)
    assert not client.look_after(2.9)
    # The client has not read so much that its commands may run again.
    client.leave_unread(99_999)
    assert not client.look_after(1)
    client.leave_unread(100_001)
    assert not client.look_after(0)
    assert not client.look_after(3)
    client.leave_unread(0)
    assert not client.look_after(10)
    client.leave_unread(100_001)
    assert not client.look_after(3)
    assert client.look_after(0.1)


# --- What it holds ---


async def test_silent_connection_holds_nothing() -> None:
    client = Client()
    assert not client.connection.holds_anything()
    assert client.connection.buffers() == Buffers()


async def test_what_was_sent_in_part_is_told_in_bytes() -> None:
    client = Client()
    client.connection.data_received(b"*3\r\n$4\r\nECHO\r\n$5\r\nabcde\r\n$100000\r\n" + b"x" * 50_000)
    held = client.connection.buffers()
    assert client.connection.holds_anything()
    assert (held.query_bytes, held.argument_bytes) == (50_000, len("ECHO" + "abcde"))
    assert held.total_bytes == CLIENT_BYTES + 50_000 + held.query_free_bytes + 9


async def test_commands_that_wait_to_run_are_told_as_they_were_sent() -> None:
    client = Client()
    client.connection.is_waiting = True
    data = encode("SET", "key", b"v" * 1000) * 3 + encode("GET", "key")
    client.connection.data_received(data)
    assert client.connection.holds_anything()
    assert client.connection.buffers().query_bytes == len(data)


async def test_replies_that_wait_are_told() -> None:
    client = Client()
    client.transport.unread_bytes = 123_456
    assert client.connection.holds_anything()
    assert client.connection.buffers() == Buffers(reply_bytes=123_456, total_bytes=CLIENT_BYTES + 123_456)
