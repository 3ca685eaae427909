"""A blocking connection to the server under test, for everything that is not measured: INFO, SAVE, filling.

Owns one socket. Must never be used for a measured latency, nor from two threads at once: replies carry no name.
"""

import socket
from types import TracebackType
from typing import Self

import hiredis

from bench.failure import BenchFailed
from bench.request import encode_request

RECEIVE_BYTES = 1 << 16
_NEED_MORE = object()


class ErrorReply(BenchFailed):
    """The server answered with an error; its text is the argument."""


class Control:
    """The connection. A call raises ErrorReply for an error of the server, ConnectionError where the connection ends."""

    def __init__(self, port: int, timeout_s: float = 120.0) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NEED_MORE)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, requests: bytes) -> None:
        self._socket.sendall(requests)

    def receive(self) -> object:
        while (reply := self._reader.gets()) is _NEED_MORE:
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise ErrorReply(str(reply))
        return reply

    def receive_raw(self, count: int) -> bytes:
        """Return so many bytes as they come, mostly without the interpreter's lock, which the generator of a load needs."""
        data = bytearray(count)
        view = memoryview(data)
        while view:
            length = self._socket.recv_into(view)
            if not length:
                raise ConnectionError("the server closed the connection")
            view = view[length:]
        return bytes(data)

    def call(self, *parts: bytes | str | int) -> object:
        self.send(encode_request(*parts))
        return self.receive()

    def info(self, section: str) -> dict[str, str]:
        text = self.call("INFO", section)
        if not isinstance(text, bytes):
            raise ErrorReply(f"INFO {section} did not answer with text")
        pairs = (line.partition(":") for line in text.decode().splitlines() if ":" in line)
        return {name: value for name, _, value in pairs}
