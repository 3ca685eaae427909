"""The time machine of a server: it answers from the data of earlier moments, and brings that data back.

Owns the pasts that were loaded, of which the last ones are kept for a while. Clients are served while one is loaded. It runs
no command on the present data: all of it goes back as a frame that the journal goes on from, and what KVS.RESTORE brings back
of it is fetched here and written by the command, as one record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from kvserver.data.differences import differences
from kvserver.dispatch.command import Command, unknown_command, wrong_arity
from kvserver.dispatch.effect import (
    EFFECTS,
    Compare,
    Effect,
    Fetch,
    Fetched,
    GoBack,
    ListFrames,
    LookBack,
    TellChanges,
)
from kvserver.dispatch.gate import rights_error
from kvserver.dispatch.table import CommandTable
from kvserver.engine.comeback import Comeback
from kvserver.errors import CommandError, HistoryError, MediumError, Refusal
from kvserver.formats.moment import Moment
from kvserver.patterns import key_matcher
from kvserver.persistence.changes import Changes
from kvserver.persistence.past import FoundFrame, Past, PastLoader
from kvserver.persistence.slices import Slices
from kvserver.persistence.snapshots import Snapshots
from kvserver.resp.reply import Encoded, Reply, encode
from kvserver.resp.request import Request
from kvserver.state.session import SCRIPT_ID, ServerState, Session
from kvserver.state.written import Written

T = TypeVar("T")

# A past that nobody has asked for in so many seconds is let go.
KEPT_S: Final = 60.0
# KVS.DIFF needs two.
_KEPT: Final = 2
OTHER_KEYS: Final = b"(and other keys)"
_ROWS_IN_A_PIECE: Final = 256
# What is longer is cut where a change is told.
_SHOWN_BYTES: Final = 4096


class TimeMachine:
    """The time machine of the data that a loader reads.

    `written` waits until all that was recorded so far can be read.
    """

    def __init__(
        self,
        state: ServerState,
        table: CommandTable,
        loader: PastLoader,
        snapshots: Snapshots,
        written: Callable[[], Awaitable[None]],
    ) -> None:
        self._state = state
        self._table = table
        self._loader = loader
        self._snapshots = snapshots
        self._written = written
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
            case GoBack(moment):
                return self._told(self._go_back(moment))
            case TellChanges(key, count):
                return self._told(self._tell_changes(key, count, session))
            case Compare(first, second, pattern):
                return self._told(self._compare(first, second, pattern, session.keyspace.number))
        raise TypeError(f"no way to carry out {effect!r}")

    async def _told(self, work: Awaitable[T]) -> T:
        try:
            async with self._lock:
                # What was acknowledged may be on its way to the disk, where it is read.
                await self._written()
                return await work
        except (HistoryError, MediumError) as error:
            raise CommandError(f"ERR {error}") from None

    # Reading

    async def _frames(self) -> Reply:
        return [_told_frame(frame) for frame in await self._loader.frames()]

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
            before = self._pasts.pop(last) if last is not None else None
            try:
                past = await self._loader.load(moment, before)
            finally:
                if last is not None and before is not None and past is not before:
                    # A load that failed on its way has left it amid that.
                    if before.is_settled:
                        self._pasts[last] = before
                    else:
                        await self._loader.release(before)
        self._pasts[moment] = past
        while len(self._pasts) > _KEPT:
            await self._loader.release(self._pasts.pop(next(iter(self._pasts))))
        self._forget_later()
        return past

    def _forget_later(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(KEPT_S, self._begin_to_forget)

    def _begin_to_forget(self) -> None:
        self._timer = None
        if self._lock.locked():
            # Somebody asks for one right now.
            self._forget_later()
        else:
            self._forgetting = asyncio.ensure_future(self.forget())

    async def forget(self) -> None:
        """Let go of all pasts."""
        async with self._lock:
            while self._pasts:
                await self._loader.release(self._pasts.popitem()[1])

    async def _tell_changes(self, key: bytes, count: int, session: Session) -> Reply:
        found = await self._changes.of(key, session.keyspace.number, count)
        return [
            [change.id.encode(), change.time_ms, [self._shown(request, key, session) for request in change.requests]]
            for change in found
        ]

    def _shown(self, request: Request, key: bytes, session: Session) -> Reply:
        """The words of a request, long ones cut. Who may not read all keys sees none of one that concerns others, too."""
        command = self._state.commands.get(request[0].lower())
        if not session.is_unrestricted and command and any(each != key for each, _ in command.keys_of(request)):
            return [request[0], key, OTHER_KEYS]
        return list(map(_cut, request))

    async def _compare(self, first: Moment, second: Moment, pattern: bytes, database: int) -> Reply:
        one = (await self._past(first)).databases[database]
        # The second may go on from where the first was: then the first is loaded anew, and nothing goes on from it.
        other = (await self._past(second)).databases[database]
        if first not in self._pasts:
            one = (await self._past(first, goes_on=False)).databases[database]
        # There may be as many as keys, so that they are encoded on the way.
        count, rows, pieces = 0, [], []
        pace, matches = self._pace(), key_matcher(pattern)
        for change in differences(one, other, matches):
            if change:
                count += 1
                rows.append(encode(change, 2))
                if len(rows) == _ROWS_IN_A_PIECE:
                    pieces.append(b"".join(rows))
                    rows.clear()
            if pace.is_over:
                await pace.next()
        return Encoded(b"".join([b"*%d\r\n" % count, *pieces, *rows]))

    def _pace(self) -> Slices:
        return Slices(self._state.counters, self._state.persistence)

    # Going back

    async def _go_back(self, moment: Moment) -> Reply:
        snapshots = self._snapshots
        if not self._state.journal.enabled:
            # Nothing else has what is there now, and it is to be possible to undo this.
            await snapshots.wait()
            await asyncio.shield(snapshots.start_flush())
        past = self._pasts.pop(moment, None) or await self._loader.load(moment)
        try:
            # What has expired since then would go at once, and is none of the keys that there are.
            await self._pace().run(past.drop_due(self._state.now_ms()))
            await snapshots.adopt(past.databases, "KVS.RESTORE")
        finally:
            await self._loader.release(past)
        return self._state.databases.key_count

    def fetch(self, effect: Fetch, session: Session) -> Awaitable[Fetched]:
        """Fetch the keys of a moment that match a pattern. The awaitable raises CommandError if they can't be had."""
        return self._told(self._fetch(effect.moment, effect.pattern, session.keyspace.number))

    async def _fetch(self, moment: Moment, pattern: bytes, database: int) -> Fetched:
        past, state, matches = await self._past(moment), self._state, key_matcher(pattern)
        written = Written(state.databases, database, matches, state.commands)
        comeback = Comeback(past, state.databases[database], matches, written, state.now_ms())
        await comeback.find(self._pace())
        return comeback


def _told_frame(frame: FoundFrame) -> Reply:
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
