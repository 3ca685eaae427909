"""The HTTP port: `/metrics` for Prometheus, `/healthz` and `/readyz` for those who watch over the process. No data is there.

Requests are parsed by h11, which the extra `http` brings. A client has one request, a few kilobytes and some seconds for it;
of too many clients the one who has waited longest is sent away, so that nobody who is quick waits for those who are not.
"""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from typing import Final, NamedTuple

import h11

from kvserver.dispatch.gate import write_error
from kvserver.network.clients import print_address
from kvserver.network.listeners import listen, port_of, stop_accepting
from kvserver.network.metrics import CONTENT_TYPE, pieces
from kvserver.state.session import ServerState

MOST_CLIENTS: Final = 16
HEADER_BYTES: Final = 8192
DEADLINE_S: Final = 10.0
# What a client may send behind its request, before it is cut off: it could not read the answer otherwise.
LINGER_BYTES: Final = 1 << 20
_READ_BYTES: Final = 4096
_TEXT: Final = "text/plain; charset=utf-8"
_INDEX: Final = b"/metrics for Prometheus\n/healthz 200 while the server answers\n/readyz 200 while it takes writes\n"


class Answer(NamedTuple):
    """An answer to a request: its status, the type of its body, the body."""

    status: int
    body: bytes
    content_type: str = _TEXT


class HTTPPort:
    """The port for those who watch the server. After `await open()` it answers, until `close`.

    `left_out` has a line for each address that may be missing and could not be listened on.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        # Those who are served, who has waited longest first.
        self._clients: dict[asyncio.Task[None], None] = {}
        self.left_out: list[str] = []

    async def open(self) -> None:
        """Listen at the addresses of `bind`. OSError, with a text of one line, if that fails."""
        config = self._state.config
        self._sockets = listen(config.bind, config.http_port, config.tcp_backlog, self.left_out)
        config.http_port = port_of(self._sockets, config.http_port)
        for raw_socket in self._sockets:
            self._servers.append(await asyncio.start_server(self._serve, sock=raw_socket, limit=HEADER_BYTES))

    def urls(self) -> list[str]:
        """The addresses, as a browser takes them."""
        return [f"http://{print_address(raw_socket.getsockname())}" for raw_socket in self._sockets]

    def close(self) -> None:
        """Listen no more, and send all away."""
        for raw_socket in self._sockets:
            stop_accepting(raw_socket)
        for server in self._servers:
            server.close()
        for client in self._clients:
            client.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.current_task()
        assert client is not None
        self._clients[client] = None
        if len(self._clients) > MOST_CLIENTS:
            next(iter(self._clients)).cancel()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._exchange(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            # The client has gone, is too slow, or was sent away: nothing of it is left to do.
            pass
        finally:
            del self._clients[client]
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the one request of a client. Nothing is answered if it leaves before it has sent one."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES)
        method = b""
        try:
            event = connection.next_event()
            while event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_READ_BYTES))
                event = connection.next_event()
            if not isinstance(event, h11.Request):
                return
            method = event.method
            answer = await self._answer(method, event.target)
        except h11.RemoteProtocolError as error:
            answer = Answer(error.error_status_hint, f"{error}\n".encode())
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
            *([("Allow", "GET, HEAD")] if answer.status == 405 else []),
        ]
        reason = HTTPStatus(answer.status).phrase
        data = connection.send(h11.Response(status_code=answer.status, headers=headers, reason=reason)) or b""
        if method != b"HEAD":
            data += connection.send(h11.Data(data=answer.body)) or b""
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        # A connection that is closed with something unread is reset, and the client may lose the answer.
        rest = LINGER_BYTES
        while rest > 0 and (unread := await reader.read(_READ_BYTES)):
            rest -= len(unread)

    async def _answer(self, method: bytes, target: bytes) -> Answer:
        path = target.partition(b"?")[0]
        if path not in (b"/", b"/metrics", b"/healthz", b"/readyz"):
            return Answer(404, b"no such page\n")
        if method not in (b"GET", b"HEAD"):
            return Answer(405, b"only GET and HEAD\n")
        match path:
            case b"/metrics":
                return Answer(200, await self._metrics(), CONTENT_TYPE)
            case b"/healthz":
                return Answer(200, b"ok\n")
            case b"/readyz":
                reason = why_not_ready(self._state)
                return Answer(503, f"{reason}\n".encode("utf-8", "surrogateescape")) if reason else Answer(200, b"ok\n")
            case _:
                return Answer(200, _INDEX)

    async def _metrics(self) -> bytes:
        parts = []
        for piece in pieces(self._state):
            parts.append(piece)
            # Commands have their turn in between.
            await asyncio.sleep(0)
        return b"".join(parts)


def why_not_ready(state: ServerState) -> str:
    """The reason why the server does not take writes now, in one line, or an empty text."""
    if state.persistence.loading:
        done, total = state.persistence.load_done_bytes, state.persistence.load_total_bytes
        return f"loading: {100 * done // total if total else 0} %"
    if error := write_error(state):
        reason = state.persistence.last_save_error or state.persistence.medium_poisoned
        return f"writes are refused: {error}{f' ({reason})' if reason and reason not in error else ''}"
    if state.config.maxmemory_policy == "noeviction" and state.memory.is_over:
        return "writes are refused: used memory is above maxmemory, and maxmemory-policy lets no key go"
    return ""
