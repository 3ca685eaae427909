"""`Description`: what the server's state, and the commands that tell of commands, know of a command. No handler.

So it can be known where nothing is run; `dispatch.command.Command` is what implements it. Pure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from kvserver.errors import CommandError
from kvserver.resp.reply import Reply, SetOf, Simple
from kvserver.resp.request import Request

ANY_NUMBER: Final = 2**31
INVALID_ARGUMENTS: Final = "ERR Invalid arguments specified for command"

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


class KeySpecification(NamedTuple):
    """Where some keys of a call are, and what is done with them: Redis's key specification.

    The search begins at `begin` or, with a `keyword`, behind that word, which is looked for from `begin` on. There are the
    keys: with `is_counted` a number and then so many of them; otherwise from there to `last`, which counts from the first
    one or, negative, from the end of the call; of these one in `limit` parts, if that is not 0. Where `is_unknown`, no more
    can be said.
    """

    flags: tuple[str, ...]
    begin: int = 0
    keyword: str = ""
    last: int = 0
    step: int = 1
    limit: int = 0
    is_counted: bool = False
    is_unknown: bool = False

    @property
    def is_plain(self) -> bool:
        """The keys are from one place to another, whatever else the call says."""
        return not (self.keyword or self.is_counted or self.is_unknown)

    @property
    def last_place(self) -> int:
        """Where the last key is; negative: from the end of the call. Of plain ones."""
        return self.begin + self.last if self.last >= 0 else self.last

    @property
    def is_no_key(self) -> bool:
        """They are counted as if they were keys, and are none: what a cluster distributes by."""
        return self.flags == ("not_key",)

    @property
    def writes(self) -> bool:
        """The keys are written."""
        return self.flags[:1] in (("OW",), ("RW",), ("RM",))

    def positions(self, request: Sequence[bytes]) -> range:
        """Where the keys of a call are. CommandError where it can't be a call."""
        if self.is_unknown:
            return range(0)
        first = self.begin
        if self.keyword:
            word = self.keyword.encode()
            place = next((place for place in range(first, len(request)) if request[place].upper() == word), None)
            if place is None:
                return range(0)
            first = place + 1
        if self.is_counted:
            number = request[first]
            if not number.isdigit() or int(number) > len(request) - first - 1:
                raise CommandError(INVALID_ARGUMENTS)
            return range(first + 1, first + 1 + int(number))
        if self.last >= 0:
            end = first + self.last + 1
        elif self.limit > 1:
            end = first + (len(request) - first) // self.limit
        else:
            end = len(request) + self.last + 1
        return range(first, min(end, len(request)), self.step)

    def describe(self, notes: str) -> Reply:
        """What COMMAND tells of it."""
        begin: Reply = {b"type": b"index", b"spec": {b"index": self.begin}}
        find: Reply = {b"type": b"range", b"spec": {b"lastkey": self.last, b"keystep": self.step, b"limit": self.limit}}
        if self.keyword:
            begin = {b"type": b"keyword", b"spec": {b"keyword": self.keyword.encode(), b"startfrom": self.begin}}
        if self.is_counted:
            find = {b"type": b"keynum", b"spec": {b"keynumidx": 0, b"firstkey": 1, b"keystep": self.step}}
        if self.is_unknown:
            begin, find = {b"type": b"unknown", b"spec": {}}, {b"type": b"unknown", b"spec": {}}
        described: dict[Reply, Reply] = {b"notes": notes.encode()} if notes else {}
        return described | {b"flags": SetOf(map(Simple, self.flags)), b"begin_search": begin, b"find_keys": find}


class Description(ABC):
    """One command, or a subcommand, whose name is `config|get` then. Fields are those of Redis's COMMAND and COMMAND DOCS.

    `subcommands` by their second word; `may_replicate`: it is no write, but what replicas would get.
    """

    name: str
    flags: Sequence[str]
    since: str
    group: str
    complexity: str
    summary: str
    tips: str
    deprecated: tuple[str, str] | None
    may_replicate: bool
    subcommands: Mapping[bytes, Description]

    @property
    @abstractmethod
    def arity(self) -> int:
        """How many words a call has, the name counted; a negative one is the least number."""

    @property
    @abstractmethod
    def all_flags(self) -> list[str]:
        """The flags in Redis's order, with those that follow from the keys."""

    @property
    @abstractmethod
    def categories(self) -> list[str]:
        """The ACL categories, in Redis's order."""

    @property
    @abstractmethod
    def keys(self) -> tuple[int, int, int]:
        """The position of the first key and the last one, and the step; zeros where there are none."""

    @abstractmethod
    def describe_keys(self) -> list[Reply]:
        """The key specifications, as COMMAND tells them."""

    @abstractmethod
    def describe_arguments(self) -> list[Reply]:
        """The `arguments` of COMMAND DOCS."""

    @abstractmethod
    def meant_by(self, request: Request) -> Description | None:
        """What the words of a call mean, however many they are: itself, a part of it, or (None) no subcommand."""

    @abstractmethod
    def keys_of(self, request: Request) -> list[tuple[bytes, tuple[str, ...]]]:
        """The keys of a call, and what it does with each. CommandError where the words can't be a call."""

    @abstractmethod
    def written_keys(self, request: Request) -> list[bytes]:
        """The keys that a call writes."""

    @abstractmethod
    def redacted(self, request: Request) -> Request:
        """The words of a call as people are shown them: what is secret is replaced."""
