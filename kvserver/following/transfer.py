"""All data of a source, as it comes between the greeting and the stream of commands: an RDB file in one of two frames. Pure.

    $LENGTH CR LF, then so many bytes           from a file that the source has saved
    $EOF:MARK CR LF, the file, MARK             without a file, and of no known length; the mark has 40 random bytes

Empty lines before it keep the link alive. Source: readSyncBulkPayload in replication.c of redis 7.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kvserver.errors import LinkLost, RDBInvalid, SourceUnusable
from kvserver.following.handshake import LONGEST_LINE_BYTES, shown
from kvserver.formats.rdb_file import RDBItem, RDBReader

MARK_BYTES: Final = 40
_LENGTH: Final = re.compile(rb"\$([0-9]{1,19})")
_MARK: Final = re.compile(rb"\$EOF:(.{40})", re.DOTALL)


class Transfer:
    """A transfer of all data: `feed` what comes, and take the parts that it completes.

    - `total_bytes` is the length of the file, or 0 where nobody tells it. Of that, `read_bytes` have come.
    - `has_begun`: the first line has come. `is_done`: all has come, and `rest` is what came behind it.

    LinkLost where the source tells of an error. SourceUnusable if what comes is no such file, or one that can't be read here.
    """

    def __init__(self, max_string_bytes: int, *, in_steps: bool = False) -> None:
        """Begin. `in_steps`, and the limit of strings, are those of an RDBReader."""
        self.total_bytes = 0
        self.read_bytes = 0
        self.has_begun = False
        self.is_done = False
        self.rest = b""
        self._reader = RDBReader(max_string_bytes, in_steps=in_steps)
        # What has come of the first line.
        self._line = b""
        # The bytes of the file that have yet to come, where its length is known, or the mark behind it.
        self._left = 0
        self._mark = b""
        # What has come behind the file.
        self._tail = b""

    def feed(self, data: bytes) -> Iterator[RDBItem]:
        """Take the next bytes, and give the parts of the file that they complete. The caller takes all of these."""
        if not self.has_begun:
            data = self._begin(self._line + data)
            if not self.has_begun:
                return
        if self._mark:
            yield from self._feed_to_mark(data)
        else:
            yield from self._feed_length(data)

    def _begin(self, data: bytes) -> bytes:
        """Read the first line. Return what is behind it, as far as it has come."""
        data = data.lstrip(b"\r\n")
        line, end, behind = data.partition(b"\r\n")
        if not end:
            self._line = data
            if len(data) > LONGEST_LINE_BYTES:
                raise SourceUnusable("the source sends no data where it has told that it would")
            return b""
        if line[:1] == b"-":
            raise LinkLost(f"MASTER aborted replication with an error: {shown(line[1:])}")
        if match := _MARK.fullmatch(line):
            self._mark = match[1]
        elif match := _LENGTH.fullmatch(line):
            self.total_bytes = self._left = int(match[1])
        else:
            raise SourceUnusable(
                f"Bad protocol from MASTER, the first byte is not '$' (we received '{shown(line)}'), are you sure the host "
                "and port are right?"
            )
        self.has_begun, self._line = True, b""
        return behind

    def _feed_length(self, data: bytes) -> Iterator[RDBItem]:
        part, self._left = data[: self._left], self._left - min(len(data), self._left)
        self.read_bytes += len(part)
        yield from self._read(part)
        if self._left:
            return
        if not self._reader.is_done or self._reader.rest:
            raise SourceUnusable("the data of the source does not end where it has told that it would")
        self.is_done, self.rest = True, data[len(part) :]

    def _feed_to_mark(self, data: bytes) -> Iterator[RDBItem]:
        self.read_bytes += len(data)
        if self._reader.is_done:
            self._tail += data
        else:
            yield from self._read(data)
            if not self._reader.is_done:
                return
            self._tail = self._reader.rest
        if len(self._tail) < MARK_BYTES:
            return
        if not self._tail.startswith(self._mark):
            raise SourceUnusable("the data of the source does not end with the mark that it has told")
        self.is_done, self.rest = True, self._tail[MARK_BYTES:]
        self.read_bytes -= len(self._tail)

    def _read(self, data: bytes) -> Iterator[RDBItem]:
        try:
            yield from self._reader.feed(data)
        except RDBInvalid as error:
            raise SourceUnusable(f"the data of the source can't be read: {error}") from None
