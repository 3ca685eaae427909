"""The data of a server on an engine that other nodes share: its journal, its snapshots, and the role that the node plays."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Final

from kvserver.dispatch.table import CommandTable
from kvserver.errors import MediumError, NotReady, Unknown
from kvserver.failover.leadership import START_WAIT_S, Leadership
from kvserver.failover.lease import Lease
from kvserver.failover.sender import Sender
from kvserver.failover.shared_journal import SharedJournal
from kvserver.failover.standby import Standby
from kvserver.media.engine_urls import open_engine
from kvserver.media.shared import Engine
from kvserver.media.vault_medium import VaultMedium
from kvserver.options.config import Config
from kvserver.persistence.disk import Disk
from kvserver.persistence.slices import BesideLoop
from kvserver.persistence.snapshots import Snapshots
from kvserver.state.session import ServerState

_log = logging.getLogger("kvserver")


# A start that waits for an engine tries so often.
START_PAUSE_S: Final = 0.25
# An address that stands for all of the machine, and one of the machine itself.
_OWN = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::*": "::1", "::": "::1"}


async def open_for(config: Config) -> Engine:
    """Open the engine of this configuration. MediumError or ExtraMissing, in one line."""
    disk, loop = Disk(), asyncio.get_running_loop()
    is_over = False

    def open_it() -> Engine:
        engine = open_engine(config.medium, config.snapshots)
        if is_over:
            engine.close()
        return engine

    ends_at, has_told = loop.time() + START_WAIT_S, False
    try:
        while True:
            try:
                return await disk.run(open_it)
            except (NotReady, Unknown) as error:
                if loop.time() > ends_at:
                    raise
                if not has_told:
                    _log.warning("waiting up to %g s for the engine: %s", START_WAIT_S, error)
                has_told = True
                await asyncio.sleep(START_PAUSE_S)
    except asyncio.CancelledError:
        is_over = True
        raise
    finally:
        # Nobody waits for a thread that may still be at a connection.
        disk.forget()


def boot_time() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SharedData:
    """The parts that keep data on an engine, which is open.

    `wake` has those served who wait for keys. `is_first`: this is the start of the server, and no demotion. `waits`: other
    nodes are to take over first.
    """

    def __init__(
        self,
        state: ServerState,
        table: CommandTable,
        engine: Engine,
        wake: Callable[[], None],
        clock: Callable[[], float] = boot_time,
        make_disk: Callable[[], Disk] = Disk,
        *,
        is_first: bool = True,
        waits: bool = False,
    ) -> None:
        self._state = state
        self._is_first = is_first
        self._waits = waits
        lease = Lease(state.config.lease_milliseconds / 1000 or engine.lease_s, clock)
        outcomes = state.replication.engine
        self.disk = make_disk()
        self._medium = medium = VaultMedium(engine.vault, outcomes)
        sender = Sender(state, engine.log, lease, outcomes, make_disk)
        self.journal = SharedJournal(state, sender, engine.log, medium, self.disk)
        self.snapshots = Snapshots(state, medium, self.disk, self.journal)
        beside_loop = BesideLoop(self.disk, state.counters, state.persistence)
        standby = Standby(state, table, self.snapshots.frames, medium, beside_loop, wake)
        self.leadership = Leadership(state, engine, standby, self.journal, medium, lease, outcomes, self.disk, make_disk)
        self._tell(engine, sender, lease)
        # The engine's side is made before the one that serves those who wait.
        self.leadership.neighbours.on_change = lambda: state.replication.on_progress()
        state.databases.follow()

    def _tell(self, engine: Engine, sender: Sender, lease: Lease) -> None:
        """Let INFO and its kin find all that there is to tell."""
        facts = self._state.replication
        facts.is_primary = False
        facts.node_id = os.urandom(8).hex()
        facts.written = lambda: sender.written
        told = facts.engine
        told.url, told.name = engine.url, engine.name
        told.promises, told.warnings = engine.promises, engine.warnings
        told.lease_ms = lease.lease_ms
        told.lease_left_ms = lambda: round(lease.left_s * 1000)
        told.append_p50_us = lambda: sender.latencies.percentile_us(50)
        told.append_p99_us = lambda: sender.latencies.percentile_us(99)
        told.waiting_bytes = lambda: sender.pending_bytes

    async def begin(self) -> None:
        """Do nothing: it begins with `load`."""

    async def load(self) -> None:
        """Bring the data back, and lead if nobody else does. MediumError if the engine can't be read."""
        await self.leadership.begin(is_first=self._is_first, waits=self._waits)

    def tell_address(self, config: Config) -> None:
        """Let other nodes and clients reach this one where it listens, or where the options say."""
        neighbours = self.leadership.neighbours
        host = config.bind[0].removeprefix("-") if config.bind else ""
        neighbours.host = config.announce_ip or _OWN.get(host, host)
        neighbours.port = config.announce_port or config.port or config.tls_port
        facts = self._state.replication
        facts.host, facts.port = neighbours.host, neighbours.port
        if neighbours.host.startswith("127.") or neighbours.host in ("", "::1", "localhost"):
            _log.warning(
                "clients and other nodes are told to reach this one at %s:%d, which they can't from another machine: "
                "set announce-ip",
                neighbours.host,
                neighbours.port,
            )

    async def give_up(self) -> None:
        """Let another node lead: all that was recorded is acknowledged, and nothing more is. MediumError if that fails."""
        await self.leadership.give_up()

    async def close(self) -> None:
        """Let others take over, and let go of everything but the engine itself."""
        if self.journal.is_on:
            try:
                await self.leadership.give_up()
            except MediumError as error:
                _log.warning("leaving without a word to the other nodes, who wait for a lease: %s", error)
        self.halt()
        await self.leadership.neighbours.leave()
        await self.snapshots.close()
        self.leadership.close()
        self.disk.close()

    def halt(self) -> None:
        """Record and follow nothing any more, as if the process had been killed."""
        self.leadership.halt()
        # The disk's thread may be waiting for the vault: whoever closes waits for that thread.
        self._medium.halt()

    def abandon(self) -> None:
        """Let go of everything but the engine itself, behind `halt`.

        A call of the vault that is under way may still end, beside those of the parts that come next. It is the last one.
        """
        self.leadership.close()
        self.disk.forget()
