"""The clock while commands of an append-only file run: each of them finds the data as it was when the command first ran.

The file has a DEL for each key that had expired. So no key goes by itself: one whose time has come since may have been given
more time further on. Commands see the present, as in redis-server. Only one that says until when a key lives sees a clock
that has not begun: for it, no such time has passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from kvserver.data.keyspace import Keyspace
from kvserver.dispatch.command import Command
from kvserver.dispatch.notation import Argument
from kvserver.resp.request import Request

_TIME: Final = "unix-time"
# The word that makes a point in time of what is a duration without it.
_ABSOLUTE: Final = "ABSTTL"
_LONGEST_WORD: Final = len(_ABSOLUTE)
# Those of streams say when something was, and not until when it is.
_GROUP_OF_OTHERS: Final = "stream"


def says_until(command: Command, request: Request) -> bool:
    """True if a call says until when something lives."""
    is_always, words = _times(command)
    if is_always or not words:
        return is_always
    return any(len(word) <= _LONGEST_WORD and word.upper() in words for word in request[2:])


@contextmanager
def stopped(keyspace: Keyspace) -> Iterator[None]:
    """Let the clock of a database whose due keys are kept (`Keyspace.keep_due`) be one that has not begun."""
    now_ms = keyspace.now_ms()
    keyspace.stop_clock()
    try:
        yield
    finally:
        keyspace.keep_due(now_ms)


@cache
def _times(command: Command) -> tuple[bool, frozenset[bytes]]:
    """True if each call of a command has such a time; and the words that make it have one."""
    if command.group == _GROUP_OF_OTHERS:
        return False, frozenset()
    arguments = list(_all_of(command.notation.arguments))
    times = [each.token for each in arguments if each.type == _TIME]
    words = {token for token in times if token}
    if any(each.token == _ABSOLUTE or each.name == _ABSOLUTE for each in arguments):
        words.add(_ABSOLUTE)
    return None in times, frozenset(map(str.encode, words))


def _all_of(arguments: Iterable[Argument]) -> Iterable[Argument]:
    for argument in arguments:
        yield argument
        yield from _all_of(argument.inner)
