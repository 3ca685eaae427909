"""Transfers go on beside the event loop's other work, hold those who would write the keys, and end whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from helpers.servers import encode
from helpers.writers import Noting, Setting
from kvserver.engine.migrations import PIECE_BYTES


class Target:
    """Another server, which answers as a test says."""

    def __init__(self) -> None:
        self.port = 0
        self.answer = b"+OK\r\n+OK\r\n"
        self.closes = False
        self.got = b""
        self.has_answered = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.got += await reader.read(PIECE_BYTES)
        writer.write(self.answer)
        await writer.drain()
        self.has_answered.set()
        if self.closes:
            writer.close()
        while data := await reader.read(PIECE_BYTES):
            self.got += data
        writer.close()


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    target = Target()
    async with await asyncio.start_server(target.serve, "127.0.0.1", 0) as server:
        target.port = server.sockets[0].getsockname()[1]
        yield target


@pytest.fixture
async def setting() -> Setting:
    return Setting()


class Telling(Noting):
    """A client that goes on with its queue, as a connection does, and tells when something was written to it."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting.server.session())
        setting.writer.results.clients[self.session.id] = self
        self.has_heard = asyncio.Event()
        self.on_go_on = lambda: setting.send(self)

    def write(self, data: bytes) -> None:
        super().write(data)
        self.has_heard.set()

    async def told(self, lines: int = 1) -> bytes:
        """All that it was told, as soon as that has so many lines."""
        async with asyncio.timeout(20):
            while self.said.count(b"\r\n") < lines:
                self.has_heard.clear()
                await self.has_heard.wait()
        return self.said


async def test_key_goes_while_others_run_and_who_would_write_it_waits(setting: Setting, target: Target) -> None:
    client, reader, writer = Telling(setting), Telling(setting), Telling(setting)
    setting.send(client, encode("SET", "k", "v"), encode("MIGRATE", "127.0.0.1", target.port, "k", 0, 20_000))
    setting.send(reader, encode("GET", "k"), encode("SET", "l", "x"))
    setting.send(writer, encode("SETNX", "k", "mine"))
    assert await reader.told(3) == b"$1\r\nv\r\n+OK\r\n"
    assert await writer.told() == b":1\r\n"
    assert await client.told(2) == b"+OK\r\n+OK\r\n"
    assert b"RESTORE" in target.got
    assert not setting.server.state.reserved


async def test_refused_connection_is_a_failed_write(setting: Setting, target: Target) -> None:
    client = Telling(setting)
    setting.send(client, encode("SET", "k", "v"), encode("MIGRATE", "127.0.0.1", 1, "k", 0, 20_000), encode("GET", "k"))
    assert await client.told(4) == b"+OK\r\n-IOERR error or timeout writing to target instance\r\n$1\r\nv\r\n"


async def test_target_that_ends_in_the_middle_of_a_line_has_taken_nothing_more(setting: Setting, target: Target) -> None:
    target.answer, target.closes = b"+OK\r\n+O", True
    client = Telling(setting)
    setting.send(client, encode("SET", "k", "v"), encode("MIGRATE", "127.0.0.1", target.port, "k", 0, 20_000))
    setting.send(client, encode("GET", "k"))
    assert await client.told(4) == b"+OK\r\n-IOERR error or timeout reading to target instance\r\n$1\r\nv\r\n"


async def test_client_that_is_forgotten_ends_its_transfer_and_lets_others_write(setting: Setting, target: Target) -> None:
    target.answer = b"+OK\r\n"
    client, writer = Telling(setting), Telling(setting)
    setting.send(client, encode("SET", "k", "v"), encode("MIGRATE", "127.0.0.1", target.port, "k", 0, 20_000))
    setting.send(writer, encode("APPEND", "k", "x"))
    async with asyncio.timeout(20):
        await target.has_answered.wait()
    assert writer.is_waiting
    setting.writer.results.forget(client)
    assert await writer.told() == b":2\r\n"
    assert not setting.server.state.reserved
    assert not setting.server.state.databases.records.observers
