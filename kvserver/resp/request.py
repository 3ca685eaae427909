"""The bytes of a connection to requests: RESP arrays of bulk strings, and inline commands. Sans-IO: never reads a socket.

`StrictParser` is the definition: it can be resumed at every byte, allocates nothing that a client merely declares, and gives
Redis's error texts. A read that holds whole commands, the usual case, goes a faster way (`decode`), which leaves to it
whatever is not whole or not usual.
"""

from __future__ import annotations

import re
from io import BytesIO
from itertools import chain
from typing import Final

from kvserver._speedups.requests import decode
from kvserver.errors import ProtocolError

# The command's name, then its arguments.
Request = list[bytes]

# The longest inline command, or line that declares a length, in bytes.
_LINE_LIMIT: Final = 64 * 1024
_MAX_ARGUMENTS: Final = 2**31 - 1
_UNAUTHENTICATED_MAX_ARGUMENTS: Final = 10
_UNAUTHENTICATED_MAX_BULK_BYTES: Final = 16384
# An argument costs this beyond its bytes, so that a million empty arguments count, too.
_ARGUMENT_OVERHEAD_BYTES: Final = 48

# Redis's string2ll: no sign but a minus, no leading zeros. int() would take b"+1", b" 1 " and b"1_0".
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_CRLF: Final = b"\r\n"
# One call parses so many lines, arguments and pieces of long lines step by step, in about 0.5 ms: a client may send what only
# the strict parser reads, and the other clients wait meanwhile.
_STEPS_PER_FEED: Final = 256
_BYTES_PER_STEP: Final = 64
# The fast way ends behind so many commands, or soon: of the shortest ones, a read of 256 KiB has 18,000.
COMMANDS_PER_FEED: Final = 1024
_STAR: Final = ord("*")
# A longer argument that has not come whole is gathered in a buffer of its own.
LONG_ARGUMENT_BYTES: Final = 1 << 16


