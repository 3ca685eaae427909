"""What a server does by itself as time passes, some times a second: figures, upkeep, save points, idle clients."""

from __future__ import annotations

import asyncio

from kvserver.dispatch.table import CommandTable
from kvserver.engine.upkeep import Upkeep
from kvserver.network.clients import Clients
from kvserver.persistence.schedule import Schedule
from kvserver.state.session import ServerState
from kvserver.system import now_ms

CRON_S = 0.1
# The same while nothing has come or gone for so long that all rates are 0. Nobody sees then that expired keys go later, and
# each wake-up costs a server that rests a third of a millisecond.
REST_S = 0.3
EACH_SECOND_S = 1.0


class Cron:
    """The regular work of a server, from `begin` to `end`."""

    def __init__(self, state: ServerState, table: CommandTable, upkeep: Upkeep, schedule: Schedule, clients: Clients) -> None:
        self._state = state
        self._table = table
        self._upkeep = upkeep
        self._schedule = schedule
        self._clients = clients
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # The end of this second by the event loop's clock.
        self._second_ends_at = 0.0

    def begin(self) -> None:
        """Work from now on."""
        self._second_ends_at = self._loop.time() + EACH_SECOND_S
        self._timer = self._loop.call_later(CRON_S, self._work)
        # What the first clients let go of is to be freed in steps as well.
        self._upkeep.begin()

    def end(self) -> None:
        """Do nothing more."""
        if self._timer:
            self._timer.cancel()
        self._upkeep.end()

    def _work(self) -> None:
        rates, now_s = self._state.rates, self._loop.time()
        rates.sample(self._state.counters, now_ms())
        self._timer = self._loop.call_later(REST_S if rates.are_nil else CRON_S, self._work)
        self._state.usages.fold_all()
        self._table.timing.begin_sample()
        self._upkeep.begin()
        if now_s >= self._second_ends_at:
            self._second_ends_at = now_s + EACH_SECOND_S
            self._schedule.start_if_due()
            self._clients.close_idle()
        if self._clients.choked:
            self._clients.check_choked()
