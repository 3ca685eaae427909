"""Payloads of RESTORE, made without kvserver: strings in each of their encodings, and the bytes around them."""

from __future__ import annotations

VERSION = 10


def crc64(data: bytes) -> int:
    """Bit by bit, as the polynomial is defined (Jones; x**64 and the reflection of both bits and bytes left implicit)."""
    crc = 0
    for byte in data:
        for shift in range(8):
            carry = crc >> 63 ^ byte >> shift & 1
            crc = (crc << 1 & 2**64 - 1) ^ (0xAD93D23594C935A9 if carry else 0)
    return int(f"{crc:064b}"[::-1], 2)


def sealed(body: bytes, version: int = VERSION) -> bytes:
    """A type and a value with version and checksum behind them."""
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
_FARTHEST_MATCH = 300  # the format allows for 8192, but who would wait for that


def _match(value: bytes, position: int) -> tuple[int, int]:
    """The longest match of what begins here with what begins earlier: its length, and how far back."""
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
    """By LZF, with a reference wherever the last bytes stand there already, and literals between them."""
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


# Bodies that end early; Redis takes what it lacks from the version and the checksum behind them.
CUT_BODIES = (b"", b"\0", b"\0\xc0", b"\0\xc1\1", b"\0\xc2\1\1", b"\0\5abc", b"\0\x40", b"\0\x80\0\0", b"\0\xc3\0\0")
# Bodies that are no strings, or not as long as they say: by more than what stands behind the value.
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
