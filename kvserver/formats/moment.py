"""A moment of the past, as a person or a client names it. Pure.

1700000000000              the time in Unix milliseconds: with all that was written up to it
2026-11-29T22:54:14.5Z     the same by ISO 8601; without a zone, it is UTC
-15m                       so long ago: ms, s, m, h or d
7:1033                     a record: the 1,033rd of the segment 7 of the journal, as KVS.LOG tells it
0f1e2d3c4b5a6978           a frame: the first 16 hex digits of its digest, or all 64
(…                         right before that time or that record, as Redis writes the open end of a range
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from kvserver.errors import HistoryError

ID_DIGITS: Final = 16
_EXCLUSIVE: Final = "("
_FRAME: Final = re.compile(r"[0-9a-f]{16}(?:[0-9a-f]{48})?")
_MILLISECONDS: Final = re.compile(r"[0-9]{1,15}")
_RECORD: Final = re.compile(r"([0-9]{1,10}):([0-9]{1,15})")
_AGO: Final = re.compile(r"-?([0-9]{1,12})(ms|s|m|h|d)")
_UNIT_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# The last one that ISO 8601 writes by four digits of the year.
_LAST_MS: Final = 253_402_300_799_999
# Python reads more than this of ISO 8601, such as numbers of weeks.
_ISO: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


class AtTime(NamedTuple):
    """The state with all that was written up to this time (Unix milliseconds)."""

    time_ms: int


class AtRecord(NamedTuple):
    """The state behind the first `records` records of a segment; with -1, that right before the segment."""

    segment: int
    records: int


class AtFrame(NamedTuple):
    """The state that a frame has, whose digest begins with these hex digits."""

    digest: str


Moment = AtTime | AtRecord | AtFrame


def parse_moment(text: str, now_ms: int) -> Moment:
    """The moment that a text names. HistoryError, in one line, if it names none, or one that is yet to come."""
    word = text.removeprefix(_EXCLUSIVE)
    is_exclusive = word != text
    if _FRAME.fullmatch(word):
        if is_exclusive:
            raise HistoryError(f"a frame is a moment itself: there is nothing right before {word}")
        return AtFrame(word)
    if match := _RECORD.fullmatch(word):
        return AtRecord(int(match[1]), int(match[2]) - is_exclusive)
    time_ms = _time_of(word, now_ms)
    if time_ms > now_ms:
        raise HistoryError(f"the time {word} is yet to come")
    return AtTime(time_ms - is_exclusive)


def _time_of(word: str, now_ms: int) -> int:
    if _MILLISECONDS.fullmatch(word):
        return int(word)
    if match := _AGO.fullmatch(word):
        return max(now_ms - int(match[1]) * _UNIT_MS[match[2]], 0)
    if _ISO.fullmatch(word):
        try:
            time = datetime.fromisoformat(word)
        except ValueError:
            raise HistoryError(f"there is no such time as {word}") from None
        return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    raise HistoryError(
        f"{word!r} names no moment: a time in Unix milliseconds, one such as 2026-11-29T22:54:14Z or 15m, a record such as "
        "7:1033, or a frame's 16 hex digits"
    )


def show_time(time_ms: int) -> str:
    """A time (Unix milliseconds) by ISO 8601, in UTC; as it is, if that knows no such time."""
    if time_ms > _LAST_MS:
        return str(time_ms)
    time = datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
