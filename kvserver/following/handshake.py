"""The greeting of a replica, up to the source's word on how it sends its data. Pure: lines go in, bytes to send come out.

    replica                                     source
    PING                                        +PONG, or that a password is needed
    AUTH [user] password                        +OK
    REPLCONF listening-port 6379                +OK; an old version knows none of these, which is no matter
    REPLCONF capa eof capa psync2               +OK
    PSYNC run offset                            +CONTINUE [run]: the stream goes on at this offset
    PSYNC ? -1                                  +FULLRESYNC run offset: all data comes first

Source: syncWithMaster and slaveTryPartialResynchronization in replication.c of redis 7.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from kvserver.errors import LinkLost
from kvserver.resp.request import Request

# A longer line is none of a greeting.
LONGEST_LINE_BYTES: Final = 64 * 1024
# What PING may be answered where a password is needed, or the user may not say PING.
_TO_AUTHENTICATE: Final = (b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted")
# Those who will be able to send their data.
_LATER: Final = (b"-NOMASTERLINK", b"-LOADING", b"-MASTERDOWN")
_FULL: Final = re.compile(rb"\+FULLRESYNC ([0-9A-Za-z]{40}) ([0-9]{1,19})")
_CONTINUE: Final = re.compile(rb"\+CONTINUE(?: ([0-9A-Za-z]{40}))?\s*")
_UNKNOWN: Final = re.compile(rb"-ERR unknown command", re.IGNORECASE)


class FullResync(NamedTuple):
    """All data comes first. Behind it the stream of commands goes on at an offset (bytes) in the history of this name."""

    run: str
    offset: int


class Continue(NamedTuple):
    """The stream of commands goes on right behind the offset that was asked for, in the history of this name."""

    run: str


Answer = FullResync | Continue


class Credentials(NamedTuple):
    """What to log in with. Without a user it is the default one, without a password nobody logs in."""

    user: bytes = b""
    password: bytes = b""


class Place(NamedTuple):
    """Where the source and its clients reach the replica; an empty host: at the address that it comes from."""

    host: str
    port: int


class Handshake:
    """A greeting: `begin`, then `take` each line that comes, and send what both give, until `answer` is there.

    `run` and `offset` name what is there already: the offset up to which the commands of a history have run. An empty run
    stands for nothing.
    """

    def __init__(self, credentials: Credentials, place: Place, run: str = "", offset: int = 0) -> None:
        self.answer: Answer | None = None
        # The words that were sent last, for errors.
        self.asked: Request = []
        self._credentials = credentials
        self._place = place
        self._run, self._offset = run, offset
        # What is to be answered, in order; the last one is PSYNC.
        self._requests = self._all_requests()

    def begin(self) -> bytes:
        """The first bytes to send."""
        return self._next()

    def take(self, line: bytes) -> bytes:
        """Take a line, without its end. Return what to send, perhaps nothing. LinkLost where the source refuses."""
        # Those who take their time keep the link alive by empty lines.
        if not line:
            return b""
        match self.asked[0]:
            case b"PING":
                if line[:1] != b"+" and not line.startswith(_TO_AUTHENTICATE):
                    raise LinkLost(f"Error reply to PING from master: '{shown(line)}'")
            case b"AUTH":
                if line[:1] == b"-":
                    raise LinkLost(f"Unable to AUTH to MASTER: {shown(line)}")
            case b"PSYNC":
                self._take_answer(line)
                return b""
        return self._next()

    def _all_requests(self) -> Iterator[Request]:
        yield [b"PING"]
        if self._credentials.password:
            user = [self._credentials.user] if self._credentials.user else []
            yield [b"AUTH", *user, self._credentials.password]
        yield [b"REPLCONF", b"listening-port", b"%d" % self._place.port]
        if self._place.host:
            yield [b"REPLCONF", b"ip-address", self._place.host.encode()]
        yield [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]
        if self._run:
            yield [b"PSYNC", self._run.encode(), b"%d" % (self._offset + 1)]
        else:
            yield [b"PSYNC", b"?", b"-1"]

    def _next(self) -> bytes:
        self.asked = next(self._requests)
        return packed(self.asked)

    def _take_answer(self, line: bytes) -> None:
        if match := _FULL.fullmatch(line):
            self.answer = FullResync(match[1].decode(), int(match[2]))
        elif self._run and (match := _CONTINUE.fullmatch(line)):
            self.answer = Continue(match[1].decode() if match[1] else self._run)
        elif line.startswith(_LATER):
            raise LinkLost(f"Master is currently unable to PSYNC but should be in the future: {shown(line)}")
        elif _UNKNOWN.match(line):
            # Services that are managed leave it out, and so does kvserver.
            raise LinkLost(f"the source lets nobody follow it, as redis-server does from version 2.8 on: {shown(line)}")
        else:
            raise LinkLost(f"Unexpected reply to PSYNC from master: {shown(line)}")


def packed(request: Request) -> bytes:
    """A request as it is sent."""
    return b"*%d\r\n" % len(request) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in request)


def shown(line: bytes) -> str:
    """A line of a source in a line of text."""
    return line[:200].decode("utf-8", "backslashreplace").strip()
