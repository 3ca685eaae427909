"""Transfers go on beside the event loop's other work, hold those who would write the keys, and end whatever happens."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from helpers.servers import encode, parse
from helpers.writers import Noting, Setting
from kvserver.dispatch.effect import Migrate
from kvserver.engine.migrations import PIECE_BYTES, _Exchange


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


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], buffer_bytes: int = 0
) -> AsyncIterator[int]:
    """The port of a server, the buffers of whose sockets may have a size of their own."""
    served = []

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with suppress(ConnectionError):
            await serve(reader, writer)
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()

    with socket.create_server(("127.0.0.1", 0)) as made:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF) if buffer_bytes else ():
            made.setsockopt(socket.SOL_SOCKET, option, buffer_bytes)
        async with await asyncio.start_server(accepted, sock=made, limit=PIECE_BYTES):
            yield int(made.getsockname()[1])
            async with asyncio.timeout(20):
                await asyncio.gather(*filter(None, served))


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    target = Target()
    async with listening(target.serve) as target.port:
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


# Together they are longer than what the sockets hold.
MANY = {f"k{number}": random.Random(number).randbytes(100_000) for number in range(200)}


async def test_target_that_reads_no_more_until_its_replies_are_read_takes_all(setting: Setting) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)
        while header := await reader.readline():
            for _ in range(int(header[1:])):
                await reader.readexactly(int((await reader.readline())[1:]) + 2)
            writer.write(b"+" + b"O" * 50_000 + b"\r\n")
            await writer.drain()

    client = Telling(setting)
    setting.send(client, encode("MSET", *(word for pair in MANY.items() for word in pair)))
    assert await client.told() == b"+OK\r\n"
    async with listening(serve, buffer_bytes=16 * 1024) as port:
        setting.send(client, encode("MIGRATE", "127.0.0.1", port, "", 0, 20_000, "KEYS", *MANY), encode("DBSIZE"))
        assert await client.told(3) == b"+OK\r\n+OK\r\n:0\r\n"


@pytest.mark.parametrize("options", [(), ("COPY",)], ids=str)
async def test_what_was_taken_is_known_where_the_target_ends_while_more_is_sent(
    setting: Setting, options: tuple[str, ...]
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(PIECE_BYTES)
        # The greeting, and two keys, the second of which is refused.
        writer.write(b"+OK\r\n+OK\r\n-BUSYKEY x\r\n")
        # So much is under way only after the other side has had its turn often.
        await reader.readexactly(sum(map(len, MANY.values())) // 2)

    client = Telling(setting)
    setting.send(client, encode("MSET", "a", 1, "b", 2, *(word for pair in MANY.items() for word in pair)))
    assert await client.told() == b"+OK\r\n"
    client.said = b""
    async with listening(serve) as port:
        setting.send(client, encode("MIGRATE", "127.0.0.1", port, "", 0, 20_000, *options, "KEYS", "a", "b", *MANY))
        assert await client.told() == b"-ERR Target instance replied with error: BUSYKEY x\r\n"
        client.said = b""
        setting.send(client, encode("MGET", "a", "b"), encode("EXISTS", *MANY))
        heard = await client.told(5 if options else 4)
        assert parse(heard)[:2] == [b"1" if options else None, b"2"]
        assert heard.endswith(b":200\r\n")
    assert not setting.server.state.reserved


async def test_target_that_ends_while_more_is_sent_is_a_failed_write(setting: Setting) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(PIECE_BYTES)
        writer.write(b"+OK\r\n+OK\r\n+OK\r\n")
        await reader.readexactly(sum(map(len, MANY.values())) // 2)

    client = Telling(setting)
    setting.send(client, encode("MSET", "a", 1, "b", 2, *(word for pair in MANY.items() for word in pair)))
    async with listening(serve) as port:
        setting.send(client, encode("MIGRATE", "127.0.0.1", port, "", 0, 20_000, "KEYS", "a", "b", *MANY))
        setting.send(client, encode("DBSIZE"))
        assert await client.told(3) == b"+OK\r\n-IOERR error or timeout writing to target instance\r\n:200\r\n"


class Nothing:
    """A connection whose other end takes everything."""

    transport: Any

    def __init__(self) -> None:
        self.transport = self

    def set_write_buffer_limits(self, high: int) -> None: ...
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...


@pytest.mark.parametrize("turns", range(6))
async def test_reply_that_comes_with_the_end_of_the_time_is_no_defect(turns: int) -> None:
    class Reader:
        async def readline(self) -> bytes:
            # The loop is held up for longer than the time.
            until = time.monotonic() + 0.02
            while time.monotonic() < until:
                pass
            for _ in range(turns):
                await asyncio.sleep(0)
            return b"+OK\r\n"

    effect = Migrate("", 0, 10, [], [[b"SELECT", b"0"]] * 3, iter(()), lambda transfer: None)
    reader: Any = Reader()
    writer: Any = Nothing()
    transfer = await _Exchange(effect, reader, writer).run(0.01)
    assert transfer.failed_at in ("", "reading")
