"""The commands of a source as the commands that have the same effect here, whenever they run. Pure.

Redis 7 sends expiries as times. Older versions send some as they were said, so many seconds from now: these are counted from
the time at which they came. What a consumer group notes of the time, the replica's own clock tells in Redis; here it stands in
the command, as in the journal, since no clock goes while a source's commands run.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from operator import itemgetter
from typing import Final

from kvserver.resp.request import Request
from kvserver.types.stream.lookup import AT, record_of_sight

_NAME: Final = itemgetter(0)
_PLAIN_SET_WORDS: Final = 3
# Nobody's clock tells a later time (milliseconds).
_MOST_DIGITS: Final = 18


def translate(requests: list[Request], now_ms: int) -> list[Request]:
    """The commands that stand for these, which have come at this Unix time (milliseconds)."""
    names = set(map(bytes.lower, set(map(_NAME, requests))))
    # Measured: most requests are of other names, or SETs without options.
    if max(map(len, requests), default=0) <= _PLAIN_SET_WORDS:
        names.discard(b"set")
    if names.isdisjoint(_CHANGES):
        return requests
    return [each for request in requests for each in _translated(request, now_ms)]


def _translated(request: Request, now_ms: int) -> list[Request]:
    change = _CHANGES.get(request[0].lower())
    return [request] if change is None else change(request, now_ms)


def _later(word: bytes, unit_ms: int, now_ms: int) -> bytes | None:
    """The time that comes so many units from now, or None for what is no number: the command itself says so."""
    digits = word.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        return None
    return b"%d" % (now_ms + int(word) * unit_ms)


def _set(request: Request, now_ms: int) -> list[Request]:
    for place, word in enumerate(request[3:-1], 3):
        unit_ms = _UNITS_MS.get(word.upper())
        if unit_ms and (time := _later(request[place + 1], unit_ms, now_ms)):
            return [[*request[:place], b"PXAT", time, *request[place + 2 :]]]
    return [request]


def _set_until(unit_ms: int) -> Callable[[Request, int], list[Request]]:
    """SETEX and PSETEX."""

    def change(request: Request, now_ms: int) -> list[Request]:
        time = _later(request[2], unit_ms, now_ms) if len(request) == 4 else None
        return [[b"SET", request[1], request[3], b"PXAT", time]] if time else [request]

    return change


def _expire(unit_ms: int) -> Callable[[Request, int], list[Request]]:
    def change(request: Request, now_ms: int) -> list[Request]:
        time = _later(request[2], unit_ms, now_ms) if len(request) > 2 else None
        return [[b"PEXPIREAT", request[1], time, *request[3:]]] if time else [request]

    return change


def _restore(request: Request, now_ms: int) -> list[Request]:
    if len(request) < 4 or request[2] == b"0" or b"ABSTTL" in map(bytes.upper, request[4:]):
        return [request]
    time = _later(request[2], 1, now_ms)
    return [[request[0], request[1], time, *request[3:], b"ABSTTL"]] if time else [request]


def _xclaim(request: Request, now_ms: int) -> list[Request]:
    times = [
        int(after)
        for word, after in pairwise(request[5:])
        if word.upper() == b"TIME" and after.isdigit() and len(after) <= _MOST_DIGITS
    ]
    # The source's clock may be ahead.
    return [[*request, AT, b"%d" % max([now_ms, *times])]]


def _xgroup(request: Request, now_ms: int) -> list[Request]:
    if len(request) == 5 and request[1].upper() == b"CREATECONSUMER":
        return [request, record_of_sight(request[2], request[3], request[4], now_ms)]
    return [request]


_UNITS_MS: Final = {b"EX": 1000, b"PX": 1}
_CHANGES: Final[dict[bytes, Callable[[Request, int], list[Request]]]] = {
    b"set": _set,
    b"setex": _set_until(1000),
    b"psetex": _set_until(1),
    b"expire": _expire(1000),
    b"pexpire": _expire(1),
    b"restore": _restore,
    b"xclaim": _xclaim,
    b"xgroup": _xgroup,
}
