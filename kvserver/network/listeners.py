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
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from kvserver.network.clients import Clients, print_address
from kvserver.network.connection import Connection
from kvserver.network.tls import make_context
from kvserver.options.config import Config
from kvserver.options.kinds import AUTO_PORT, PORT

AUTO_PORT_TRIES = 8  # another process may have the port that is free at the first address at the next one
# What redis-server goes on without, whether the address begins with `-` or not: the machine has no such protocol.
NO_SUCH_PROTOCOL = frozenset(
    (errno.ENOPROTOOPT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPFNOSUPPORT, errno.EAFNOSUPPORT)
)
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
        self._servers: dict[socket.socket, asyncio.Server] = {}  # by what they listen on
        self._plain_sockets: list[socket.socket] = []
        self._tls_sockets: list[socket.socket] = []
        self._context: ssl.SSLContext | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._starts: set[asyncio.Task[None]] = set()
        self.left_out: list[str] = []  # why it does not listen on addresses that may be missing
        self._unix_path = ""  # of the file that is ours to remove

    async def open(self) -> None:
        """Listen on all that the configuration names. OSError or TLSError, in one line, if that can't be."""
        config, left_out = self._config, self.left_out
        if config.port:
            listening = listen(config.bind, config.port, config.tcp_backlog, left_out)
            config.port = _port_of(listening, config.port)
            self._plain_sockets = listening
            for raw_socket in listening:
                await self._serve(raw_socket)
        if config.tls_port:
            self._context = make_context(config)
            listening = listen(config.bind, config.tls_port, config.tcp_backlog, left_out)
            config.tls_port = _port_of(listening, config.tls_port)
            self._tls_sockets = listening
            for raw_socket in listening:
                self._loop.add_reader(raw_socket, self._accept_tls, raw_socket)
        if config.unixsocket:
            raw_socket = bind_unix(config.unixsocket, config.unixsocketperm)
            self._unix_path = config.unixsocket
            self._servers[raw_socket] = await self._loop.create_unix_server(
                self._connect, sock=raw_socket, backlog=config.tcp_backlog
            )
        if not self._servers and not self._tls_sockets:
            raise OSError(f"nothing to listen on: {'; '.join(left_out)}")

    def reload_tls(self) -> None:
        """Read the certificates and options anew, for handshakes from now on. TLSError leaves all as it was."""
        if self._tls_sockets:
            self._context = make_context(self._config)

    def rebind(self) -> None:
        """Listen on what `port`, `tls-port` and `bind` say by now, and on nothing else.

        What is listened on already goes on; what is not wanted any more ends when all else stands. OSError, in one line, or
        TLSError leave all as it was.
        """
        config, left_out = self._config, list[str]()
        if config.tls_port and not self._tls_sockets:
            self._context = make_context(config)
        plain, tls = self._plain_sockets, self._tls_sockets
        try:
            wanted = _listen_on_both(config, plain, tls, left_out)
        except OSError as error:
            if not _is_taken(error) or not {config.port, config.tls_port} & {_port_of([raw], 0) for raw in (*plain, *tls)}:
                raise
            # What we listen on may be in the way, as * is of 127.0.0.1: let go of it first, as redis-server does.
            addresses = [(raw.family, raw.getsockname()) for raw in plain], [(raw.family, raw.getsockname()) for raw in tls]
            self._end(*plain, *tls)
            plain = tls = []
            try:
                wanted = _listen_on_both(config, [], [], left_out)
            except OSError:
                self._use(*(
                    [_begin_listening(socket.socket(family), address, config.tcp_backlog) for family, address in each]
                    for each in addresses
                ))  # fmt: skip
                raise
        config.port, config.tls_port = _port_of(wanted[0], config.port), _port_of(wanted[1], config.tls_port)
        self._use(*wanted)
        self._end(*(raw for raw in (*plain, *tls) if raw not in wanted[0] and raw not in wanted[1]))
        self.left_out = left_out

    def _use(self, plain: list[socket.socket], tls: list[socket.socket]) -> None:
        """Accept connections from these, of which some may be in use already."""
        new = [raw for raw in plain if raw not in self._plain_sockets], [raw for raw in tls if raw not in self._tls_sockets]
        self._plain_sockets, self._tls_sockets = plain, tls
        for raw_socket in new[0]:
            task = self._loop.create_task(self._serve(raw_socket))
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)
        for raw_socket in new[1]:
            self._loop.add_reader(raw_socket, self._accept_tls, raw_socket)

    def _end(self, *sockets: socket.socket) -> None:
        """Listen on these no more."""
        for raw_socket in sockets:
            if server := self._servers.pop(raw_socket, None):
                server.close()
            else:
                self._loop.remove_reader(raw_socket)
                raw_socket.close()

    def addresses(self) -> list[str]:
        paths = [raw for raw in self._servers if raw.family == socket.AF_UNIX]
        plain = [print_address(raw.getsockname()) for raw in (*self._plain_sockets, *paths)]
        return plain + [f"{print_address(raw.getsockname())} (TLS)" for raw in self._tls_sockets]

    def exposed(self) -> str:
        """The first address that other machines may reach, or an empty text.

        TLS that asks clients for certificates does not count, unless protected mode turns those away as well.
        """
        listening = list(self._plain_sockets)
        if self._config.protected_mode or self._config.tls_auth_clients != "yes":
            listening += self._tls_sockets
        names = [raw.getsockname() for raw in listening]
        return next((print_address(name) for name in names if not name[0].startswith("127.") and name[0] != "::1"), "")

    def close(self) -> None:
        self._end(*{*self._servers, *self._plain_sockets, *self._tls_sockets})
        self._plain_sockets = self._tls_sockets = []
        for task in self._handshakes:
            task.cancel()
        if self._unix_path:
            with suppress(OSError):
                os.unlink(self._unix_path)

    def _connect(self) -> asyncio.Protocol:
        return _protocol(Connection(self._clients))

    async def _serve(self, raw_socket: socket.socket) -> None:
        if raw_socket in self._plain_sockets:  # still
            server = await self._loop.create_server(self._connect, sock=raw_socket, backlog=self._config.tcp_backlog)
            if raw_socket in self._plain_sockets:
                self._servers[raw_socket] = server
            else:
                server.close()

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


