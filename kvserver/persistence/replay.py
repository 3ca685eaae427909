"""The replay of records: they run as the writer would run them, by the table, as the journal's session, with nobody to answer.

Owns the databases' clock while it runs. Where the records come from is not its business: a start reads them from segments
(`recovery`), a standby from the log that it follows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from kvserver.data.shards import Shard
from kvserver.dispatch.effect import Fed, FreeShards
from kvserver.dispatch.table import CommandTable
from kvserver.errors import CommandError, Refusal
from kvserver.formats.scan import Tail
from kvserver.formats.segment import RecordInvalid, Records
from kvserver.resp.request import Request
from kvserver.state.session import REPLAY_ID, ServerState, Session

# So many commands run between two looks at the clock.
_COMMANDS_PER_LOOK: Final = 200


class Replay:
    """A replay. `keeps_whole`: it pauses between records alone, since clients read meanwhile.

    `records` and `commands` count what has run. `unused` has the shards that nobody uses any more. `needs_rewrite`: a
    record was among them that is not exact, or one of which only the beginning has run.

    The databases' clock stands at 0 for exact records. For older ones it stands at their own time, so that a key that had
    expired when they were written is gone, and the data is the same at every start; where they have none, it goes.
    """

    def __init__(self, state: ServerState, table: CommandTable, *, keeps_whole: bool = False) -> None:
        self._keeps_whole = keeps_whole
        self.records = 0
        self.commands = 0
        self.unused: list[Shard] = []
        self.needs_rewrite = False
        # True while the clock is set for exact records.
        self._is_exact = False
        # The newest time of a record that is not exact. The system's clock may have been set back.
        self._newest_ms = 0
        self._databases = state.databases
        self._table = table
        self._session = Session(state, REPLAY_ID, "journal", "journal", is_local=True)

    def run(self, records: Records) -> Iterator[None]:
        """Run records in steps. RecordInvalid for a command that this version does not know, or that fails."""
        self._set_clock(records)
        commands = records.commands
        end = 0
        while end < len(commands):
            start, end = end, min(end + _COMMANDS_PER_LOOK, len(commands))
            if self._keeps_whole:
                end = records.ends[bisect_left(records.ends, end)]
            failure = self._run_some(commands[start:end])
            if failure:
                place, reason = failure
                self.commands += place
                number = bisect_right(records.ends, start + place)
                self.records += number
                # The records before this one stay in the journal. What has run of this one is in memory alone.
                self._databases.records.take()
                self.needs_rewrite = True
                raise RecordInvalid(Tail.DAMAGED, reason, records.offset(number))
            yield None
        self.records += len(records.starts)

    def _set_clock(self, records: Records) -> None:
        if records.is_exact:
            if not self._is_exact:
                self._databases.stop_clock()
        else:
            self.needs_rewrite = True
            if records.time_ms is None:
                self._databases.start_clock()
            else:
                self._newest_ms = max(self._newest_ms, records.time_ms)
                self._databases.stop_clock(self._newest_ms)
        self._is_exact = records.is_exact

    def _run_some(self, commands: list[Request]) -> tuple[int, str] | None:
        """Run some commands up to one that fails. Return its place and the reason, or None if none does."""
        session = self._session
        session.keyspace.fetch_ahead(commands)
        done = self._table.run_alike(session, commands, self._table.replayed, [])
        for place, request in enumerate(commands[done:] if done else commands, done):
            try:
                result = self._table.call(session, request)
                # Clients of a standby may wait for keys: others serve them.
                effect = result.result if type(result) is Fed else result
                if isinstance(effect, CommandError):
                    raise effect
            except Refusal as refused:
                return place, f"this version takes no such command: {refused}"
            except CommandError as error:
                return place, f"a command fails: {error}"
            if type(effect) is FreeShards:
                self.unused += effect.shards
        self.commands += len(commands)
        # These commands are recorded already.
        self._databases.records.take()
        return None
