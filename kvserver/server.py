"""The server: opens the medium and the listeners, admits connections, keeps time, and leaves in order.

Start: lock the folder, open the medium, listen, load while clients get -LOADING, then serve. End: stop listening, close
the connections, let go of the medium. Never runs a command itself.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import secrets
import signal
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

import kvserver
from kvserver.actions import Actions
from kvserver.commands.table import CommandTable
from kvserver.config import Config
from kvserver.connection import Connection
from kvserver.disk import Disk
from kvserver.errors import KVServerError, MediumLocked
from kvserver.journal import Journal
from kvserver.keyspace import Keyspace
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem, make_folders
from kvserver.media.segments import SegmentLog, Segments
from kvserver.process import read_process_facts
from kvserver.progress import Progress
from kvserver.recovery import Recovery
from kvserver.session import ServerState, Session
from kvserver.snapshot import Snapshots
from kvserver.store import now_ms
from kvserver.writer import Writer

CRON_S = 0.1
PROGRESS_S = 0.2
SWEEP_ENTRIES = 2000  # looked at for expired keys each CRON_S, while there are keys that expire
MAXCLIENTS_REACHED = b"-ERR max number of clients reached\r\n"

_log = logging.getLogger("kvserver")


class StartError(KVServerError):
    """The server can't start. `str()` is the one line for the user."""


