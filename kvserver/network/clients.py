"""The clients that are connected: this module admits clients or tells them why not, and closes those that don't read.

It owns every connection, and counts them. It never reads or writes for a client that was admitted: its connection does.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress

from kvserver.engine.writer import Writer
from kvserver.errors import CommandError
from kvserver.network.connection import Connection
from kvserver.state.session import ServerState, Session
from kvserver.state.statistics import Buffers

# The option for the seconds before the first probe has another name on macOS.
KEEP_IDLE: int | None = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
# Open files beside those of clients: medium, journal, listeners, the event loop's.
OWN_FILES = 64
MAXCLIENTS_REACHED = b"-ERR max number of clients reached\r\n"
DENIED = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default "
    b"user. In this mode connections are only accepted from the loopback interface. If you want to connect from external "
    b"computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command "
    b"'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is "
    b"running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this "
    b"change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and "
    b"setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just "
    b"for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the default "
    b"user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the "
    b"outside.\r\n"
)

_log = logging.getLogger("kvserver")


class Clients:
    """All connections: the Owner that each of them has.

    `allow_open_files` raises the process's limit of open files to a number, as near as it may, and returns the limit then.
    `choked` are the connections whose clients don't read. `expected` are the connections of unfinished TLS handshakes, each
    of which takes the place of a client.
    """

    writer: Writer

    def __init__(self, state: ServerState, allow_open_files: Callable[[int], int]) -> None:
        self.state = state
        self._allow_open_files = allow_open_files
        self.choked: set[Connection] = set()
        self.expected: set[Connection] = set()
        self._connections: dict[int, Connection] = {}
        self._next_id = 1
        state.buffers_of = lambda session_id: self._connections[session_id].buffers()
        state.held_buffers = self._held_buffers

    def expect(self, connection: Connection) -> bool:
        """Keep a place for a connection until it is admitted or no longer `expected`; False if no place is free."""
        if not self._has_room():
            self.state.counters.connections_received += 1
            self.state.counters.connections_rejected += 1
            return False
        self.expected.add(connection)
        return True

    def _has_room(self) -> bool:
        return len(self._connections) + len(self.expected) < self.state.config.maxclients

    def admit(self, connection: Connection) -> bool:
        """Give a new connection its session. False if the client was told why there is no place for it."""
        config, counters, transport = self.state.config, self.state.counters, connection.transport
        self.expected.discard(connection)
        if not self._has_room():
            counters.connections_received += 1
            counters.connections_rejected += 1
            _turn_away(transport, MAXCLIENTS_REACHED)
            return False
        counters.connections_received += 1
        address, local_address, is_local = _addresses_of(transport, config.unixsocket)
        if config.protected_mode and self.state.users.default.needs_no_password and not is_local:
            counters.connections_rejected += 1
            _turn_away(transport, DENIED)
            return False
        _set_keepalive(transport, config.tcp_keepalive)
        session = Session(self.state, self._next_id, address, local_address, is_local)
        raw_socket = transport.get_extra_info("socket")
        session.descriptor = raw_socket.fileno() if raw_socket is not None else -1
        connection.session = session
        self._connections[session.id] = connection
        self.state.sessions[session.id] = session
        self.writer.results.clients[session.id] = connection
        self._next_id += 1
        return True

    def _held_buffers(self) -> list[Buffers]:
        return [connection.buffers() for connection in self._connections.values() if connection.holds_anything()]

    def release(self, connection: Connection) -> None:
        """Forget a connection that was lost."""
        self.choked.discard(connection)
        self._connections.pop(connection.session.id, None)
        self.writer.results.forget(connection)

    def check_choked(self) -> None:
        """Close the connections whose clients left too many replies unread. The server calls this some times a second."""
        for connection in list(self.choked):
            connection.check_unread()

    def close_idle(self) -> None:
        """Close the connections whose clients have neither sent nor read for `timeout`. The server calls this each second."""
        timeout_ms = self.state.config.timeout * 1000
        if not timeout_ms:
            return
        oldest_ms = self.state.now_ms() - timeout_ms
        for connection in list(self._connections.values()):
            session = connection.session
            is_listening = session.is_subscriber or session.id in self.state.monitors
            if session.last_active_at_ms < oldest_ms and not (connection.is_waiting or is_listening):
                # `close` would wait for a client that doesn't read.
                connection.abort()

    def reconfigure(self, names: Iterable[str]) -> None:
        """Act on the options of these names, which have new values. CommandError if the system can't do what they say."""
        config = self.state.config
        if "maxclients" in names and (most := self._most_clients()) < config.maxclients:
            raise CommandError(
                "ERR CONFIG SET failed (possibly related to argument 'maxclients') - "
                f"The operating system is not able to handle the specified number of clients, try with {most}"
            )
        self.apply_limits()

    def apply_limits(self) -> None:
        """Have all connections go by the limits of the configuration and of their sessions' standing."""
        for connection in self._connections.values():
            connection.apply_limits()

    def fit_to_system(self) -> None:
        """Lower `maxclients` to the number that the system allows, and log that."""
        config = self.state.config
        most = self._most_clients()
        if most < config.maxclients:
            _log.warning(
                "maxclients has been reduced from %d to %d: the system allows %d open files (ulimit -n)",
                config.maxclients, max(most, 1), most + OWN_FILES,
            )  # fmt: skip
            config.maxclients = max(most, 1)

    def _most_clients(self) -> int:
        """The number of clients that the system allows: `maxclients` or fewer."""
        return self._allow_open_files(self.state.config.maxclients + OWN_FILES) - OWN_FILES

    def reset(self, concerns: Callable[[Session], bool] = lambda session: True) -> None:
        """Break off every connection that this concerns, at once: the client is told by a reset, and gets nothing more."""
        for connection in list(self._connections.values()):
            if concerns(connection.session):
                _linger_no_longer(connection.transport)
                connection.queue = []
                connection.abort()
                self.writer.results.forget(connection)

    def close(self) -> None:
        """Close every connection, each when its client has its replies."""
        for connection in list(self._connections.values()):
            connection.close()


