"""The server, alone in its process or within a program: it makes all parts and ties them together, keeps time, and leaves.

At its start it opens what the data is kept in (`storage`), listens, loads while clients get -LOADING, and then serves. At its
end it stops listening, closes the connections and lets go of that. A node that is demoted does both. It alone knows all
folders of the package; it never runs a command itself.
Whatever belongs to the process as a whole it touches only if it is told that the process is its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Self

from kvserver.commands.catalogue import COMMANDS, COMMANDS_WITH_ENGINE
from kvserver.control.clock import Clock
from kvserver.control.emptying import empty
from kvserver.control.faults import Faults
from kvserver.control.onloop import OnLoop
from kvserver.cron import Cron
from kvserver.data.databases import Databases
from kvserver.dispatch.table import CommandTable
from kvserver.engine import collector
from kvserver.engine.jobs import Jobs
from kvserver.engine.scripts import ScriptRunner
from kvserver.engine.upkeep import Upkeep
from kvserver.engine.writer import Writer
from kvserver.errors import ConfigError, MediumError, NotRunning, StartError, TLSError
from kvserver.introduction import another_port, introduce, warn_of_network
from kvserver.log import is_on_terminal
from kvserver.network.clients import Clients
from kvserver.network.listeners import Listeners
from kvserver.network.urls import address_of, port_of, url_of
from kvserver.options.config import Config
from kvserver.options.keywords import from_keywords
from kvserver.options.kinds import AUTO_PORT
from kvserver.options.table import IN_MEMORY
from kvserver.persistence.local_data import LocalData
from kvserver.reconfiguration import Reconfiguration
from kvserver.state.session import ServerState
from kvserver.storage import Storage
from kvserver.supervisor import Supervisor
from kvserver.system import Progress, allow_open_files, random_below, read_process_facts
from kvserver.version import __version__

if TYPE_CHECKING:
    # A server imports it only if it has an engine.
    from kvserver.failover.shared_data import SharedData

    # A server imports it only if it has such a port.
    from kvserver.network.http import HTTPPort

PROGRESS_S = 0.2
# Nothing has more to do than this when it is ended: a step of the loop for each thing that it would wait for.
ROUNDS_OF_ENDING = 20

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
        self.clock.on_move = self._catch_up
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
        self._storage = Storage(self.config, in_words_of_the_shell=owns_process)
        # The next start forgets what is in memory.
        self._forgets = False
        # What becomes of a node that was demoted.
        self._restart: asyncio.Task[None] | None = None
        # What is under way to the end of the server.
        self._background: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Task[None] | None = None

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

    def _build(self) -> None:
        """Make the parts that need no disk. Nothing is opened or changed."""
        loop, config, clock = asyncio.get_running_loop(), self.config, self.clock
        event_loop = type(loop).__module__.partition(".")[0]
        commands = COMMANDS_WITH_ENGINE if config.medium else COMMANDS
        self.state = ServerState(
            config=config,
            databases=Databases(clock.now_ms),
            commands=commands,
            now_ms=clock.now_ms,
            now_us=clock.now_us,
            random_below=random_below,
            process_facts=lambda: read_process_facts(event_loop),
            started_at_ms=clock.now_ms(),
            run_id=os.urandom(20).hex(),
            version=__version__,
        )
        self._table = CommandTable(commands, self.state.usages, time.perf_counter_ns)
        # Save points count from the start, as in Redis.
        self.state.persistence.last_save_at = int(time.time())
        self._loop = loop
        self.clients = Clients(self.state, allow_open_files if self._owns_process else _leave_open_files)
        self._listeners = Listeners(self.clients, config)
        self._http: HTTPPort | None = None
        self.supervisor = Supervisor(os.environ.get("NOTIFY_SOCKET", "") if self._owns_process else "")
        self._is_closing = False
        self._leaving = None
        # The load at the start.
        self._load: asyncio.Task[None] | None = None
        self._upkeep = Upkeep(
            self.state,
            lambda commands: self._data.journal.append(commands),
            lambda deliveries: self.writer.results.deliver(deliveries),
            lambda: self.writer.wake(),
        )
        self.state.memory.configure()

    def _tie(self, data: LocalData | SharedData) -> None:
        """Make the parts that run commands, and tie all to those that keep the data."""
        self._data = data
        if not isinstance(data, LocalData):
            data.leadership.on_lead, data.leadership.on_demoted = self._lead, self._demote
        self._reconfiguration = Reconfiguration(self.state, self._table, self.clients, self._listeners, self._warn_of_network)
        self._jobs = Jobs(
            self.state,
            data.snapshots,
            data.journal,
            self._leave,
            self._reconfiguration.act,
            data.load,
            data.disk,
        )
        self.writer = Writer(self.state, self._table, self._jobs, data.journal.append)
        self._cron = Cron(self.state, self._table, self._upkeep, self._jobs.schedule, self.clients)
        self.clients.writer = self._jobs.writer = self.writer
        self._jobs.move_clock = self.clock.move
        self._jobs.fail_over = self.fail_over
        self.faults.attend(self.clients, self._jobs, data.snapshots)
        self.state.scripts = self._scripts = ScriptRunner(self.state, self._table, self._jobs, self.writer)
        self._reconfiguration.limit_scripts = self._scripts.limit_memory
        self._jobs.attend_journal()
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
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_unwanted = False
        self._has_parts.clear()
        self._build()
        self._opening = self._loop.create_task(self._storage.open(self.state, self._table, lambda: self.writer.wake()))
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
        if self._owns_process:
            collector.begin()
            self._reconfiguration.follow_log_level()
        try:
            self.state.persistence.loading = True
            await self._data.begin()
            await self._listeners.open()
            await self._open_http()
            if self._is_closing:
                self._stop_listening()
                return
            introduce(self.state, self._listening)
            self._warn_of_network()
            self.clients.fit_to_system()
            self._reconfiguration.settle()
            self._given |= {name: getattr(self.config, name) for name in ("port", "tls_port", "http_port")}
            self._data.tell_address(self.config)
            self._load = self._loop.create_task(self._jobs.load_at_start())
            progress = self._loop.create_task(self._show_progress())
            try:
                await asyncio.wait([self._load])
            finally:
                progress.cancel()
            # The server may have been told to leave meanwhile.
            if self._is_closing:
                return
            self._load.result()
        except (OSError, TLSError) as error:
            await self._close()
            raise StartError(f"{error}{another_port(error, self.config, in_words_of_the_shell=self._owns_process)}") from error
        except BaseException:
            await self._close()
            raise
        self._cron.begin()
        self.is_running = True
        self.on_loop.begin(self._loop)
        ready = f"Ready to accept connections on {', '.join(self._listeners.urls())}"
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
        await self._jobs.leave()

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
        if not self.is_running or isinstance(self._data, LocalData) or not self._data.journal.is_on:
            raise NotRunning("this server does not lead nodes that share an engine")
        data = self._data
        # What was written from here on would be in no log.
        self.writer.pause()
        try:
            await data.give_up()
        finally:
            # A refusal has demoted it already, perhaps, and somebody may have told it to leave.
            if self._data is data:
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
        if self._leaving is None:
            self._leaving = self._in_background(self._jobs.leave(saves, force=True))
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
        work = self._loop.create_task(empty(self.state, self.writer.results, self._jobs, self.clients, self._given))
        try:
            await asyncio.wait([work, self.ended], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise NotRunning("the server has ended meanwhile")
            work.result()
        finally:
            work.cancel()

    def _lead(self) -> None:
        """Take writes from now on."""
        self.state.databases.lead()
        self._jobs.choose_outbox()

    def _demote(self, *, waits: bool = False) -> None:
        """Throw away the data, which may have what the log never took, and follow the log anew: another node writes.

        `waits`: another node is to take over first. A server that leaves goes on leaving.
        """
        if self._is_closing:
            return
        if self.state.replication.is_leaving:
            self._leave()
            return
        self._stop_all()
        self._has_parts.clear()
        self._data.abandon()
        self._restart = self._in_background(self._start_anew(waits=waits))

    async def _start_anew(self, *, waits: bool) -> None:
        try:
            await self._has_started.wait()
            await self._end_all()
            if self.ended.done():
                return
            self._is_starting = True
            # What CONFIG SET has set stays: it is the same server.
            self._build()
            self._tie(self._storage.reopen(self.state, self._table, lambda: self.writer.wake(), waits=waits))
            await self._serve()
        except StartError as error:
            _log.error("the server ends: %s", error)
        finally:
            self._is_starting = False
            self._restart = None

    async def _open_http(self) -> None:
        """Listen for those who watch the server, if it has a port for them. StartError if the extra is not installed."""
        if self.state.config.http_port:
            try:
                from kvserver.network.http import HTTPPort
            except ModuleNotFoundError as error:
                raise OSError(f"http-port needs {error.name}: pip install 'kvserver[http]'") from None
            self._http = HTTPPort(self.state)
            await self._http.open()
            self._reconfiguration.rebind_http = self._http.rebind

    def _stop_listening(self) -> None:
        self._listeners.close()
        if self._http:
            self._http.close()

    @property
    def _listening(self) -> list[str]:
        return [*self._listeners.urls(), *(self._http.urls() if self._http else [])]

    def _warn_of_network(self) -> None:
        left_out = [*self._listeners.left_out, *(self._http.left_out if self._http else ())]
        warn_of_network(self.config, left_out, self._listeners.exposed())

    async def _show_progress(self) -> None:
        if not self._owns_process:
            return
        facts, percent = self.state.persistence, 0
        self.supervisor.tell_of_load(percent)
        with Progress("loading", lambda: facts.load_total_bytes) as progress:
            while True:
                await asyncio.sleep(PROGRESS_S)
                progress.update(facts.load_done_bytes)
                before, percent = percent, 100 * facts.load_done_bytes // (facts.load_total_bytes or 1)
                if percent != before:
                    self.supervisor.tell_of_load(percent)

    def _catch_up(self, seconds: float) -> None:
        """Have happen what is due by the clock, which somebody has moved forward by so many seconds."""
        results, now_ms = self.writer.results, self.clock.now_ms()
        # The clock may have gone back: nobody came, or was active, later than now.
        for session in self.state.sessions.values():
            session.connected_at_ms = min(session.connected_at_ms, now_ms)
            session.last_active_at_ms = min(session.last_active_at_ms, now_ms)
        results.pauses.look_at_clock()
        self._upkeep.catch_up()
        results.waiting.hasten(seconds)

    # Leaving

    def _leave(self) -> None:
        # SHUTDOWN and a signal may come at once.
        if self._is_closing:
            return
        self.is_running, self._is_closing = False, True
        self.on_loop.end()
        self.supervisor.tell_leaving()
        self._in_background(self._close())

    def _crash(self) -> None:
        """End now, with nothing more written or answered."""
        self._stop_all()
        self._data.abandon()
        self._storage.close()
        if self._restart and self._load:
            self._load.cancel()
        self._in_background(self._end_all())
        if not self.ended.done():
            self.ended.set_result(None)

    def _stop_all(self) -> None:
        """Let no command run any more, nor anything that would be recorded, and reset all connections."""
        self.is_running, self._is_closing = False, True
        self.on_loop.end()
        self.writer.pause()
        self._data.halt()
        self._cron.end()
        self._stop_listening()
        self.clients.reset()
        self._scripts.close()
        if self._owns_process:
            collector.end()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _end_all(self) -> None:
        """End tasks that may wait for what never comes, again and again: how each ends may begin with waiting for more."""
        for _ in range(ROUNDS_OF_ENDING):
            # The sockets are closed in the first turn of the loop.
            await asyncio.sleep(0)
            for task in {*self.writer.results.tasks, *self._jobs.tasks, *self._data.snapshots.tasks}:
                task.cancel()
            if self._leaving:
                self._leaving.cancel()

    async def _close(self) -> None:
        self._cron.end()
        self._stop_listening()
        self.clients.close()
        self._scripts.close()
        if self._load:
            # The medium has all data. A step on the disk's thread ends first, since it uses parts that are closed below.
            if self._load.cancel():
                _log.info("leaving during the load: the data stays on the disk as it is")
            await asyncio.gather(self._load, return_exceptions=True)
        await self._data.close()
        self._storage.close()
        if self._owns_process:
            collector.end()
        # The transports tell that they are closed meanwhile.
        await self._end_all()
        if not self.ended.done():
            self.ended.set_result(None)


def _settle_paths(config: Config) -> None:
    """Make the paths absolute: the program may go to another directory between two starts."""
    for name in ("dir", "unixsocket"):
        path = getattr(config, name)
        if path and path != IN_MEMORY and not os.path.isabs(path):
            try:
                setattr(config, name, os.path.abspath(path))
            except FileNotFoundError:
                reason = "the working directory does not exist any more"
                raise ConfigError(f"cannot use {name} {path}: {reason}") from None


def _leave_open_files(wanted: int) -> int:
    """The limit of open files, as far as it is the server's business: the program has seen to it."""
    return wanted