class Server:
    """A server on the running event loop: `await start()`, then `await ended`."""

    def __init__(self, config: Config) -> None:
        loop = asyncio.get_running_loop()
        event_loop = type(loop).__module__.partition(".")[0]
        self.ended: asyncio.Future[None] = loop.create_future()
        self.state = ServerState(
            config=config,
            keyspace=Keyspace(now_ms),
            table=CommandTable(time.perf_counter_ns),
            now_ms=now_ms,
            process_facts=lambda: read_process_facts(event_loop),
            started_at_ms=now_ms(),
            run_id=secrets.token_hex(20),
            version=kvserver.__version__,
        )
        self.state.persistence.last_save_at = int(time.time())  # as in Redis: save points count from the start
        self._loop = loop
        self._connections: dict[int, Connection] = {}
        self._listeners: list[asyncio.Server] = []
        self._next_id = 1
        self._cron: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._is_leaving = False  # because of a signal
        self._is_closing = False
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen, load and serve. StartError if that can't be."""
        config = self.state.config
        self._folder_lock, medium = _open_medium(config)
        self._disk = Disk()
        self._journal_disk = Disk()
        segments = Segments(medium.path)
        log = SegmentLog(segments)
        self._journal = Journal(self.state, log, self._journal_disk)
        self._snapshots = Snapshots(self.state, medium, self._disk, self._journal)
        recovery = Recovery(self.state, self._snapshots, self._journal, segments, log, self._journal_disk)
        self._actions = Actions(self.state, self._snapshots, self._journal, self._leave, self._reconfigure, recovery)
        self.writer = self._actions.writer = Writer(self.state, self._actions, self._journal.append)
        self._actions.attend_journal()
        try:
            self.state.persistence.loading = True
            self._actions.choose_runners()
            await self._listen(config)
            progress = self._loop.create_task(self._show_progress())
            try:
                await self._actions.load_at_start()
            finally:
                progress.cancel()
        except OSError as error:
            await self._close()
            raise StartError(str(error)) from error
        # What lives now lives on: the collector need not look at it again.
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        self._cron = self._loop.call_later(CRON_S, self._keep_time)
        _log.info("Ready to accept connections on %s", ", ".join(self._addresses()))

    async def _show_progress(self) -> None:
        facts = self.state.persistence
        with Progress("loading", lambda: facts.load_total_bytes) as progress:
            while True:
                await asyncio.sleep(PROGRESS_S)
                progress.update(facts.load_done_bytes)

    def stop_on_signals(self) -> None:
        """Do what SHUTDOWN does at SIGTERM and SIGINT, and leave at once at a second one."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._is_leaving:
            _log.warning("received a second signal, leaving at once without a flush")
            os._exit(1)
        self._is_leaving = True
        _log.info("received %s, shutting down", number.name)
        task = self._loop.create_task(self._leave_on_signal())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _leave_on_signal(self) -> None:
        await self._actions.leave_on_signal()
        self._is_leaving = False  # still here: the flush failed

    # Connections

    def admit(self, connection: Connection) -> bool:
        counters, transport = self.state.counters, connection.transport
        counters.connections_received += 1
        if len(self._connections) >= self.state.config.maxclients:
            counters.connections_rejected += 1
            transport.write(MAXCLIENTS_REACHED)
            transport.close()
            return False
        _set_keepalive(transport, self.state.config.tcp_keepalive)
        address, local_address, is_local = _addresses_of(transport, self.state.config.unixsocket)
        session = Session(self.state, self._next_id, address, local_address, is_local)
        raw_socket = transport.get_extra_info("socket")
        session.descriptor = raw_socket.fileno() if raw_socket is not None else -1
        connection.session = session
        self._connections[session.id] = connection
        self.state.sessions[session.id] = session
        self._next_id += 1
        return True

    def release(self, connection: Connection) -> None:
        self._connections.pop(connection.session.id, None)
        self.state.sessions.pop(connection.session.id, None)

    # Time

    def _keep_time(self) -> None:
        self._cron = self._loop.call_later(CRON_S, self._keep_time)
        self._ticks += 1
        self.state.table.usages.fold_all()
        self.state.table.timing.begin_sample()
        keyspace = self.state.keyspace
        if keyspace.has_expiring:
            keyspace.sweep(SWEEP_ENTRIES)
        if self._ticks % round(1 / CRON_S) == 0:
            self._actions.flush_if_due()
            if self.state.config.timeout:
                self._close_idle(self.state.config.timeout * 1000)

    def _close_idle(self, timeout_ms: int) -> None:
        oldest_ms = now_ms() - timeout_ms
        for connection in list(self._connections.values()):
            if connection.session.last_active_at_ms < oldest_ms and not connection.is_waiting:
                connection.close()

    def _reconfigure(self, names: list[str]) -> None:
        if "loglevel" in names:
            _log.setLevel(log_level(self.state.config.loglevel))
        for connection in self._connections.values():
            connection.apply_limits()

    # Listening and leaving

    async def _listen(self, config: Config) -> None:
        def connect() -> Connection:
            return Connection(self)

        if config.port:
            for address in config.bind:
                try:
                    host = address.removeprefix("-")
                    self._listeners.append(
                        await self._loop.create_server(
                            connect, None if host == "*" else "::" if host == "::*" else host, config.port,
                            backlog=config.tcp_backlog,
                        )
                    )  # fmt: skip
                except OSError as error:
                    if not address.startswith("-"):
                        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
                        raise OSError(f"cannot listen on {address}:{config.port}: {reason}") from error
        if config.unixsocket:
            path = Path(config.unixsocket)
            with suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.lstat().st_mode) and not _is_listened_to(config.unixsocket):
                    path.unlink()
            try:
                self._listeners.append(
                    await self._loop.create_unix_server(connect, config.unixsocket, backlog=config.tcp_backlog)
                )
            except OSError as error:
                raise OSError(f"cannot listen on {config.unixsocket}: {error.strerror or error}") from error
            if config.unixsocketperm:
                path.chmod(config.unixsocketperm)

    def _addresses(self) -> list[str]:
        return [_print_address(raw.getsockname()) for listener in self._listeners for raw in listener.sockets]

    def _leave(self) -> None:
        if self._is_closing:  # by SHUTDOWN and a signal at once
            return
        self._is_closing = True
        task = self._loop.create_task(self._close())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _close(self) -> None:
        if self._cron:
            self._cron.cancel()
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections.values()):
            connection.close()
        if self.state.config.unixsocket:
            with suppress(OSError):
                os.unlink(self.state.config.unixsocket)
        await self._actions.is_settled.wait()
        await self._snapshots.close()
        await self._journal.close()
        self._disk.close()
        self._journal_disk.close()
        os.close(self._folder_lock)
        await asyncio.sleep(0)  # the transports say that they are closed
        if not self.ended.done():
            self.ended.set_result(None)


def log_level(name: str) -> int:
    """Redis's level names to logging's."""
    levels = {"debug": logging.DEBUG, "verbose": logging.DEBUG, "notice": logging.INFO, "warning": logging.WARNING}
    return levels[name]


def _open_medium(config: Config) -> tuple[int, FileMedium]:
    filesystem = FileSystem()
    config.dir = os.path.abspath(config.dir)
    try:
        make_folders(filesystem, config.dir)
        lock = filesystem.lock_folder(config.dir)
    except BlockingIOError:
        raise StartError(f"the directory {config.dir} is in use by another kvserver") from None
    except OSError as error:
        raise StartError(f"cannot use the directory {config.dir}: {error.strerror or error}") from error
    try:
        return lock, FileMedium(os.path.join(config.dir, config.dbfilename))
    except MediumLocked:
        os.close(lock)
        raise StartError(f"{config.dir}/{config.dbfilename} is in use by another process") from None
    except OSError as error:
        os.close(lock)
        raise StartError(str(error)) from error


def _set_keepalive(transport: asyncio.Transport, keepalive_s: int) -> None:
    raw_socket = transport.get_extra_info("socket")
    if keepalive_s and raw_socket is not None and raw_socket.family != socket.AF_UNIX:
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            raw_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keepalive_s)


def _addresses_of(transport: asyncio.Transport, unixsocket: str) -> tuple[str, str, bool]:
    """A client's address and ours as CLIENT LIST prints them, and whether the client is on this machine."""
    peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    if not isinstance(peer, tuple):
        return f"{unixsocket}:0", f"{unixsocket}:0", True
    is_local = ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback
    return _print_address(peer), _print_address(own), is_local


def _print_address(address: object) -> str:
    if not isinstance(address, tuple):
        return str(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_listened_to(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
