"""A source that does what a test says: it greets as redis-server does, then sends the bytes that it is given.

It runs in threads, one for each connection, and notes what it is sent.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

from kvserver.resp.request import Request, RequestParser

RUN = b"a" * 40
# What redis-server 7.0 saves when it has no keys.
EMPTY = b"REDIS0011\xfa\x09redis-ver\x067.0.15\xff" + bytes(8)


class FakeSource:
    """A source from the beginning of the `with` block to its end.

    `answers` are sent in place of the usual ones, by the name of the command. `data` is what PSYNC of a new replica is
    answered by behind its line, and `continues` tells if a replica with data may go on. `greeted` has the requests up to the
    PSYNC of each connection, and `acknowledged` is the last offset that was acknowledged.
    """

    def __init__(self, data: bytes = b"$%d\r\n%b" % (len(EMPTY), EMPTY)) -> None:
        self.answers: dict[bytes, bytes] = {}
        self.data = data
        self.continues = False
        self.greeted: list[list[Request]] = []
        self.acknowledged = -1
        self.newlines = 0
        self._changed = threading.Condition()
        self._connections: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listening.close()
        self.cut()

    def send(self, data: bytes) -> None:
        """Send bytes to all that are connected."""
        for connection in self._connections:
            with suppress(OSError):
                connection.sendall(data)

    def cut(self) -> None:
        """Break all connections."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def wait_for_greetings(self, count: int) -> list[Request]:
        """Wait for so many connections that have come to PSYNC, and return what the last one has said."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.greeted) >= count, 20)
            return self.greeted[count - 1]

    def wait_for_offset(self, offset: int) -> None:
        """Wait until this offset is acknowledged."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.acknowledged >= offset, 20), self.acknowledged

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        parser, greeting = RequestParser(), list[Request]()
        with connection, suppress(OSError):
            while data := connection.recv(1 << 16):
                for request in parser.feed(data):
                    name = request[0].upper()
                    if name == b"REPLCONF" and request[1] == b"ACK":
                        with self._changed:
                            self.acknowledged = int(request[2])
                            self._changed.notify_all()
                        continue
                    greeting.append(request)
                    connection.sendall(self._answer(name, request))
                    if name == b"PSYNC":
                        with self._changed:
                            self._connections.append(connection)
                            self.greeted.append(greeting)
                            self._changed.notify_all()

    def _answer(self, name: bytes, request: Request) -> bytes:
        if name in self.answers:
            return self.answers[name]
        if name == b"PING":
            return b"+PONG\r\n"
        if name == b"PSYNC":
            if self.continues and request[1] != b"?":
                return b"+CONTINUE\r\n"
            return b"+FULLRESYNC %b 100\r\n%b" % (RUN, self.data)
        return b"+OK\r\n"
