"""Trims of a stream, as XADD and XTRIM are told them: `MAXLEN ~ 1000 LIMIT 100`, `MINID 5-0`. Pure.

Source: streamParseAddOrTrimArgsOrReply and streamTrim of redis 7.0.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.errors import CommandError
from kvserver.options.config import Config
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.stream.ids import Id, parse, parse_open
from kvserver.types.stream.stream import Stream

# An inexact trim that is given no limit stops when so many nodes, or so many entries, would have gone.
_MOST_NODES: Final = 100
_USUAL_LIMIT: Final = 10_000
_MOST_LIMIT: Final = 1_000_000


class Trim(NamedTuple):
    """What a stream is trimmed to: a length, or the least id, of which one is None. A `limit` of 0 is none."""

    length: int | None
    identity: Id | None
    is_exact: bool
    limit: int

    def apply(self, stream: Stream) -> int:
        """Trim a stream. Return the number of entries that went."""
        if self.identity is not None:
            return stream.entries.trim_to_id(self.identity, is_exact=self.is_exact, limit=self.limit)
        return stream.entries.trim_to_length(self.length or 0, is_exact=self.is_exact, limit=self.limit)

    def slack(self, stream: Stream) -> int:
        """The number of entries that may be added, at least 1, before the trim is applied, which would remove none earlier."""
        entries = stream.entries
        # An inexact trim waits until it can remove the first node.
        if self.length is None or self.is_exact or entries.node_count < 2:
            return 1
        return max(self.length + entries.sizes[0] - entries.count, 1)


class Addition(NamedTuple):
    """What the words of XADD in front of the fields say.

    `identity` is None for an id that the stream gives; where `is_open`, it gives the sequence number. `start` is the position
    of the first field.
    """

    start: int
    is_made: bool
    trim: Trim | None
    identity: Id | None
    is_open: bool


def read_addition(session: Session, request: Request) -> Addition:
    """Read the words of an XADD up to its id. CommandError in Redis's order."""
    # Measured: the usual words are read in a fifth of the time.
    if request[3] == b"~" and len(request) > 6 and request[5] == b"*" and request[2].upper() == b"MAXLEN":
        length = integer(request[4])
        if length >= 0:
            return Addition(6, True, Trim(length, None, False, _limit(session.server.config)), None, False)
    return _read(session, request, is_addition=True)


def read_trim(session: Session, request: Request) -> Trim:
    """Read the words of an XTRIM. CommandError in Redis's order."""
    trim = _read(session, request, is_addition=False).trim
    assert trim is not None
    return trim


def record_of(key: bytes, stream: Stream) -> Request:
    """The command that repeats a trim, however it was told."""
    return [b"XTRIM", key, b"MAXLEN", b"=", b"%d" % stream.length]


def _read(session: Session, request: Request, *, is_addition: bool) -> Addition:
    length: int | None = None
    least: Id | None = None
    identity: Id | None = None
    limit: int | None = None
    is_exact = is_made = True
    is_open = False
    index, last = 2, len(request) - 1
    while index <= last:
        word, more = request[index], last - index
        option = _c_string(word).lower()
        if is_addition and _c_string(word) == b"*":
            break
        if option in (b"maxlen", b"minid") and more:
            if length is not None or least is not None:
                raise CommandError("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
            operator = _c_string(request[index + 1])
            is_exact = not (more >= 2 and operator == b"~")
            index += 2 if more >= 2 and operator in (b"~", b"=") else 1
            if option == b"minid":
                least = parse(request[index])
            else:
                length = integer(request[index])
                if length < 0:
                    raise CommandError("ERR The MAXLEN argument must be >= 0.")
        elif option == b"limit" and more:
            index += 1
            limit = integer(request[index])
            if limit < 0:
                raise CommandError("ERR The LIMIT argument must be >= 0.")
        elif is_addition and option == b"nomkstream":
            is_made = False
        elif is_addition:
            identity, is_open = parse_open(word)
            break
        else:
            raise CommandError(SYNTAX_ERROR)
        index += 1
    is_trim = length is not None or least is not None
    if limit and not is_trim:
        raise CommandError("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
    if not is_addition and not is_trim:
        raise CommandError("ERR syntax error, XTRIM must be called with a trimming strategy")
    if limit is not None and is_exact:
        raise CommandError("ERR syntax error, LIMIT cannot be used without the special ~ option")
    if limit is None:
        limit = 0 if is_exact else _limit(session.server.config)
    trim = Trim(length, least, is_exact, limit) if is_trim else None
    return Addition(index + 1, is_made, trim, identity, is_open)


def _limit(config: Config) -> int:
    limit = _MOST_NODES * config.stream_node_max_entries
    return min(limit, _MOST_LIMIT) if limit else _USUAL_LIMIT


def _c_string(word: bytes) -> bytes:
    """A word as Redis compares it with others: it ends at a NUL."""
    return word.partition(b"\0")[0]
