"""JSON documents as values: their canonical text, `JSONText`. Any JSON but a string, which is a string of Redis's. Pure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

from kvserver.data.entries import Value
from kvserver.data.footprint import bytes_size
from kvserver.data.kinds import VALUE, Form, Kind
from kvserver.data.recording import expiry
from kvserver.formats.codec import PIECE_BYTES, JSONText
from kvserver.formats.rdb import STRING_TYPE, write_string


class Document(Kind):
    """Already what a payload holds, compact. Never changed, only replaced."""

    name = "ReJSON-RL"  # as RedisJSON calls its type
    types = (JSONText,)
    forms: Mapping[str, Form] = {}
    loads: Mapping[int, Callable[[bytes, int], Value]] = {}

    def encoding(self, value: JSONText) -> bytes:
        return b"raw"  # of a module's type, which has no other

    def size_bytes(self, value: JSONText) -> int:
        return bytes_size(len(value))

    def fork(self, value: JSONText) -> JSONText:
        return value

    def recreation(self, key: bytes, value: JSONText, expires_at_ms: int | None) -> list[list[bytes]]:
        document = [b"JSON.SET", key, b"$", bytes(value)]
        return [document] if expires_at_ms is None else [document, expiry(key, expires_at_ms)]

    def json(self, value: JSONText) -> tuple[str, bytes]:
        return VALUE, bytes(value)

    def json_steps(self, value: JSONText) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        yield from ()
        return VALUE, (value[start : start + PIECE_BYTES] for start in range(0, len(value), PIECE_BYTES))

    def dump(self, value: JSONText) -> bytes:
        """As the string of its text: RedisJSON's own payloads are a module's, which other servers need the module for."""
        return bytes((STRING_TYPE,)) + write_string(bytes(value))


DOCUMENT: Final = Document()
