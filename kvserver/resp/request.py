"""Bytes of a connection to commands: RESP arrays of bulk strings, and inline commands. Sans-IO.

`StrictParser` is the definition: resumable at every byte, allocates nothing that a client merely declares, and gives
Redis's error texts. A read that holds whole commands, the usual case, is divided into its lines instead, in a fifth of the
time; less than hiredis takes with all that has to be looked at behind it, since it reads replies, which can hold what
requests may not. Where its arguments are long, they are cut out of it by their lengths, without a look at what is in them.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import Final

from kvserver.errors import ProtocolError

Request = list[bytes]  # the command's name, then its arguments

_LINE_LIMIT: Final = 64 * 1024  # of an inline command, or of a line that declares a length
_MAX_ARGUMENTS: Final = 2**31 - 1
_UNAUTHENTICATED_MAX_ARGUMENTS: Final = 10
_UNAUTHENTICATED_MAX_BULK_BYTES: Final = 16384
_ARGUMENT_OVERHEAD_BYTES: Final = 48  # what an argument costs beyond its bytes: so that a million empty ones count, too

# Redis's string2ll: no sign but a minus, no leading zeros. int() would take b"+1", b" 1 " and b"1_0".
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_CRLF: Final = b"\r\n"
# More lines than this are not looked for at once: it takes about as long as _STEPS_PER_FEED.
_MOST_LINES: Final = 1 << 14
# Of short commands: how many lines a command has that begins with this one.
_WIDTHS: Final = {b"*%d" % count: 2 * count + 1 for count in range(1, 33)}
# What one call parses step by step, in lines, arguments and pieces of long lines: about 0.5 ms. A client may send what
# only the strict parser reads, and the others wait meanwhile.
_STEPS_PER_FEED: Final = 256
_BYTES_PER_STEP: Final = 64
_STAR: Final = ord("*")
# An argument that is longer, and has not come whole, is gathered in a buffer of its own.
LONG_ARGUMENT_BYTES: Final = 1 << 16


class _LengthLines(dict[int, bytes]):
    """The line that declares a length; those of short arguments are kept."""

    def __missing__(self, length: int) -> bytes:
        return b"$%d" % length


_LENGTH_LINES: Final = _LengthLines({length: b"$%d" % length for length in range(1024)})
_length_line = _LENGTH_LINES.__getitem__
_LENGTHS: Final = {b"$%d" % length: length for length in range(64)}  # of names and keys
# So few lines at the start of a read mean that its arguments are long.
_SAMPLE_BYTES: Final = 512
_SAMPLE_LINES: Final = 8
_LENGTH_LINE_BYTES: Final = 24  # which no line that declares a length exceeds, with its end
_MOST_ARGUMENTS: Final = 1024  # and the rest of a command: then it is time to see whether what follows is long as well


class StrictParser:
    """The resumable parser: `feed` gives the commands that are complete, and sets `failure` at the first invalid byte."""

    def __init__(self, max_bulk_bytes: int = 512 * 1024 * 1024, *, takes_inline: bool = True) -> None:
        # Set once the client sent what is no request; the commands before it were returned.
        self.failure: ProtocolError | None = None
        self.is_idle = True  # between two commands, with nothing that forbids the fast way
        self.has_unread = False  # `feed` stopped early and has more to parse: feed it b""
        self._is_limited = False  # the client has yet to authenticate
        self._max_bulk_bytes = max_bulk_bytes
        self._takes_inline = takes_inline
        self._buffer = bytearray()
        self._position = 0  # in the buffer, while feed runs
        self._steps_left = 0  # that the present call may still take
        self._missing = 0  # arguments that the present command still lacks
        self._arguments: Request = []
        self._arguments_bytes = 0
        self._bulk_length = -1  # of the argument that comes next, once its `$` line was read
        # Of a long one, what has come. It grows with that, by moving pages, and what it holds in the end is the argument
        # itself: each byte is copied into it, and not a second time.
        self._gathered: BytesIO | None = None

    @property
    def pending_bytes(self) -> int:
        """About how much memory the command that is not complete yet holds."""
        return self.buffered_bytes + self._arguments_bytes

    @property
    def buffered_bytes(self) -> int:
        """What was fed and is not parsed, and what there is of a long argument."""
        return len(self._buffer) + (self._gathered.tell() if self._gathered else 0)

    @property
    def spare_bytes(self) -> int:
        """What the buffer for that has room for beyond it."""
        return max(self._buffer.__alloc__() - len(self._buffer), 0)

    @property
    def argument_bytes(self) -> int:
        """Of the arguments of a command that is not complete yet."""
        return self._arguments_bytes - len(self._arguments) * _ARGUMENT_OVERHEAD_BYTES

    def limit(self, max_bulk_bytes: int, authenticated: bool) -> None:
        """Set what later commands may declare: clients that must authenticate first get little."""
        self._max_bulk_bytes = max_bulk_bytes
        self._is_limited = not authenticated
        self._note_idle()

    def feed(self, data: bytes, most: int | None = None) -> list[Request]:
        """The commands that are complete with this data, `most` at most, empty ones left out.

        Stops early, which `has_unread` tells, where there is a lot to do, and behind each command of a client that has yet
        to authenticate: what it may send next depends on what that one does.
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
            self.failure = failure
            self._position = len(self._buffer)
        del self._buffer[: self._position]
        self.has_unread = bool(self._buffer) and (self._steps_left <= 0 or (self._is_limited and bool(commands)))
        self._note_idle()
        return commands

    def _note_idle(self) -> None:
        self.is_idle = not (self._buffer or self._missing or self.failure or self._is_limited)

    def _next(self) -> Request | None:
        """The next command (empty where there is nothing to run), or None: more data is needed."""
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
            self._position = end + len(_CRLF)  # which two bytes these are Redis does not ask, either
            self._bulk_length = -1
            self._missing -= 1
        command, self._arguments, self._arguments_bytes = self._arguments, [], 0
        return command

    def _gather(self, data: bytes) -> bytes:
        """Put what belongs to it behind the long argument that is being gathered; the rest."""
        assert self._gathered is not None
        missing = self._bulk_length - self._gathered.tell()
        self._gathered.write(data if len(data) <= missing else data[:missing])
        return data[missing:]

    def _gather_buffer(self) -> int:
        """The same with what is in the buffer. Where the argument ends in it, if all of it has come."""
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
        """The line that begins at the position, without its end. None: it is not complete."""
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
    """All that one connection needs: `feed` it what was read. After a `failure` it reads nothing more."""

    def feed(self, data: bytes, most: int | None = None) -> list[Request]:
        if most is not None or self._is_limited or not data:
            return super().feed(data, most)
        commands: list[Request] = []
        if not self.is_idle:  # a long stream of commands, cut somewhere: the one that was cut, then as ever
            commands = super().feed(data, most=1)
            if not commands or self.failure or self._missing:
                return commands
            data = bytes(self._buffer)
            self._buffer.clear()
            self.has_unread = False
            self._note_idle()
        while data:
            found, data = cut_arguments(data) if _has_long_lines(data) else decode_lines(data)
            if not found:
                # Not tried again behind it: where it fails again and again, trying for each command takes quadratic time.
                return commands + super().feed(data)
            commands = commands + found if commands else found
        return commands


