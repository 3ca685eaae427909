"""connection, on a transport that a test fills and a clock that it moves: what may be left unread, and what is held."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from helpers.servers import encode
from helpers.sessions import Server
from kvserver.engine.writer import Writer
from kvserver.network.connection import Connection
from kvserver.resp.reply import Push
from kvserver.state.channels import Message
from kvserver.state.session import ServerState
from kvserver.state.statistics import CLIENT_BYTES, Buffers


class Transport:
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


class Owner:
    def __init__(self, limits: bytes) -> None:
        server = Server()
        self.state: ServerState = server.state
        self.state.config.set([(b"client-output-buffer-limit", limits)])
        self.choked: set[Connection] = set()
        self.writer = Writer(self.state, server.table, server.lookups, cast(Any, None), lambda commands: None)
        self._session = server.session()

    def admit(self, connection: Connection) -> bool:
        connection.session = self._session
        return True

    def release(self, connection: Connection) -> None: ...


class Client:
    """A connection with what is around it."""

    def __init__(self, limits: bytes = b"normal 0 0 0") -> None:
        self.transport, self.loop = Transport(), Loop()
        self.connection = Connection(Owner(limits))
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
        """Whether it is closed when it is looked at after so long."""
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
    client.leave_unread(99_999)  # not read so far that it may run commands again
    assert not client.look_after(1)
    client.leave_unread(100_001)
    assert not client.look_after(0)
    assert not client.look_after(3)
    client.leave_unread(0)
    assert not client.look_after(10)
    client.leave_unread(100_001)
    assert not client.look_after(3)
    assert client.look_after(0.1)


# --- what it holds


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
