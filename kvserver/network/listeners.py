"""The sockets that the server listens on: TCP, TLS and a Unix socket.

A Unix socket is never, not even for a moment, open to others than its mode says. A TLS handshake counts as a client from
the moment when it begins, so that handshakes that never end can't pile up beyond `maxclients`.
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

# A port that is free at the first address may belong to another process at the next address. Then another port is tried.
AUTO_PORT_TRIES = 8
# The machine has no such protocol: redis-server goes on without the address, also if it doesn't begin with `-`.
NO_SUCH_PROTOCOL = frozenset(
    (errno.ENOPROTOOPT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPFNOSUPPORT, errno.EAFNOSUPPORT)
)
# The time that a TLS handshake may take.
HANDSHAKE_S = 30.0
# So many TLS clients are accepted before others have their turn.
ACCEPTED_AT_ONCE = 100
# The pause after which accepting is tried again when no more files could be opened.
RETRY_ACCEPT_S = 1.0

_log = logging.getLogger("kvserver")


class Listeners:
    """The listening sockets of a server. After `await open()` connections come in, until `close`.

    `left_out` has a line for each address that may be missing and could not be listened on.
    """

    def __init__(self, clients: Clients, config: Config) -> None:
        self._clients = clients
        self._config = config
        self._loop = asyncio.get_running_loop()
        # The event loop's servers by the sockets that they listen on.
        self._servers: dict[socket.socket, asyncio.Server] = {}
        self._plain_sockets: list[socket.socket] = []
        self._tls_sockets: list[socket.socket] = []
        self._context: ssl.SSLContext | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._starts: set[asyncio.Task[None]] = set()
        self.left_out: list[str] = []
        # The path of the Unix socket, whose file `close` removes, or empty.
        self._unix_path = ""

    async def open(self) -> None:
        """Listen on all addresses of the configuration. OSError or TLSError, with a text of one line, if that fails."""
        config, left_out = self._config, self.left_out
        if config.port:
            listening = listen(config.bind, config.port, config.tcp_backlog, left_out)
            config.port = port_of(listening, config.port)
            self._plain_sockets = listening
            for raw_socket in listening:
                await self._serve(raw_socket)
        if config.tls_port:
            self._context = make_context(config)
            listening = listen(config.bind, config.tls_port, config.tcp_backlog, left_out)
            config.tls_port = port_of(listening, config.tls_port)
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
        """Read the certificates and options again, for handshakes from now on. After a TLSError all is as it was."""
        if self._tls_sockets:
            self._context = make_context(self._config)

    def rebind(self) -> None:
        """Listen on the addresses that `port`, `tls-port` and `bind` say now, and on no others.

        Sockets that are wanted still go on; sockets that are not are closed when all others listen. After an OSError (with a
        text of one line) or a TLSError all is as it was.
        """
        config, left_out = self._config, list[str]()
        if config.tls_port and not self._tls_sockets:
            self._context = make_context(config)
        plain, tls = self._plain_sockets, self._tls_sockets
        try:
            wanted = _listen_on_both(config, plain, tls, left_out)
        except OSError as error:
            if not is_taken(error) or not {config.port, config.tls_port} & {port_of([raw], 0) for raw in (*plain, *tls)}:
                raise
            # Our own sockets may be in the way, as * is of 127.0.0.1: they are closed first, as redis-server does.
            addresses = [(raw.family, raw.getsockname()) for raw in plain], [(raw.family, raw.getsockname()) for raw in tls]
            self._end(*plain, *tls)
            plain = tls = []
            try:
                wanted = _listen_on_both(config, [], [], left_out)
            except OSError:
                self._use(*(
                    [begin_listening(socket.socket(family), address, config.tcp_backlog) for family, address in each]
                    for each in addresses
                ))  # fmt: skip
                raise
        config.port, config.tls_port = port_of(wanted[0], config.port), port_of(wanted[1], config.tls_port)
        self._use(*wanted)
        self._end(*(raw for raw in (*plain, *tls) if raw not in wanted[0] and raw not in wanted[1]))
        self.left_out = left_out

    def _use(self, plain: list[socket.socket], tls: list[socket.socket]) -> None:
        """Accept connections from these sockets, some of which may be in use already."""
        new = [raw for raw in plain if raw not in self._plain_sockets], [raw for raw in tls if raw not in self._tls_sockets]
        self._plain_sockets, self._tls_sockets = plain, tls
        for raw_socket in new[0]:
            task = self._loop.create_task(self._serve(raw_socket))
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)
        for raw_socket in new[1]:
            self._loop.add_reader(raw_socket, self._accept_tls, raw_socket)

    def _end(self, *sockets: socket.socket) -> None:
        """Close these listening sockets."""
        for raw_socket in sockets:
            stop_accepting(raw_socket)
            if server := self._servers.pop(raw_socket, None):
                server.close()
            else:
                self._loop.remove_reader(raw_socket)
                raw_socket.close()

    def urls(self) -> list[str]:
        """The addresses that the server listens on, as clients take them: redis://127.0.0.1:6379, rediss:// for TLS, unix://."""
        paths = [raw.getsockname() for raw in self._servers if raw.family == socket.AF_UNIX]
        return [
            *(f"redis://{print_address(raw.getsockname())}" for raw in self._plain_sockets),
            *(f"unix://{os.path.abspath(path)}" for path in paths),
            *(f"rediss://{print_address(raw.getsockname())}" for raw in self._tls_sockets),
        ]

    def exposed(self) -> str:
        """The first address that other machines may reach, or an empty text.

        An address of TLS that asks clients for certificates doesn't count, unless protected mode turns those clients away.
        """
        listening = list(self._plain_sockets)
        if self._config.protected_mode or self._config.tls_auth_clients != "yes":
            listening += self._tls_sockets
        names = [raw.getsockname() for raw in listening]
        return next((print_address(name) for name in names if not name[0].startswith("127.") and name[0] != "::1"), "")

    def close(self) -> None:
        """Listen no more, give up unfinished handshakes, and remove the Unix socket's file."""
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
        # A change of the options may have taken the socket out before this task began, and again while it waits.
        if raw_socket in self._plain_sockets:
            server = await self._loop.create_server(self._connect, sock=raw_socket, backlog=self._config.tcp_backlog)
            if raw_socket in self._plain_sockets:
                self._servers[raw_socket] = server
            else:
                server.close()

    # TLS is accepted here, since the event loop's own server tells of a client only when its handshake is done.

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
                # Without a handshake there is no way to tell the client why.
                raw_socket.close()
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
        except OSError as error:
            # An ssl.SSLError is an OSError, too.
            _log.debug("a TLS handshake with %s failed: %s", address, error)
        finally:
            self._clients.expected.discard(connection)


