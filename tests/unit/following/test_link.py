"""A connection to a source ends in one line, wherever it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from kvserver.errors import LinkLost
from kvserver.following.link import READ_BYTES, Link

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def linked(talk: Talk) -> AsyncIterator[Link]:
    """A link to a server that talks so, from which both sides are gone behind the block."""
    has_ended = asyncio.Event()

    async def talk_to_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await talk(reader, writer)
            await reader.read()
        writer.close()
        has_ended.set()

    server = await asyncio.start_server(talk_to_end, "127.0.0.1", 0)
    link = await Link.open("127.0.0.1", server.sockets[0].getsockname()[1], 10, None)
    server.close()
    try:
        yield link
    finally:
        link.close()
        await has_ended.wait()
        await asyncio.sleep(0)


def saying(data: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.write_eof()

    return talk


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_lines_come_before_the_rest() -> None:
    async with linked(saying(b"+PONG\r\n\nrest")) as link:
        assert (await link.line(), await link.line(), await link.read()) == (b"+PONG", b"", b"rest")
        with pytest.raises(LinkLost, match=r"Connection with master lost\."):
            await link.read()


async def test_line_that_ends_with_the_link_is_none() -> None:
    async with linked(saying(b"+PO")) as link:
        with pytest.raises(LinkLost, match=r"Connection with master lost\."):
            await link.line()


async def test_line_without_an_end_is_refused() -> None:
    async with linked(saying(b"x" * 4 * READ_BYTES)) as link:
        with pytest.raises(LinkLost, match="Error condition on socket for SYNC: a line of more than"):
            await link.line()


async def test_silence_is_borne_for_a_time() -> None:
    async with linked(silent) as link:
        link._timeout_s = 0.01
        with pytest.raises(LinkLost, match="MASTER timeout: no data nor PING received"):
            await link.read()
        with pytest.raises(LinkLost, match="Timeout in the handshake with MASTER"):
            await link.line()


async def test_nobody_listens() -> None:
    with pytest.raises(LinkLost, match="Error condition on socket for SYNC: "):
        await Link.open("127.0.0.1", 1, 10, None)
    with pytest.raises(LinkLost, match="Error condition on socket for SYNC: "):
        await Link.open("no such host", 1, 10, None)


async def test_what_is_said_goes_out() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.readexactly(5))

    async with linked(talk) as link:
        link.send(b"hello")
        assert await heard == b"hello"
        assert link.host == "127.0.0.1"
