"""What there is to tell of a command: its name, arity, flags and keys, and the texts of COMMAND DOCS. No handler.

So it can be known where nothing is run: by the server's state, and by the commands that tell of commands. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

KeyPositions = tuple[int, int, int]  # of the first and the last key, and the step; (0, 0, 0) where there are none

ANY_NUMBER: Final = 2**31

# In the order in which COMMAND INFO names them.
FLAGS: Final = (
    "write", "readonly", "denyoom", "module", "admin", "pubsub", "noscript", "blocking", "loading", "stale", "skip_monitor",
    "skip_slowlog", "asking", "fast", "no_auth", "may_replicate", "sentinel", "only_sentinel", "no_mandatory_keys",
    "protected", "touches_arbitrary_keys", "no_async_loading", "no_multi", "allow_busy", "movablekeys",
)  # fmt: skip
CATEGORIES: Final = (
    "@keyspace", "@read", "@write", "@set", "@sortedset", "@list", "@hash", "@string", "@bitmap", "@hyperloglog", "@geo",
    "@stream", "@pubsub", "@admin", "@fast", "@slow", "@blocking", "@dangerous", "@connection", "@transaction", "@scripting",
    "@json",
)  # fmt: skip
_CATEGORY_OF_FLAG: Final = {
    "readonly": "@read",
    "write": "@write",
    "pubsub": "@pubsub",
    "admin": "@admin",
    "blocking": "@blocking",
}
_CATEGORY_OF_GROUP: Final = {
    "generic": "@keyspace",
    "string": "@string",
    "bitmap": "@bitmap",
    "connection": "@connection",
    "transactions": "@transaction",
    "json": "@json",
}
_MORE_CATEGORIES: Final = {
    "command": {"@connection"},
    "dbsize": {"@keyspace"},
    "flushall": {"@keyspace", "@dangerous"},
    "flushdb": {"@keyspace", "@dangerous"},
    "info": {"@dangerous"},
    "keys": {"@dangerous"},
    "lastsave": {"@admin", "@dangerous"},
    "restore": {"@dangerous"},
    "role": {"@admin", "@dangerous"},
    "swapdb": {"@keyspace", "@dangerous"},
    "wait": {"@connection"},
}


class Description:
    """One command, or a subcommand. Fields are those of Redis's COMMAND and COMMAND DOCS.

    `arity` counts the name; a negative one is the least number. A subcommand has the name of its command before its own:
    `config|get`. Flags with a meaning here: write (refused while the medium fails), loading (runs while data is loaded),
    no_auth.
    """

    __slots__ = ("arity", "complexity", "flags", "group", "keys", "name", "since", "subcommands", "summary")

    def __init__(
        self,
        name: str,
        arity: int,
        flags: tuple[str, ...],
        keys: KeyPositions,
        summary: str,
        since: str,
        group: str,
        complexity: str,
        subcommands: Sequence[Description] = (),
    ) -> None:
        self.name = name
        self.arity = arity
        self.flags = flags
        self.keys = keys
        self.summary = summary
        self.since = since
        self.group = group
        self.complexity = complexity
        self.subcommands = subcommands

    @property
    def arities(self) -> range:
        """How many words a call may have."""
        return range(self.arity, self.arity + 1) if self.arity >= 0 else range(-self.arity, ANY_NUMBER)

    @property
    def categories(self) -> list[str]:
        """The ACL categories that follow from flags, group and name, in Redis's order."""
        flags = self.flags
        found = {category for flag, category in _CATEGORY_OF_FLAG.items() if flag in flags}
        found |= {"@fast" if "fast" in flags else "@slow"} | _MORE_CATEGORIES.get(self.name.partition("|")[0], set())
        if "admin" in flags:
            found.add("@dangerous")
        if self.group in _CATEGORY_OF_GROUP and self.name != "wait" and not self.subcommands:
            found.add(_CATEGORY_OF_GROUP[self.group])
        return [category for category in CATEGORIES if category in found]

    @property
    def all_flags(self) -> list[str]:
        """The flags in Redis's order."""
        return sorted(self.flags, key=FLAGS.index)