def _protocol(connection: Connection) -> asyncio.Protocol:
    """The connection as the event loop's type: it has all methods of a protocol, if not the base class."""
    return cast(asyncio.Protocol, connection)


def _listen_on_both(
    config: Config, plain: list[socket.socket], tls: list[socket.socket], left_out: list[str]
) -> tuple[list[socket.socket], list[socket.socket]]:
    """The listening sockets for plain connections and for TLS; present ones are taken again where they are still wanted."""
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
    """A listening socket for each address. A line is added to `left_out` for each address that is left out.

    A present socket is taken where it listens on that very address. OSError, with a text of one line, for an address that
    must not be left out: the same addresses as with redis-server.
    """
    for tries_left in reversed(range(AUTO_PORT_TRIES)):
        missing: list[str] = []
        try:
            listening = _listen_once(addresses, port, backlog, missing, present)
        except OSError as error:
            if port == AUTO_PORT and is_taken(error) and tries_left:
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
            listening.append(_listen_at(host, port_of(listening, port), backlog, reusable))
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
    """One listening socket, also where a name has several addresses. `*` is any address of IPv4, `::*` any of IPv6."""
    is_any = host in ("*", "::*")
    # Bytes where the name is ASCII: for text, Python loads the tables of international names.
    name = None if is_any else host.encode() if host.isascii() else host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    failure = OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    found = socket.getaddrinfo(name, port, family, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for _, kind, protocol, _, address in found:
        if address in reusable:
            # It is taken out, since an address that is named twice is an error.
            return reusable.pop(address)
        try:
            raw_socket = socket.socket(family, kind, protocol)
        except OSError as error:
            failure = error
            continue
        return begin_listening(raw_socket, address, backlog)
    raise failure


def begin_listening(raw_socket: socket.socket, address: Any, backlog: int) -> socket.socket:
    """A socket that is bound to this address, and listens. OSError, and the socket is closed, if that fails."""
    try:
        raw_socket.setblocking(False)
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if raw_socket.family == socket.AF_INET6:
            raw_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        raw_socket.bind(address)
        # The socket listens at once, since two may be bound to one address, but only one of them can listen.
        raw_socket.listen(backlog)
    except OSError:
        raw_socket.close()
        raise
    return raw_socket


def is_taken(error: OSError) -> bool:
    """True if listening failed since another socket has the address."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE


def port_of(listening: list[socket.socket], port: int) -> int:
    """The port of the listening sockets; if there are none, the given port, with 0 for AUTO_PORT."""
    number: int = listening[0].getsockname()[1] if listening else 0 if port == AUTO_PORT else port
    return number


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "that is no name of a host"
    return error.strerror or str(error)


def stop_accepting(raw_socket: socket.socket) -> None:
    """Let nobody connect to a listening socket any more, before it is closed.

    A process that was forked off may have it open, too, and there nobody accepts who connects.
    """
    with suppress(OSError):
        raw_socket.shutdown(socket.SHUT_RDWR)


def bind_unix(path: str, mode: int) -> socket.socket:
    """A bound Unix socket, whose file has the mode from the first moment on. 0 leaves the mode to the umask.

    A file that a dead server left is replaced. OSError, with a text of one line, if the path can't be bound.
    """
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode) and not _is_listened_to(path):
            os.unlink(path)
    raw_socket = socket.socket(socket.AF_UNIX)
    previous = _limit_mode(raw_socket, mode) if mode else None
    try:
        raw_socket.bind(path)
        if mode:
            # The umask may have taken more.
            os.chmod(path, mode)
    except OSError as error:
        raw_socket.close()
        raise OSError(f"cannot listen on {path}: {error.strerror or error}") from error
    finally:
        if previous is not None:
            os.umask(previous)
    return raw_socket


def _limit_mode(raw_socket: socket.socket, mode: int) -> int | None:
    """Let the file of a Unix socket have this mode at most when it is bound. Return a umask that is to be set behind that.

    On Linux the file's mode is that of the socket, but for the umask. The umask is the whole process's: where the socket has
    no mode, there is no other way.
    """
    try:
        os.fchmod(raw_socket.fileno(), mode)
    except OSError:
        return os.umask(0o777 & ~mode)
    return None


def _is_listened_to(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
