"""The kind of JSON documents, whose value is their canonical text, a `JSONText`. Pure.

A document is any JSON but a string: that is a string of Redis's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

from kvserver.data.entries import Value
from kvserver.data.footprint import bytes_size
from kvserver.data.kinds import VALUE, Form, Kind
from kvserver.data.recording import expiry_request
from kvserver.formats.codec import JSON, PIECE_BYTES, JSONText
from kvserver.formats.digest import MODULE_TYPE, mix
from kvserver.formats.rdb import STRING_TYPE, write_string


class Document(Kind):
    """A document: the text that a payload holds as well. A value is never changed, only replaced."""

    # RedisJSON calls its type so.
    name = "ReJSON-RL"
    types = (JSONText,)
    mark = ""
    forms: Mapping[str, Form] = {}
    loads: Mapping[int, Callable[[bytes, int], Value]] = {}

    def encoding(self, value: JSONText) -> bytes:
        # Redis says this of every module's type.
        return b"raw"

    def size_bytes(self, value: JSONText) -> int:
        return bytes_size(len(value))

    def recreation(self, key: bytes, value: JSONText, expires_at_ms: int | None) -> list[list[bytes]]:
        document = [b"JSON.SET", key, b"$", bytes(value)]
        return [document] if expires_at_ms is None else [document, expiry_request(key, expires_at_ms)]

    def json(self, value: JSONText) -> tuple[str, bytes]:
        return VALUE, bytes(value)

    def json_steps(self, value: JSONText) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        yield from ()
        return VALUE, (value[start : start + PIECE_BYTES] for start in range(0, len(value), PIECE_BYTES))

    def python(self, value: JSONText) -> JSON:
        return json.loads(value)

    def dump(self, value: JSONText) -> bytes:
        """Return the payload of a string, the document's text: a server without RedisJSON couldn't load a module's payload."""
        return bytes((STRING_TYPE,)) + write_string(bytes(value))

    def digest(self, value: JSONText, digest: bytes) -> bytes:
        return mix(digest, (MODULE_TYPE, bytes(value)))


DOCUMENT: Final = Document()
