"""The journal of a server on a shared log: each record is in it when it is safe, and snapshots say from where on it is read.

Where the folder's journal begins a segment and links it, this one notes the end of the log and names it in the vault's
manifest; what a snapshot has is trimmed. A RESTORE is an entry itself (KVSERVER.LINK): those who follow must do the same.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from kvserver.errors import MediumError
from kvserver.failover.growth import Amount, Growth
from kvserver.failover.sender import Sender
from kvserver.formats.record import encode_link
from kvserver.media.shared import SharedLog, Tip
from kvserver.media.vault_medium import VaultMedium
from kvserver.persistence.disk import Disk
from kvserver.resp.request import Request
from kvserver.state.session import ServerState

_log = logging.getLogger("kvserver")


class _Cut(NamedTuple):
    """A moment at which the data was cut: the end of the log there, and what was taken until then."""

    tip: asyncio.Future[Tip]
    taken: Amount


class SharedJournal:
    """The journal of a node, which records from `begin` on. `disk` is the thread that uses the vault."""

    def __init__(self, state: ServerState, sender: Sender, log: SharedLog, medium: VaultMedium, disk: Disk) -> None:
        self.is_on = False
        self.courier = sender
        self._state = state
        self._facts = state.journal
        self._log = log
        self._medium = medium
        self._disk = disk
        # The newest cut, and its number: each snapshot is cut when those before have ended, or will be cut again.
        self._cut: _Cut | None = None
        self._number = 0
        # What was taken up to the cut of the snapshot that a start would load: below 0 for what others wrote behind it.
        self._linked = Amount()

    def begin(self, tip: Tip, epoch: int, sent_at: float, growth: Growth) -> None:
        """Record from now on, as the node that leads in this epoch, behind this end of the log (see `Sender.begin`).

        `growth` is that of the log that this node has followed. A start would load the snapshot of the manifest held by
        `medium`.
        """
        manifest = self._medium.manifest
        inherited = growth.behind(manifest.mark_number)
        self._linked = Amount(-inherited.byte_count, -inherited.records)
        facts = self._facts
        facts.base_bytes = sum(frame.frame_length for frame in manifest.frames if frame.digest == manifest.linked)
        facts.segment_bytes = inherited.byte_count
        self.is_on = facts.enabled = True
        self.courier.begin(tip, epoch, sent_at)

    def append(self, commands: list[Request], clients: int = 0) -> None:
        if self.is_on:
            self.courier.take(commands, clients)
            self._facts.segment_bytes = self.courier.taken_bytes - self._linked.byte_count

    @property
    def records_since_link(self) -> int:
        return self.courier.taken_records - self._linked.records

    def cut(self, *, breaks: bool = False) -> int:
        written = self._state.databases.records.take()
        if written:
            self.append(written)
        self._number += 1
        self._cut = _Cut(self.courier.cut(), Amount(self.courier.taken_bytes, self.courier.taken_records))
        return self._number

    async def link(self, token: int, digest: str, base_bytes: int, *, drops: bool = False) -> bool:
        cut = self._cut
        if cut is None or token < self._number:
            # A RESTORE has cut since: an earlier snapshot is not the data any more.
            return False
        if drops:
            # This stands right behind the cut, since nothing has run since.
            await _told(self.courier.send_control(encode_link(digest, self._state.now_ms())))
        else:
            tip = await _told(cut.tip)
            await self._disk.run(lambda: self._medium.link(digest, tip))
            try:
                await self._disk.run(lambda: self._log.trim(tip.position))
            except MediumError as error:
                # The next snapshot trims more.
                _log.warning("what the snapshot has could not be removed from the log: %s", error)
        self._linked = cut.taken
        self._facts.base_bytes = base_bytes
        self._facts.segment_bytes = self.courier.taken_bytes - cut.taken.byte_count
        return True

    async def sync(self) -> None:
        """Wait until all that was recorded so far is acknowledged. MediumError if the engine does not answer for a lease."""
        if self.is_on:
            await self._in_time(self.courier.cut())

    def sync_soon(self) -> None:
        """Do nothing: what is acknowledged is durable, whatever the policy is."""

    async def end(self, frame: bytes) -> None:
        """Record nothing more: this control frame is the last. MediumError if the engine does not answer for a lease.

        It stays on until `halt`, so that replies wait: one to what runs from now on never leaves.
        """
        if self.is_on:
            await self._in_time(self.courier.end(frame))

    async def _in_time(self, done: asyncio.Future[Tip]) -> None:
        try:
            async with asyncio.timeout(self.courier.lease_s):
                await _told(done)
        except TimeoutError:
            raise MediumError(f"the engine has not answered for {self.courier.lease_s:g} s") from None

    def halt(self) -> None:
        """Record and send nothing any more, as if the process had been killed."""
        self.is_on = False
        self.courier.halt()


async def _told(done: asyncio.Future[Tip]) -> Tip:
    """Wait for what the sender gives a future for. MediumError if it never will."""
    # Whoever gives up waiting does not take the future from others.
    await asyncio.wait([done])
    if done.cancelled():
        raise MediumError("another node writes")
    return done.result()