def _listen_on_both(
    config: Config, plain: list[socket.socket], tls: list[socket.socket], left_out: list[str]
) -> tuple[list[socket.socket], list[socket.socket]]:
    """What listens for plain connections and for TLS; of those that do already, the ones that are still wanted."""
    wanted_plain = listen(config.bind, config.port, config.tcp_backlog, left_out, plain) if config.port else []
    try:
        wanted_tls = listen(config.bind, config.tls_port, config.tcp_backlog, left_out, tls) if config.tls_port else []
    except OSError:
        for raw_socket in wanted_plain:
            if raw_socket not in plain:
                raw_socket.close()
        raise
    return wanted_plain, wanted_tls


def listen(
    addresses: Sequence[str], port: int, backlog: int, left_out: list[str], present: Sequence[socket.socket] = ()
) -> list[socket.socket]:
    """A listening socket for each address; why there is none for one that may be missing, is put into `left_out`.

    One that is present is taken where it listens on that very address. OSError, in one line, where one can't be had that must
    not be missing: the same ones as with redis-server.
    """
    for tries_left in reversed(range(AUTO_PORT_TRIES)):
        missing: list[str] = []
        try:
            listening = _listen_once(addresses, port, backlog, missing, present)
        except OSError as error:
            if port == AUTO_PORT and _is_taken(error) and tries_left:
                continue
            raise
        break
    left_out += missing
    return listening


def _listen_once(
    addresses: Sequence[str], port: int, backlog: int, left_out: list[str], present: Sequence[socket.socket]
) -> list[socket.socket]:
    listening: list[socket.socket] = []
    reusable = {raw_socket.getsockname(): raw_socket for raw_socket in present}
    for address in addresses:
        host = address.removeprefix("-")
        try:
            listening.append(_listen_at(host, _port_of(listening, port), backlog, reusable))
        except (OSError, UnicodeError) as error:
            text = f"cannot listen on {host}:{PORT.show(port)}: {_reason(error)}"
            number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
            if number in NO_SUCH_PROTOCOL or (number == errno.EADDRNOTAVAIL and address.startswith("-")):
                left_out.append(text)
                continue
            for raw_socket in listening:
                if raw_socket not in present:
                    raw_socket.close()
            raise OSError(text) from error
    return listening


def _listen_at(host: str, port: int, backlog: int, reusable: dict[Any, socket.socket]) -> socket.socket:
    """One socket, also where a name has several addresses. `*` is any of IPv4, `::*` any of IPv6."""
    is_any = host in ("*", "::*")
    # As bytes where that is all the same: for text, Python loads the tables of international names.
    name = None if is_any else host.encode() if host.isascii() else host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    failure = OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    found = socket.getaddrinfo(name, port, family, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for _, kind, protocol, _, address in found:
        if address in reusable:
            return reusable.pop(address)  # but once: what is named twice is an error
        try:
            raw_socket = socket.socket(family, kind, protocol)
        except OSError as error:
            failure = error
            continue
        return _begin_listening(raw_socket, address, backlog)
    raise failure


def _begin_listening(raw_socket: socket.socket, address: Any, backlog: int) -> socket.socket:
    try:
        raw_socket.setblocking(False)
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if raw_socket.family == socket.AF_INET6:
            raw_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        raw_socket.bind(address)
        # At once, since two sockets may be bound to one address, but only one of them can listen.
        raw_socket.listen(backlog)
    except OSError:
        raw_socket.close()
        raise
    return raw_socket


def _is_taken(error: OSError) -> bool:
    """Whether it is because of somebody else's socket that there is none."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE


def _port_of(listening: list[socket.socket], port: int) -> int:
    """The port that those who listen have; where nobody does, this one, or 0 for any."""
    number: int = listening[0].getsockname()[1] if listening else 0 if port == AUTO_PORT else port
    return number


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "that is no name of a host"
    return error.strerror or str(error)


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
