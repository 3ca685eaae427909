"""The stream of commands that a source sends to those who follow it, cut into parts that run at once. Pure.

It is a sequence of requests as clients send them. Its offset counts their bytes, and names the place in the history of the
source's data up to which somebody has come. What stands between MULTI and EXEC is one part. Some requests are for the link
alone: PING shows that the source lives, and REPLCONF GETACK asks how far this side has come.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from sys import maxsize
from typing import Final, NamedTuple

from kvserver.errors import SourceUnusable
from kvserver.resp.request import Request, RequestParser, request_bytes, requests_bytes

# Requests that are not in a transaction make parts of so many, each of which is one step.
REQUESTS_A_PART: Final = 64


class Commands(NamedTuple):
    """Requests to run in order. The stream has come to the offset `end` (bytes) with the last of them."""

    requests: list[Request]
    end: int


class Transaction(NamedTuple):
    """Requests to run with nothing in between."""

    requests: list[Request]
    end: int


class Question(NamedTuple):
    """The source asks how far this side has come, with all that is before. The stream is at `end` behind the question."""

    end: int


Part = Commands | Transaction | Question


class Stream:
    """A stream from an offset on."""

    def __init__(self, offset: int) -> None:
        # The end of the last whole request.
        self._offset = offset
        self._parser = RequestParser(maxsize, takes_inline=False)
        # The requests since the last part, and those of a transaction whose EXEC has not come.
        self._plain: list[Request] = []
        self._queued: list[Request] | None = None

    def feed(self, data: bytes) -> Iterator[Part]:
        """Take the next bytes, and give the parts that are whole with them. The caller takes all of these.

        SourceUnusable if it is no such stream.
        """
        requests = self._parser.feed(data)
        while True:
            if self._queued is None and _OF_LINK.isdisjoint(map(bytes.upper, set(map(_NAME, requests)))):
                # Measured: this is the way of nearly all requests.
                yield from self._take_plain(requests)
                requests = []
            for request in requests:
                # Names that are longer than the words of the link need not be compared.
                name = request[0].upper() if len(request[0]) <= _LONGEST_WORD else b""
                if name in _OF_LINK:
                    yield from self._take(name, request)
                    continue
                if self._queued is not None:
                    self._offset += request_bytes(request)
                    self._queued.append(request)
                else:
                    yield from self._take_plain([request])
            if self._parser.failure:
                raise SourceUnusable(f"what the source sends is no stream of commands: {self._parser.failure}")
            if not self._parser.has_unread:
                break
            requests = self._parser.feed(b"")
        yield from self._end_plain()

    def _take(self, name: bytes, request: Request) -> Iterator[Part]:
        """Take a request that is for the link, or begins or ends a transaction."""
        yield from self._end_plain()
        self._offset += request_bytes(request)
        match name:
            case b"MULTI":
                self._queued = []
            case b"EXEC" if self._queued is not None:
                queued, self._queued = self._queued, None
                yield Transaction(queued, self._offset)
            case b"REPLCONF" if len(request) == 3 and request[1].upper() == b"GETACK":
                yield Question(self._offset)
            case _ if self._queued is None:
                yield Commands([], self._offset)

    def _take_plain(self, requests: list[Request]) -> Iterator[Part]:
        """Take requests that are in no transaction."""
        self._plain += requests
        while len(self._plain) >= REQUESTS_A_PART:
            yield self._part(REQUESTS_A_PART)

    def _end_plain(self) -> Iterator[Part]:
        if self._plain:
            yield self._part(len(self._plain))

    def _part(self, count: int) -> Commands:
        """The part of so many of the requests that have come since the last one."""
        part, self._plain = self._plain[:count], self._plain[count:]
        self._offset += requests_bytes(part)
        return Commands(part, self._offset)


_NAME: Final = itemgetter(0)
_OF_LINK: Final = frozenset((b"MULTI", b"EXEC", b"PING", b"REPLCONF"))
_LONGEST_WORD: Final = max(map(len, _OF_LINK))