def _turn_away(transport: asyncio.Transport, reply: bytes) -> None:
    transport.write(reply)
    transport.close()


def _linger_no_longer(transport: asyncio.Transport) -> None:
    """Have the system drop what is on its way to a client when the connection is closed, and send a reset."""
    raw_socket = transport.get_extra_info("socket")
    if raw_socket is not None and raw_socket.family != socket.AF_UNIX:
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _set_keepalive(transport: asyncio.Transport, keepalive_s: int) -> None:
    """Have the system probe a silent client as Redis does: after so many seconds, then twice, each after a third of that."""
    raw_socket = transport.get_extra_info("socket")
    if not keepalive_s or raw_socket is None or raw_socket.family == socket.AF_UNIX:
        return
    # macOS refuses this where the client has gone already.
    with suppress(OSError):
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if KEEP_IDLE is not None:
            # The kernel takes no more.
            longest_s = 32767
            raw_socket.setsockopt(socket.IPPROTO_TCP, KEEP_IDLE, min(keepalive_s, longest_s))
            raw_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, min(max(keepalive_s // 3, 1), longest_s))
            raw_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _addresses_of(transport: asyncio.Transport, unixsocket: str) -> tuple[str, str, bool]:
    """The client's address and the server's as CLIENT LIST prints them, and True if the client is on this machine."""
    peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    if not isinstance(peer, tuple):
        return f"{unixsocket}:0", f"{unixsocket}:0", True
    # Redis takes no other address for the machine's own.
    is_local = peer[0] in ("127.0.0.1", "::1")
    return print_address(peer), print_address(own), is_local


def print_address(address: object) -> str:
    """A socket's address as Redis prints it: 127.0.0.1:6379, [::1]:6379, /run/socket."""
    if not isinstance(address, tuple):
        return str(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
