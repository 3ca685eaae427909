"""Carries out what handlers ask for (`commands.effect`): flushes, loads, leaving, new settings. The writer's Actions.

Owns the rules between them: which flush is refused, when writes are, what a failed shutdown leaves behind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from kvserver.commands.effect import (
    AbortShutdown,
    BackgroundSave,
    Crash,
    Discard,
    Effect,
    Load,
    Reconfigure,
    Save,
    Shutdown,
)
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.session import ServerState, Session
from kvserver.snapshot import Snapshots
from kvserver.writer import Writer

SAVE_IN_PROGRESS = "ERR Background save already in progress"
SHUTDOWN_FAILED = "ERR Errors trying to SHUTDOWN. Check logs."
RETRY_AFTER_S = 5  # after a failed automatic flush, as in Redis

_log = logging.getLogger("kvserver")


class Actions:
    """`leave` ends the server; `reconfigure` acts on options that CONFIG SET changed."""

    writer: Writer

    def __init__(
        self,
        state: ServerState,
        snapshots: Snapshots,
        leave: Callable[[], None],
        reconfigure: Callable[[list[str]], None],
    ) -> None:
        self._state = state
        self._snapshots = snapshots
        self._leave = leave
        self._reconfigure = reconfigure
        self._shutdown: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_try_at = time.monotonic()

    def act(self, effect: Effect, session: Session) -> Reply | Awaitable[Reply]:
        match effect:
            case Save():
                return self._save(self._start_flush())
            case BackgroundSave():
                self._start_flush()
                return Simple("Background saving started")
            case Load():
                return self._load()
            case Shutdown(save, force):
                return self._shut_down(save, force)
            case AbortShutdown():
                raise CommandError("ERR No shutdown in progress.")
            case Crash():
                return self._crash()
            case Discard(shards, reply):
                self._in_background(self._snapshots.discard(shards))
                return reply
            case Reconfigure(names, reply):
                self._reconfigure(names)
                self.choose_runners()
                return reply
        raise TypeError(f"no way to carry out {effect!r}")

    def choose_runners(self) -> None:
        """Which commands run: while data is loaded, while the medium fails, or all."""
        table, facts, config = self._state.table, self._state.persistence, self._state.config
        if facts.loading:
            self.writer.runners = table.loading
        elif facts.medium_poisoned or (not facts.last_save_ok and config.stop_writes_on_bgsave_error):
            self.writer.runners = table.read_only
        else:
            self.writer.runners = table.open

    def flush_if_due(self) -> None:
        """Start a flush if a save point is reached. To be called about once a second."""
        facts, config = self._state.persistence, self._state.config
        if self._snapshots.is_flushing or facts.loading or self._shutdown:
            return
        changes = self._state.keyspace.changes - facts.changes_at_last_save
        age_s = time.time() - facts.last_save_at
        if (facts.medium_poisoned or not facts.last_save_ok) and time.monotonic() - self._last_try_at < RETRY_AFTER_S:
            return
        if facts.medium_poisoned:  # whether or not anything changed: until a new file is written, no write is taken
            self._start_flush()
            return
        for seconds, least_changes in config.save:
            if changes >= least_changes and age_s >= seconds:
                _log.info("%d changes in %d seconds. Saving...", least_changes, seconds)
                self._start_flush()
                return

    async def load_at_start(self) -> None:
        """Load while the server answers -LOADING. MediumError if the medium can't be read or repaired."""
        facts = self._state.persistence
        facts.loading = True
        self.choose_runners()
        try:
            await self._snapshots.load(at_start=True)
        finally:
            facts.loading = False
            self.choose_runners()

    async def leave_on_signal(self) -> None:
        """What SIGTERM does: SHUTDOWN, with nobody to answer."""
        try:
            await self._shut_down(None, force=False, mode="exit")
        except CommandError as error:
            _log.error("not leaving: %s", error)

    def _start_flush(self) -> asyncio.Task[None]:
        if self._snapshots.is_flushing:
            raise CommandError(SAVE_IN_PROGRESS)
        self._last_try_at = time.monotonic()
        flush = self._snapshots.start_flush()
        flush.add_done_callback(lambda _: self.choose_runners())
        return flush

    async def _save(self, flush: asyncio.Task[None]) -> Reply:
        try:
            await asyncio.shield(flush)
        except OSError as error:
            raise CommandError(f"ERR {error}") from None
        return OK

    async def _load(self) -> Reply:
        try:
            return await self._snapshots.load()
        except OSError as error:
            raise CommandError(f"ERR {error}") from None

    async def _crash(self) -> Reply:
        try:
            await self._snapshots.crash()
        except OSError as error:
            raise CommandError(f"ERR {error}") from None
        return OK

    async def _shut_down(self, save: bool | None, force: bool, mode: str | None = None) -> Reply:
        stays = (mode or self._state.config.shutdown_mode) == "flush" and save is not False
        if not stays:
            self.writer.pause()  # what would be acknowledged from here on would not be in the frame
        try:
            # While data is loaded, what is in memory is not the data: the medium has it all.
            if save is not False and not self._state.persistence.loading:
                while self._snapshots.is_flushing:  # what is newer than that flush is flushed after it
                    await self._snapshots.wait()
                await asyncio.shield(self._start_flush())
        except OSError as error:
            _log.error("SHUTDOWN failed: %s", error)
            if not force or stays:
                self.writer.resume()
                raise CommandError(SHUTDOWN_FAILED) from None
        if not stays:
            self._leave()
            await asyncio.Event().wait()  # no reply: the connection ends with the server
        return True

    def _in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
