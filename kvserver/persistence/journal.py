"""The journal of a running server: what each tick wrote, on its way to the disk (`courier`), and where a segment ends.

Owns the order of things: a record never overtakes an earlier one, the log is cut between the two ticks (or halves of one)
between which the data of a snapshot is cut, and a link follows its snapshot. Never runs a command, and knows of no file.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from kvserver.errors import MediumError
from kvserver.formats.record import encode_link
from kvserver.media.medium import Log
from kvserver.persistence.courier import Courier
from kvserver.persistence.disk import Disk
from kvserver.persistence.recovery import Recovered
from kvserver.persistence.timeline import REPLACED
from kvserver.resp.request import Request
from kvserver.state.session import ServerState

_log = logging.getLogger("kvserver")


class Journal:
    """The journal: records writes while `is_on`.

    `sequence` is the number of the last record, `written` that of the last one that the system has been given, so that a kill
    does not lose it, and `synced` that of the last one that is durable. `loop_may_sync`: see `Group`.
    """

    def __init__(self, state: ServerState, log: Log, disk: Disk, sync_disk: Disk, *, loop_may_sync: bool = True) -> None:
        self.is_on = False
        self._state = state
        self._facts = state.journal
        self._log = log
        self.courier = Courier(state, log, disk, sync_disk, loop_may_sync=loop_may_sync)
        self.courier.on_failure = self._on_failure
        # The number of the newest segment; its cut may still be on its way to the disk.
        self._number = 0
        # The number of the newest segment that a cut has begun, and of the last record before it.
        self._cut_at = 0, 0
        # The number of the last record before the snapshot that the newest link names.
        self._linked_at = 0
        # The next cut heals a failure, although writes were not refused.
        self._heals = False

    @property
    def sequence(self) -> int:
        return self.courier.sequence

    @property
    def synced(self) -> int:
        return self.courier.synced

    @property
    def number(self) -> int:
        """The number of the newest segment."""
        return self._number

    @property
    def safe(self) -> int:
        return self.courier.safe

    # What the writer calls

    def append(self, commands: list[Request], clients: int = 0) -> None:
        """Record what one tick wrote, in which so many clients had their turn."""
        if self.is_on:
            self.courier.take(commands, clients)

    def _on_failure(self, reason: str) -> None:
        """Let no write be taken until a snapshot succeeds."""
        if self.is_on:
            if not self._facts.error:
                _log.error("the journal failed; no write is taken until a snapshot succeeds: %s", reason)
            self._facts.error = reason

    @property
    def records_since_link(self) -> int:
        """The number of records that are newer than the snapshot that a start would load."""
        return self.sequence - self._linked_at

    # What snapshots call

    def cut(self, *, breaks: bool = False) -> int:
        """Begin a new segment: what the keyspace has not handed out yet goes to the old one. Return the token for `link`.

        `breaks`: the data is another one from here on, so numbers are left out. Nobody goes on behind such a gap without the
        snapshot that the link names: no start that finds no link, and nobody who goes through the history. So many are left
        out (REPLACED) that nobody takes it for a segment that is missing.
        """
        written = self._state.databases.records.take()
        # If this cut heals, what was written is in the snapshot that follows, and the old segment may not take it.
        if written and not self._heals:
            self.append(written)
        if not self.is_on:
            return self._number + 1
        # Only a failure that we know of made the writer refuse writes before this moment: the snapshot has all others.
        heals, self._heals = self._heals or bool(self._facts.error), False
        # What failed is missing from the segments before, so that they don't lead here either.
        self._number += 2 if heals else REPLACED if breaks else 1
        number = self._number
        self._cut_at = number, self.sequence
        self.courier.order(lambda: self._log.cut(number, heals=heals), heals=heals)
        return number

    async def link(self, token: int, digest: str, base_bytes: int, *, drops: bool = False) -> bool:
        """Go on from the snapshot with this digest, of so many bytes, which `cut` gave the token for. MediumError if it fails.

        `drops`: the snapshot is an earlier one, and what was recorded since is put aside. Return False if the newest segment
        goes on from something later already, a RESTORE.
        """
        if token < self._number:
            return False
        log, frame, is_on = self._log, encode_link(digest, self._state.now_ms()), self.is_on
        names: list[str] = []

        def drop() -> None:
            names.extend(log.drop_before(token, keeps_aside=drops))

        def go_on() -> None:
            if is_on or log.number == token:
                log.write(frame, synced=True)
                drop()
            elif log.needed_count:
                names.extend(log.end(token, frame, keeps_aside=drops))

        def go_on_beside() -> None:
            log.sync_all()
            drop()

        was_failed = bool(self._facts.error)
        self._number = token
        if is_on and self._state.config.appendfsync != "always":
            # The link alone stands between records: nobody's reply waits until it is durable and what it replaces is gone.
            await self.courier.order(lambda: log.write(frame))
            await self.courier.beside(go_on_beside)
        else:
            await self.courier.order(go_on)
        if not drops:
            await self.courier.beside(log.age_asides)
        if names:
            _log.warning("put aside until the next snapshot but one: %s", ", ".join(names))
        self._linked_at = self._cut_at[1] if self._cut_at[0] == token else self.sequence
        self._facts.base_bytes = base_bytes
        if was_failed and self._facts.error:
            _log.info("the journal goes on in a new segment")
            self._facts.error = ""
        self._prepare()
        return True

    # Starting, switching, stopping

    async def take_over(self, recovered: Recovered, *, switch_on: bool) -> None:
        """Go on behind what a start has recovered, recording or not."""
        self._linked_at = self.sequence - recovered.records
        if switch_on:
            await self.begin(self._log.last_number + 1, None if recovered.segments else recovered.digest)
            # The oldest records do not give the same data at each start, which exact records behind them rely on.
            self._facts.rewrite_scheduled = recovered.needs_rewrite
            return
        self.rest(self._log.last_number)
        if recovered.segments:
            _log.warning("appendonly is no, but there was a journal: it was replayed, and goes with the next snapshot")

    async def begin(self, number: int, digest: str | None) -> None:
        """Record from now on, in a segment of this number. `digest` is that of the snapshot to link it to, or None.

        If that fails, the server starts all the same: then writes are refused until a snapshot succeeds.
        """
        self._number = number
        self.is_on = self._facts.enabled = True
        with suppress(MediumError):
            await self.courier.order(lambda: self._log.cut(number))
            if digest is not None:
                frame = encode_link(digest, self._state.now_ms())
                await self.courier.order(lambda: self._log.link(frame))
            self._prepare()

    def rest(self, number: int) -> None:
        """Record nothing, knowing that segments up to this one may be there."""
        self._number = number

    def switch_on(self) -> None:
        """Record from the next `cut` on, which has to follow at once."""
        # The cut leaves a number out: without the link, a start stops at the gap and replays nothing without its base.
        self._heals = True
        self.is_on = self._facts.enabled = True

    def switch_off(self, *, give_up: bool = False) -> None:
        """Record nothing more. The segments stay until the next snapshot. `give_up`: the newest was never linked, and goes."""
        self.is_on = self._facts.enabled = False
        number = self._number
        self.courier.order((lambda: self._log.drop(number)) if give_up else self._log.sync)
        if self._facts.error:
            self._facts.error = ""

    async def written(self) -> None:
        """Wait until all that was recorded so far is in the system's hands, or is lost."""
        if self.is_on:
            await self.courier.order(_do_nothing)

    async def sync(self) -> None:
        """Make durable all that was recorded so far. MediumError if that fails, or the journal has failed before."""
        if self.is_on:
            if self._facts.error:
                raise MediumError(self._facts.error)
            await self.courier.order(self._log.sync)

    def sync_soon(self) -> None:
        """Sync without waiting for a new write: the policy has changed."""
        self.courier.order(self._log.sync)

    async def close(self) -> None:
        """Let go of the log, when all that is under way has ended."""
        self.is_on = False
        self.courier.stop_timers()
        await self.courier.order(self._log.close)

    def halt(self) -> None:
        """Record and write nothing any more, as if the process had been killed."""
        self.is_on = False
        self.courier.halt()

    def _prepare(self) -> None:
        """Have the next segment prepared, so that at the next cut nobody's reply has to wait for that."""
        if self.is_on:
            self.courier.beside(self._log.prepare)


def _do_nothing() -> None: ...
