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

from typing import Final

from kvserver._speedups.crc64 import crc64
from kvserver._speedups.rdb_parts import items_at
from kvserver.data.entries import Value
from kvserver.data.kinds import kind_of, load_of_dump
from kvserver.errors import DumpInvalid

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


class Reader:
    """Reads a body from its beginning. DumpInvalid if the data ends early or makes no sense."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = data
        self._position = 0

    def string(self, max_bytes: int) -> bytes:
        """The next string. DumpInvalid also if it is compressed and has more bytes than `max_bytes`."""
        return self.strings(1, max_bytes)[0]

    def strings(self, count: int, max_bytes: int) -> list[bytes]:
        """The next so many strings. DumpInvalid as for one."""
        # A shape of strings gives nothing else.
        return self.items(b"s", count, max_bytes)  # type: ignore[return-value]

    def items(self, shape: bytes, rounds: int, max_bytes: int) -> list[bytes | int]:
        """All that stands in a shape (`rdb_shape`), which comes so many times: strings, numbers and bytes in turn.

        There are no brackets in it, and no scores or items of modules. DumpInvalid as for a string.
        """
        try:
            items, self._position = items_at(self._data, self._position, shape, rounds, max_bytes)
        except (ValueError, OverflowError):
            raise DumpInvalid(BAD_FORMAT) from None
        return items

    def length(self) -> int:
        """The next length or count."""
        # A shape of numbers gives nothing else.
        return self.items(b"n", 1, 0)[0]  # type: ignore[return-value]

    def take(self, count: int) -> bytes:
        """The next so many bytes, as they are."""
        piece = self._data[self._position : self._position + count]
        if len(piece) < count:
            raise DumpInvalid(BAD_FORMAT)
        self._position += count
        return bytes(piece)

    @property
    def has_more(self) -> bool:
        """True if anything is left."""
        return self._position < len(self._data)

    def end(self) -> None:
        """DumpInvalid if anything is left."""
        if self.has_more:
            raise DumpInvalid(BAD_FORMAT)
