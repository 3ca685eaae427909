"""The server: it makes all parts and ties them together, keeps time, acts on new settings, and leaves in order.

At its start it takes the folder, opens the medium, listens, loads while clients get -LOADING, and then serves. At its end it
stops listening, closes the connections and releases the folder. It alone knows all folders; it never runs a command itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time

import kvserver
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.dispatch.table import CommandTable
from kvserver.dispatch.timing import slow_from_ns
from kvserver.engine import collector
from kvserver.engine.jobs import Jobs
from kvserver.engine.scripts import ScriptRunner
from kvserver.engine.upkeep import Upkeep
from kvserver.engine.writer import Writer
from kvserver.errors import CommandError, MediumError, StartError, TLSError
from kvserver.log import is_on_terminal, set_level
from kvserver.media.locate import open_folder
from kvserver.media.medium import Place
from kvserver.network.clients import Clients
from kvserver.network.listeners import Listeners, is_taken
from kvserver.options.config import Config, config_set_failed
from kvserver.options.durability import durability
from kvserver.persistence.disk import Disk
from kvserver.persistence.journal import Journal
from kvserver.persistence.recovery import Recovery
from kvserver.persistence.slices import BesideLoop
from kvserver.persistence.snapshots import Snapshots
from kvserver.state.session import ServerState
from kvserver.supervisor import Supervisor
from kvserver.system import Progress, now_ms, now_us, random_below, read_process_facts

CRON_S = 0.1
# The same while nothing has come or gone for so long that all rates are 0. Nobody sees then that expired keys go later, and
# each wake-up costs a server that rests a third of a millisecond.
REST_S = 0.3
EACH_SECOND_S = 1.0
PROGRESS_S = 0.2
# The options that name what is listened on, with Redis's error texts.
LISTENING = {
    "bind": "Failed to bind to specified addresses.",
    "port": "Unable to listen on this port. Check server logs.",
    "tls-port": "Unable to listen on this port. Check server logs.",
}
TLS_NOT_UPDATED = "Unable to update TLS configuration. Check server logs."

_log = logging.getLogger("kvserver")


class Server:
    """A server on the running event loop: `await start()`, then `await ended`. The constructor opens and changes nothing."""

    def __init__(self, config: Config) -> None:
        loop = asyncio.get_running_loop()
        event_loop = type(loop).__module__.partition(".")[0]
        self.ended: asyncio.Future[None] = loop.create_future()
        self.state = ServerState(
            config=config,
            databases=Databases(now_ms),
            commands=COMMANDS,
            now_ms=now_ms,
            now_us=now_us,
            random_below=random_below,
            process_facts=lambda: read_process_facts(event_loop),
            started_at_ms=now_ms(),
            run_id=os.urandom(20).hex(),
            version=kvserver.__version__,
        )
        self._table = CommandTable(COMMANDS, self.state.usages, time.perf_counter_ns)
        # Save points count from the start, as in Redis.
        self.state.persistence.last_save_at = int(time.time())
        self._loop = loop
        self.clients = Clients(self.state)
        self._listeners = Listeners(self.clients, config)
        self._supervisor = Supervisor(os.environ.get("NOTIFY_SOCKET", ""))
        # The values in force, which come back after a CONFIG SET that can't be carried out.
        self._settled = dict(vars(config))
        self._cron: asyncio.TimerHandle | None = None
        # The end of this second by the event loop's clock.
        self._second_ends_at = 0.0
        # A signal has told the server to leave.
        self._is_leaving = False
        self._is_closing = False
        # What the log says of it, for those who can.
        self._way_to_stop = ""
        # The load at the start.
        self._load: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._upkeep = Upkeep(
            self.state,
            lambda commands: self._journal.append(commands),
            lambda deliveries: self.writer.results.deliver(deliveries),
            lambda: self.writer.wake(),
        )
        self._watch()
        self.state.memory.configure()

    async def start(self) -> None:
        """Listen, load and serve; return earlier if the server is told to leave meanwhile. StartError if that fails."""
        config = self.state.config
        place = _open_place(config)
        self._lease = place.lease
        self._disk = Disk()
        self._journal_disk, self._sync_disk = Disk(), Disk()
        self._journal = Journal(self.state, place.log, self._journal_disk, self._sync_disk)
        self._snapshots = Snapshots(self.state, place.medium, self._disk, self._journal)
        beside_loop = BesideLoop(self._journal_disk, self.state.counters, self.state.persistence)
        recovery = Recovery(self.state, self._table, self._snapshots.frames, place.log, beside_loop)
        self._jobs = Jobs(
            self.state,
            self._snapshots,
            self._journal,
            self._leave,
            self._reconfigure,
            recovery,
            self._disk,
        )
        self.writer = Writer(self.state, self._table, self._jobs, self._journal.append)
        self.clients.writer = self._jobs.writer = self.writer
        self.state.scripts = self._scripts = ScriptRunner(self.state, self._table, self._jobs, self.writer)
        self._jobs.attend_journal()
        collector.begin()
        try:
            self.state.persistence.loading = True
            await self._listeners.open()
            self._introduce()
            self.clients.fit_to_system()
            self._settled = dict(vars(config))
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
            raise StartError(f"{error}{_another_port(error, config)}") from error
        self._second_ends_at = self._loop.time() + EACH_SECOND_S
        self._cron = self._loop.call_later(CRON_S, self._keep_time)
        ready = f"Ready to accept connections on {', '.join(self._listeners.urls())}"
        _log.info("%s%s", ready, self._way_to_stop)
        self._supervisor.tell_ready(ready)

    def _introduce(self) -> None:
        """Log the version and the process, the place of the data, the addresses, and warnings about them.

        This comes after the listening: a start that fails logs one line, the reason.
        """
        config, facts = self.state.config, self.state.process_facts()
        _log.info(
            "kvserver %s (%s, leaves %s, Python %s, %s), process %d",
            self.state.version, facts.build, facts.leaves, facts.python, facts.event_loop, facts.process_id,
        )  # fmt: skip
        options = ", ".join(config.describe(name) for name in ("appendonly", "appendfsync"))
        path = os.path.join(config.dir, config.dbfilename)
        _log.info("data in %s", path)
        _log.info("durability: %s (%s, save %s)", durability(config), options, config.describe("save")[5:] or '""')
        _log.info("listening on %s", ", ".join(self._listeners.urls()))
        for notice in config.notices:
            _log.warning("%s", notice)
        if config.ignored:
            _log.warning("ignored in the environment, since they are no options: %s", config.ignored)
        self._warn_of_network()

    def _warn_of_network(self) -> None:
        config = self.state.config
        for text in self._listeners.left_out:
            _log.warning("%s; going on without it", text)
        if config.requirepass or not (exposed := self._listeners.exposed()):
            return
        if config.protected_mode:
            text = "clients of other machines are turned away, since protected-mode is on and requirepass is empty"
            _log.warning("%s is on a network: %s", exposed, text)
        else:
            text = "whoever gets there has all data, since protected-mode is off and requirepass is empty"
            _log.warning("%s is on a network: %s", exposed, text)

    async def _show_progress(self) -> None:
        facts, percent = self.state.persistence, 0
        self._supervisor.tell_of_load(percent)
        with Progress("loading", lambda: facts.load_total_bytes) as progress:
            while True:
                await asyncio.sleep(PROGRESS_S)
                progress.update(facts.load_done_bytes)
                before, percent = percent, 100 * facts.load_done_bytes // (facts.load_total_bytes or 1)
                if percent != before:
                    self._supervisor.tell_of_load(percent)

    def stop_on_signals(self) -> None:
        """Act on SIGTERM, SIGINT and SIGHUP as on SHUTDOWN, and leave at once at the second signal."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # `nohup` has a program started with SIGHUP ignored.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._loop.add_signal_handler(number, self._on_signal, number)
        if is_on_terminal(self.state.config):
            self._way_to_stop = " (ctrl-C stops it)"

    def _on_signal(self, number: signal.Signals) -> None:
        if self._is_leaving:
            _log.warning("received a second signal, leaving at once without a flush")
            os._exit(1)
        self._is_leaving = True
        _log.info("received %s, shutting down", number.name)
        self._supervisor.tell_leaving()
        task = self._loop.create_task(self._leave_on_signal())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _leave_on_signal(self) -> None:
        await self._jobs.leave_on_signal()
        # The server is still here, since the flush failed.
        self._is_leaving = False
        self._supervisor.tell_ready("could not shut down, since the data could not be saved: see the log")

    # Time

    def _keep_time(self) -> None:
        rates, now_s = self.state.rates, self._loop.time()
        rates.sample(self.state.counters, now_ms())
        self._cron = self._loop.call_later(REST_S if rates.are_nil else CRON_S, self._keep_time)
        self.state.usages.fold_all()
        self._table.timing.begin_sample()
        self._upkeep.begin()
        if now_s >= self._second_ends_at:
            self._second_ends_at = now_s + EACH_SECOND_S
            self._jobs.schedule.start_if_due()
            self.clients.close_idle()
        if self.clients.choked:
            self.clients.check_choked()

    def _reconfigure(self, names: list[str]) -> None:
        """Act on the new values of these options; or put the old values back, and raise CommandError."""
        config = self.state.config
        listening = [name for name in names if name in LISTENING]
        try:
            self.clients.reconfigure(names)
            if any(name.startswith("tls-") for name in names):
                self._listeners.reload_tls()
            if listening:
                self._listeners.rebind()
                _log.info("listening on %s", ", ".join(self._listeners.urls()) or "nothing")
                self._warn_of_network()
        except (CommandError, OSError, TLSError) as error:
            vars(config).update(self._settled)
            if isinstance(error, CommandError):
                raise
            _log.warning("the configuration stays as it was: %s", error)
            self.clients.reconfigure(names)
            self._listeners.reload_tls()
            if isinstance(error, TLSError):
                name = next(name for name in names if name.startswith("tls-"))
                raise CommandError(str(config_set_failed(name, TLS_NOT_UPDATED))) from None
            raise CommandError(str(config_set_failed(listening[0], LISTENING[listening[0]]))) from None
        self._settled = dict(vars(config))
        self._watch()
        for name in names:
            _log.info("CONFIG SET %s", config.describe(name))
        if "lua-memory-limit" in names:
            self._scripts.limit_memory()
        if "loglevel" in names:
            set_level(config.loglevel)

    def _watch(self) -> None:
        """Pass the options about slow commands, and about events, to the parts that watch for them."""
        state = self.state
        self._table.timing.watch_from(slow_from_ns(state.config))
        state.slowlog.keep(state.config.slowlog_max_len)
        state.notifications.configure(state.config.notify_keyspace_events)

    # Leaving

    def _leave(self) -> None:
        # SHUTDOWN and a signal may come at once.
        if self._is_closing:
            return
        self._is_closing = True
        # After a signal the supervisor has been told already.
        if not self._is_leaving:
            self._supervisor.tell_leaving()
        task = self._loop.create_task(self._close())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _close(self) -> None:
        if self._cron:
            self._cron.cancel()
        self._upkeep.end()
        self._listeners.close()
        self.clients.close()
        self._scripts.close()
        if self._load:
            # The medium has all data. A step on the disk's thread ends first, since it uses parts that are closed below.
            if self._load.cancel():
                _log.info("leaving during the load: the data stays on the disk as it is")
            await asyncio.gather(self._load, return_exceptions=True)
        await self._snapshots.close()
        await self._journal.close()
        self._disk.close()
        self._journal_disk.close()
        self._sync_disk.close()
        self._lease.release()
        collector.end()
        # In this turn of the event loop the transports tell that they are closed.
        await asyncio.sleep(0)
        if not self.ended.done():
            self.ended.set_result(None)


def _another_port(error: Exception, config: Config) -> str:
    """The way to another port, behind a semicolon, if a start fails since one of its ports is taken; else an empty text."""
    if isinstance(error, OSError) and is_taken(error):
        for option, port in (("-p", config.port), ("--tls-port", config.tls_port)):
            if f":{port}: " in str(error):
                return f"; {option} takes another port, {option} auto any that is free"
    return ""


def _open_place(config: Config) -> Place:
    try:
        config.dir = os.path.abspath(config.dir)
    except FileNotFoundError:
        raise StartError(f"cannot use the directory {config.dir}: the working directory does not exist any more") from None
    try:
        return open_folder(config.dir, config.dbfilename)
    except MediumError as error:
        raise StartError(str(error)) from error