class StrictParser:
    """The resumable parser: `feed` gives the commands that are complete, and sets `failure` at the first invalid byte.

    `max_bulk_bytes` is the longest argument that a client may declare, in bytes.
    """

    def __init__(self, max_bulk_bytes: int = 512 * 1024 * 1024, *, takes_inline: bool = True) -> None:
        # Set when the client has sent what is no request; the commands before that were returned.
        self.failure: ProtocolError | None = None
        # The parser stands between two commands, and nothing forbids the fast way.
        self.is_idle = True
        # `feed` stopped early and has more to parse: feed it b"".
        self.has_unread = False
        # The client has yet to authenticate.
        self._is_limited = False
        self._max_bulk_bytes = max_bulk_bytes
        self._takes_inline = takes_inline
        self._buffer = bytearray()
        # The position in the buffer, while `feed` runs, and the number of steps that it may still take.
        self._position = 0
        self._steps_left = 0
        # The number of arguments that the present command still lacks.
        self._missing = 0
        self._arguments: Request = []
        self._arguments_bytes = 0
        # The length of the argument that comes next, when its `$` line was read; else -1.
        self._bulk_length = -1
        # The part of a long argument that has come. It grows with that, by moving pages, and what it holds in the end is the
        # argument itself: each byte is copied into it, and not a second time.
        self._gathered: BytesIO | None = None

    @property
    def pending_bytes(self) -> int:
        """About the memory that the command that is not complete yet holds, in bytes."""
        return self.buffered_bytes + self._arguments_bytes

    @property
    def buffered_bytes(self) -> int:
        """The number of bytes that were fed and are not parsed, with those that have come of a long argument."""
        return len(self._buffer) + (self._gathered.tell() if self._gathered else 0)

    @property
    def spare_bytes(self) -> int:
        """The number of bytes that the buffer has room for beyond those that it holds."""
        return max(self._buffer.__alloc__() - len(self._buffer), 0)

    @property
    def argument_bytes(self) -> int:
        """The number of bytes of the arguments of the command that is not complete yet."""
        return self._arguments_bytes - len(self._arguments) * _ARGUMENT_OVERHEAD_BYTES

    def limit(self, max_bulk_bytes: int, authenticated: bool) -> None:
        """Set what later commands may declare: a client that must authenticate first may declare little."""
        self._max_bulk_bytes = max_bulk_bytes
        self._is_limited = not authenticated
        self._update_idle()

    def feed(self, data: bytes, most: int | None = None) -> list[Request]:
        """Return the commands that are complete with this data, at most `most` of them. Empty commands are left out.

        The parser stops early, which `has_unread` tells, where there is a lot to do, and behind each command of a client that
        has yet to authenticate: what the client may send next depends on what that command does.
        """
        commands: list[Request] = []
        if self.failure:
            return commands
        most = 1 if self._is_limited else most
        self._buffer += self._gather(data) if self._gathered else data
        self._position = 0
        self._steps_left = _STEPS_PER_FEED
        try:
            while len(commands) != most and (command := self._next()) is not None:
                if command:
                    commands.append(command)
        except ProtocolError as failure:
            # Its traceback would refer to this parser, which the garbage collector alone would free then.
            self.failure = failure.with_traceback(None)
            self._position = len(self._buffer)
        del self._buffer[: self._position]
        self.has_unread = bool(self._buffer) and (self._steps_left <= 0 or (self._is_limited and bool(commands)))
        self._update_idle()
        return commands

    def _update_idle(self) -> None:
        self.is_idle = not (self._buffer or self._missing or self.failure or self._is_limited)

    def _next(self) -> Request | None:
        """Return the next command (empty where there is nothing to run), or None if it takes more data or a further call."""
        self._steps_left -= 1
        if not self._missing:
            if self._position >= len(self._buffer) or self._steps_left < 0:
                return None
            if self._buffer[self._position] != _STAR:
                return self._inline()
            line = self._line("too big mbulk count string")
            if line is None:
                return None
            count = _integer(line[1:])
            if count is None or count > _MAX_ARGUMENTS:
                raise ProtocolError("invalid multibulk length")
            if self._is_limited and count > _UNAUTHENTICATED_MAX_ARGUMENTS:
                raise ProtocolError("unauthenticated multibulk length")
            if count <= 0:
                return []
            self._missing = count
        while self._missing:
            self._steps_left -= 1
            if self._steps_left < 0:
                return None
            if self._bulk_length < 0 and not self._bulk_header():
                return None
            end = self._position + self._bulk_length
            if self._gathered or (len(self._buffer) < end and self._bulk_length > LONG_ARGUMENT_BYTES):
                end = self._gather_buffer()
            if len(self._buffer) < end + len(_CRLF):
                return None
            if self._gathered:
                argument, self._gathered = self._gathered.getvalue(), None
            else:
                argument = bytes(self._buffer[self._position : end])
            self._arguments.append(argument)
            self._arguments_bytes += self._bulk_length + _ARGUMENT_OVERHEAD_BYTES
            # Redis does not ask which two bytes these are, either.
            self._position = end + len(_CRLF)
            self._bulk_length = -1
            self._missing -= 1
        command, self._arguments, self._arguments_bytes = self._arguments, [], 0
        return command

    def _gather(self, data: bytes) -> bytes:
        """Add to the long argument that is being gathered the part of the data that belongs to it. Return the rest."""
        assert self._gathered is not None
        missing = self._bulk_length - self._gathered.tell()
        self._gathered.write(data if len(data) <= missing else data[:missing])
        return data[missing:]

    def _gather_buffer(self) -> int:
        """Gather what is in the buffer. Return the position at which the argument ends there, if all of it has come."""
        if self._gathered is None:
            self._gathered = BytesIO()
        data = bytes(self._buffer[self._position :])
        self._position += len(data) - len(self._gather(data))
        return self._position + self._bulk_length - self._gathered.tell()

    def _bulk_header(self) -> bool:
        line = self._line("too big bulk count string")
        if line is None:
            return False
        if line[:1] != b"$":
            # An empty line shows its carriage return, as in Redis.
            raise ProtocolError(f"expected '$', got '{(line[:1] or _CRLF[:1]).decode('utf-8', 'surrogateescape')}'")
        length = _integer(line[1:])
        if length is None or not 0 <= length <= self._max_bulk_bytes:
            raise ProtocolError("invalid bulk length")
        if self._is_limited and length > _UNAUTHENTICATED_MAX_BULK_BYTES:
            raise ProtocolError("unauthenticated bulk length")
        self._bulk_length = length
        return True

    def _line(self, too_long: str) -> bytes | None:
        """Return the line that begins at the position, without its end, or None if it is not complete."""
        end = self._buffer.find(b"\r", self._position)
        if end < 0 or end + 1 >= len(self._buffer):
            if end < 0 and len(self._buffer) - self._position > _LINE_LIMIT:
                raise ProtocolError(too_long)
            return None
        line = bytes(self._buffer[self._position : end])
        self._position = end + len(_CRLF)
        return line

    def _inline(self) -> Request | None:
        if not self._takes_inline:
            raise ProtocolError(f"expected '*', got '{chr(self._buffer[self._position])}'")
        end = self._buffer.find(b"\n", self._position)
        if end < 0 or end - self._position > _LINE_LIMIT:
            if len(self._buffer) - self._position > _LINE_LIMIT:
                raise ProtocolError("too big inline request")
            return None
        line = bytes(self._buffer[self._position : end])
        self._steps_left -= len(line) // _BYTES_PER_STEP
        self._position = end + 1
        return split_inline(line.removesuffix(b"\r"))


