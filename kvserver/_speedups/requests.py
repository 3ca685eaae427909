"""Requests out of the bytes of a read, while these are whole and usual: the parser's fast way. How many are alike?

In Python, a read is divided into its lines (`decode_lines`). Where its arguments are long, they are cut out of the read by
their lengths, without a look at what is in them (`split_arguments`). Both are hand-made, since they were measured: to divide a
read into lines takes a fifth of the strict parser's time, and less than hiredis takes with the checks that requests need
behind it, since it reads replies. In C, a sixth of that is left.
"""

from __future__ import annotations

import re
from typing import Final

from kvserver._speedups.choice import leaf

Request = list[bytes]

_CRLF: Final = b"\r\n"
# A number as Redis writes it, in no more digits than a length in a read has.
_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,8}")
# No more lines than this are looked for at once: a read of more is divided in turns.
_LINES: Final = 1 << 12
# A command of more lines is for the strict parser.
_MOST_LINES: Final = 1 << 14
# The number of lines of a short command, by its first line.
_WIDTHS: Final = {b"*%d" % count: 2 * count + 1 for count in range(1, 33)}


class _LengthLines(dict[int, bytes]):
    """The lines that declare a length, by the length; those of short arguments are kept, others made when asked for."""

    def __missing__(self, length: int) -> bytes:
        return b"$%d" % length


_LENGTH_LINES: Final = _LengthLines({length: b"$%d" % length for length in range(1024)})
_length_line = _LENGTH_LINES.__getitem__
# The lengths that names and keys usually have, by the lines that declare them.
_LENGTHS: Final = {b"$%d" % length: length for length in range(64)}
# So few lines in so many bytes at the start of a read mean that its arguments are long.
_SAMPLE_BYTES: Final = 512
_SAMPLE_LINES: Final = 8
# No line that declares a length is longer than this, with its end.
_LENGTH_LINE_BYTES: Final = 24
# `split_arguments` ends behind so many arguments and the command that they end in: the arguments that follow may be short.
_MOST_ARGUMENTS: Final = 1024


@leaf
def decode(data: bytes, most: int) -> tuple[list[Request], bytes]:
    """Return the requests at the start of the data, as long as they are whole and usual, and the rest.

    It ends where it has `most` requests, or soon behind. A usual one is an array of bulk strings, whose numbers are spelled as
    Redis spells them, and which has fewer than 8,192 arguments. The rest, if there are fewer than `most`, is for the strict
    parser. Whole requests may be among it, since each form draws the line where that is easy; what the strict parser makes of
    them is what they would have been here.
    """
    requests: list[Request] = []
    while data and len(requests) < most:
        found, data = split_arguments(data) if _has_long_lines(data) else decode_lines(data)
        if not found:
            break
        requests = requests + found if requests else found
    return requests, data


@leaf
def count_alike(requests: list[Request], start: int, name: bytes, width: int) -> int:
    """The number of requests, from the one at `start` on, that have this name, spelled like this, and so many words.

    The name counts as a word.
    """
    # Measured: where all are alike, as they often are, this takes a third of the time of the loop.
    if not start and {width}.issuperset(map(len, requests)) and [words[0] for words in requests].count(name) == len(requests):
        return len(requests)
    place = start
    while place < len(requests) and len(requests[place]) == width and requests[place][0] == name:
        place += 1
    return place - start


def _has_long_lines(data: bytes) -> bool:
    """True if to look at every byte for the end of a line, as a split does, would take longer than all the rest."""
    return len(data) >= _SAMPLE_BYTES and data.count(b"\n", 0, _SAMPLE_BYTES) <= _SAMPLE_LINES


def split_arguments(data: bytes) -> tuple[list[Request], bytes]:
    """Return the commands at the start of the data and the rest, as `decode_lines` does.

    It goes from argument to argument by their lengths, for long ones, in which it looks for no lines.
    """
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
                length = _number(line[1:]) if line[:1] == b"$" else None
                if length is None or length < 0:
                    break
            first = end + len(_CRLF)
            # Redis does not ask which two bytes end the argument.
            position = first + length + len(_CRLF)
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
    """Return the commands at the start of the data, as many as one call finds, and the rest.

    It finds none if the first command is not whole, or has more than _MOST_LINES lines. Redis reads as a bulk string a line
    that declares a length and behind it lines that make up that very length; a command is a line that declares a number and
    behind it so many bulk strings. No limit is looked at: an argument may always have a megabyte, and a read has less.
    """
    lines = data.split(_CRLF, _LINES)
    width = _WIDTHS.get(lines[0])
    if not width and _width(lines[0]) > _LINES:
        lines = data.split(_CRLF, _MOST_LINES)
    # The last line is not whole.
    end = len(lines) - 1
    if width == end:
        # The read is one command.
        arguments = lines[2:end:2]
        position = 1
        for argument in arguments:
            if lines[position] != _LENGTH_LINES[len(argument)]:
                break
            position += 2
        else:
            return [arguments], lines[end]
    elif width and not end % width and lines[0:end:width].count(lines[0]) == end // width:
        # The read is commands with as many arguments each, as pipelines often are: the first arguments of all commands are
        # checked together, then the second ones, and so on.
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
    """Return the `count` arguments behind a first line, some of which hold line breaks, and the line of the next command.

    There are no arguments if they are not whole, or are no bulk strings.
    """
    arguments: Request = []
    end = len(lines) - 1
    position = start + 1
    while len(arguments) < count and position < end:
        argument = lines[position + 1]
        behind = position + 2
        if lines[position] != _LENGTH_LINES[len(argument)]:
            length = _number(lines[position][1:]) if lines[position][:1] == b"$" else None
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
    """The number of lines of a command whose first line this is, or 0 if it is none of a command of a usual size."""
    count = _number(line[1:5]) if line[:1] == b"*" and len(line) <= len(b"*9999") else None
    return 2 * count + 1 if count and count > 0 else 0


def _number(text: bytes) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None
