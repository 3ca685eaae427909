"""`kvserver replay --url`: a list of operations is run against a server, with the results that the library gives.

The operations are those of `run_operations`. This module reads no file and prints nothing.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from kvserver.errors import ReplayError
from kvserver.formats.codec import JSON

CONNECT_TIMEOUT_S = 10
# A flush of a large store takes a while.
REPLY_TIMEOUT_S = 120
_READ_BYTES = 1 << 16
# hiredis returns this if a reply has not come to its end. Its default is False, which may be a reply, too.
_NOT_ENOUGH = object()


class RespClient:
    """A connection to a server, for one command at a time. ReplayError if there can be none.

    `url` is `redis://[[user]:password@]host[:port][?protocol=3]` or `unix:///path[?protocol=3]`.
    """

    def __init__(self, url: str) -> None:
        no_url = ReplayError(f"{url!r} is no redis:// or unix:// URL")
        try:
            parts = urlsplit(url)
            port = parts.port or 6379
            protocol = int(parse_qs(parts.query).get("protocol", ["2"])[0])
        except ValueError:
            # The port or the protocol is no number.
            raise no_url from None
        self._reader = hiredis.Reader(notEnoughData=_NOT_ENOUGH)
        try:
            if parts.scheme == "unix":
                self._socket = socket.socket(socket.AF_UNIX)
                try:
                    self._socket.connect(parts.path)
                except OSError:
                    self._socket.close()
                    raise
            elif parts.scheme == "redis":
                self._socket = socket.create_connection((parts.hostname or "127.0.0.1", port), CONNECT_TIMEOUT_S)
            else:
                raise no_url
        except OSError as error:
            raise ReplayError(f"cannot connect to {url}: {error.strerror or error}") from error
        self._socket.settimeout(REPLY_TIMEOUT_S)
        if parts.password:
            self.call("AUTH", unquote(parts.username or "default"), unquote(parts.password))
        if protocol == 3:
            self.call("HELLO", "3")

    def __enter__(self) -> RespClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def call(self, *words: str) -> Any:
        """The reply to a command. ReplayError if the reply is an error or doesn't come."""
        try:
            # The stub of hiredis takes only tuples of one word.
            self._socket.sendall(hiredis.pack_command(words))  # type: ignore[arg-type]
            while (reply := self._reader.gets()) is _NOT_ENOUGH:
                data = self._socket.recv(_READ_BYTES)
                if not data:
                    raise ReplayError(f"the server closed the connection instead of answering {words[0]!r}")
                self._reader.feed(data)
        except (OSError, hiredis.ProtocolError) as error:
            raise ReplayError(f"no reply to {words[0]!r}: {error}") from error
        if isinstance(reply, hiredis.ReplyError):
            raise ReplayError(f"{words[0]!r}: {reply}")
        return reply


def replay(operations: Sequence[Sequence[JSON]], url: str) -> list[JSON]:
    """Run operations against the server at `url`, and return the result of each.

    Values are sent by JSON.SET and read by JSON.GET. ValueError for an unknown operation. ReplayError if the server fails, or
    before the first operation if a shutdown among them would end the server.
    """
    with RespClient(url) as client:
        if any(list(operation[:1]) == ["shutdown"] for operation in operations):
            _refuse_to_end(client)
        return [_run(client, operation) for operation in operations]


def _refuse_to_end(client: RespClient) -> None:
    if client.call("CONFIG", "GET", "shutdown-mode") not in ([b"shutdown-mode", b"flush"], {b"shutdown-mode": b"flush"}):
        raise ReplayError("nothing was run: a shutdown would end this server, since its shutdown-mode is not flush")


def _run(client: RespClient, operation: Sequence[JSON]) -> JSON:
    match list(operation):
        case ["set", key, value]:
            client.call("JSON.SET", key, "$", json.dumps(value))
            return None
        case ["get", key]:
            text = client.call("JSON.GET", key)
            return None if text is None else json.loads(text)
        case ["shutdown"]:
            return bool(client.call("SHUTDOWN"))
        case ["restore"]:
            return bool(client.call("RESTORE"))
        case ["crash"]:
            client.call("DEBUG", "CRASH")
            return None
    raise ValueError(f"unknown operation: {operation!r}")
