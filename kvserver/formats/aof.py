"""The append-only files of redis-server: commands as RESP arrays, one behind the other, and lines that begin with `#`. Pure.

    #TS:1700000000
    *2
    $6
    SELECT
    …

Such a line is an annotation, which says when the commands behind it ran, and changes nothing of what they do. A file may
begin with an RDB file, which is read before this. Source: aof.c of redis 7.0, loadSingleAppendOnlyFile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from kvserver._speedups.requests import decode
from kvserver.errors import SourceInvalid
from kvserver.resp.request import COMMANDS_PER_FEED, Request, StrictParser, request_bytes

# Nobody can have written a longer argument, or a longer annotation.
_MOST_ARGUMENT_BYTES: Final = 1 << 32
_MOST_LINE_BYTES: Final = 1024
_ANNOTATION: Final = b"#"


class Batch(NamedTuple):
    """Some commands in a row, with nothing between them, and the offset of the first one in bytes."""

    offset: int
    commands: list[Request]

    def offset_of(self, place: int) -> int:
        """The offset of one of the commands in bytes."""
        return self.offset + sum(map(request_bytes, self.commands[:place]))


class AOFReader:
    """Reads a file that comes in chunks: `feed` each, then `finish`. `offset` is that of the first byte.

    `position` is the offset behind all that was read whole. SourceInvalid, with the offset, at the first bytes that are no
    command. No memory is taken by what is only declared.
    """

    def __init__(self, offset: int = 0) -> None:
        self.position = offset
        self._buffer = b""
        # The chunks behind the buffer: they are joined when they are as long again, since a long value comes in many.
        self._coming: list[bytes] = []
        self._coming_bytes = 0

    def feed(self, data: bytes) -> Iterator[Batch]:
        """Take the next chunk, and yield the commands that are whole."""
        self._coming.append(data)
        self._coming_bytes += len(data)
        if self._coming_bytes >= len(self._buffer):
            yield from self._read()

    def finish(self) -> Iterator[Batch]:
        """Yield what is left. Behind that, `torn_bytes` tells how many bytes there are of a command that is not whole."""
        yield from self._read()

    @property
    def torn_bytes(self) -> int:
        """The number of bytes behind `position`."""
        return len(self._buffer) + self._coming_bytes

    def _read(self) -> Iterator[Batch]:
        self._buffer = b"".join([self._buffer, *self._coming])
        self._coming, self._coming_bytes = [], 0
        while self._buffer:
            if self._buffer.startswith(_ANNOTATION):
                if not self._read_annotation():
                    break
                continue
            commands, rest = decode(self._buffer, COMMANDS_PER_FEED)
            if not commands:
                command = self._read_strictly()
                if command is None:
                    break
                commands, rest = [command], self._buffer[request_bytes(command) :]
            batch = Batch(self.position, commands)
            self._pass(len(self._buffer) - len(rest), rest)
            yield batch

    def _pass(self, length: int, rest: bytes) -> None:
        self.position += length
        self._buffer = rest

    def _read_annotation(self) -> bool:
        end = self._buffer.find(b"\n", 0, _MOST_LINE_BYTES) + 1
        if not end:
            if len(self._buffer) >= _MOST_LINE_BYTES:
                raise self._invalid("a line that begins with # has no end")
            return False
        self._pass(end, self._buffer[end:])
        return True

    def _read_strictly(self) -> Request | None:
        """The command at the start of the buffer, or None if it is not whole."""
        parser = StrictParser(_MOST_ARGUMENT_BYTES, takes_inline=False)
        commands = parser.feed(self._buffer, most=1)
        while not commands and parser.has_unread:
            commands = parser.feed(b"", most=1)
        if parser.failure:
            # The byte that is shown may be one that a terminal obeys.
            raise self._invalid("".join(each if each.isprintable() else repr(each)[1:-1] for each in str(parser.failure)))
        # The parser passes over commands of no words, which no server has written.
        if (parser.is_idle and not commands) or (commands and not self._buffer.startswith(b"*%d\r" % len(commands[0]))):
            raise self._invalid("a command of no words")
        return commands[0] if commands else None

    def _invalid(self, reason: str) -> SourceInvalid:
        return SourceInvalid(f"damaged at offset {self.position}: {reason}")
