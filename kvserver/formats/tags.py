"""The mappings between a keyspace's members and those of a payload: JSON for what JSON can't express, too (SPEC 4).

`PLAIN` is the library's: keys and values as they are. `TAGGED` is the server's. A member that JSON can express stands as
it is there too; the others use one reserved name, `$kvs`, in the spirit of MongoDB's extended JSON:

    value   {"$kvs":{"base64":"gA=="}}                       bytes that are not UTF-8
            {"$kvs":{"expires_at_ms":1700000000000,"value":1}}   with an expiry; `base64` may stand for `value`
            {"$kvs":{"value":{"$kvs":0}}}                    a user's own document that looks like a tag
    key     "$kvs:gA=="                                      base64 of bytes that are not UTF-8, or that start with $kvs:

Both directions are total. A tag is read as one only if it is what the encoder would have written; anything else that
looks like a tag is a user's document, and is escaped when it is written next. Pure.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Generator, Iterator
from typing import Any, Final, Protocol

from kvserver.data.encodings import JSONText
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.formats.codec import JSON, PIECE_BYTES, canonical, canonical_string, canonical_string_pieces, utf8_pieces

_KEY_TAG = "$kvs:"
_KEY_TAG_BYTES = _KEY_TAG.encode()
_VALUE_TAG = "$kvs"
_VALUE_TAG_START = b'{"$kvs":'
_BASE64_PIECE_BYTES: Final = PIECE_BYTES // 4 * 3  # without padding, since it is a multiple of three


class Mapping(Protocol):
    """The way in which keys and entries of a keyspace stand in a payload."""

    reserved: bytes  # a key that is ASCII and does not hold this is plain

    def is_plain_key(self, key: bytes) -> bool:
        """True if the key stands in the payload as its own bytes."""

    def encode_key(self, key: bytes) -> str:
        """The member name of a key, for keys that are not plain and for those that are."""

    def encode_entry(self, entry: Entry) -> bytes:
        """The canonical JSON of an entry."""

    def encode_long(self, entry: Entry) -> Iterator[bytes]:
        """Yield the canonical JSON of an entry in pieces; an empty piece is a step that only looked at the value."""

    def decode_key(self, name: str) -> bytes:
        """The key of a member name."""

    def decode_entry(self, value: JSON) -> Entry:
        """The entry of a member's value."""


class _Plain:
    reserved = b"\xff"  # nothing: no ASCII key holds it

    def is_plain_key(self, key: bytes) -> bool:
        # A lone surrogate, from a frame written elsewhere, is held as three bytes that are not UTF-8.
        return key.isascii() or _is_utf8(key)

    def encode_key(self, key: bytes) -> str:
        return key.decode("utf-8", "surrogatepass")

    def encode_entry(self, entry: Entry) -> bytes:
        if type(entry) is bytes:
            return canonical_string(entry.decode())
        if isinstance(entry, JSONText):
            return bytes(entry)
        raise TypeError(f"a library store holds no {type(entry).__name__}")

    def encode_long(self, entry: Entry) -> Iterator[bytes]:
        if isinstance(entry, Expiring):
            raise TypeError(f"a library store holds no {type(entry).__name__}")
        return _encode_value(entry)

    def decode_key(self, name: str) -> bytes:
        return name.encode("utf-8", "surrogatepass")

    def decode_entry(self, value: JSON) -> Entry:
        return decode_value(value)


class _Tagged:
    reserved = _KEY_TAG_BYTES

    def is_plain_key(self, key: bytes) -> bool:
        return (key.isascii() or _is_utf8(key)) and not key.startswith(_KEY_TAG_BYTES)

    def encode_key(self, key: bytes) -> str:
        return key.decode() if self.is_plain_key(key) else _KEY_TAG + b64encode(key).decode()

    def encode_entry(self, entry: Entry) -> bytes:
        value = entry.value if isinstance(entry, Expiring) else entry
        expiry = b'"expires_at_ms":%d,' % entry.expires_at_ms if isinstance(entry, Expiring) else b""
        if isinstance(value, JSONText):
            body = bytes(value)
        elif _is_utf8(value):
            body = canonical_string(value.decode())
        else:
            return b'{"$kvs":{"base64":"%b"%b}}' % (b64encode(value), b"," + expiry[:-1] if expiry else b"")
        if expiry or body.startswith(_VALUE_TAG_START):
            return b'{"$kvs":{%b"value":%b}}' % (expiry, body)
        return body

    def encode_long(self, entry: Entry) -> Iterator[bytes]:
        value = entry.value if isinstance(entry, Expiring) else entry
        expiry = b'"expires_at_ms":%d,' % entry.expires_at_ms if isinstance(entry, Expiring) else b""
        is_json = isinstance(value, JSONText)
        if not is_json and not (yield from _look_for_utf8(value)):
            yield b'{"$kvs":{"base64":"'
            for start in range(0, len(value), _BASE64_PIECE_BYTES):
                yield b64encode(value[start : start + _BASE64_PIECE_BYTES])
            yield b'"%b}}' % (b"," + expiry[:-1] if expiry else b"")
        elif expiry or (is_json and value.startswith(_VALUE_TAG_START)):
            yield b'{"$kvs":{%b"value":' % expiry
            yield from _encode_value(value)
            yield b"}}"
        else:
            yield from _encode_value(value)

    def decode_key(self, name: str) -> bytes:
        if name.startswith(_KEY_TAG):
            key = _decode_base64(name[len(_KEY_TAG) :])
            # The encoder is the judge here, too: base64 can spell the same bytes in several ways.
            if key is not None and self.encode_key(key) == name:
                return key
        return name.encode("utf-8", "surrogatepass")

    def decode_entry(self, value: JSON) -> Entry:
        tag = value.get(_VALUE_TAG) if type(value) is dict and len(value) == 1 else None
        if type(tag) is dict:
            entry = _decode_tag(tag)
            # The encoder is the judge of what a tag is, so that decoding never gives two documents one meaning.
            if entry is not None and self.encode_entry(entry) == canonical(value):
                return entry
        return decode_value(value)


def decode_value(value: JSON) -> Value:
    """The value of a keyspace for a JSON value: the bytes of a string, the canonical JSON of anything else."""
    if type(value) is str:
        try:
            return value.encode()
        except UnicodeEncodeError:
            # A lone surrogate has no UTF-8, so it stays JSON.
            pass
    return JSONText(canonical(value))


def _decode_tag(tag: dict[str, Any]) -> Entry | None:
    if "base64" in tag:
        value = _decode_base64(tag["base64"])
    elif "value" in tag:
        value = decode_value(tag["value"])
    else:
        return None
    expires_at_ms = tag.get("expires_at_ms")
    if value is None or expires_at_ms is None:
        return value
    return Expiring(value, expires_at_ms) if type(expires_at_ms) is int else None


def _decode_base64(text: object) -> bytes | None:
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def _encode_value(value: Value) -> Iterator[bytes]:
    """The canonical JSON of a value, which needs no tag, in pieces."""
    if not isinstance(value, JSONText):
        yield from canonical_string_pieces(value)
        return
    for start in range(0, len(value), PIECE_BYTES):
        yield value[start : start + PIECE_BYTES]


def _look_for_utf8(data: bytes) -> Generator[bytes, None, bool]:
    """Whether this is UTF-8, in steps."""
    try:
        for _ in utf8_pieces(data):
            yield b""
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


PLAIN: Mapping = _Plain()
TAGGED: Mapping = _Tagged()
