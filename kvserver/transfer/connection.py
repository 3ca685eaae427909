"""A connection to a server, for requests that are sent ahead of their replies, up to a bound. Blocking.

The bound keeps either side from waiting for the other with full buffers, and from holding what nobody has taken yet.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import hiredis

from kvserver.errors import TransferError
from kvserver.resp.request import Request

SCHEMES: Final = ("redis", "rediss", "unix")
CONNECT_TIMEOUT_S: Final = 10
# A server that is loading, or syncing to a slow disk, takes its time.
REPLY_TIMEOUT_S: Final = 120
MOST_REQUESTS: Final = 512
MOST_BYTES: Final = 1 << 20
_HOST: Final = "127.0.0.1"
_PORT: Final = 6379
_READ_BYTES: Final = 1 << 16
# hiredis returns this if a reply has not come to its end.
_NOT_ENOUGH: Final = object()

# Takes the reply to a request: None, an integer, bytes, a hiredis.ReplyError or a list of these.
Take = Callable[[Any], None]


def is_server(url: str) -> bool:
    """True for the URL of a server."""
    return url.partition("://")[0].lower() in SCHEMES and "://" in url


class Connection:
    """A connection to the server at a URL. TransferError, in one line without the password, if there can be none.

    The URL is `redis://[[user]:password@]host[:port]`, `rediss://…` for TLS by the system's certificates, or
    `unix://[[user]:password@]/path`. Use it in a `with` statement.
    """

    def __init__(self, url: str) -> None:
        parts, port = _split(url)
        host = parts.hostname or _HOST
        self.url = f"unix://{parts.path}" if parts.scheme == "unix" else f"{parts.scheme}://{host}:{port}"
        self._reader = hiredis.Reader(notEnoughData=_NOT_ENOUGH)
        # What takes the replies that have not come yet, with the lengths of their requests in bytes.
        self._awaited: deque[tuple[int, Take]] = deque()
        self._awaited_bytes = 0
        self._socket = self._connect(parts, port)
        self._socket.settimeout(REPLY_TIMEOUT_S)
        try:
            if parts.password:
                # Redis before 6 knows no users.
                user = [unquote(parts.username).encode()] if parts.username else []
                self.call(b"AUTH", *user, unquote(parts.password).encode())
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, parts: SplitResult, port: int) -> socket.socket:
        connection: socket.socket | None = None
        try:
            if parts.scheme == "unix":
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(CONNECT_TIMEOUT_S)
                connection.connect(unquote(parts.path))
                return connection
            host = parts.hostname or _HOST
            connection = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
            if parts.scheme == "rediss":
                return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
            return connection
        # A host or a path that can be none of its kind is a ValueError.
        except (OSError, ValueError) as error:
            if connection:
                connection.close()
            raise TransferError(f"cannot connect to {self.url}: {getattr(error, 'strerror', None) or error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, whatever has not been answered."""
        self._socket.close()

    def call(self, *request: bytes) -> Any:
        """The reply to a request, behind those that were sent before. TransferError if it is an error."""
        replies: list[Any] = []
        self.send(list(request), replies.append)
        self.settle()
        if isinstance(replies[0], hiredis.ReplyError):
            raise TransferError(f"{self.url} answers {request[0].decode()}: {replies[0]}")
        return replies[0]

    def info(self, section: str) -> dict[str, str]:
        """The fields of a section of INFO. TransferError as for `call`."""
        lines = self.call(b"INFO", section.encode()).decode("utf-8", "replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def detach(self) -> socket.socket:
        """The socket, behind all replies that were to come: it is the caller's from now on."""
        self.settle()
        return self._socket

    def send(self, request: Request, take: Take) -> None:
        """Send a request, and go on before its reply has come, which `take` is given in a later call of `send` or `settle`.

        TransferError if the connection fails; so may what `take` raises come out here.
        """
        # The stub of hiredis takes only tuples of one word.
        data = hiredis.pack_command(tuple(request))  # type: ignore[arg-type]
        while self._awaited and (len(self._awaited) >= MOST_REQUESTS or self._awaited_bytes + len(data) > MOST_BYTES):
            self._take_reply()
        try:
            self._socket.sendall(data)
        except OSError as error:
            self._fail(error)
        self._awaited.append((len(data), take))
        self._awaited_bytes += len(data)

    def settle(self) -> None:
        """Wait for all replies."""
        while self._awaited:
            self._take_reply()

    def _take_reply(self) -> None:
        try:
            while (reply := self._reader.gets()) is _NOT_ENOUGH:
                data = self._socket.recv(_READ_BYTES)
                if not data:
                    raise TransferError(f"{self.url} has closed the connection")
                self._reader.feed(data)
        except (OSError, hiredis.ProtocolError) as error:
            self._fail(error)
        length, take = self._awaited.popleft()
        self._awaited_bytes -= length
        take(reply)

    def _fail(self, error: Exception) -> None:
        raise TransferError(f"no reply from {self.url}: {getattr(error, 'strerror', None) or error}") from None


class Login(NamedTuple):
    """What a URL says of the way to a server by TCP. `is_secure`: by TLS."""

    host: str
    port: int
    user: str
    password: str
    is_secure: bool


def login_of(url: str) -> Login:
    """The way to the server at a URL. TransferError if it means no server, or one on a Unix socket."""
    parts, port = _split(url)
    if parts.scheme == "unix":
        raise TransferError("a server on a Unix socket can't be followed by another one: it takes a URL as redis://host:port")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Login(parts.hostname or _HOST, port, user, password, parts.scheme == "rediss")


def _split(url: str) -> tuple[SplitResult, int]:
    """The parts of a URL, and the port. TransferError if it means no server, or one of its databases alone."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError:
        raise TransferError("the URL of the server has a port that is none") from None
    if (parts.scheme != "unix" and parts.path.strip("/0")) or parse_qs(parts.query).get("db", ["0"]) != ["0"]:
        raise TransferError("the URL of the server names a database, but keys go where they have been: leave it out")
    return parts, port