class RequestParser(StrictParser):
    """The parser of one connection: `feed` it what was read. After a `failure` it parses nothing more."""

    # The fast way has ended before requests that are in the buffer now.
    _has_ended_early = False

    def feed(self, data: bytes, most: int | None = None) -> list[Request]:
        if self._has_ended_early:
            self._has_ended_early = self.has_unread = False
            data = bytes(self._buffer) + data
            self._buffer.clear()
            self._update_idle()
        if most is not None or not data or not self.is_idle:
            return self._feed_strictly(data, most)
        commands, rest = decode(data, COMMANDS_PER_FEED)
        if not rest:
            return commands
        if len(commands) >= COMMANDS_PER_FEED:
            self._buffer += rest
            self._has_ended_early = self.has_unread = True
            self._update_idle()
            return commands
        # The fast way is not tried again behind a command that it leaves: trying in vain for each would take quadratic time.
        return commands + super().feed(rest)

    def _feed_strictly(self, data: bytes, most: int | None) -> list[Request]:
        if most is not None or self._is_limited or not data:
            return super().feed(data, most)
        # The last read ended inside a command: the strict parser ends that one, and the fast way takes what follows.
        commands = super().feed(data, most=1)
        if not commands or self.failure or self._missing:
            return commands
        data = bytes(self._buffer)
        self._buffer.clear()
        self.has_unread = False
        self._update_idle()
        return commands + self.feed(data)


def request_bytes(command: Request) -> int:
    """The number of bytes that a client has sent for a command, if it sent an array."""
    headers = [len(command), *map(len, command)]
    return sum(headers[1:]) + len(_CRLF) * len(command) + sum(len(b"*%d\r\n" % header) for header in headers)


_HEADER_BYTES = [len(b"*%d\r\n" % number) for number in range(1 << 10)]


def requests_bytes(requests: list[Request]) -> int:
    """The number of bytes of requests, each of which was sent as an array. Measured: a sixth of the time of one by one."""
    lengths = list(map(len, chain.from_iterable(requests)))
    try:
        headers = sum(map(_HEADER_BYTES.__getitem__, chain(map(len, requests), lengths)))
    except IndexError:
        # One of them is longer than the list.
        return sum(map(request_bytes, requests))
    return headers + sum(lengths) + len(_CRLF) * len(lengths)


# A word and the gap behind it, as in Redis's sdssplitargs, where the bytes that may stand between words are not the same as
# those that end one. A quote ends its word: nothing may be glued to it.
_WORD = re.compile(
    rb"([^ \t\n\r\"']*+)"
    rb"(?:\"((?:[^\"\\]++|\\.)*+)\"|'((?:[^'\\]++|\\'|\\)*+)')?"
    rb"(?:[ \t\n\r\v\f]++|\Z)",
    re.DOTALL,
).match
# The bytes that bytes.split knows nothing of, or takes otherwise than Redis.
_PECULIAR = re.compile(rb"[\"'\v\f]").search
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_inline(line: bytes) -> Request:
    """The words of an inline command, as Redis's sdssplitargs reads quotes and escapes. ProtocolError if unbalanced."""
    # Redis's string ends at the first zero byte.
    line = line.partition(b"\0")[0]
    if not _PECULIAR(line):
        return line.split()
    line = line.lstrip()
    words: Request = []
    index = 0
    while index < len(line):
        match = _WORD(line, index)
        if match is None:
            raise ProtocolError("unbalanced quotes in request")
        word, double, single = match.groups()
        if double is not None:
            word += _ESCAPE.sub(_unescape, double)
        elif single is not None:
            word += single.replace(b"\\'", b"'")
        words.append(word)
        index = match.end()
    return words


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),)) if match[1] else _ESCAPED.get(match[2], match[2])


def _integer(text: bytes) -> int | None:
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if _INT64_MIN <= number <= _INT64_MAX else None
