"""Small collections in Redis's blocks, made without kvserver: each entry in the encoding that the caller chooses."""

from __future__ import annotations

import struct
from collections.abc import Iterable


def listpack(entries: Iterable[bytes], count: int | None = None) -> bytes:
    """A listpack of entries, each an encoding and its data."""
    entries = list(entries)
    body = b"".join(entry + backwards(len(entry)) for entry in entries)
    return struct.pack("<IH", 7 + len(body), len(entries) if count is None else count) + body + b"\xff"


def backwards(length: int) -> bytes:
    """The length of an entry of a listpack as it stands behind the entry."""
    if length < 128:
        return bytes((length,))
    # With no more bits than these, Redis takes one byte more than it would need.
    size = next(size for size in (2, 3, 4, 5) if size == 5 or length < (1 << 7 * size) - 1)
    return bytes(length >> 7 * (size - 1 - index) & 0x7F | (0x80 if index else 0) for index in range(size))


def listpack_string(value: bytes) -> bytes:
    if len(value) < 64:
        return bytes((0x80 + len(value),)) + value
    if len(value) < 4096:
        return struct.pack(">H", 0xE000 + len(value)) + value
    return b"\xf0" + struct.pack("<I", len(value)) + value


def ziplist(entries: Iterable[bytes], count: int | None = None, long_from: int = 254) -> bytes:
    """A ziplist of entries, each an encoding and its data. A length before an entry takes five bytes from `long_from` on."""
    body, previous = b"", 0
    last = 10
    for number, entry in enumerate(entries, 1):
        last = 10 + len(body)
        whole = (bytes((previous,)) if previous < long_from else b"\xfe" + struct.pack("<I", previous)) + entry
        body, previous = body + whole, len(whole)
        total = number
    return struct.pack("<IIH", 11 + len(body), last, (total if body else 0) if count is None else count) + body + b"\xff"


def ziplist_string(value: bytes) -> bytes:
    if len(value) < 64:
        return bytes((len(value),)) + value
    if len(value) < 16_384:
        return struct.pack(">H", 0x4000 + len(value)) + value
    return b"\x80" + struct.pack(">I", len(value)) + value


# An integer in each encoding of a ziplist, and its decimal.
ZIPLIST_INTEGERS = (
    *((bytes((0xF1 + number,)), b"%d" % number) for number in (0, 1, 12)),
    *((struct.pack("<Bb", 0xFE, number), b"%d" % number) for number in (13, -1, 127, -128)),
    *((struct.pack("<Bh", 0xC0, number), b"%d" % number) for number in (128, -32_768)),
    *((b"\xf0" + number.to_bytes(3, "little", signed=True), b"%d" % number) for number in (32_768, -(1 << 23))),
    *((struct.pack("<Bi", 0xD0, number), b"%d" % number) for number in (1 << 23, -(1 << 31))),
    *((struct.pack("<Bq", 0xE0, number), b"%d" % number) for number in (1 << 31, -(1 << 63), (1 << 63) - 1)),
)


def zipmap(pairs: Iterable[tuple[bytes, bytes]], unused: int = 0, count: int | None = None) -> bytes:
    """A zipmap, in which so many unused bytes are behind each value."""

    def length(value: bytes) -> bytes:
        return bytes((len(value),)) if len(value) < 254 else b"\xfe" + struct.pack("<I", len(value))

    pairs = list(pairs)
    entries = [length(field) + field + length(value) + bytes((unused,)) + value + bytes(unused) for field, value in pairs]
    return bytes((min(len(pairs), 254) if count is None else count,)) + b"".join(entries) + b"\xff"


def intset(numbers: Iterable[int], size: int, count: int | None = None) -> bytes:
    numbers = list(numbers)
    body = b"".join(number.to_bytes(size, "little", signed=True) for number in numbers)
    return struct.pack("<II", size, len(numbers) if count is None else count) + body
