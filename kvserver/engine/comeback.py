"""The keys that come back from an earlier moment: those alone that are not what they were then.

They are found in steps, beside clients that go on. What these write meanwhile is noted, so that the one step in which the keys
come back has what is true at that instant. Never writes to the present data.
"""

from __future__ import annotations

from typing import Final

from kvserver.data.differences import differences
from kvserver.data.entries import Value
from kvserver.data.keyspace import Keyspace
from kvserver.data.kinds import fork, kind_of, left_of
from kvserver.data.steps import Steps, at_once
from kvserver.data.walk import living_keys, shard_keys
from kvserver.dispatch.effect import Fetched, Recreated
from kvserver.errors import CommandError
from kvserver.patterns import Matcher
from kvserver.persistence.past import Past
from kvserver.persistence.slices import Slices
from kvserver.state.written import MOST_KEYS, Written

TOO_MANY_KEYS: Final = (
    f"ERR more than {MOST_KEYS} keys are not what they were then, which are too many for one step: name fewer, or go back "
    "with all data"
)


class Comeback(Fetched):
    """The keys of a database that match, on their way back from a past.

    `written` gathers what is written since before this was made. `now_ms` is the present time (Unix milliseconds): what is due
    by then does not come back.
    """

    def __init__(self, past: Past, present: Keyspace, matches: Matcher, written: Written, now_ms: int) -> None:
        self.count = 0
        self._past = past
        # The past may be let go, or go on to a later moment, before the keys are written.
        self._place = past.place
        self._source = past.databases[present.number]
        self._present = present
        self._matches = matches
        self._written = written
        self._now_ms = now_ms
        self._changes: dict[bytes, Recreated | None] = {}

    def __del__(self) -> None:
        # Nobody asks if the client goes away meanwhile, or the command may not run by then.
        self._written.end()

    async def find(self, pace: Slices) -> None:
        """Find the keys that are not what they were. CommandError if these are too many."""
        try:
            await pace.run(self._find())
        except BaseException:
            self._written.end()
            raise

    def _find(self) -> Steps[None]:
        for change in differences(self._present, self._source, self._matches):
            if change:
                yield from self._take(change[0])
            yield
        # What is left of a key all of whose members are due is there still, and no difference.
        for index in range(self._present.shard_count if self._present.may_lapse else 0):
            for key in shard_keys(self._present, index):
                is_found = not self._matches(key) or key in self._changes
                # What has expired itself goes by itself.
                if not is_found and self._present.peek_live(key) is not None and (yield from self._left(key)) is None:
                    yield from self._take(key)
                yield
        for index in range(self._source.shard_count):
            for key in living_keys(self._source, index):
                if self._matches(key):
                    self.count += (yield from self._left(key)) is not None
                yield

    def _take(self, key: bytes) -> Steps[None]:
        """Let a key come back. CommandError if there are too many."""
        if len(self._changes) >= MOST_KEYS and key not in self._changes:
            raise CommandError(TOO_MANY_KEYS)
        self._changes[key] = yield from self._recreated(key)

    def _left(self, key: bytes) -> Steps[Value | None]:
        """The value of a key then, without members that are due by now, or None if it was not there or is due itself."""
        held, expires_at_ms = self._source.peek_live(key), self._source.expires_at_ms(key)
        if held is None or (expires_at_ms is not None and expires_at_ms <= self._now_ms):
            return None
        return (yield from left_of(held, self._now_ms))

    def _recreated(self, key: bytes) -> Steps[Recreated | None]:
        found = yield from self._left(key)
        if found is None:
            return None
        value, expires_at_ms = fork(found), self._source.expires_at_ms(key)
        return Recreated(value, expires_at_ms, kind_of(value).recreation(key, value, expires_at_ms))

    def changes(self) -> dict[bytes, Recreated | None] | None:
        written = self._written.end()
        if self._written.has_too_many:
            raise CommandError(TOO_MANY_KEYS)
        if written is None or self._past.place != self._place:
            return None
        for key in written:
            at_once(self._take(key))
        return self._changes
