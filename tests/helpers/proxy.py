"""A TCP proxy that delays, stalls and cuts on order, in front of a server of this machine.

    with Proxy(server_port) as proxy:
        ...  # clients connect to proxy.port
        proxy.delay_s = 0.02
        lost = proxy.lose_answer(of=b"HPUB")
        assert lost.wait(10)

It runs in a thread of its own, and keeps the order of the bytes of a connection whatever it does to them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")

CHUNK_BYTES = 1 << 16


class _Pair:
    """A client's connection and the server's."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        # The request has passed whose answer is to be lost: this is set when that has happened.
        self.loses: threading.Event | None = None

    def cut(self) -> None:
        """Reset both, with what has not been sent."""
        _reset(self.client)
        _reset(self.server)


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        connected = writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


class Proxy:
    """A proxy in front of a port of 127.0.0.1, from the beginning of the `with` block to its end.

    - `port` is its own.
    - `delay_s` is how long it holds what it passes on, each way. It may be changed at any time, for what comes from then on.
    - `refuses`: new connections are closed at once.
    - `bytes_per_s` is the most that it passes on in a second, each way of a connection; 0: there is no limit. A line that is
      slow holds little: more than some 200 KB wait for it where they come from.
    """

    def __init__(self, target_port: int, bytes_per_s: int = 0) -> None:
        self.port = 0
        self.bytes_per_s = bytes_per_s
        self.delay_s = 0.0
        self.refuses = False
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        # The answers to lose: what the request has, and what is set then.
        self._losses: list[tuple[bytes, threading.Event]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=CHUNK_BYTES), self._loop
        ).result()
        self.port = self._server.sockets[0].getsockname()[1]
        if self.bytes_per_s:
            # Connections have it from the socket that takes them.
            self._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK_BYTES)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # Orders, from any thread

    def stall(self) -> None:
        """Pass nothing on, either way, until `flow`. Connections stay."""
        self._order(self._flows.clear)

    def flow(self) -> None:
        self._order(self._flows.set)

    def cut(self) -> int:
        """Break all connections. Returns how many there were."""
        return self._order(self._cut_all)

    def lose_answer(self, of: bytes = b"") -> threading.Event:
        """Break a connection between the next request that has these bytes and its answer, which the server has sent.

        Whole bytes have to be in what the client sends at once. The event is set when it has happened.
        """
        happened = threading.Event()
        self._order(lambda: self._losses.append((of, happened)))
        return happened

    def forget_losses(self) -> None:
        """Lose no answer any more that was to be lost, and was not asked for yet."""
        self._order(self._losses.clear)

    def _order(self, call: Callable[[], T]) -> T:
        async def run() -> T:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    # In the thread

    def _cut_all(self) -> int:
        for pair in self._pairs:
            pair.cut()
        return len(self._pairs)

    async def _close(self) -> None:
        self._server.close()
        self._flows.set()
        self._cut_all()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refuses:
            _reset(to_client)
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port, limit=CHUNK_BYTES)
        except OSError:
            _reset(to_client)
            return
        pair = _Pair(to_client, to_server)
        self._pairs.add(pair)
        try:
            ways = self._pass_requests(pair, from_client), self._pass_answers(pair, from_server)
            await asyncio.gather(*(self._until_cut(pair, way) for way in ways))
        finally:
            pair.cut()
            self._pairs.discard(pair)

    async def _until_cut(self, pair: _Pair, way: Coroutine[None, None, None]) -> None:
        """Pass one way, until that ends. What breaks one way ends both."""
        try:
            await way
        except OSError:
            pair.cut()

    async def _pass_requests(self, pair: _Pair, source: asyncio.StreamReader) -> None:
        async def pass_on(data: bytes) -> None:
            for loss in self._losses:
                if loss[0] in data and not pair.loses:
                    pair.loses = loss[1]
                    self._losses.remove(loss)
                    break
            pair.server.write(data)
            await pair.server.drain()

        await self._pass(source, pass_on)
        with suppress(OSError):
            pair.server.write_eof()

    async def _pass_answers(self, pair: _Pair, source: asyncio.StreamReader) -> None:
        async def pass_on(data: bytes) -> None:
            if pair.loses:
                pair.cut()
                pair.loses.set()
                raise ConnectionResetError("cut on order")
            pair.client.write(data)
            await pair.client.drain()

        await self._pass(source, pass_on)
        with suppress(OSError):
            pair.client.write_eof()

    async def _pass(self, source: asyncio.StreamReader, pass_on: Callable[[bytes], Awaitable[None]]) -> None:
        """Pass on what comes, each piece as long after it came as the delay says, to the end."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(100)

        async def read() -> None:
            data = b" "
            while data:
                try:
                    data = await source.read(CHUNK_BYTES)
                except OSError:
                    data = b""
                if self.bytes_per_s:
                    await asyncio.sleep(len(data) / self.bytes_per_s)
                await pieces.put((self._loop.time() + self.delay_s, data))

        async def write() -> None:
            while True:
                due, data = await pieces.get()
                if (wait_s := due - self._loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                await self._flows.wait()
                if not data:
                    return
                await pass_on(data)

        reading = asyncio.ensure_future(read())
        try:
            await write()
            await reading
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await reading
