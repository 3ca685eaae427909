"""What all collections have in common: a small value is packed, a large one a container, and both are restored whole. Pure."""

from __future__ import annotations

from typing import Any

from kvserver.data.entries import Value
from kvserver.data.footprint import BLOCK_BYTES
from kvserver.data.kinds import Kind
from kvserver.formats.rdb import dump

# A str of Latin-1 characters has so many bytes before them, and a NUL behind.
_PACKED_BYTES = 49


class Collection(Kind):
    """A kind whose value is a packed `str` or a container."""

    def size_bytes(self, value: Any) -> int:
        if type(value) is str:
            return (len(value) + _PACKED_BYTES + BLOCK_BYTES - 1) & -BLOCK_BYTES
        size: int = value.size_bytes()
        return size

    def recreation(self, key: bytes, value: Value, expires_at_ms: int | None) -> list[list[bytes]]:
        return [[b"RESTORE", key, b"%d" % (expires_at_ms or 0), dump(value), b"REPLACE", b"ABSTTL"]]
