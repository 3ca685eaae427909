"""The log of what users were denied, which ACL LOG shows. Pure: callers know the time and the client."""

from __future__ import annotations

from collections import deque
from enum import Enum
from itertools import islice
from typing import Final

from kvserver.acl.selector import Reason

# Denials that are alike are one entry, if it is among so many of the newest ones and was noted no longer ago.
LOOKED_AT: Final = 10
APART_MS: Final = 60_000
# A key may be as long as a request, and nobody who is denied it shall fill the memory with it.
MOST_BYTES: Final = 512


class Context(Enum):
    """The place of the call that was denied."""

    TOP_LEVEL = "toplevel"
    TRANSACTION = "multi"
    SCRIPT = "lua"


class Entry:
    """Denials that are alike: of a thing (a command, a key, a channel, or AUTH) to a user. `client` is the last one's line.

    Of the thing and of the user's name, the first MOST_BYTES are kept.
    """

    def __init__(self, reason: Reason, context: Context, thing: bytes, user: bytes, at_ms: int, client: bytes) -> None:
        self.count = 1
        self.reason = reason
        self.context = context
        self.thing = thing[:MOST_BYTES]
        self.user = user[:MOST_BYTES]
        self.at_ms = at_ms
        self.client = client

    def is_like(self, other: Entry) -> bool:
        """True if both are about the same, and not long apart."""
        return (
            (self.reason, self.context, self.thing, self.user) == (other.reason, other.context, other.thing, other.user)
            and abs(self.at_ms - other.at_ms) <= APART_MS
        )  # fmt: skip


class Denials:
    """The newest entries, newest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()

    def add(self, entry: Entry, keep: int) -> None:
        """Add an entry, or count it in one that is like it. Of more entries than `keep`, the oldest are forgotten then."""
        like = next((present for present in islice(self._entries, LOOKED_AT) if present.is_like(entry)), None)
        if like:
            self._entries.remove(like)
            like.count += 1
            like.at_ms, like.client = entry.at_ms, entry.client
            self._entries.appendleft(like)
            return
        self._entries.appendleft(entry)
        while len(self._entries) > keep:
            self._entries.pop()

    def newest(self, count: int) -> list[Entry]:
        """The `count` newest entries."""
        return list(islice(self._entries, count))

    def reset(self) -> None:
        """Forget all entries."""
        self._entries.clear()
