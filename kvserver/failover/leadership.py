"""The role of a node: it follows the log, takes over when nobody writes, writes within its lease, and is demoted by a refusal.

There is no election. To take over is to append LEAD right behind the last entry that this node has applied: whoever lags
is refused, and whoever succeeds has everything. Then it looks at the manifest: where a snapshot has gone on beyond this node's
place, entries behind that place were trimmed, and what it appended there counts for nothing. Nobody has to believe a clock but
its own, and nothing is decided by `presence`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from kvserver.errors import ChainBroken, LogLost, MediumError, NotReady, Refused, Trimmed
from kvserver.failover.driving import drive
from kvserver.failover.lease import Lease
from kvserver.failover.presence import Neighbours
from kvserver.failover.shared_journal import SharedJournal
from kvserver.failover.standby import Standby
from kvserver.formats.control import Lead, encode_lead, encode_yield
from kvserver.formats.manifest import Manifest
from kvserver.media.settling import Outcomes, settled
from kvserver.media.shared import Engine, Entry
from kvserver.media.vault_medium import VaultMedium
from kvserver.persistence.disk import Disk
from kvserver.state.replication import Primary
from kvserver.state.session import ServerState

# A standby asks the log for what is new at least so often, in parts of a lease.
LOOKS: Final = 12
# A start waits so long for an engine that starts itself, or does not answer.
START_WAIT_S: Final = 15.0
# The wait after the engine has failed.
RETRY_S: Final = 0.1

NOT_THIS_LOG: Final = (
    "the engine refuses what is to stand behind the entry {}, up to which the snapshot goes, and nothing stands there: "
    "is the snapshot of another log?"
)

_log = logging.getLogger("kvserver")


class Leadership:
    """The role of this node, from `begin` to `leave` or `halt`.

    `on_lead` is called when it leads, and `on_demoted` when it must not write any more, for any reason: whoever is
    called throws the data away, and makes all anew.
    """

    on_lead: Callable[[], None]
    on_demoted: Callable[[], None]

    def __init__(
        self,
        state: ServerState,
        engine: Engine,
        standby: Standby,
        journal: SharedJournal,
        medium: VaultMedium,
        lease: Lease,
        outcomes: Outcomes,
        disk: Disk,
        make_disk: Callable[[], Disk] = Disk,
    ) -> None:
        self.neighbours = Neighbours(state.replication, engine.presence, engine.beat_s, lease.clock, make_disk)
        self._state = state
        self._facts = state.replication
        self._engine = engine
        self._standby = standby
        self._journal = journal
        self._medium = medium
        self._lease = lease
        self._outcomes = outcomes
        # The thread that reads the log. The other one, `disk`, uses the vault.
        self._tail_disk = make_disk()
        self._disk = disk
        self._heard_at = lease.clock()
        # Why this node does not follow, as it was told last.
        self._failure = ""
        # The lease of another node that was warned of last.
        self._other_lease_ms = 0
        # This node does not take over before this time: it has just yielded.
        self._waits_until = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._is_over = False
        journal.courier.on_refused = self._demote
        state.replication.tail_age_s = lambda: lease.clock() - self._heard_at

    # The beginning

    async def begin(self, *, is_first: bool, waits: bool = False) -> None:
        """Load the snapshot and all that the log has behind it, lead if nobody else can be writing, and go on in background.

        MediumError if that fails, and this `is_first`: then nothing has been changed anywhere. An engine that does not answer
        for now has some time, such as one that elects who leads a stream that was just made. A node that was demoted tries
        until the engine answers, and follows with what there is where the log is broken. `waits`: let others take over first.
        """
        has_loaded, loop = False, asyncio.get_running_loop()
        ends_at = loop.time() + START_WAIT_S
        while True:
            try:
                if not has_loaded:
                    await self._standby.load()
                    has_loaded = True
                await self._catch_up()
                await self._must_be_whole()
                self._facts.is_link_up = True
                break
            except MediumError as error:
                if is_first and not (isinstance(error, NotReady) and loop.time() < ends_at):
                    raise
                self._tell_of_failure(error)
                if isinstance(error, ChainBroken):
                    break
                await asyncio.sleep(RETRY_S)
        self._tell_of_leader()
        self._heard_at = self._lease.clock()
        self.neighbours.begin()
        if waits:
            self._waits_until = self._lease.clock() + self._lease.lease_s
        # Nobody has ever written here, or the last one has said that it does not any more.
        elif self._facts.is_link_up and (not self._standby.entries.tip.number or self._standby.entries.has_yielded):
            try:
                await self._take_over()
            except MediumError as error:
                # Who follows tries it again.
                self._tell_of_failure(error)
        if not self._facts.is_primary:
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _catch_up(self) -> None:
        """Apply what the log has by now. Where others write on, there is always more: `_follow` goes on with that."""
        goal = await self._applied_elsewhere()
        while await self._advance(0):
            if goal and self._standby.entries.tip.number >= goal:
                return
            # Who writes may not have told of itself before.
            goal = goal or await self._applied_elsewhere()

    async def _applied_elsewhere(self) -> int:
        """The number of the entry to which another node has come, by its own word; 0 if nobody tells."""
        try:
            nodes = await self._tail_disk.run(self._engine.presence.nodes)
        except MediumError:
            return 0
        return max((node.applied for node in nodes if node.id != self._facts.node_id), default=0)

    # Following

    async def _read(self, wait_s: float) -> list[Entry]:
        position = self._standby.entries.tip.position
        return await self._tail_disk.run(lambda: self._engine.log.read(position, wait_s))

    async def _follow(self) -> None:
        while not self._facts.is_primary:
            try:
                await self._advance(self._lease.lease_s / LOOKS)
                await self._must_be_whole()
                self._facts.is_link_up, self._facts.engine.error, self._failure = True, "", ""
                self._tell_of_leader()
                if self._may_lead():
                    await self._take_over()
            except Exception as error:
                self._tell_of_failure(error)
                # At a break, a newer snapshot is all that helps.
                await asyncio.sleep(self._lease.lease_s if isinstance(error, ChainBroken) else RETRY_S)

    async def _advance(self, wait_s: float) -> bool:
        """Do what the log has behind this node's place, or gets within this time. Return True if there was anything.

        Where something is missing or wrong there, a newer snapshot may lead beyond that. ChainBroken if there is none.
        """
        try:
            entries = await self._read(wait_s)
            await self._standby.follow(entries)
        except (Trimmed, ChainBroken) as gap:
            if not await self._load_newer(str(gap)):
                raise ChainBroken(f"{gap}, and no snapshot leads beyond that") from gap
            return True
        if not entries:
            # What stood behind our place may have been trimmed, which an empty place does not tell.
            return self._is_silent() and await self._load_newer("nothing comes behind what this node has applied")
        self._heard_at = self._lease.clock()
        return True

    async def _load_newer(self, reason: str) -> bool:
        """Start over from the snapshot if it leads beyond this node's place, else return False. MediumError.

        Whoever reads here never goes back in time by that.
        """
        if not self._is_passed_by(await self._disk.run(self._medium.look)):
            return False
        _log.info("loading a newer snapshot: %s", reason)
        await self._standby.load()
        # Its writer may have been heard by others right before.
        self._heard_at = self._lease.clock()
        return True

    def _tell_of_failure(self, error: Exception) -> None:
        """Let clients know that this node does not follow now, and the log why, once."""
        if not isinstance(error, MediumError):
            if str(error) != self._failure:
                _log.error("following failed in a way that nobody knows", exc_info=error)
        elif isinstance(error, ChainBroken):
            if str(error) != self._failure:
                _log.error("the log is broken: %s; this node neither follows nor leads beyond that", error)
        elif self._facts.is_link_up:
            _log.warning("the engine does not answer: %s", error)
        self._failure = self._facts.engine.error = str(error)
        self._facts.is_link_up = False

    def _tell_of_leader(self) -> None:
        """Let `facts` tell who leads."""
        facts, lead = self._facts, self._standby.entries.lead
        facts.epoch = self._standby.entries.epoch
        facts.log_id = log_id(self._engine.name, facts.epoch)
        self._look_at_lease()
        if lead is None or (facts.primary and facts.primary.id == lead.id):
            return
        before, facts.primary = facts.primary, Primary(lead.id, lead.host, lead.port)
        if before:
            facts.switches += 1
        _log.info("the node %s at %s:%d leads, in the epoch %d", lead.id, lead.host, lead.port, lead.epoch)
        if facts.on_switch:
            facts.on_switch(before, facts.primary)

    def _look_at_lease(self) -> None:
        """Let `facts` tell how long the one that leads may be silent, and the log if that is not as here."""
        entries, own_ms = self._standby.entries, self._lease.lease_ms
        self._facts.engine.lease_ms = max(own_ms, entries.lease_ms)
        if entries.lease_ms not in (0, own_ms, self._other_lease_ms) and not entries.has_yielded:
            self._other_lease_ms = entries.lease_ms
            _log.warning(
                "lease-milliseconds is to be the same on all nodes: the one that leads has %d ms, and this one %d ms; this "
                "one takes over after the longer time",
                entries.lease_ms,
                own_ms,
            )

    def _is_silent(self) -> bool:
        """True if the one that leads has said nothing for the longer of its own lease and this node's, or has ended."""
        entries = self._standby.entries
        lease_s = max(self._lease.lease_s, entries.lease_ms / 1000)
        return entries.has_yielded or self._lease.clock() - self._heard_at > lease_s

    def _may_lead(self) -> bool:
        """True if nobody else can be answering clients, as far as this node knows."""
        now = self._lease.clock()
        return now >= self._waits_until and self._is_silent()

    async def _must_be_whole(self) -> None:
        """LogLost if the log ends before the entry by which the last node has begun to lead, as the manifest tells.

        Such a log was made anew. Whoever led there would hide from everybody that the data is gone.
        """
        epoch, own = self._medium.manifest.epoch, self._standby.entries.epoch
        if epoch > own and not await self._read(0):
            raise LogLost(f"nodes have led up to the epoch {epoch}, and the log ends in the epoch {own}: it was made anew")

    # Leading

    async def _take_over(self) -> None:
        """Lead, unless the engine refuses that: then follow on. MediumError if the engine can't be written now."""
        standby, facts = self._standby, self._facts
        epoch, tip = standby.entries.epoch + 1, standby.entries.tip
        lead = Lead(epoch, facts.node_id, self.neighbours.host, self.neighbours.port, self._lease.lease_ms)
        data, mark, sent_at = encode_lead(lead), tip.mark(epoch), self._lease.clock()
        steps = settled(self._engine.log, data, mark, tip.position, self._outcomes, may_give_up=True)
        try:
            position = await drive(self._tail_disk, steps)
        except Refused:
            # Somebody else was there before: its entry tells who, or a snapshot that has it.
            self._heard_at = self._lease.clock()
            with suppress(Trimmed):
                if not await self._read(0):
                    self._facts.engine.error = NOT_THIS_LOG.format(tip.number)
                    _log.error("%s", self._facts.engine.error)
            return
        if not await self._take_manifest(epoch):
            self._heard_at = self._lease.clock()
            return
        await standby.follow([Entry(position, mark, data)])
        facts.is_primary = True
        self._tell_of_leader()
        self._journal.begin(standby.entries.tip, epoch, sent_at, standby.growth)
        _log.info("this node leads from now on, in the epoch %d", epoch)
        self.on_lead()
        self.neighbours.tell_soon()

    def _is_passed_by(self, manifest: Manifest) -> bool:
        """True if a snapshot goes on from a place that this node has not come to, or from another entry than it has there."""
        tip = self._standby.entries.tip
        if manifest.mark_number == tip.number:
            return manifest.mark_digest != tip.digest
        return manifest.mark_number > tip.number

    async def _take_manifest(self, epoch: int) -> bool:
        """Let nobody of an earlier epoch replace the manifest. Return False if others have gone on: then this node follows."""
        while True:
            try:
                if await self._load_newer("others have gone on beyond the place at which this node was to lead"):
                    return False
                if self._medium.manifest.epoch > epoch:
                    # To replace it would take it away from a node that leads by now.
                    _log.info("another node has begun the epoch %d meanwhile", self._medium.manifest.epoch)
                    return False
                await self._disk.run(lambda: self._medium.lead(epoch, self._lease.lease_ms))
                return True
            except Refused:
                # Somebody has replaced it meanwhile: it tells where that one has come.
                continue
            except MediumError as error:
                if self._is_over:
                    raise
                self._facts.engine.error = str(error)
                await asyncio.sleep(RETRY_S)

    def _demote(self, reason: str) -> None:
        if not self._is_over:
            self.halt()
            _log.warning("this node does not lead any more: %s", reason)
            self.on_demoted()

    async def give_up(self) -> None:
        """Lead no more: what was recorded is acknowledged, and YIELD behind it lets others take over at once. MediumError."""
        await self._journal.end(encode_yield(self._facts.epoch))

    # The end

    def halt(self) -> None:
        """Do nothing any more, as if the process had been killed."""
        self._is_over = True
        if self._task:
            self._task.cancel()
        self._journal.halt()
        self.neighbours.halt()

    def close(self) -> None:
        """Let go, behind `halt`."""
        self._journal.courier.close()
        self.neighbours.close()
        self._tail_disk.forget()


def log_id(name: str, epoch: int) -> str:
    """The 40 hex digits that name a log and an epoch of it, where Redis has a replication ID."""
    return hashlib.sha1(f"{name}\n{epoch}".encode(), usedforsecurity=False).hexdigest()
