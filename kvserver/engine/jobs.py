"""The effects that need the data as a whole, the disk or the server: flushes, loads, leaving, new settings.

Owns the rules between these: what a failed shutdown leaves behind, and when replies wait for the journal. It leaves
to `persistence.schedule` which flush may begin, and never runs a command or writes to a client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from kvserver.dispatch.effect import (
    BackgroundSave,
    ChangeRights,
    Compare,
    Crash,
    Effect,
    Failover,
    Fetch,
    Fetched,
    Follow,
    FreeShards,
    GoBack,
    ListFrames,
    Load,
    LoadUsers,
    Log,
    LookBack,
    MoveClock,
    Reconfigure,
    Reload,
    RewriteConfig,
    RewriteJournal,
    Save,
    SaveUsers,
    Shutdown,
    Sleep,
    TellChanges,
    Unfollow,
)
from kvserver.engine import users
from kvserver.engine.lateness import Lateness
from kvserver.engine.outbox import Outbox
from kvserver.engine.time_machine import TimeMachine
from kvserver.engine.writer import Writer
from kvserver.errors import CommandError, ConfigError, RuleError
from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.options.config import config_set_failed, read_options
from kvserver.options.file import find_files, read_bytes_as_text, replace_text
from kvserver.options.retention import NO_RETENTION
from kvserver.options.settings import Setting
from kvserver.persistence.disk import Disk
from kvserver.persistence.journal import Journal
from kvserver.persistence.recorder import Recorder
from kvserver.persistence.schedule import Schedule
from kvserver.persistence.snapshots import Snapshots
from kvserver.resp.reply import OK, Reply
from kvserver.state.session import ServerState, Session

SHUTDOWN_FAILED = "ERR Errors trying to SHUTDOWN. Check logs."
# What was saved is nothing.
RELOAD_FAILED = "ERR Error trying to load the RDB dump, check server logs."
NO_HISTORY: Final = "ERR there is no history: a server keeps one of the directory that has its data"
# Redis's, for a client whose wait ends since the server follows another one now.
FORCED = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
MEMORY_OPTIONS = ("maxmemory", "lfu-")

# The loop's timers may be early by this: the timers and the loop's clock count whole milliseconds.
LOOP_TIMER_S: Final = 0.002

_log = logging.getLogger("kvserver")


class Jobs:
    """The jobs of a server, which `results` has carried out by `act`.

    `leave` begins the end of the server. `reconfigure` acts on the new values of the options with these names, and raises
    CommandError if that fails. `load` brings the data back at the start. The server sets `writer` before the first command
    runs.
    """

    writer: Writer
    # It does what MoveClock says. The server sets it, too.
    move_clock: Callable[[float | None], None]
    # It lets another node lead, and makes this one follow. MediumError if the others have to wait for a lease.
    fail_over: Callable[[], Awaitable[None]]
    # It lets this server follow the one at a host and port; and it ends that, at once, or when the awaitable says so.
    follow: Callable[[str, int], None]
    unfollow: Callable[[], Awaitable[None] | None]

    def __init__(
        self,
        state: ServerState,
        snapshots: Snapshots,
        journal: Recorder,
        leave: Callable[[], None],
        reconfigure: Callable[[list[str]], None],
        load: Callable[[], Awaitable[None]],
        disk: Disk,
    ) -> None:
        self._disk = disk
        self._load_data = load
        self._state = state
        self._snapshots = snapshots
        self._journal = journal
        self.schedule = Schedule(state, snapshots)
        self._outbox = Outbox(journal.courier)
        self._lateness = Lateness(self._outbox.send)
        # It answers from the data of earlier moments. The server sets it, if its data is in a folder.
        self.time_machine: TimeMachine | None = None
        # A CONFIG SET that switches the journal on or off holds this.
        self._switching = asyncio.Lock()
        self._leave = leave
        self._reconfigure = reconfigure
        # What is under way. A server that crashes ends it.
        self.tasks: set[asyncio.Task[None]] = set()

    def act(self, effect: Effect, session: Session) -> Reply | Awaitable[Reply | ChangeRights]:
        """Carry an effect out, or begin to. Return its reply, or an awaitable of it.

        CommandError, raised now or by the awaitable, is the error for the client. TypeError for an effect that is no job.
        """
        match effect:
            case Save():
                return self.schedule.save()
            case BackgroundSave(schedule):
                return self.schedule.save_in_background(schedule=schedule, in_transaction=session.is_executing)
            case RewriteJournal():
                return self.schedule.rewrite(in_transaction=session.is_executing)
            case Load():
                return self._load()
            case Shutdown(save, force):
                return self._shut_down(save, force)
            case Crash():
                return self._crash()
            case Reload(saves):
                self.writer.pause()
                return self._reload(saves)
            case Log(text):
                _log.warning("%s", text)
                return OK
            case FreeShards(name, keys, shards, flushes):
                if keys:
                    _log.info("%s of client %s has dropped %d keys", name, session.address, keys)
                self._in_background(self._snapshots.discard(shards))
                return self.schedule.save_present() if flushes else OK
            case Reconfigure(names, reply):
                self._reconfigure(names)
                if any(name.startswith(MEMORY_OPTIONS) for name in names):
                    self._in_background(self._snapshots.discard(self._state.memory.configure()))
                if "appendfsync" in names:
                    self._journal.sync_soon()
                if "appendonly" in names or "history" in names:
                    return self._switch(names, reply)
                return reply
            case Sleep(seconds):
                self.writer.pause()
                return self._sleep(seconds)
            case MoveClock(seconds):
                return self._move_clock(seconds)
            case Failover():
                self._state.replication.is_yielding = True
                self._in_background(self._yield())
                return OK
            case Follow(host, port):
                _log.info("REPLICAOF %s:%d enabled (user request from %s)", host, port, session.address)
                self.follow(host, port)
                # Whoever waits to write, or to be fed by who writes, would wait in vain.
                self.writer.results.disconnect_blocked(FORCED)
                return OK
            case Unfollow():
                _log.info("MASTER MODE enabled (user request from %s)", session.address)
                ending = self.unfollow()
                return OK if ending is None else self._unfollowed(ending)
            case RewriteConfig():
                return self._rewrite_config()
            case ListFrames() | LookBack() | GoBack() | TellChanges() | Compare():
                return self._machine.act(effect, session)
            case LoadUsers():
                return users.load(self._state, self._disk)
            case SaveUsers():
                return users.save(self._state, self._disk)
        raise TypeError(f"no way to carry out {effect!r}")

    def fetch(self, effect: Fetch, session: Session) -> Awaitable[Fetched]:
        """Fetch what a command needs before it runs. CommandError, raised now or by the awaitable, if it can't be had."""
        return self._machine.fetch(effect, session)

    @property
    def _machine(self) -> TimeMachine:
        if self.time_machine is None:
            raise CommandError(NO_HISTORY)
        return self.time_machine

    async def load_at_start(self) -> None:
        """Load while the server answers -LOADING. MediumError if the medium can't be read or repaired."""
        facts = self._state.persistence
        facts.loading = True
        try:
            await self._load_data()
            self.choose_outbox()
        finally:
            facts.loading = False

    async def leave(self, save: bool | None = None, *, force: bool = False) -> None:
        """Leave as on SHUTDOWN, with nobody to answer: a failure is logged, and with `force` it is no reason to stay."""
        if not self.kill_script() and self._state.scripts.busy_error and self._journal.is_on:
            # The script goes on, and the journal has all that anybody was told of.
            save = False
        try:
            await self._shut_down(save, force, mode="exit")
        except CommandError as error:
            _log.error("not leaving: %s", error)

    def kill_script(self) -> bool:
        """End the script that stands aside, if there is one. False if there is none, or one that has written: it goes on."""
        try:
            self._state.scripts.kill()
        except CommandError:
            return False
        return True

    # The journal

    def attend_journal(self) -> None:
        """Let the journal release and abort held replies, and pause the writer. It needs `writer`."""
        courier, writer = self._journal.courier, self.writer
        courier.on_safe = self._on_safe
        courier.on_lost = self._outbox.abort
        courier.pause, courier.resume = writer.pause, writer.resume

    def _on_safe(self) -> None:
        self._outbox.release()
        self.choose_outbox()

    def choose_outbox(self) -> None:
        """Let replies wait for the journal while it is on, and then until the last has left: none may overtake another."""
        is_needed = self._journal.is_on or self._lateness.delay_s or not self._outbox.is_empty
        self.writer.hold_replies(self._outbox if is_needed else None)

    def delay_replies(self, seconds: float) -> None:
        """Let replies and messages leave so much later than they could. At 0, what is late leaves now."""
        self._lateness.delay_s = seconds
        self._outbox.let_go = self._lateness.take if seconds else self._outbox.send
        if not seconds:
            self._lateness.end()
        self.choose_outbox()

    async def _switch(self, names: list[str], reply: Reply) -> Reply:
        """Reply when what is kept is kept as the options say."""
        config = self._state.config
        if "history" in names:
            if config.history.is_any and not self._snapshots.history:
                config.history = NO_RETENTION
                raise CommandError(str(config_set_failed("history", "what is here has none: it is that of a directory")))
            await self._snapshots.keep_history()
        return await self._switch_journal(reply) if "appendonly" in names else reply

    async def _switch_journal(self, reply: Reply) -> Reply:
        config, journal = self._state.config, self._journal
        assert isinstance(journal, Journal), "an option of an engine refuses this before"
        async with self._switching:
            if journal.is_on and not config.appendonly:
                journal.switch_off()
                _log.info("the journal is off; its segments stay until the next snapshot")
            elif config.appendonly and not journal.is_on:
                await self._snapshots.wait()
                journal.switch_on()
                flush = self.schedule.start()
                self.choose_outbox()
                try:
                    await asyncio.shield(flush)
                except OSError:
                    config.appendonly = False
                    journal.switch_off(give_up=True)
                    reason = "Unable to turn on AOF. Check server logs."
                    raise CommandError(str(config_set_failed("appendonly", reason))) from None
                finally:
                    # The task of a flush that failed holds its error, whose traceback holds what this function does.
                    del flush
        return reply

    async def _sleep(self, seconds: float) -> Reply:
        try:
            await asyncio.sleep(seconds + LOOP_TIMER_S)
        finally:
            self.writer.resume()
        return OK

    async def _move_clock(self, seconds: float | None) -> Reply:
        # It runs outside of ticks, during which the time stands still.
        self.move_clock(seconds)
        return OK

    async def _unfollowed(self, ending: Awaitable[None]) -> Reply:
        await ending
        return OK

    async def _yield(self) -> None:
        try:
            await self.fail_over()
        except OSError as error:
            _log.error("FAILOVER failed: %s", error)
        finally:
            self._state.replication.is_yielding = False

    # Configuration

    async def _rewrite_config(self) -> Reply:
        from kvserver.options.rewriting import rewritten

        config = self._state.config
        path = config.file
        try:
            present = config.user
            if not config.aclfile:
                present = tuple(map(tuple, self._state.users.settings(config.requirepass)))
                self._state.users.check_settings(present)
            text, in_file = await self._disk.run(lambda: _read_options(path))
            text = rewritten(path, text, in_file, config, present)
            await self._disk.run(lambda: replace_text(path, text, partial(sync_names, FileSystem())))
            config.user = present
        except (OSError, ConfigError, RuleError) as error:
            _log.warning("CONFIG REWRITE failed: %s", error)
            raise CommandError(f"ERR Rewriting config file: {getattr(error, 'strerror', None) or error}") from None
        _log.info("CONFIG REWRITE executed with success.")
        return OK

    # The data as a whole

    async def _load(self) -> Reply:
        try:
            return await self._snapshots.load()
        except OSError as error:
            raise CommandError(f"ERR {error}") from None

    async def _reload(self, saves: bool) -> Reply:
        """Save and load while the writer is paused: what was written meanwhile would be lost."""
        try:
            if saves:
                await self._snapshots.wait()
                await self.schedule.finish(self.schedule.start())
            has_loaded = await self._snapshots.load("DEBUG RELOAD")
        except OSError as error:
            raise CommandError(f"ERR {error}") from None
        finally:
            self.writer.resume()
        if not has_loaded:
            raise CommandError(RELOAD_FAILED)
        _log.warning("DB reloaded by DEBUG RELOAD")
        return OK

    async def _crash(self) -> Reply:
        try:
            await self._snapshots.crash()
        except OSError as error:
            raise CommandError(f"ERR {error}") from None
        return OK

    async def _shut_down(self, save: bool | None, force: bool, mode: str | None = None) -> Reply:
        # An engine has every record already, and others wait to take over.
        replication = self._state.replication
        saves = (bool(save) and replication.is_primary) if replication.is_shared else save is not False
        stays = (mode or self._state.config.shutdown_mode) == "flush" and saves
        if not stays:
            # A write that was acknowledged from here on would not be in the frame.
            self.writer.pause()
            replication.is_leaving = True
            # A transaction that runs may have another script behind the one that was killed.
            self._state.scripts.is_leaving = True
        try:
            # While data is loaded, what is in memory is not the data: the medium has it all.
            if saves and not self._state.persistence.loading:
                # A flush that is running has not what was written since it began: another one follows.
                await self._snapshots.wait()
                await self.schedule.finish(self.schedule.start())
        except OSError as error:
            _log.error("SHUTDOWN failed: %s", error)
            if not force or stays:
                if not stays:
                    replication.is_leaving = False
                    self._state.scripts.is_leaving = False
                    self.writer.resume()
                raise CommandError(SHUTDOWN_FAILED) from None
        if not stays:
            # Without a flush, the journal alone keeps what was acknowledged.
            try:
                await self._journal.sync()
            except OSError as error:
                _log.error("leaving although the journal could not be synced: %s", error)
            self._leave()
            # There is no reply: the connection ends with the server.
            await asyncio.Event().wait()
        return True

    def _in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _read_options(path: str) -> tuple[str, Mapping[str, Setting]]:
    """The text of the file of options, and the settings in it and in the files that it includes."""
    text = read_bytes_as_text(path)
    settings, _ = read_options(path, text, read_bytes_as_text, find_files)
    return text, settings
