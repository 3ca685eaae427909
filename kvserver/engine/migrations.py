"""MIGRATE: the connection by which keys go to another server, while their client waits and the event loop does not.

Owns the transfers that are under way; nobody else may write their keys meanwhile (`ServerState.reserve`). What is sent, and
what the answers mean, is the command's own business. No connection is kept for a later call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import hiredis

from kvserver.data.notes import Place
from kvserver.dispatch.effect import Block, Migrate, Transfer
from kvserver.engine.waiting import Client, Waiting
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import ServerState, Session

# As Redis, it waits anew for each so many bytes.
PIECE_BYTES: Final = 64 * 1024
# What was written and not sent yet is that much at most.
_UNSENT_BYTES: Final = 4 * PIECE_BYTES
# The whole transfer of somebody who has left: nothing was restored, as far as anybody knows.
_ABANDONED: Final = Transfer([], [], "reading")


class Migrations:
    """The transfers of a server.

    `release` lets those go on who wait for keys that were reserved, and `wake` has a tick run soon.
    """

    def __init__(self, state: ServerState, waiting: Waiting, release: Callable[[], None], wake: Callable[[], None]) -> None:
        self._state = state
        self._waiting = waiting
        self._release = release
        self._wake = wake
        # By the ids of sessions.
        self._under_way: dict[int, tuple[asyncio.Task[Transfer], Migrate]] = {}
        self._loop = asyncio.get_running_loop()

    def begin(self, effect: Migrate, client: Client, request: Request) -> None:
        """Begin a transfer, and let its client wait for the end."""
        session = client.session
        number = session.keyspace.number
        self._state.reserve(session, effect.keys)
        task = self._loop.create_task(_transfer(effect))
        self._under_way[session.id] = task, effect

        def attempt(key: bytes) -> Reply | None:
            if not task.done():
                return None
            self._end(session)
            return effect.finish(task.result())

        # It is served within a tick, as one that waits for a key is, though it may have hung up by then.
        self._waiting.begin(Block(effect.keys[:1], 0, attempt, None), client, request, reads_on=False)
        task.add_done_callback(lambda _: self._have_served((number, effect.keys[0])))

    def is_under_way(self, session: Session) -> bool:
        """True if the session waits for the end of a transfer."""
        return session.id in self._under_way

    def forget(self, session: Session) -> None:
        """Give up the transfer of a session that is gone. Nothing is removed."""
        if under_way := self._under_way.get(session.id):
            task, effect = under_way
            task.cancel()
            self._end(session)
            with suppress(CommandError):
                effect.finish(_ABANDONED)

    def _have_served(self, place: Place) -> None:
        self._state.databases.awaited.touched[place] = None
        self._wake()

    def _end(self, session: Session) -> None:
        """Let others write the keys again."""
        del self._under_way[session.id]
        self._state.release(session)
        self._release()


async def _transfer(effect: Migrate) -> Transfer:
    """Connect, send and read all replies, or as much of that as goes."""
    timeout_s = effect.timeout_ms / 1000
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(effect.host, effect.port)
    except ConnectionError:
        # Redis notices with its first write that nobody listens.
        return Transfer([], [], "writing")
    except (OSError, ValueError):
        return Transfer([], [], "connecting")
    try:
        return await _Exchange(effect, reader, writer).run(timeout_s)
    finally:
        writer.transport.abort()


class _Exchange:
    """The requests that are sent to a target, and its replies, which are read meanwhile.

    A target whose replies nobody reads may read no more itself: both would stand still.
    """

    def __init__(self, effect: Migrate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._effect = effect
        self._reader = reader
        self._writer = writer
        self._is_sent = False
        # Keys whose replies are to come, and None behind the last one.
        self._expected: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._greeted: list[bytes] = []
        self._restored: list[tuple[bytes, bytes]] = []

    async def run(self, timeout_s: float) -> Transfer:
        """Send and read all. That fails when for so long nothing has gone and nothing has come."""
        clock = asyncio.get_running_loop().time
        has_failed = False
        try:
            async with asyncio.timeout(timeout_s) as limit, asyncio.TaskGroup() as group:

                def go_on() -> None:
                    # Both are ended a turn later than the time.
                    if not limit.expired():
                        limit.reschedule(clock() + timeout_s)

                group.create_task(self._send(go_on))
                group.create_task(self._receive(go_on))
        except* (OSError, EOFError, ValueError):
            has_failed = True
        failed_at = "" if not has_failed else "reading" if self._is_sent else "writing"
        return Transfer(self._greeted, self._restored, failed_at)

    async def _send(self, go_on: Callable[[], None]) -> None:
        writer = self._writer
        writer.transport.set_write_buffer_limits(_UNSENT_BYTES)
        for request in self._effect.greeting:
            writer.write(_packed(request))
        for key, request in self._effect.restores:
            self._expected.put_nowait(key)
            packed = memoryview(_packed(request))
            for start in range(0, len(packed), PIECE_BYTES):
                writer.write(packed[start : start + PIECE_BYTES])
                await writer.drain()
                go_on()
            # Others have their turn between two keys, however many there are.
            await asyncio.sleep(0)
        self._expected.put_nowait(None)
        self._is_sent = True

    async def _receive(self, go_on: Callable[[], None]) -> None:
        for _ in self._effect.greeting:
            self._greeted.append(await self._line())
            go_on()
        while (key := await self._expected.get()) is not None:
            self._restored.append((key, await self._line()))
            go_on()

    async def _line(self) -> bytes:
        """The next reply, which is a line: without its end. EOFError if the connection ends before."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line.rstrip(b"\r\n")


def _packed(request: Request) -> bytes:
    # The stub says a tuple of one.
    packed: bytes = hiredis.pack_command(tuple(request))  # type: ignore[arg-type]
    return packed
