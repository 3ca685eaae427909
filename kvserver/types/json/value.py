"""The kind of JSON documents, whose value is their canonical text, a `JSONText`, or a `Document`. Pure.

A document is any JSON but a string: that is a string of Redis's.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

from kvserver.data.entries import Value
from kvserver.data.footprint import bytes_size
from kvserver.data.kinds import VALUE, Form, Kind
from kvserver.data.recording import expiry_request
from kvserver.formats.codec import JSON, PIECE_BYTES, JSONText
from kvserver.formats.digest import MODULE_TYPE, mix
from kvserver.formats.rdb import STRING_TYPE, write_string
from kvserver.types.json.document import Document
from kvserver.types.json.parsing import parse
from kvserver.types.json.writing import write_steps


def text_of(value: JSONText | Document) -> bytes:
    """Return the canonical JSON of a value."""
    return bytes(value) if isinstance(value, bytes) else value.text()


class DocumentKind(Kind):
    """A document. A payload holds its text."""

    # RedisJSON calls its type so.
    name = "ReJSON-RL"
    types = (JSONText, Document)
    mark = ""
    forms: Mapping[str, Form] = {}
    loads: Mapping[int, Callable[[bytes, int], Value]] = {}

    def encoding(self, value: JSONText | Document) -> bytes:
        # Redis says this of every module's type.
        return b"raw"

    def size_bytes(self, value: JSONText | Document) -> int:
        return bytes_size(len(value)) if isinstance(value, bytes) else value.size_bytes()

    def recreation(self, key: bytes, value: JSONText | Document, expires_at_ms: int | None) -> list[list[bytes]]:
        document = [b"JSON.SET", key, b"$", text_of(value)]
        return [document] if expires_at_ms is None else [document, expiry_request(key, expires_at_ms)]

    def json(self, value: JSONText | Document) -> tuple[str, bytes]:
        return VALUE, text_of(value)

    def json_steps(self, value: JSONText | Document) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        yield from ()
        if isinstance(value, Document):
            return VALUE, write_steps(value.root, has_constants=value.has_constants)
        return VALUE, (value[start : start + PIECE_BYTES] for start in range(0, len(value), PIECE_BYTES))

    def python(self, value: JSONText | Document) -> JSON:
        return parse(text_of(value))[0]

    def dump(self, value: JSONText | Document) -> bytes:
        """Return the payload of a string, the document's text: a server without RedisJSON couldn't load a module's payload."""
        return bytes((STRING_TYPE,)) + write_string(text_of(value))

    def digest(self, value: JSONText | Document, digest: bytes) -> bytes:
        return mix(digest, (MODULE_TYPE, text_of(value)))


DOCUMENT: Final = DocumentKind()
