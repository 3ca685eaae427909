"""The keyspace events of a command, as its declaration tells them. Redis publishes them to whoever wants notifications.

    @command("lpushx", …, events="lpush")

A declaration is words with spaces in between, for all that a call records, but for the records of generic commands (DEL,
PEXPIREAT, RENAME, …), which bring events of their own. A word is the name of an event. By default a write has one event, with
the command's name; a command whose writes nobody is told of has none (`""`).

    set                the keys that the record writes, told as of the class of the command's group
    g:expire           the class is said
    rpop@1             the key is the first argument, whatever is recorded: of the call, or of the record of a generic command
    move_to@1/2        the same, in the database whose number is the second argument

Where the events depend on what is recorded, a dict has the words for each name of a record, and perhaps under "" those for
any other. What goes by itself, since its time has come, is recorded by a name in lower case. Where the events depend on the
words of the call, a function of the request gives them.

Behind an event of a collection that leaves the key missing comes `del`; nobody declares it. Pure; names no command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from kvserver.resp.request import Request
from kvserver.state.description import EventRule

Words = str | Mapping[str, str]
Declaration = Words | Callable[[Request], Words] | None

# The classes of Redis's notify-keyspace-events, by the groups of commands.
CLASS_OF_GROUP: Final = {
    "generic": "g",
    "string": "$",
    "bitmap": "$",
    "hyperloglog": "$",
    "list": "l",
    "set": "s",
    "hash": "h",
    "sorted-set": "z",
    "geo": "z",
    "stream": "t",
    "json": "d",
}
_WORD: Final = re.compile(r"(?:(?P<flag>\S):)?(?P<name>[^\s@:]+)(?:@(?P<key>\d+)(?:/(?P<database>\d+))?)?")


class Events:
    """The events of one command. ValueError for a word that is none."""

    def __init__(self, declared: Declaration, name: str, group: str) -> None:
        self._flag = CLASS_OF_GROUP.get(group, "")
        self._declared: Words | Callable[[Request], Words] = declared if declared is not None else name if self._flag else ""
        # The rules for words that were parsed before.
        self._parsed: dict[str, tuple[EventRule, ...]] = {}
        if not callable(self._declared):
            for words in (self._declared,) if isinstance(self._declared, str) else self._declared.values():
                self._rules(words)

    def of(self, record_name: str, request: Request) -> tuple[EventRule, ...] | None:
        """The rules for a record that a call has left; None if nothing is said of records of this name in particular.

        The empty name is that of any record.
        """
        declared = self._declared(request) if callable(self._declared) else self._declared
        if isinstance(declared, str):
            return None if record_name else self._rules(declared)
        words = declared.get(record_name)
        return None if words is None else self._rules(words)

    def _rules(self, words: str) -> tuple[EventRule, ...]:
        rules = self._parsed.get(words)
        if rules is None:
            rules = self._parsed[words] = tuple(map(self._rule, words.split()))
        return rules

    def _rule(self, word: str) -> EventRule:
        match = _WORD.fullmatch(word)
        flag = match and (match["flag"] or self._flag)
        if not match or not flag:
            raise ValueError(f"{word!r} tells no event and its class")
        return EventRule(flag, match["name"].encode(), int(match["key"] or 0), int(match["database"] or 0))
