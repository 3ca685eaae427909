"""What the server listens on: TCP, TLS and a Unix socket.

A Unix socket is never, not even for a moment, open to others than its mode says. A TLS handshake counts as a client from
the moment it is accepted, so that handshakes that never end can't pile up beyond `maxclients`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
import stat
from contextlib import suppress
from typing import cast

from kvserver.network.clients import Clients, print_address
from kvserver.network.connection import Connection
from kvserver.network.tls import make_context
from kvserver.options.config import Config

HANDSHAKE_S = 30.0  # within which a TLS client must have come to an agreement
ACCEPTED_AT_ONCE = 100  # before the others have their turn
RETRY_ACCEPT_S = 1.0  # when no more files can be opened

_log = logging.getLogger("kvserver")


class Listeners:
    """`await open()`, then connections come; `close` stops that."""

    def __init__(self, clients: Clients, config: Config) -> None:
        self._clients = clients
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._servers: list[asyncio.Server] = []
        self._tls_sockets: list[socket.socket] = []
        self._context: ssl.SSLContext | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._unix_path = ""  # of the file that is ours to remove

    async def open(self) -> None:
        """Listen on all that the configuration names. OSError or TLSError, in one line, if that can't be."""
        config = self._config
        if config.port:
            for raw_socket in _bind_all(config, config.port):
                self._servers.append(await self._serve(raw_socket))
        if config.tls_port:
            self._context = make_context(config)
            for raw_socket in _bind_all(config, config.tls_port):
                raw_socket.listen(config.tcp_backlog)
                self._tls_sockets.append(raw_socket)
                self._loop.add_reader(raw_socket, self._accept_tls, raw_socket)
        if config.unixsocket:
            raw_socket = bind_unix(config.unixsocket, config.unixsocketperm)
            self._unix_path = config.unixsocket
            self._servers.append(
                await self._loop.create_unix_server(self._connect, sock=raw_socket, backlog=config.tcp_backlog)
            )

    def reload_tls(self) -> None:
        """Read the certificates and options anew, for handshakes from now on. TLSError leaves all as it was."""
        if self._tls_sockets:
            self._context = make_context(self._config)

    def addresses(self) -> list[str]:
        listening = [raw for server in self._servers for raw in server.sockets]
        return [print_address(raw.getsockname()) for raw in listening] + [
            f"{print_address(raw.getsockname())} (TLS)" for raw in self._tls_sockets
        ]

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for raw_socket in self._tls_sockets:
            self._loop.remove_reader(raw_socket)
            raw_socket.close()
        self._tls_sockets = []
        for task in self._handshakes:
            task.cancel()
        if self._unix_path:
            with suppress(OSError):
                os.unlink(self._unix_path)

    def _connect(self) -> asyncio.Protocol:
        return _protocol(Connection(self._clients))

    async def _serve(self, raw_socket: socket.socket) -> asyncio.Server:
        return await self._loop.create_server(self._connect, sock=raw_socket, backlog=self._config.tcp_backlog)

    # TLS: the event loops' own listening would tell of a client only when its handshake is done.

    def _accept_tls(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                raw_socket, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("accepting TLS connections fails: %s", error.strerror)
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._loop.remove_reader(listening)
                    self._loop.call_later(RETRY_ACCEPT_S, self._accept_again, listening)
                return
            connection = Connection(self._clients)
            if not self._clients.expect(connection):
                raw_socket.close()  # without a handshake, there is no way to tell why
                continue
            raw_socket.setblocking(False)
            task = self._loop.create_task(self._shake_hands(connection, raw_socket, print_address(address)))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._tls_sockets:
            self._loop.add_reader(listening, self._accept_tls, listening)

    async def _shake_hands(self, connection: Connection, raw_socket: socket.socket, address: str) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: _protocol(connection), raw_socket, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )
        except OSError as error:  # an ssl.SSLError is one
            _log.debug("a TLS handshake with %s failed: %s", address, error)
        finally:
            self._clients.expected.discard(connection)


def _protocol(connection: Connection) -> asyncio.Protocol:
    """A connection as what the event loop takes: all of a protocol's methods are there, if not the base class."""
    return cast(asyncio.Protocol, connection)


def _bind_all(config: Config, port: int) -> list[socket.socket]:
    """A bound socket for each address of `bind`; those that begin with `-` may be missing."""
    bound: list[socket.socket] = []
    try:
        for address in config.bind:
            host = address.removeprefix("-")
            try:
                bound += _bind(None if host == "*" else "::" if host == "::*" else host, port)
            except OSError as error:
                if not address.startswith("-"):
                    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
                    raise OSError(f"cannot listen on {address}:{port}: {reason}") from error
    except OSError:
        for raw_socket in bound:
            raw_socket.close()
        raise
    return bound


def _bind(host: str | None, port: int) -> list[socket.socket]:
    # As bytes where that is all the same: for text, Python loads the tables of international names.
    name = host.encode() if host and host.isascii() else host
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            raw_socket = socket.socket(family, kind, protocol)
        except OSError:
            if len(found) > 1:  # of 0.0.0.0 and ::, where there is no IPv6
                continue
            raise
        bound.append(raw_socket)
        raw_socket.setblocking(False)
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            raw_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            raw_socket.bind(address)
        except OSError:
            for each in bound:
                each.close()
            raise
    return bound


def bind_unix(path: str, mode: int) -> socket.socket:
    """A bound Unix socket. Its file has the mode, if one is given, from the first moment on."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode) and not _is_listened_to(path):
            os.unlink(path)
    raw_socket = socket.socket(socket.AF_UNIX)
    previous = os.umask(0o777 & ~mode) if mode else None
    try:
        raw_socket.bind(path)
    except OSError as error:
        raw_socket.close()
        raise OSError(f"cannot listen on {path}: {error.strerror or error}") from error
    finally:
        if previous is not None:
            os.umask(previous)
    return raw_socket


def _is_listened_to(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
