"""The payloads of DUMP and RESTORE: a value in the format of Redis's RDB files. Pure.

    type      1 byte    0 is a string; the kinds of values (`data.kinds`) say which other types are read
    body                the value, in the form of its type; that of a string is described below
    version   2 bytes   of the format, little-endian
    CRC-64    8 bytes   of all before it, little-endian

Payloads are written in version 10, that of Redis 7.0, and read up to version 14, that of Redis 8.8: a later Redis tells what
is new by new types, so that keys come here from there, too. Redis 7.0 itself refuses what is later than version 10. Hashes
with fields that expire, which no earlier type holds, are written in version 12, that of Redis 7.4.

A string is a length and its bytes, or an integer, or compressed by LZF, as its first byte says. Source: rdb.c and
verifyDumpPayload in cluster.c of redis 7.0. Strings are written uncompressed. No memory is allocated by a declared length,
and nothing here knows another value than a string: collections are in `rdb_collections`.
"""

from __future__ import annotations

import re
from typing import Final

from kvserver.data.entries import Value
from kvserver.data.kinds import kind_of, load_of_dump
from kvserver.errors import DumpInvalid
from kvserver.formats.crc64 import crc64
from kvserver.formats.lzf import decompress

VERSION: Final = 10
# The first version that holds values whose members expire, and the types that came with it.
EXPIRING_MEMBERS_VERSION: Final = 12
LATER_VERSIONS: Final = dict.fromkeys((24, 25), EXPIRING_MEMBERS_VERSION)
NEWEST_VERSION_READ: Final = 14
STRING_TYPE: Final = 0
# The type of values of modules in release candidates of Redis 4.0, of which nothing tells where they end.
_EARLY_MODULE: Final = 6
_VERSION_BYTES: Final = 2
_CRC_BYTES: Final = 8
_FOOTER_BYTES: Final = _VERSION_BYTES + _CRC_BYTES

# The first two bits of a length say its kind; the other six of its first byte are its upper bits, or say more.
_SIX_BITS, _FOURTEEN_BITS, _WHOLE_BYTES, _ENCODED = range(4)
_LENGTH_32, _LENGTH_64 = 0x80, 0x81
_LZF: Final = 3
# The lengths of encoded integers, by the encoding's number.
_INTEGER_BYTES: Final = (1, 2, 4)
_LONGER_LENGTHS: Final = {_LENGTH_32: 4, _LENGTH_64: 8}
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,9}")

CHECKSUM_WRONG = "DUMP payload version or checksum are wrong"
BAD_FORMAT = "Bad data format"


def dump(value: Value) -> bytes:
    """The payload of a value, with its footer. KeyError for a value of no kind."""
    body = kind_of(value).dump(value)
    return seal(body, LATER_VERSIONS.get(body[0], VERSION))


def seal(body: bytes, version: int = VERSION) -> bytes:
    """The payload of a body: with its footer."""
    body += version.to_bytes(_VERSION_BYTES, "little")
    return body + crc64(body).to_bytes(_CRC_BYTES, "little")


def body_of(payload: bytes) -> bytes:
    """The body of a payload. DumpInvalid if the footer is wrong."""
    version = int.from_bytes(payload[-_FOOTER_BYTES:-_CRC_BYTES], "little")
    checksum = int.from_bytes(payload[-_CRC_BYTES:], "little")
    if len(payload) < _FOOTER_BYTES or version > NEWEST_VERSION_READ or crc64(payload[:-_CRC_BYTES]) != checksum:
        raise DumpInvalid(CHECKSUM_WRONG)
    return payload[:-_FOOTER_BYTES]


def load(payload: bytes, max_bytes: int) -> Value:
    """The value of a payload. DumpInvalid if the payload holds none, or a string in it has more than `max_bytes` bytes."""
    body = body_of(payload)
    dump_type = body[0] if body else -1
    read = load_of_dump(dump_type)
    if dump_type == _EARLY_MODULE:
        raise DumpInvalid("the payload holds a module's value, which this server does not have")
    if read is None:
        raise DumpInvalid(BAD_FORMAT)
    return read.value(body[1:], max_bytes)


