"""What all collections have in common: a small value is packed, a large one a container, and both are restored whole. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from kvserver.data.entries import Value
from kvserver.data.footprint import BLOCK_BYTES
from kvserver.data.kinds import Kind
from kvserver.formats.rdb import dump

# A str of Latin-1 characters has so many bytes before them, and a NUL behind.
_PACKED_BYTES = 49


class Large(Protocol):
    """Members by their names, of which some are given by chance or by a cursor: what a Table does."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...

    def get(self, member: bytes) -> Any: ...

    def random(self, below: Callable[[int], int]) -> bytes: ...

    def scan(self, cursor: int) -> tuple[int, list[bytes]]: ...


# Members as a command sees them that looks at some of them: those of a small collection in a dict.
Members = dict[bytes, Any] | Large


class Collection(Kind):
    """A kind whose value is a packed `str` or a container."""

    def size_bytes(self, value: Any) -> int:
        if type(value) is str:
            return (len(value) + _PACKED_BYTES + BLOCK_BYTES - 1) & -BLOCK_BYTES
        size: int = value.size_bytes()
        return size

    def recreation(self, key: bytes, value: Value, expires_at_ms: int | None) -> list[list[bytes]]:
        return [[b"RESTORE", key, b"%d" % (expires_at_ms or 0), dump(value), b"REPLACE", b"ABSTTL"]]
