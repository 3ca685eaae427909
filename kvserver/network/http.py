"""The HTTP port: `/metrics` for Prometheus, `/healthz` and `/readyz` for those who watch over the process. No data is there.

Requests are parsed by h11, which the extra `http` brings. A client has one request, a few kilobytes and some seconds for it;
of too many clients the one who has waited longest is sent away, so that nobody who is quick waits for those who are not.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

import h11

from kvserver.dispatch.gate import write_error
from kvserver.network.clients import print_address
from kvserver.network.listeners import begin_listening, is_taken, listen, port_of, stop_accepting
from kvserver.network.metrics import CONTENT_TYPE, pieces
from kvserver.state.session import ServerState

MOST_CLIENTS: Final = 16
HEADER_BYTES: Final = 8192
DEADLINE_S: Final = 10.0
# What a client may send behind its request, before it is cut off: it could not read the answer otherwise.
LINGER_BYTES: Final = 1 << 20
_READ_BYTES: Final = 4096
_ORIGIN: Final = re.compile(rb"https?://[^/?]*", re.IGNORECASE)
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
        self._servers: dict[socket.socket, asyncio.Server] = {}
        self._starts: set[asyncio.Task[None]] = set()
        # Those who are served, who has waited longest first.
        self._clients: dict[asyncio.Task[None], None] = {}
        self.left_out: list[str] = []

    async def open(self) -> None:
        """Listen at the addresses of `bind`. OSError, with a text of one line, if that fails."""
        self._listen()
        for raw_socket in self._sockets:
            await self._accept(raw_socket)

    def rebind(self) -> None:
        """Listen at the addresses that `bind` says now, and at no others. After an OSError all is as it was.

        Sockets that are wanted still go on.
        """
        before = self._sockets
        try:
            self._listen(before)
        except OSError as error:
            if not is_taken(error):
                raise
            # Our own sockets may be in the way, as * is of 127.0.0.1. They are closed first.
            addresses = [(raw_socket.family, raw_socket.getsockname()) for raw_socket in before]
            self._end(before)
            before = []
            try:
                self._listen()
            except OSError:
                backlog = self._state.config.tcp_backlog
                self._sockets = [begin_listening(socket.socket(family), name, backlog) for family, name in addresses]
                self._accept_soon(self._sockets)
                raise
        self._accept_soon([raw_socket for raw_socket in self._sockets if raw_socket not in before])
        self._end([raw_socket for raw_socket in before if raw_socket not in self._sockets])

    def _listen(self, present: Sequence[socket.socket] = ()) -> None:
        config, left_out = self._state.config, list[str]()
        self._sockets = listen(config.bind, config.http_port, config.tcp_backlog, left_out, present)
        config.http_port = port_of(self._sockets, config.http_port)
        self.left_out = left_out

    def _accept_soon(self, sockets: Sequence[socket.socket]) -> None:
        for raw_socket in sockets:
            task = asyncio.get_running_loop().create_task(self._accept(raw_socket))
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)

    async def _accept(self, raw_socket: socket.socket) -> None:
        # Another change of the options may have taken the socket out before this begins, and again while it waits.
        if raw_socket in self._sockets:
            backlog = self._state.config.tcp_backlog
            server = await asyncio.start_server(self._serve, sock=raw_socket, limit=HEADER_BYTES, backlog=backlog)
            if raw_socket in self._sockets:
                self._servers[raw_socket] = server
            else:
                server.close()

    def _end(self, sockets: Sequence[socket.socket]) -> None:
        for raw_socket in sockets:
            stop_accepting(raw_socket)
            if server := self._servers.pop(raw_socket, None):
                server.close()
            else:
                raw_socket.close()

    def urls(self) -> list[str]:
        """The addresses, as a browser takes them."""
        return [f"http://{print_address(raw_socket.getsockname())}" for raw_socket in self._sockets]

    def close(self) -> None:
        """Listen no more, and send all away."""
        sockets, self._sockets = self._sockets, []
        self._end(sockets)
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
        # A client that takes this for a proxy sends the whole URL, which every server must take (RFC 9112, 3.2.2).
        path = target[match.end() if (match := _ORIGIN.match(target)) else 0 :].partition(b"?")[0] or b"/"
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