def request_bytes(command: Request) -> int:
    """How many bytes a client has sent for a command, if it sent an array."""
    headers = [len(command), *map(len, command)]
    return sum(headers[1:]) + len(_CRLF) * len(command) + sum(len(b"*%d\r\n" % header) for header in headers)


def _has_long_lines(data: bytes) -> bool:
    """Whether to look at every byte for the end of a line, as a split does, would take longer than all the rest."""
    return len(data) >= _SAMPLE_BYTES and data.count(b"\n", 0, _SAMPLE_BYTES) <= _SAMPLE_LINES


def cut_arguments(data: bytes) -> tuple[list[Request], bytes]:
    """As `decode_lines`, but argument by argument, by their lengths: for long ones, in which it looks for no lines."""
    commands: list[Request] = []
    size, start, left = len(data), 0, _MOST_ARGUMENTS
    while left > 0:
        end = data.find(b"\r", start, start + _LENGTH_LINE_BYTES)
        if end < 0:
            break
        line = data[start:end]
        count = (_WIDTHS.get(line) or _width(line)) // 2
        arguments: Request = []
        position = end + len(_CRLF)
        while len(arguments) < count:
            end = data.find(b"\r", position, position + _LENGTH_LINE_BYTES)
            if end < 0:
                break
            line = data[position:end]
            length = _LENGTHS.get(line)
            if length is None:
                length = _integer(line[1:]) if line[:1] == b"$" else None
                if length is None or length < 0:
                    break
            first = end + len(_CRLF)
            position = first + length + len(_CRLF)  # which two bytes these are Redis does not ask
            if position > size:
                break
            arguments.append(data[first : first + length])
        if not count or len(arguments) < count:
            break
        commands.append(arguments)
        start = position
        left -= count
    return commands, data[start:]


