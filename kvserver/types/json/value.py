"""The kind of JSON documents, whose value is their canonical text, a `JSONText`, or a `Document`. Pure.

A document is any JSON but a string: that is a string of Redis's.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Final

from kvserver._speedups.rdb_strings import write_string
from kvserver.data.entries import Value
from kvserver.data.footprint import bytes_size
from kvserver.data.kinds import VALUE, Form, Kind, Load
from kvserver.data.recording import expiry_request
from kvserver.data.steps import giving
from kvserver.errors import DumpInvalid
from kvserver.formats.codec import JSON, PIECE_BYTES, JSONText
from kvserver.formats.digest import MODULE_TYPE, mix
from kvserver.formats.rdb import BAD_FORMAT, STRING_TYPE
from kvserver.formats.rdb_module import MODULE, MODULE_SHAPE, module_head, read_module
from kvserver.formats.rdb_pieces import string_in_pieces
from kvserver.types.json.document import Document
from kvserver.types.json.parsing import parse, parse_outside
from kvserver.types.json.storage import value_of
from kvserver.types.json.writing import text_steps, write_steps

# RedisJSON calls its type so.
NAME: Final = "ReJSON-RL"
# The versions of its format in which a document is its text, the last of which is written. Source: rdb_load in
# redis_json/src/lib.rs and ivalue_manager.rs of RedisJSON 2.
_TEXT_VERSIONS: Final = (2, 3)


def text_of(value: JSONText | Document) -> bytes:
    """Return the canonical JSON of a value."""
    return bytes(value) if isinstance(value, bytes) else value.text()


def _load(body: bytes, max_bytes: int) -> Value:
    """The document of a module's value, a string if its root is one. DumpInvalid for values of other modules."""
    value = read_module(body, max_bytes)
    if value.name != NAME:
        raise DumpInvalid(f"the payload holds a value of the module type {value.name}, which this server does not have")
    if value.version not in _TEXT_VERSIONS:
        raise DumpInvalid(
            f"the payload holds a document in version {value.version} of {NAME}, which this server does not read"
        )
    text = value.items[0] if len(value.items) == 1 else None
    if not isinstance(text, bytes):
        raise DumpInvalid(BAD_FORMAT)
    try:
        return value_of(Document(parse_outside(text)))
    except ValueError as error:
        raise DumpInvalid(f"the payload holds a document that can't be read: {error}") from None


class DocumentKind(Kind):
    """A document. A payload holds its text."""

    name = NAME
    types = (JSONText, Document)
    mark = ""
    forms: Mapping[str, Form] = {}
    loads: Mapping[int, Load] = {MODULE: Load(MODULE_SHAPE, _load)}

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

    def rdb(self, value: JSONText | Document, *, has_modules: bool) -> Iterator[bytes]:
        if isinstance(value, Document):
            text = yield from giving(b"", text_steps(value.root, has_constants=value.has_constants))
        else:
            text = bytes(value)
        head, end = module_head(NAME, _TEXT_VERSIONS[-1]) if has_modules else (bytes((STRING_TYPE,)), b"")
        yield from string_in_pieces(head, text)
        yield end

    def digest(self, value: JSONText | Document, digest: bytes) -> bytes:
        return mix(digest, (MODULE_TYPE, text_of(value)))


DOCUMENT: Final = DocumentKind()