def write_string(value: bytes) -> bytes:
    """A string as it stands in a payload, also inside of other values."""
    if _INTEGER.fullmatch(value):
        number = int(value)
        for encoding, size in enumerate(_INTEGER_BYTES):
            if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
                return bytes((_ENCODED << 6 | encoding,)) + number.to_bytes(size, "little", signed=True)
    return write_length(len(value)) + value


def write_length(length: int) -> bytes:
    """A length or a count of up to 64 bits as it stands in a payload."""
    if length < 1 << 6:
        return bytes((length,))
    if length < 1 << 14:
        return (_FOURTEEN_BITS << 14 | length).to_bytes(2, "big")
    if length < 1 << 32:
        return bytes((_LENGTH_32,)) + length.to_bytes(4, "big")
    return bytes((_LENGTH_64,)) + length.to_bytes(8, "big")


def length_at(data: bytes | bytearray, position: int) -> tuple[int, bool, int] | None:
    """A length or count that begins at a position, or the number of an encoding: then the second item is True.

    The third is the position behind it. None if the data ends before that. DumpInvalid if no length begins so.
    """
    if position >= len(data):
        return None
    first = data[position]
    kind = first >> 6
    if kind == _SIX_BITS:
        return first, False, position + 1
    if kind == _ENCODED:
        return first & 0x3F, True, position + 1
    if kind == _FOURTEEN_BITS:
        return None if position + 1 >= len(data) else ((first & 0x3F) << 8 | data[position + 1], False, position + 2)
    size = _LONGER_LENGTHS.get(first)
    if size is None:
        raise DumpInvalid(BAD_FORMAT)
    following = position + 1 + size
    return None if following > len(data) else (int.from_bytes(data[position + 1 : following], "big"), False, following)


def string_head_at(data: bytes | bytearray, position: int) -> tuple[int, int, int] | None:
    """What stands before the bytes of a string: their position, how many they are, and how many the string has.

    None if the data ends before these bytes. DumpInvalid if no string begins so.
    """
    found = length_at(data, position)
    if found is None:
        return None
    length, is_encoded, following = found
    if not is_encoded:
        return following, length, length
    if length < len(_INTEGER_BYTES):
        return following, _INTEGER_BYTES[length], 0
    if length != _LZF:
        raise DumpInvalid(BAD_FORMAT)
    compressed = length_at(data, following)
    whole = compressed and length_at(data, compressed[2])
    if compressed is None or whole is None:
        return None
    if compressed[1] or whole[1]:
        raise DumpInvalid(BAD_FORMAT)
    return whole[2], compressed[0], whole[0]


class Reader:
    """Reads a body from its beginning. DumpInvalid if the data ends early or makes no sense."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def string(self, max_bytes: int) -> bytes:
        """The next string. DumpInvalid also if it is compressed and has more bytes than `max_bytes`."""
        is_encoded, length = self._length()
        if not is_encoded:
            return self.take(length)
        if length < len(_INTEGER_BYTES):
            return b"%d" % int.from_bytes(self.take(_INTEGER_BYTES[length]), "little", signed=True)
        if length != _LZF:
            raise DumpInvalid(BAD_FORMAT)
        compressed_bytes, bytes_ = self.length(), self.length()
        if bytes_ > max_bytes:
            raise DumpInvalid(BAD_FORMAT)
        try:
            return decompress(self.take(compressed_bytes), bytes_)
        except ValueError:
            raise DumpInvalid(BAD_FORMAT) from None

    def length(self) -> int:
        """The next length or count."""
        is_encoded, length = self._length()
        if is_encoded:
            raise DumpInvalid(BAD_FORMAT)
        return length

    def take(self, count: int) -> bytes:
        """The next so many bytes, as they are."""
        piece = self._data[self._position : self._position + count]
        if len(piece) < count:
            raise DumpInvalid(BAD_FORMAT)
        self._position += count
        return piece

    @property
    def has_more(self) -> bool:
        """True if anything is left."""
        return self._position < len(self._data)

    def end(self) -> None:
        """DumpInvalid if anything is left."""
        if self.has_more:
            raise DumpInvalid(BAD_FORMAT)

    def _length(self) -> tuple[bool, int]:
        """Read a length, or the number of an encoding: then the first item is True."""
        found = length_at(self._data, self._position)
        if found is None:
            raise DumpInvalid(BAD_FORMAT)
        length, is_encoded, self._position = found
        return is_encoded, length
