"""The parts of a server from a start to its end: made together, tied to what keeps the data, and ended together.

They alone know all folders of the package. A start makes them anew, and so does a node that is demoted: nothing of those
before is left then. Making them opens and changes nothing, `tie` gives them the data, `listen` and `load` let them serve.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from kvserver.commands.catalogue import COMMANDS, COMMANDS_WITH_ENGINE
from kvserver.control.clock import Clock
from kvserver.cron import Cron
from kvserver.data.databases import Databases
from kvserver.dispatch.table import CommandTable
from kvserver.engine import collector
from kvserver.engine.jobs import Jobs
from kvserver.engine.scripts import ScriptRunner
from kvserver.engine.time_machine import TimeMachine
from kvserver.engine.upkeep import Upkeep
from kvserver.engine.writer import Writer
from kvserver.introduction import introduce, warn_of_network
from kvserver.network.clients import Clients
from kvserver.network.listeners import Listeners
from kvserver.options.config import Config
from kvserver.persistence.local_data import LocalData
from kvserver.persistence.slices import BesideLoop
from kvserver.reconfiguration import Reconfiguration
from kvserver.state.session import ServerState
from kvserver.supervisor import Supervisor
from kvserver.system import Progress, allow_open_files, random_below, read_process_facts
from kvserver.version import __version__

if TYPE_CHECKING:
    # A server imports it only if it has an engine.
    from kvserver.failover.shared_data import SharedData

    # A server imports it only if it follows another one.
    from kvserver.following.follower import Follower

    # A server imports it only if it has such a port.
    from kvserver.network.http import HTTPPort

PROGRESS_S: Final = 0.2
# Nothing has more to do than this when it is ended: a step of the loop for each thing that it would wait for.
ROUNDS_OF_ENDING: Final = 20

_log = logging.getLogger("kvserver")


class Parts:
    """The parts of a server with these options on the running event loop.

    `is_ending`: they were told to end. `leaving` is the task that leaves as on SHUTDOWN, once there is one.
    """

    data: LocalData | SharedData
    writer: Writer
    jobs: Jobs

    def __init__(self, config: Config, clock: Clock, supervisor: Supervisor, *, owns_process: bool) -> None:
        loop = asyncio.get_running_loop()
        event_loop = type(loop).__module__.partition(".")[0]
        commands = COMMANDS_WITH_ENGINE if config.medium else COMMANDS
        self._loop, self._config, self._clock = loop, config, clock
        self._supervisor, self._owns_process = supervisor, owns_process
        self.state = ServerState(
            config=config,
            databases=Databases(clock.now_ms),
            commands=commands,
            now_ms=clock.now_ms,
            now_us=clock.now_us,
            random_below=random_below,
            random_bytes=os.urandom,
            process_facts=lambda: read_process_facts(event_loop),
            started_at_ms=clock.now_ms(),
            run_id=os.urandom(20).hex(),
            version=__version__,
        )
        self.table = CommandTable(commands, self.state.usages, time.perf_counter_ns)
        # Save points count from the start, as in Redis.
        self.state.persistence.last_save_at = int(time.time())
        self.clients = Clients(self.state, allow_open_files if owns_process else _leave_open_files)
        self.listeners = Listeners(self.clients, config)
        self._http: HTTPPort | None = None
        self.is_ending = False
        self.leaving: asyncio.Task[None] | None = None
        # What follows a source, once there was one.
        self._follower: Follower | None = None
        # The load at the start.
        self._load: asyncio.Task[None] | None = None
        self._upkeep = Upkeep(
            self.state,
            lambda commands: self.data.journal.append(commands),
            lambda deliveries: self.writer.results.deliver(deliveries),
            self.wake,
        )
        self.state.memory.configure()

    def tie(self, data: LocalData | SharedData, leave: Callable[[], None], fail_over: Callable[[], Awaitable[None]]) -> None:
        """Make the parts that run commands, and tie all to those that keep the data.

        `leave` is called when all is saved behind a SHUTDOWN, and `fail_over` for FAILOVER.
        """
        self.data = data
        self._reconfiguration = Reconfiguration(self.state, self.table, self.clients, self.listeners, self._warn_of_network)
        self.jobs = Jobs(
            self.state,
            data.snapshots,
            data.journal,
            leave,
            self._reconfiguration.act,
            data.load,
            data.disk,
        )
        self.writer = Writer(self.state, self.table, self.jobs, data.journal.append)
        self._cron = Cron(self.state, self.table, self._upkeep, self.jobs.schedule, self.clients)
        self.clients.writer = self.jobs.writer = self.writer
        if isinstance(data, LocalData) and data.past:
            data.past.is_recording = lambda: self.state.journal.enabled
            self.jobs.time_machine = TimeMachine(self.state, self.table, data.past, data.snapshots, data.journal.written)
        self.jobs.move_clock = self._clock.move
        self.jobs.fail_over = fail_over
        self.jobs.follow, self.jobs.unfollow = self._follow, self._unfollow
        self.state.scripts = self._scripts = ScriptRunner(self.state, self.table, self.jobs, self.writer)
        self._reconfiguration.limit_scripts = self._scripts.limit_memory
        self.jobs.attend_journal()
        # Nobody may write, and no key may go, before the first link.
        if self._config.replicaof:
            self._make_follower().mark(*_address(self._config.replicaof))

    def wake(self) -> None:
        """Have those served who wait for keys."""
        self.writer.wake()

    # Following

    def _make_follower(self) -> Follower:
        """What follows a source, made if there is none."""
        from kvserver.following.follower import Follower

        assert isinstance(self.data, LocalData), "the nodes of an engine follow its log"
        if self._follower is None:
            workplace = BesideLoop(self.data.disk, self.state.counters, self.state.persistence)
            self._follower = Follower(self.state, self.table, self.writer, self.data.snapshots, workplace)
        return self._follower

    def _follow(self, host: str, port: int) -> None:
        self._make_follower().begin(host, port)

    def _unfollow(self) -> Awaitable[None] | None:
        return self._make_follower().end()

    # Serving

    async def listen(self) -> None:
        """Listen: clients get -LOADING. It returns early if they are told to end meanwhile. OSError; TLSError; MediumError."""
        if self._owns_process:
            collector.begin()
            self._reconfiguration.follow_log_level()
        self.state.persistence.loading = True
        await self.data.begin()
        await self.listeners.open()
        await self._open_http()
        if self.is_ending:
            return
        introduce(self.state, [*self.listeners.urls(), *(self._http.urls() if self._http else [])])
        self._warn_of_network()
        self.clients.fit_to_system()
        self._reconfiguration.settle()
        self.data.tell_address(self._config)

    async def load(self) -> None:
        """Load what is kept, and keep time from then on. It returns early if they are told to end meanwhile. MediumError."""
        self._load = self._loop.create_task(self.jobs.load_at_start())
        progress = self._loop.create_task(self._show_progress())
        try:
            await asyncio.wait([self._load])
        finally:
            progress.cancel()
        if not self.is_ending:
            self._load.result()
            self._cron.begin()
            if self._config.replicaof:
                self._follow(*_address(self._config.replicaof))

    def lead(self) -> None:
        """Take writes from now on."""
        self.state.databases.lead()
        self.jobs.choose_outbox()

    def catch_up(self, seconds: float) -> None:
        """Have happen what is due by the clock, which somebody has moved forward by so many seconds."""
        results, now_ms = self.writer.results, self._clock.now_ms()
        # The clock may have gone back: nobody came, or was active, later than now.
        for session in self.state.sessions.values():
            session.connected_at_ms = min(session.connected_at_ms, now_ms)
            session.last_active_at_ms = min(session.last_active_at_ms, now_ms)
        results.pauses.look_at_clock()
        self._upkeep.catch_up()
        results.waiting.hasten(seconds)

    async def _open_http(self) -> None:
        """Listen for those who watch the server, if it has a port for them. OSError, also if the extra is not installed."""
        if self._config.http_port:
            try:
                from kvserver.network.http import HTTPPort
            except ModuleNotFoundError as error:
                raise OSError(f"http-port needs {error.name}: pip install 'kvserver[http]'") from None
            self._http = HTTPPort(self.state)
            await self._http.open()
            self._reconfiguration.rebind_http = self._http.rebind

    def _warn_of_network(self) -> None:
        left_out = [*self.listeners.left_out, *(self._http.left_out if self._http else ())]
        warn_of_network(self.state, left_out, self.listeners.exposed())

    async def _show_progress(self) -> None:
        if not self._owns_process:
            return
        facts, percent = self.state.persistence, 0
        self._supervisor.tell_of_load(percent)
        with Progress("loading", lambda: facts.load_total_bytes) as progress:
            while True:
                await asyncio.sleep(PROGRESS_S)
                progress.update(facts.load_done_bytes)
                before, percent = percent, 100 * facts.load_done_bytes // (facts.load_total_bytes or 1)
                if percent != before:
                    self._supervisor.tell_of_load(percent)

    # The end

    def stop_listening(self) -> None:
        """Take no new connections."""
        self.listeners.close()
        if self._http:
            self._http.close()

    def cancel_load(self) -> None:
        """Give up the load, if there is one."""
        if self._load:
            self._load.cancel()

    def halt(self) -> None:
        """Let no command run any more, nor anything that would be recorded, and reset all connections."""
        self.is_ending = True
        self.writer.pause()
        if self._follower:
            self._follower.halt()
        self.data.halt()
        self._end_serving()
        self.clients.reset()
        self._scripts.close()
        if self._owns_process:
            collector.end()

    async def close(self) -> None:
        """Close all connections, and let go of the data."""
        self._end_serving()
        if self._follower:
            await self._follower.close()
        self.clients.close()
        self._scripts.close()
        if self._load:
            # The medium has all data. A step on the disk's thread ends first, since it uses parts that are closed below.
            if self._load.cancel():
                _log.info("leaving during the load: the data stays on the disk as it is")
            await asyncio.gather(self._load, return_exceptions=True)
        await self.data.close()
        if self._owns_process:
            collector.end()

    def _end_serving(self) -> None:
        self._cron.end()
        self.stop_listening()

    async def end_tasks(self) -> None:
        """End tasks that may wait for what never comes, again and again: how each ends may begin with waiting for more."""
        for _ in range(ROUNDS_OF_ENDING):
            # The sockets are closed in the first turn of the loop.
            await asyncio.sleep(0)
            for task in {*self.writer.results.tasks, *self.jobs.tasks, *self.data.snapshots.tasks}:
                task.cancel()
            if self.leaving:
                self.leaving.cancel()


def _address(replicaof: str) -> tuple[str, int]:
    """The host and the port that this option names."""
    host, port = replicaof.split()
    return host, int(port)


def _leave_open_files(wanted: int) -> int:
    """The limit of open files, as far as it is the server's business: the program has seen to it."""
    return wanted
