"""The kind of strings: plain `bytes`, and the strings that Redis holds in another encoding than after a SET. Pure.

A string that a command has built in place is `raw`, the sum of an INCRBYFLOAT `embstr`, even if it is short or a number.
Only OBJECT tells the encoding. It must never be written to a file: after a start all strings are as after a SET.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Generator, Iterator, Mapping
from typing import Final

from kvserver._speedups.rdb_strings import write_string
from kvserver.data.entries import Value
from kvserver.data.footprint import bytes_size
from kvserver.data.kinds import VALUE, Form, Kind, Load
from kvserver.dispatch.arguments import WRONG_TYPE, integer
from kvserver.errors import CommandError
from kvserver.formats import digest as digests
from kvserver.formats.codec import PIECE_BYTES, JSONText, canonical_string, canonical_string_pieces, utf8_pieces
from kvserver.formats.names import as_text
from kvserver.formats.rdb import STRING_TYPE, Reader
from kvserver.formats.rdb_pieces import string_in_pieces
from kvserver.types.json.document import Document
from kvserver.types.string.longbase64 import LongBase64, decode_base64

# In Redis, a string of up to so many bytes is one block with its header.
EMBEDDED_BYTES: Final = 44
BASE64: Final = "base64"
# A multiple of three, so that no piece is padded but the last.
_BASE64_PIECE_BYTES: Final = PIECE_BYTES // 4 * 3


class Raw(bytes):
    """A string that is raw, although it would not be so after a SET."""

    __slots__ = ()


class Embedded(bytes):
    """A string that is embedded, although it would be a number after a SET."""

    __slots__ = ()


def raw(string: bytes) -> bytes:
    """The value to store for a string that a command has built in place."""
    return Raw(string) if len(string) <= EMBEDDED_BYTES else string


def embedded(string: bytes) -> bytes:
    """The value to store for a string that a command has computed."""
    return Embedded(string) if len(string) <= EMBEDDED_BYTES else string


def as_string(value: Value | None) -> bytes | None:
    """The string that commands of strings read: a string, a document's text, None for None. CommandError for other values."""
    if value is None or isinstance(value, bytes):
        return value
    if type(value) is Document:
        return JSONText(value.text())
    raise CommandError(WRONG_TYPE)


def _read_base64(document: object) -> bytes | None:
    return decode_base64(document.encode("utf-8", "replace")) if isinstance(document, str) else None


def _begin_base64(opening: bytes, expires_at_ms: int | None) -> LongBase64 | None:
    return LongBase64(opening) if expires_at_ms is None else None


def _load(body: bytes, max_bytes: int) -> bytes:
    return Reader(body).string(max_bytes)


class String(Kind):
    """A string. A payload holds it as a JSON string, or as base64 if it is not UTF-8. It is never changed, only replaced."""

    name = "string"
    types = (bytes, Raw, Embedded)
    mark = ""
    forms: Mapping[str, Form] = {BASE64: Form(_read_base64, _begin_base64)}
    loads: Mapping[int, Load] = {STRING_TYPE: Load(b"s", _load)}

    def encoding(self, value: bytes) -> bytes:
        if type(value) is bytes and _is_integer(value):
            return b"int"
        return b"raw" if type(value) is Raw or len(value) > EMBEDDED_BYTES else b"embstr"

    def size_bytes(self, value: bytes) -> int:
        return bytes_size(len(value))

    def recreation(self, key: bytes, value: bytes, expires_at_ms: int | None) -> list[list[bytes]]:
        if expires_at_ms is None:
            return [[b"SET", key, value]]
        return [[b"SET", key, value, b"PXAT", b"%d" % expires_at_ms]]

    def json(self, value: bytes) -> tuple[str, bytes]:
        try:
            return VALUE, canonical_string(value.decode())
        except UnicodeDecodeError:
            return BASE64, b'"%b"' % b64encode(value)

    def json_steps(self, value: bytes) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        try:
            for _ in utf8_pieces(value):
                yield b""
        except UnicodeDecodeError:
            return BASE64, _base64_pieces(value)
        return VALUE, canonical_string_pieces(value)

    def dump(self, value: bytes) -> bytes:
        return bytes((STRING_TYPE,)) + write_string(value)

    def rdb(self, value: bytes, *, has_modules: bool) -> Iterator[bytes]:
        return string_in_pieces(bytes((STRING_TYPE,)), value) if len(value) > PIECE_BYTES else iter([self.dump(value)])

    def digest(self, value: bytes, digest: bytes) -> bytes:
        return digests.mix(digest, (digests.STRING_TYPE, value))

    def python(self, value: bytes) -> str | bytes:
        return as_text(value)

    def part(self, value: bytes, field: bytes | None) -> bytes | None:
        return bytes(value) if field is None else None


STRING: Final = String()


def _is_integer(string: bytes) -> bool:
    try:
        integer(string)
    except CommandError:
        return False
    return True


def _base64_pieces(data: bytes) -> Iterator[bytes]:
    yield b'"'
    for start in range(0, len(data), _BASE64_PIECE_BYTES):
        yield b64encode(data[start : start + _BASE64_PIECE_BYTES])
    yield b'"'