def decode_lines(data: bytes) -> tuple[list[Request], bytes]:
    """The commands at the start of data, as many as one call finds, and the rest.

    It finds none where the first one is not whole, or is longer than one look. A line that declares a length, and behind it
    lines that make up that very length, is what Redis reads as a bulk string; so many of them behind a line that declares
    their number are a command. It asks for no limit: an argument may always have a megabyte, and a read has less.
    """
    lines = data.split(_CRLF, _MOST_LINES)
    end = len(lines) - 1  # where what is no whole line stands
    width = _WIDTHS.get(lines[0])
    if width == end:  # one command
        arguments = lines[2:end:2]
        position = 1
        for argument in arguments:
            if lines[position] != _LENGTH_LINES[len(argument)]:
                break
            position += 2
        else:
            return [arguments], lines[end]
    elif width and not end % width and lines[0:end:width].count(lines[0]) == end // width:
        # Commands with as many arguments each, as pipelines often are: argument by argument instead of one by one.
        columns = [lines[first:end:width] for first in range(2, width, 2)]
        for first, column in zip(range(1, width, 2), columns, strict=True):
            if lines[first:end:width] != list(map(_length_line, map(len, column))):
                break
        else:
            return list(map(list, zip(*columns, strict=True))), lines[end]
    commands: list[Request] = []
    start = 0
    while start < end:
        behind = start + (_WIDTHS.get(lines[start]) or _width(lines[start]))
        arguments = lines[start + 2 : behind : 2]
        position = start + 1
        for argument in arguments:
            if lines[position] != _LENGTH_LINES[len(argument)]:
                break
            position += 2
        if position != behind or not start < behind <= end:
            arguments, behind = _join_lines(lines, start, (behind - start) // 2)
            if not arguments:
                break
        commands.append(arguments)
        start = behind
    return commands, _CRLF.join(lines[start:])


def _join_lines(lines: list[bytes], start: int, count: int) -> tuple[Request, int]:
    """`count` arguments behind a first line, where some hold line breaks; and where the next command begins.

    No arguments where they are not whole, or no bulk strings.
    """
    arguments: Request = []
    end = len(lines) - 1
    position = start + 1
    while len(arguments) < count and position < end:
        argument = lines[position + 1]
        behind = position + 2
        if lines[position] != _LENGTH_LINES[len(argument)]:
            length = _integer(lines[position][1:]) if lines[position][:1] == b"$" else None
            if length is None:
                break
            missing = length - len(argument)
            while missing > 0 and behind < end:
                missing -= len(_CRLF) + len(lines[behind])
                behind += 1
            if missing:
                break
            argument = _CRLF.join(lines[position + 1 : behind])
        if behind > end:
            break
        arguments.append(argument)
        position = behind
    return (arguments, position) if len(arguments) == count else ([], start)


def _width(line: bytes) -> int:
    """How many lines a command has that begins with this one, or 0 where it begins none of a usual size."""
    count = _integer(line[1:5]) if line[:1] == b"*" and len(line) <= len(b"*9999") else None
    return 2 * count + 1 if count and count > 0 else 0


# A word and the gap behind it, as in Redis's sdssplitargs, where what may stand between words is not the same as what ends
# one. A quote ends its word: nothing may be glued to it.
_WORD = re.compile(
    rb"([^ \t\n\r\"']*+)"
    rb"(?:\"((?:[^\"\\]++|\\.)*+)\"|'((?:[^'\\]++|\\'|\\)*+)')?"
    rb"(?:[ \t\n\r\v\f]++|\Z)",
    re.DOTALL,
).match
_PECULIAR = re.compile(rb"[\"'\v\f]").search  # what bytes.split knows nothing of, or takes otherwise
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_inline(line: bytes) -> Request:
    """The words of an inline command, as Redis's sdssplitargs reads quotes and escapes. ProtocolError if unbalanced."""
    line = line.partition(b"\0")[0]  # where Redis's string ends
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
