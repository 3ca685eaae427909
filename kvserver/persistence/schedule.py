"""The moments at which a flush begins, asked for or due, and those at which a flush is refused, put off or tried again.

Owns the rules of SAVE, BGSAVE, BGREWRITEAOF and of the save points. Never makes a flush itself: `snapshots` does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Final

from kvserver.errors import CommandError, MediumDisplaced
from kvserver.persistence.snapshots import Snapshots
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.state.session import ServerState

SAVE_IN_PROGRESS: Final = "ERR Background save already in progress"
REWRITE_HINDERS_SAVE: Final = (
    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE "
    "whenever possible."
)
REWRITE_IN_PROGRESS: Final = "ERR Background append only file rewriting already in progress"
# As in Redis: the time from a flush that failed to the next automatic one.
RETRY_AFTER_S: Final = 5

_log = logging.getLogger("kvserver")


class Schedule:
    """Decides when the flushes of a server begin. Sizes are bytes, and errors of SAVE and its kin have Redis's texts."""

    def __init__(self, state: ServerState, snapshots: Snapshots) -> None:
        self._state = state
        self._snapshots = snapshots
        self._last_try_at = time.monotonic()
        # A flush is to begin as soon as none runs.
        self._is_scheduled = False

    def start(self) -> asyncio.Task[None]:
        """Begin a flush; awaiting the task raises MediumError if it fails. CommandError while another one runs."""
        if self._snapshots.is_flushing:
            raise CommandError(SAVE_IN_PROGRESS)
        self._last_try_at = time.monotonic()
        flush = self._snapshots.start_flush()
        flush.add_done_callback(self._end)
        return flush

    async def finish(self, flush: asyncio.Task[None]) -> None:
        """Wait until a flush has ended; if others moved or changed its file meanwhile, make another one into a new file.

        MediumError if the flush, or that other one, fails.
        """
        try:
            await asyncio.shield(flush)
        except MediumDisplaced:
            await self._snapshots.wait()
            await asyncio.shield(self.start())
        finally:
            # The task of a flush that failed holds its error, whose traceback holds what this function does.
            del flush

    def _end(self, flush: asyncio.Task[None]) -> None:
        self._start_scheduled()

    def _start_scheduled(self) -> None:
        if self._is_scheduled and not (self._snapshots.is_flushing or self._state.scripts.busy_error):
            self._is_scheduled = False
            self.start()

    def start_if_due(self) -> None:
        """Start a flush if a save point is reached, the journal has outgrown its snapshot, or it needs a new segment.

        The server calls this about once a second.
        """
        facts, config, journal = self._state.persistence, self._state.config, self._state.journal
        # What a script that stands aside has written is not all yet.
        if self._snapshots.is_flushing or facts.loading or self._state.scripts.busy_error:
            return
        # On a shared log the snapshots are the primary's, and a new one heals no engine that is away.
        if self._state.replication.is_standby or (journal.error and self._state.replication.is_shared):
            return
        if self._is_scheduled:
            self._start_scheduled()
            return
        changes = self._state.databases.records.changes - facts.changes_at_last_save
        age_s = time.time() - facts.last_save_at
        if (facts.medium_poisoned or not facts.last_save_ok) and time.monotonic() - self._last_try_at < RETRY_AFTER_S:
            return
        if facts.medium_poisoned:
            # Also where nothing has changed: until a new file is written, no write is taken.
            self.start()
            return
        if journal.error:
            if time.monotonic() - self._last_try_at >= RETRY_AFTER_S:
                self.start()
            return
        if journal.rewrite_scheduled or self._has_outgrown():
            self._start_rewrite()
            return
        for seconds, least_changes in config.save:
            if changes >= least_changes and age_s >= seconds:
                _log.info("%d changes in %d seconds. Saving...", least_changes, seconds)
                self.start()
                return

    def save(self) -> Awaitable[Reply]:
        """Flush, for SAVE. The data is cut now, not when the reply is awaited, or else behind a rewrite that is running.

        CommandError while another flush runs; the reply raises it if the flush fails.
        """
        return self.save_present() if self._state.journal.rewrite_in_progress else self._saved(self.start())

    async def _saved(self, flush: asyncio.Task[None]) -> Reply:
        try:
            await self.finish(flush)
        except OSError as error:
            raise CommandError(f"ERR {error}") from None
        finally:
            # As in `finish`.
            del flush
        return OK

    def save_present(self) -> Awaitable[Reply]:
        """Flush, for FLUSHALL: the reply comes when some flush has put on the disk what is in memory now.

        The reply raises CommandError if a flush fails.
        """
        return self._covered(self._state.databases.records.changes)

    async def _covered(self, changes: int) -> Reply:
        while self._state.persistence.changes_at_last_save < changes:
            if self._snapshots.is_flushing:
                await self._snapshots.wait()
            else:
                await self._saved(self.start())
        return OK

    def save_in_background(self, *, schedule: bool, in_transaction: bool) -> Reply:
        """Begin a flush, for BGSAVE, and return its reply. `schedule`: a rewrite that is running may end first.

        CommandError if a flush or a rewrite stands in its way.
        """
        is_rewriting = self._state.journal.rewrite_in_progress
        if self._snapshots.is_flushing and not is_rewriting:
            raise CommandError(SAVE_IN_PROGRESS)
        if is_rewriting and not (schedule or in_transaction):
            raise CommandError(REWRITE_HINDERS_SAVE)
        if not (is_rewriting or in_transaction):
            self.start()
            return Simple("Background saving started")
        self._is_scheduled = True
        if in_transaction:
            # The cut must not stand between two writes of a transaction, which are one record of the journal.
            asyncio.get_running_loop().call_soon(self._start_scheduled)
        return Simple("Background saving scheduled")

    def rewrite(self, *, in_transaction: bool) -> Reply:
        """Begin a rewrite, which is a flush of another name, for BGREWRITEAOF. CommandError where one is running."""
        facts = self._state.journal
        if facts.rewrite_in_progress:
            raise CommandError(REWRITE_IN_PROGRESS)
        if self._snapshots.is_flushing or in_transaction:
            facts.rewrite_scheduled = True
            return Simple("Background append only file rewriting scheduled")
        self._start_rewrite()
        return Simple("Background append only file rewriting started")

    def _start_rewrite(self) -> None:
        facts = self._state.journal
        facts.rewrite_in_progress, facts.rewrite_scheduled, facts.rewrite_started_at = True, False, time.time()
        facts.rewrites += 1
        self.start().add_done_callback(self._end_rewrite)

    def _end_rewrite(self, flush: asyncio.Task[None]) -> None:
        facts = self._state.journal
        facts.rewrite_in_progress = False
        facts.last_rewrite_ok = not flush.cancelled() and flush.exception() is None
        facts.rewrites_failed = 0 if facts.last_rewrite_ok else facts.rewrites_failed + 1
        facts.last_rewrite_duration_s = round(time.time() - facts.rewrite_started_at)

    def _has_outgrown(self) -> bool:
        """True if Redis's rule for rewriting its append-only file asks for a flush."""
        config, facts = self._state.config, self._state.journal
        percentage, size = config.auto_aof_rewrite_percentage, facts.base_bytes + facts.segment_bytes
        if not (facts.enabled and percentage and size > config.auto_aof_rewrite_min_size):
            return False
        growth = size * 100 // (facts.base_bytes or 1) - 100
        if growth >= percentage:
            _log.info("the journal and its snapshot have grown by %d%%. Saving...", growth)
        return growth >= percentage
