"""The server, alone in its process or within a program: its options, its address, and its life.

A start opens what the data is kept in (`storage`), makes the parts (`parts`), and has them listen, load and serve. At its end
they stop listening, close the connections and let go of the data. A node that is demoted does both. It never runs a command
itself. Whatever belongs to the process as a whole it touches only if it is told that the process is its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Self

from kvserver.control.clock import Clock
from kvserver.control.emptying import empty
from kvserver.control.faults import Faults
from kvserver.control.onloop import OnLoop
from kvserver.engine.users import load_at_start
from kvserver.errors import ConfigError, MediumError, NotRunning, StartError, TLSError
from kvserver.introduction import another_port
from kvserver.log import is_on_terminal
from kvserver.network.urls import address_of, port_of, url_of
from kvserver.options.config import Config
from kvserver.options.keywords import from_keywords
from kvserver.options.kinds import AUTO_PORT
from kvserver.options.table import IN_MEMORY
from kvserver.parts import Parts
from kvserver.persistence.local_data import LocalData
from kvserver.state.session import ServerState
from kvserver.storage import Storage
from kvserver.supervisor import Supervisor

if TYPE_CHECKING:
    # A server imports it only if it has an engine.
    from kvserver.failover.shared_data import SharedData

_log = logging.getLogger("kvserver")
# Without this, Python prints warnings of a program that has set up no logging.
_log.addHandler(logging.NullHandler())


class Server:
    """A server on the running event loop, which may be that of a program that does other things, too.

    The options are those of the command line with `_` for `-`, as Python's values or as Redis's texts. Without any it listens
    on a free port of 127.0.0.1, and has nothing on the disk.

    >>> import asyncio, kvserver, redis.asyncio
    >>> async def main():
    ...     async with kvserver.Server(maxmemory="100mb") as server:
    ...         async with redis.asyncio.Redis.from_url(server.url) as client:
    ...             await client.set("name", "Ada")
    ...             return await client.get("name")
    >>> asyncio.run(main())
    b'Ada'

    With `dir="data"`, it keeps its data there as the program `kvserver` does: it journals what is written (`appendonly`), and
    saves when the block ends. The same folder can be opened by the program, by `ServerFolder`, or by the next server.

    `config` stands for all options, and `owns_process` is for a program that is nothing but the server: only then the server
    raises the limit of open files, sets up Python's garbage collector, follows `loglevel`, shows progress on a terminal, and
    tells systemd of itself. Otherwise it touches nothing that belongs to the process as a whole; it logs to `kvserver`.

    `clock` moves the time, and `faults` lets things go wrong: both for tests, and from any thread.

    ConfigError, in one line, for what is no option, or a value that is none for it.
    """

    def __init__(self, config: Config | None = None, /, *, owns_process: bool = False, **options: object) -> None:
        self.config = from_keywords(options) if config is None else config
        self._owns_process = owns_process
        self.on_loop = OnLoop()
        self.clock = Clock(self.on_loop)
        self.clock.on_move = lambda seconds: self._parts.catch_up(seconds)
        self.faults = Faults(self.on_loop, self._crash)
        self.is_running = self._is_starting = False
        if config is None:
            _settle_paths(self.config)
        # The options as they are at each start. A port that was found free once stays the server's.
        self._given = dict(vars(self.config))
        # The parts that run commands are there: not so while an engine is opened, or a node that was demoted makes them anew.
        self._has_parts = asyncio.Event()
        # The start that was begun last has come to its end, whatever that was.
        self._has_started = asyncio.Event()
        # Somebody has told the server to leave before there was anything to leave, while this was under way.
        self._is_unwanted = False
        self._opening: asyncio.Task[LocalData | SharedData] | None = None
        self.supervisor = Supervisor(os.environ.get("NOTIFY_SOCKET", "") if owns_process else "")
        self._storage = Storage(self.config, in_words_of_the_shell=owns_process)
        # The next start forgets what is in memory.
        self._forgets = False
        # What becomes of a node that was demoted.
        self._restart: asyncio.Task[None] | None = None
        # What is under way to the end of the server.
        self._background: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    # Where it is

    @property
    def url(self) -> str:
        """The URL for clients on this machine, such as redis://127.0.0.1:6379/0: `redis.Redis.from_url` takes it."""
        self._must_have_port()
        return url_of(self.config)

    @property
    def port(self) -> int:
        """The port that it listens on: that of TCP, or else that of TLS. 0 if there is a Unix socket alone."""
        self._must_have_port()
        return port_of(self.config)

    @property
    def address(self) -> str:
        """The host and the port, such as 127.0.0.1:6379; or the path of the Unix socket, if there is nothing else."""
        self._must_have_port()
        return address_of(self.config)

    def _must_have_port(self) -> None:
        """NotRunning before the first start of a server that is to find a free port."""
        if port_of(self.config) == AUTO_PORT:
            raise NotRunning("the server has no port yet: it finds a free one when it is started")

    # Its life

    @property
    def state(self) -> ServerState:
        """All that a command can see of the server, from the first start on."""
        return self._parts.state

    def _build(self) -> None:
        """Make the parts that need no disk. Nothing is opened or changed."""
        self._parts = Parts(self.config, self.clock, self.supervisor, owns_process=self._owns_process)

    def _tie(self, data: LocalData | SharedData) -> None:
        """Tie the parts to those that keep the data."""
        if not isinstance(data, LocalData):
            data.leadership.on_lead, data.leadership.on_demoted = self._parts.lead, self._demote
        self._parts.tie(data, self._leave, self.fail_over)
        self.faults.attend(self._parts.clients, self._parts.jobs, data.snapshots)
        self._has_parts.set()

    async def start(self) -> None:
        """Listen, load and serve; return earlier if the server is told to leave meanwhile.

        StartError, with one line for the user, if that fails. Then nothing is held.
        """
        if self.is_running:
            raise StartError(f"the server runs already, on {self.address}")
        if self._is_starting:
            raise StartError("the server is being started already")
        self._is_starting = True
        self._has_started.clear()
        try:
            await self._start()
        finally:
            self._is_starting = False
            self._has_started.set()
        # A node may be demoted before it has begun to serve.
        await self._until_started()

    async def _start(self) -> None:
        await self._until_gone()
        if self._forgets:
            self._storage.forget()
            self._forgets = False
        vars(self.config).update(self._given)
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._is_unwanted = False
        self._has_parts.clear()
        self._build()
        parts = self._parts
        load_at_start(parts.state)
        self._opening = self._loop.create_task(self._storage.open(parts.state, parts.table, parts.wake))
        try:
            data = await self._opening
        except asyncio.CancelledError:
            if not self._is_unwanted:
                raise
            _log.info("leaving before anything was opened")
            self.ended.set_result(None)
            return
        self._tie(data)
        await self._serve()

    async def _serve(self) -> None:
        """Listen and load, and serve from then on."""
        parts = self._parts
        try:
            await parts.listen()
            if parts.is_ending:
                parts.stop_listening()
                return
            self._given |= {name: getattr(self.config, name) for name in ("port", "tls_port", "http_port")}
            await parts.load()
            # The server may have been told to leave meanwhile.
            if parts.is_ending:
                return
        except (OSError, TLSError) as error:
            await self._close()
            raise StartError(f"{error}{another_port(error, self.config, in_words_of_the_shell=self._owns_process)}") from error
        except BaseException:
            await self._close()
            raise
        self.is_running = True
        self.on_loop.begin(self._loop)
        ready = f"Ready to accept connections on {', '.join(parts.listeners.urls())}"
        stops = self._owns_process and is_on_terminal(self.config)
        _log.info("%s%s", ready, " (ctrl-C stops it)" if stops else "")
        self.supervisor.tell_ready(ready)

    async def leave(self) -> None:
        """Leave as on SHUTDOWN, and not at all if the data can't be saved, which is logged. Signals lead to this."""
        if self._is_starting and not self._has_parts.is_set() and not self._restart:
            self._is_unwanted = True
            if self._opening:
                self._opening.cancel()
            return
        await self._has_parts.wait()
        await self._parts.jobs.leave()

    async def stop(self) -> None:
        """Leave as on SHUTDOWN: where there is a folder, what was written since the last snapshot is saved first.

        MediumError if that failed; the server has ended all the same, and the journal has what the disk took. Does nothing if
        the server does not run. What was only in memory is gone. If the caller is cancelled, the server ends all the same, and
        another call waits for that.
        """
        is_in_memory = self.config.dir == IN_MEMORY and not self.config.medium
        self._forgets = is_in_memory
        await self._end(saves=not is_in_memory)

    async def fail_over(self) -> None:
        """Let another node lead, and follow it: all that was acknowledged is there. All connections end.

        If nobody takes over, this node leads again after a lease. MediumError if the engine does not take this node's last
        word in time: then the others wait for a lease, too. NotRunning for a node that does not lead, or does so no more.
        """
        parts, data = self._parts, self._parts.data
        if not self.is_running or isinstance(data, LocalData) or not data.journal.is_on:
            raise NotRunning("this server does not lead nodes that share an engine")
        # What was written from here on would be in no log.
        parts.writer.pause()
        try:
            await data.give_up()
        finally:
            # A refusal has demoted it already, perhaps, and somebody may have told it to leave.
            if self._parts is parts:
                self._demote(waits=True)

    async def restart(self) -> None:
        """Start again, on the same port: after a crash with what was kept, and else after a SHUTDOWN with all data.

        StartError as for `start`, MediumError as for `stop`.
        """
        await self._end(saves=True)
        await self.start()

    async def _until_started(self) -> None:
        """Wait until a node that was demoted serves again."""
        while self._restart:
            await asyncio.wait([self._restart])

    async def _end(self, *, saves: bool) -> None:
        # An engine has every record already.
        saves = saves and not self.config.medium
        if self._restart:
            await self._has_parts.wait()
        if not (self.is_running or self._restart):
            await self._until_gone()
            return
        if self.is_running:
            self.faults.clear()
        if self._parts.leaving is None:
            self._parts.leaving = self._in_background(self._parts.jobs.leave(saves, force=True))
        await asyncio.wait([self.ended])
        await self._until_gone()
        facts = self.state.persistence
        if saves and not facts.last_save_ok:
            raise MediumError(f"the server has ended, and could not save: {facts.last_save_error}")

    async def _until_gone(self) -> None:
        """Wait until all has ended that a server which leaves, or has crashed, still has on the loop: its sockets, for one."""
        while self._background:
            await asyncio.wait(self._background)

    async def empty(self) -> None:
        """Make the server as good as new, for the next test: no keys, functions or scripts, and no faults.

        Options that CONFIG SET has changed are as at the start again, the clock tells the system's time, the figures of INFO
        count from zero. Connections stay, but those are reset that listen, wait, or are in the middle of a transaction.

        Behind a script that has written and does not end, the server crashes and starts anew. NotRunning if it ends meanwhile,
        or for a node that follows another one.
        """
        if not self.state.replication.is_primary:
            raise NotRunning("this node follows another one, which is the one to empty")
        self.faults.clear()
        try:
            await self._empty()
        except TimeoutError:
            _log.warning("a script that has written does not end: the server starts anew")
            self._crash()
            await self.start()
            await self._empty()
        self.clock.reset()

    async def _empty(self) -> None:
        parts = self._parts
        work = self._loop.create_task(empty(parts.state, parts.writer.results, parts.jobs, parts.clients, self._given))
        try:
            await asyncio.wait([work, self.ended], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise NotRunning("the server has ended meanwhile")
            work.result()
        finally:
            work.cancel()

    def _demote(self, *, waits: bool = False) -> None:
        """Throw away the data, which may have what the log never took, and follow the log anew: another node writes.

        `waits`: another node is to take over first. A server that leaves goes on leaving.
        """
        if self._parts.is_ending:
            return
        # The task that is to leave may not have begun.
        if self.state.replication.is_leaving or self._parts.leaving:
            self._leave()
            return
        self._stop_all()
        self._has_parts.clear()
        self._parts.data.abandon()
        self._restart = self._in_background(self._start_anew(waits=waits))

    async def _start_anew(self, *, waits: bool) -> None:
        try:
            await self._has_started.wait()
            await self._parts.end_tasks()
            if self.ended.done():
                return
            self._is_starting = True
            # What CONFIG SET and ACL SETUSER have set stays: it is the same server.
            before = self._parts.state
            self._build()
            parts = self._parts
            parts.state.take_users(before)
            self._tie(self._storage.reopen(parts.state, parts.table, parts.wake, waits=waits))
            await self._serve()
        except StartError as error:
            _log.error("the server ends: %s", error)
        finally:
            self._is_starting = False
            self._restart = None

    # Leaving

    def _leave(self) -> None:
        # SHUTDOWN and a signal may come at once.
        if self._parts.is_ending:
            return
        self.is_running, self._parts.is_ending = False, True
        self.on_loop.end()
        self.supervisor.tell_leaving()
        self._in_background(self._close())

    def _crash(self) -> None:
        """End now, with nothing more written or answered."""
        self._stop_all()
        self._parts.data.abandon()
        self._storage.close()
        if self._restart:
            self._parts.cancel_load()
        self._in_background(self._parts.end_tasks())
        if not self.ended.done():
            self.ended.set_result(None)

    def _stop_all(self) -> None:
        """Let no command run any more, nor anything that would be recorded, and reset all connections."""
        self.is_running = False
        self.on_loop.end()
        self._parts.halt()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _close(self) -> None:
        await self._parts.close()
        self._storage.close()
        # The transports tell that they are closed meanwhile.
        await self._parts.end_tasks()
        if not self.ended.done():
            self.ended.set_result(None)


def _settle_paths(config: Config) -> None:
    """Make the paths absolute: the program may go to another directory between two starts."""
    for name in ("dir", "unixsocket", "aclfile"):
        path = getattr(config, name)
        if path and path != IN_MEMORY and not os.path.isabs(path):
            try:
                setattr(config, name, os.path.abspath(path))
            except FileNotFoundError:
                reason = "the working directory does not exist any more"
                raise ConfigError(f"cannot use {name} {path}: {reason}") from None
