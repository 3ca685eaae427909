"""The header of a frame: the one written home of the KVS1, KVJ1 and KVJ2 layouts.

    MAGIC     4 bytes   b"KVS1" before a snapshot, b"KVJ1" before a link of the journal, or a record of before KVJ2
    LEN      12 bytes   ASCII digits, zero-padded: length of PAYLOAD in bytes
    CHECKSUM 64 bytes   lower-case hex SHA-256 of PAYLOAD
    PAYLOAD  LEN bytes

A record of the journal has a shorter one, since there may be as many as there are commands:

    MAGIC     4 bytes   b"KVJ2"
    LEN      12 bytes   as above
    CHECKSUM  8 bytes   lower-case hex CRC-32 of PAYLOAD, as zlib, gzip and PNG compute it
    PAYLOAD  LEN bytes

A frame that is being streamed to a file has zeros where its header will stand (`UNWRITTEN`), so that it is never taken
for a whole one. This module never looks into a payload, and never searches for a magic: a value may hold a whole frame.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import NamedTuple

MAGIC = b"KVS1"
JOURNAL_MAGIC = b"KVJ1"
RECORD_MAGIC = b"KVJ2"
LENGTH_DIGITS = 12
CRC_HEX = 8
DIGEST_HEX = hashlib.sha256().digest_size * 2
HEADER_SIZE = len(MAGIC) + LENGTH_DIGITS + DIGEST_HEX
RECORD_HEADER_SIZE = len(RECORD_MAGIC) + LENGTH_DIGITS + CRC_HEX
MAX_PAYLOAD_BYTES = 10**LENGTH_DIGITS - 1
UNWRITTEN = bytes(HEADER_SIZE)

# The digits are checked before int() sees them, and by [0-9], not \d: int() takes b"+1", b" 1 " and b"1_0".
_LENGTH_AND_DIGEST = re.compile(rb"([0-9]{%d})([0-9a-f]{%d})" % (LENGTH_DIGITS, DIGEST_HEX))
_LENGTH_AND_CRC = re.compile(rb"([0-9]{%d})([0-9a-f]{%d})" % (LENGTH_DIGITS, CRC_HEX))


class Header(NamedTuple):
    """The promise of a header: the payload's length in bytes, and its checksum in hex digits."""

    payload_length: int
    digest: str


def encode_header(payload_length: int, digest: str, magic: bytes = MAGIC) -> bytes:
    """The 80 bytes before a payload. `digest` is its SHA-256 in lower-case hex. ValueError if LEN can't hold the length."""
    if payload_length > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {payload_length} bytes is longer than a frame can hold")
    return b"%b%0*d%b" % (magic, LENGTH_DIGITS, payload_length, digest.encode())


def encode_frame(payload: bytes, magic: bytes = MAGIC) -> bytes:
    """The whole frame of a payload."""
    return encode_header(len(payload), hashlib.sha256(payload).hexdigest(), magic) + payload


def decode_header(data: bytes, magic: bytes = MAGIC) -> Header | None:
    """The header in exactly these HEADER_SIZE bytes, or None if they are none."""
    match = _LENGTH_AND_DIGEST.fullmatch(data, len(magic)) if data.startswith(magic) else None
    return Header(int(match[1]), match[2].decode()) if match else None


class CRC32:
    """A CRC-32 in the making, which is used as an object of hashlib is."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:0{CRC_HEX}x}"


def encode_record_header(payload_length: int, checksum: int) -> bytes:
    """The 24 bytes before the payload of a record with this CRC-32. ValueError if LEN can't hold the length."""
    if payload_length > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {payload_length} bytes is longer than a frame can hold")
    return b"%b%0*d%0*x" % (RECORD_MAGIC, LENGTH_DIGITS, payload_length, CRC_HEX, checksum)


def encode_record_frame(payload: bytes) -> bytes:
    """The whole frame of a record."""
    return encode_record_header(len(payload), zlib.crc32(payload)) + payload


def decode_record_header(data: bytes) -> Header | None:
    """The header of a record in exactly these RECORD_HEADER_SIZE bytes, or None if they are none."""
    match = _LENGTH_AND_CRC.fullmatch(data, len(RECORD_MAGIC)) if data.startswith(RECORD_MAGIC) else None
    return Header(int(match[1]), match[2].decode()) if match else None


def is_header_start(data: bytes, magic: bytes = MAGIC) -> bool:
    """True if these fewer than HEADER_SIZE bytes could be the start of a header, or of one that was never written."""
    if not any(data):
        return True
    template = magic + b"0" * (HEADER_SIZE - len(magic))
    return data[: len(magic)] == magic[: len(data)] and decode_header(data + template[len(data) :], magic) is not None


def is_journal_header_start(data: bytes) -> bool:
    """True if these bytes could be the start of a header in the journal, of either form, but no whole one."""
    template = RECORD_MAGIC + b"0" * (RECORD_HEADER_SIZE - len(RECORD_MAGIC))
    is_short = len(data) < RECORD_HEADER_SIZE and decode_record_header(data + template[len(data) :]) is not None
    return is_short or (len(data) < HEADER_SIZE and is_header_start(data, JOURNAL_MAGIC))
