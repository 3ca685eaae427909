"""Payloads of RESTORE, made without kvserver: strings in each of Redis's encodings, with version and checksum."""

from __future__ import annotations

VERSION = 10


def crc64(data: bytes) -> int:
    """Redis's checksum (Jones's polynomial, with bits and bytes reflected), computed bit by bit from its definition."""
    crc = 0
    for byte in data:
        for shift in range(8):
            carry = crc >> 63 ^ byte >> shift & 1
            crc = (crc << 1 & 2**64 - 1) ^ (0xAD93D23594C935A9 if carry else 0)
    return int(f"{crc:064b}"[::-1], 2)


def sealed(body: bytes, version: int = VERSION) -> bytes:
    """The payload of a body (a type and a value): with version and checksum behind it."""
    whole = body + version.to_bytes(2, "little")
    return whole + crc64(whole).to_bytes(8, "little")


def length(number: int, size: int = 1) -> bytes:
    """A length in so many bytes: 1, 2, 5 or 9."""
    return {
        1: lambda: bytes((number,)),
        2: lambda: (0x4000 | number).to_bytes(2, "big"),
        5: lambda: b"\x80" + number.to_bytes(4, "big"),
        9: lambda: b"\x81" + number.to_bytes(8, "big"),
    }[size]()


def plain(value: bytes, size: int = 5) -> bytes:
    return b"\0" + length(len(value), size) + value


def integer(number: int, size: int) -> bytes:
    return bytes((0, 0xC0 | (1, 2, 4).index(size))) + number.to_bytes(size, "little", signed=True)


_LONGEST_MATCH = 264
# The format has matches up to 8192 bytes back, but to search for them would take too long.
_FARTHEST_MATCH = 300


def _match(value: bytes, position: int) -> tuple[int, int]:
    """The length of the longest match of the bytes at a position with earlier ones, and the distance back to them."""
    best, back = 0, 0
    for distance in range(1, min(position, _FARTHEST_MATCH) + 1):
        count = 0
        for count, byte in enumerate(value[position : position + _LONGEST_MATCH + 1]):
            if value[position + count - distance] != byte:
                break
        else:
            count = min(len(value) - position, _LONGEST_MATCH)
        count = min(count, _LONGEST_MATCH)
        if count > best:
            best, back = count, distance
        if best == _LONGEST_MATCH:
            break
    return best, back


def compressed(value: bytes) -> bytes:
    """A body with the string compressed by LZF: references to earlier bytes where there are matches, literals between."""
    items: list[bytes] = []
    literal = bytearray()
    position = 0
    while position < len(value):
        count, back = _match(value, position)
        if count >= 3:
            items += [bytes((len(literal) - 1,)) + literal] if literal else []
            literal.clear()
            upper, lower = divmod(back - 1, 256)
            is_short = count - 2 < 7
            items.append(bytes((count - 2 << 5 | upper, lower) if is_short else (7 << 5 | upper, count - 9, lower)))
            position += count
        else:
            literal.append(value[position])
            position += 1
        if len(literal) == 32 or (literal and position == len(value)):
            items.append(bytes((len(literal) - 1,)) + literal)
            literal.clear()
    data = b"".join(items)
    return b"\0\xc3" + length(len(data), 5) + length(len(value), 5) + data


# Bodies that end early. Redis takes the missing bytes from the version and the checksum behind them.
CUT_BODIES = (b"", b"\0", b"\0\xc0", b"\0\xc1\1", b"\0\xc2\1\1", b"\0\5abc", b"\0\x40", b"\0\x80\0\0", b"\0\xc3\0\0")
# Bodies that are no strings, or strings that lack more bytes than version and checksum have.
BROKEN_BODIES = (
    *(b"\0\xc4", b"\0\xff", b"\0\x82", b"\x08\1a", b"\x14\1a", b"\xff"),
    *(b"\0" + length(60, size) + b"abc" for size in (1, 2, 5, 9)),
    b"\0\x80\xff\xff\xff\xff" + b"abc",
    b"\0\x81\xff\xff\xff\xff\xff\xff\xff\xff" + b"abc",
    b"\0\x81\x7f\xff\xff\xff\xff\xff\xff\xff" + b"abc",
    *(b"\0\xc3" + length(count) + length(10) + data for count, data in ((3, b"\x20\0a"), (2, b"\x05a"), (40, b"\0a"))),
    b"\0\xc3" + length(2) + length(5) + b"\0a",
    b"\0\xc3" + length(5) + length(2) + b"\0a\xe0\xff\0",
    b"\0\xc3" + length(2) + length(2**31, 5) + b"\0a",
    b"\0\xc3" + length(3) + length(5) + b"\0a\xe0",
)
