"""The description of a command: its name, its flags, its keys, and the texts of Redis's COMMAND. It has no handler.

So the server's state, and the commands that tell of commands, know commands without knowing how one is run. The only class
that implements it is `dispatch.command.Command`. Pure; names no command.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from kvserver.acl.guarded import Guarded, need_of
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply, SetOf, Simple
from kvserver.resp.request import Request

# No call has so many words.
ANY_NUMBER: Final = 2**31
_MOST_DIGITS: Final = len(str(ANY_NUMBER))
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


class EventRule(NamedTuple):
    """A keyspace event that a command leads to: its class, a letter of notify-keyspace-events, and its name.

    Its key is the one that is written, unless there is a `key_place`: the key is that word then. Its database is that of the
    call, unless there is a `database_place`: that word is the number of the database then.
    """

    flag: str
    name: bytes
    key_place: int = 0
    database_place: int = 0


class KeySpecification(NamedTuple):
    """Redis's key specification: the places of some keys of a call, and what the call does with these keys.

    - The first key is at the position `begin` or, with a `keyword`, behind that word, which is looked for from `begin` on.
    - With `is_counted`, a number of keys stands there, and then so many keys. Otherwise the last key is at `last`, which
      counts from the first key or, if it is negative, from the end of the call.
    - From one key to the next it is `step` words. With a `limit` above 1, the keys are the first one of so many equal parts
      of the words.
    - With `is_unknown`, nobody can tell where the keys are.
    - `flags` are Redis's words for the use of the keys.
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
        """True if the keys are from one place to another, whatever else the call says."""
        return not (self.keyword or self.is_counted or self.is_unknown)

    @property
    def last_place(self) -> int:
        """The position of the last key, of a plain specification; a negative one counts from the end of the call."""
        return self.begin + self.last if self.last >= 0 else self.last

    @property
    def is_no_key(self) -> bool:
        """True if the words are no keys, but a cluster distributes calls by them as if they were."""
        return self.flags == ("not_key",)

    @property
    def need(self) -> int:
        """What rights a user needs for the keys, as bits."""
        return need_of(self.flags)

    @property
    def writes(self) -> bool:
        """True if the call writes the keys."""
        return self.flags[:1] in (("OW",), ("RW",), ("RM",))

    def positions(self, request: Sequence[bytes]) -> range:
        """The positions of the keys of a call. CommandError where the words can't be a call."""
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
            # Python refuses to convert thousands of digits.
            is_number = number.isdigit() and len(number) <= _MOST_DIGITS
            if not is_number or int(number) * self.step > len(request) - first - 1:
                raise CommandError(INVALID_ARGUMENTS)
            return range(first + 1, first + 1 + int(number) * self.step, self.step)
        if self.last >= 0:
            end = first + self.last + 1
        elif self.limit > 1:
            end = first + (len(request) - first) // self.limit
        else:
            end = len(request) + self.last + 1
        return range(first, min(end, len(request)), self.step)

    def describe(self, notes: str) -> Reply:
        """The specification as COMMAND tells it, a map; `notes` is Redis's remark on it, or empty."""
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


class ChannelSpecification(NamedTuple):
    """The channels of a call: its words up to the one at `last`, which counts from the end of the call if it is negative.

    With `are_patterns`, they are patterns of channels.
    """

    last: int
    are_patterns: bool = False


class Description(Guarded):
    """A command, or a subcommand, whose name is `config|get` then. The fields are those of Redis's COMMAND and COMMAND DOCS.

    - `deprecated` has the version since when it is deprecated, and what replaces it.
    - `may_replicate`: the command is no write, but replicas would get it.
    - `subcommands` has the subcommands of a container by their second word, in lower case.
    """

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
        """The number of words that a call has, the name counted; a negative one is the least number."""

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
        """The positions of the first key and the last one, and the step; zeros where there are no keys."""

    @abstractmethod
    def describe_keys(self) -> list[Reply]:
        """The key specifications, as COMMAND tells them."""

    @abstractmethod
    def describe_arguments(self) -> list[Reply]:
        """The `arguments` of COMMAND DOCS."""

    @abstractmethod
    def meant_by(self, request: Request) -> Description | None:
        """The command that the words of a call mean: this one, or a part of it; None for a subcommand that does not exist.

        The number of the words may be wrong.
        """

    @abstractmethod
    def keys_of(self, request: Request) -> list[tuple[bytes, tuple[str, ...]]]:
        """The keys of a call, each with Redis's words for its use. CommandError for what can't be a call."""

    @abstractmethod
    def written_keys(self, request: Request) -> list[bytes]:
        """The keys that a call writes in the selected database. CommandError where the words can't be a call."""

    @abstractmethod
    def watched_keys(self, request: Request) -> list[bytes]:
        """Those of the keys that a call writes whose watches it touches."""

    @abstractmethod
    def event_rules(self, record_name: str, request: Request) -> tuple[EventRule, ...] | None:
        """The events of a record of this name that a call has left; None if nothing is said of this name in particular.

        The empty name is that of any record. A name in lower case is that of what goes by itself, which no call does.
        """

    @abstractmethod
    def redacted(self, request: Request) -> Request:
        """The words of a call as people are shown them: secret words are replaced."""
