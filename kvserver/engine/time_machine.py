"""The time machine of a server: it answers from the data of earlier moments, and brings that data back.

Owns the pasts that were loaded, of which the last ones are kept for a while. Clients are served while one is loaded. It runs
no command on the present data: what KVS.RESTORE brings back goes through the doors of the keyspace, as one record of the
journal, or as a frame that the journal goes on from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from kvserver.data import walk
from kvserver.data.differences import differences
from kvserver.data.entries import Value
from kvserver.data.keyspace import Keyspace
from kvserver.data.kinds import fork
from kvserver.dispatch.command import Command, unknown_command, wrong_arity
from kvserver.dispatch.effect import EFFECTS, Compare, Effect, GoBack, ListFrames, LookBack, TellChanges
from kvserver.dispatch.gate import rights_error
from kvserver.dispatch.table import CommandTable
from kvserver.errors import CommandError, HistoryError, MediumError, Refusal
from kvserver.formats.moment import Moment
from kvserver.patterns import matcher
from kvserver.persistence.changes import Changes
from kvserver.persistence.past import FoundFrame, Past, PastLoader
from kvserver.persistence.slices import Slices
from kvserver.persistence.snapshots import Snapshots
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import SCRIPT_ID, ServerState, Session

# A past that nobody has asked for in so many seconds is let go.
KEPT_S: Final = 60.0
# KVS.DIFF needs two.
_KEPT: Final = 2
# What is longer is cut where a change is told.
_SHOWN_BYTES: Final = 4096


class TimeMachine:
    """The time machine of the data that a loader reads.

    `written` waits until all that was recorded so far can be read. `hand_over` passes on what was written outside of a tick.
    """

    def __init__(
        self,
        state: ServerState,
        table: CommandTable,
        loader: PastLoader,
        snapshots: Snapshots,
        written: Callable[[], Awaitable[None]],
        hand_over: Callable[[], None],
    ) -> None:
        self._state = state
        self._table = table
        self._loader = loader
        self._snapshots = snapshots
        self._written = written
        self._hand_over = hand_over
        self._changes = Changes(loader, state.commands)
        # The pasts by the moments that were asked for, the last one used at the end.
        self._pasts: dict[Moment, Past] = {}
        self._timer: asyncio.TimerHandle | None = None
        # One past is loaded, or read in steps, at a time.
        self._lock = asyncio.Lock()

    def act(self, effect: Effect, session: Session) -> Awaitable[Reply]:
        """Begin to carry an effect out. The reply raises CommandError. TypeError for an effect of another kind."""
        match effect:
            case ListFrames():
                return self._told(self._frames())
            case LookBack(moment, request):
                return self._told(self._look_back(moment, request, session))
            case GoBack(moment, pattern):
                return self._told(self._go_back(moment, pattern, session.keyspace))
            case TellChanges(key, count):
                return self._told(self._tell_changes(key, session.keyspace.number, count))
            case Compare(first, second, pattern):
                return self._told(self._compare(first, second, pattern, session.keyspace.number))
        raise TypeError(f"no way to carry out {effect!r}")

    async def _told(self, work: Awaitable[Reply]) -> Reply:
        try:
            async with self._lock:
                # What was acknowledged may be on its way to the disk, where it is read.
                await self._written()
                return await work
        except (HistoryError, MediumError) as error:
            raise CommandError(f"ERR {error}") from None

    # Reading

    async def _frames(self) -> Reply:
        return [_shown(frame) for frame in await self._loader.frames()]

    async def _look_back(self, moment: Moment, request: Request, session: Session) -> Reply:
        command = self._readable(request, session)
        past = await self._past(moment)
        reader = Session(past.state, SCRIPT_ID, session.address, session.local_address, session.is_local)
        reader.protocol = session.protocol
        reader.keyspace = past.databases[session.keyspace.number]
        result = command.run(reader, request)
        if isinstance(result, CommandError):
            raise result
        if type(result) in EFFECTS:
            raise CommandError(f"ERR '{command.name}' can't be run on the past")
        return result  # type: ignore[return-value]

    def _readable(self, request: Request, session: Session) -> Command:
        """The command of a call. CommandError if it may not run on the past."""
        whole = self._table.commands.get(request[0].lower())
        if whole is None:
            raise unknown_command(request)
        command = whole.resolve(request)
        if len(request) not in command.arities:
            raise wrong_arity(command.name)
        if error := rights_error(session, command, request):
            raise Refusal(error)
        if "readonly" not in command.flags or "noscript" in command.flags:
            raise CommandError(f"ERR '{command.name}' doesn't read keys: KVS.AT runs no other commands")
        return command

    async def _past(self, moment: Moment, *, goes_on: bool = True) -> Past:
        """The data of a moment, which nobody changes. `goes_on`: the past that was asked for last may become this one."""
        past = self._pasts.pop(moment, None)
        if past is None:
            last = next(reversed(self._pasts), None) if goes_on else None
            # It is taken out before, since a load that fails leaves it amid its way.
            before = self._pasts.pop(last) if last is not None else None
            past = await self._loader.load(moment, before)
            if last is not None and before is not None and past is not before:
                self._pasts[last] = before
        self._pasts[moment] = past
        while len(self._pasts) > _KEPT:
            await self._let_go(self._pasts.pop(next(iter(self._pasts))))
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(KEPT_S, self._begin_to_forget)
        return past

    def _begin_to_forget(self) -> None:
        self._timer = None
        self._forgetting = asyncio.ensure_future(self.forget())

    async def forget(self) -> None:
        """Let go of all pasts."""
        async with self._lock:
            while self._pasts:
                await self._let_go(self._pasts.popitem()[1])

    async def _let_go(self, past: Past) -> None:
        for shards in past.databases.give().values():
            await self._loader.discard(shards)

    async def _tell_changes(self, key: bytes, database: int, count: int) -> Reply:
        found = await self._changes.of(key, database, count)
        return [[change.id.encode(), change.time_ms, [list(map(_cut, each)) for each in change.requests]] for change in found]

    async def _compare(self, first: Moment, second: Moment, pattern: bytes, database: int) -> Reply:
        one = (await self._past(first)).databases[database]
        # The second may go on from where the first was: then the first is loaded anew, and nothing goes on from it.
        other = (await self._past(second)).databases[database]
        if first not in self._pasts:
            one = (await self._past(first, goes_on=False)).databases[database]
        found: list[Reply] = []
        pace, matches = self._pace(), matcher(pattern)
        for change in differences(one, other, matches):
            if change:
                found.append(list(change))
            if pace.is_over:
                await pace.next()
        return found

    def _pace(self) -> Slices:
        return Slices(self._state.counters, self._state.persistence)

    # Going back

    async def _go_back(self, moment: Moment, pattern: bytes | None, keyspace: Keyspace) -> Reply:
        if pattern is not None:
            return await self._bring_back(await self._past(moment), pattern, keyspace)
        past = self._pasts.pop(moment, None) or await self._loader.load(moment)
        await self._snapshots.adopt(past.databases, "KVS.RESTORE")
        return self._state.databases.key_count

    async def _bring_back(self, past: Past, pattern: bytes, keyspace: Keyspace) -> Reply:
        """Let the keys that match a pattern be what they were, in one step. Return how many of them there are now."""
        source, matches, pace = past.databases[keyspace.number], matcher(pattern), self._pace()
        members: dict[bytes, tuple[Value, int | None]] = {}
        for index in range(source.shard_count):
            for key, value in walk.living_members(source, index):
                if matches(key):
                    members[key] = fork(value), source.expires_at_ms(key)
                if pace.is_over:
                    await pace.next()
        while self._state.scripts.busy_error:
            await self._state.scripts.wait()
        # From here on nothing else runs: like KEYS, it looks at all keys in one step.
        gone = [key for some in walk.all_keys(keyspace) for key in some if matches(key) and key not in members]
        if gone:
            keyspace.remove(*gone)
        now_ms, count = keyspace.now_ms(), 0
        for key, (value, expires_at_ms) in members.items():
            if expires_at_ms is None or expires_at_ms > now_ms:
                keyspace.put(key, value, expires_at_ms)
                count += 1
            elif keyspace.peek(key) is not None:
                keyspace.remove(key)
        self._hand_over()
        return count


def _shown(frame: FoundFrame) -> Reply:
    return {
        b"id": frame.id.encode(),
        b"time": frame.time_ms,
        b"keys": frame.keys,
        b"bytes": frame.bytes,
        b"linked": frame.is_linked,
    }


def _cut(word: bytes) -> bytes:
    if len(word) <= _SHOWN_BYTES:
        return word
    return b"%b... (%d more bytes)" % (word[:_SHOWN_BYTES], len(word) - _SHOWN_BYTES)
