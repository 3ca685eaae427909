"""A connection alone, on a transport that a test fills and a clock that it moves: for how long a client may not read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sessions import Server

from kvserver.network.connection import Connection
from kvserver.outcome import Actions
from kvserver.writer import Writer

SOFT_BYTES, SECONDS = 1000, 10


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.unread_bytes = 0
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def write(self, data: bytes | bytearray | memoryview) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def abort(self) -> None:
        self.is_aborted = True


class Clock(asyncio.AbstractEventLoop):
    """A loop whose time a test moves, and which does at once what is to be done soon."""

    now_s = 0.0

    def time(self) -> float:
        return self.now_s

    def call_soon(self, callback: Callable[..., object], *args: object, context: object = None) -> asyncio.Handle:
        callback(*args)
        return asyncio.Handle(callback, args, self)

    def get_debug(self) -> bool:
        return False


class Owner:
    """A server with one client."""

    def __init__(self, actions: Actions) -> None:
        self.server = Server()
        self.state = self.server.state
        self.state.config.client_output_buffer_limit["normal"] = (0, SOFT_BYTES, SECONDS)
        self.writer = Writer(self.state, actions, lambda commands: None)
        self.choked: set[Connection] = set()

    def admit(self, connection: Connection) -> bool:
        connection.session = self.server.session()
        return True

    def release(self, connection: Connection) -> None: ...


class NoActions:
    def act(self, effect: object, session: object) -> None:
        raise AssertionError(effect)


class Setting:
    def __init__(self) -> None:
        self.clock = Clock()  # type: ignore[abstract]  # what a connection asks for is there
        self.transport = Transport()
        self.connection = Connection(Owner(NoActions()))
        self.connection._loop = self.clock
        self.connection.connection_made(self.transport)

    def leave_unread(self, length: int) -> None:
        self.transport.unread_bytes = length
        self.connection.pause_writing()

    def read_all(self) -> None:
        self.transport.unread_bytes = 0
        self.connection.resume_writing()

    def is_closed_at(self, now_s: float) -> bool:
        self.clock.now_s = now_s
        self.connection.check_unread()
        return self.transport.is_aborted


@pytest.fixture
async def setting() -> Setting:
    return Setting()


async def test_client_above_the_soft_limit_is_closed_after_its_seconds(setting: Setting) -> None:
    setting.leave_unread(SOFT_BYTES)
    assert not setting.is_closed_at(SECONDS)
    assert setting.is_closed_at(SECONDS + 1)


async def test_client_below_the_soft_limit_is_never_closed(setting: Setting) -> None:
    setting.leave_unread(SOFT_BYTES - 1)
    assert not setting.is_closed_at(1e9)


async def test_seconds_of_the_soft_limit_begin_anew_when_all_was_read(setting: Setting) -> None:
    setting.leave_unread(SOFT_BYTES)
    assert not setting.is_closed_at(8)
    setting.read_all()
    setting.clock.now_s = 9
    setting.leave_unread(SOFT_BYTES)
    assert not setting.is_closed_at(9 + SECONDS)
    assert setting.is_closed_at(9 + SECONDS + 1)


async def test_seconds_of_the_soft_limit_begin_anew_below_it(setting: Setting) -> None:
    setting.leave_unread(SOFT_BYTES)
    setting.transport.unread_bytes = SOFT_BYTES - 1
    assert not setting.is_closed_at(8)
    setting.transport.unread_bytes = SOFT_BYTES
    assert not setting.is_closed_at(9)
    assert not setting.is_closed_at(9 + SECONDS)
    assert setting.is_closed_at(9 + SECONDS + 1)
