"""Long strings of RDB files: gathered while they come, and expanded in steps if they are compressed. Pure.

The buffer grows by moving pages, and what it holds in the end is the string itself, so that nobody copies it.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

from kvserver._speedups.lzf import MOST_DISTANCE, decompress_part
from kvserver.data.steps import Steps
from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import BAD_FORMAT

# A string is long from here on, as it stands in the file or as it is.
LONG_BYTES: Final = 1 << 16
# The first byte of a string that is an integer, or compressed.
_ENCODED_FROM: Final = 0xC0
# A step expands so many bytes.
_STEP_BYTES: Final = 1 << 16


class LongString:
    """A string of `length` bytes that stands in `stored_bytes` bytes of the file, of which `left` have not come yet."""

    def __init__(self, stored_bytes: int, length: int, *, is_compressed: bool) -> None:
        self.left = stored_bytes
        self._length = length
        self._is_compressed = is_compressed
        self._stored = BytesIO()

    @classmethod
    def begin(cls, first_byte: int, stored_bytes: int, length: int, max_bytes: int) -> LongString | None:
        """The string with this first byte and these lengths, or None if it is not long, or has more than `max_bytes` bytes."""
        if length <= LONG_BYTES or max(stored_bytes, length) > max_bytes:
            return None
        return cls(stored_bytes, length, is_compressed=first_byte >= _ENCODED_FROM)

    def take(self, data: memoryview) -> None:
        """Take the next of its bytes in the file, no more than are left."""
        self._stored.write(data)
        self.left -= len(data)

    def value(self) -> Steps[bytes]:
        """The string, when all has come. DumpInvalid if what has come is none."""
        stored = self._stored.getvalue()
        if not self._is_compressed:
            return stored
        expanded, position, last = BytesIO(), 0, b""
        try:
            while position < len(stored) and expanded.tell() <= self._length:
                part, position = decompress_part(stored, position, last, _STEP_BYTES)
                expanded.write(part)
                last = (last + part)[-MOST_DISTANCE:]
                yield
        except ValueError:
            raise DumpInvalid(BAD_FORMAT) from None
        if expanded.tell() != self._length:
            raise DumpInvalid(BAD_FORMAT)
        return expanded.getvalue()
