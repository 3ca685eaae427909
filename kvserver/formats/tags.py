"""The mappings between the members of a keyspace and those of a payload: JSON also for what JSON can't express.

`Plain` is the library's mapping: keys and values as they are. `Tagged` is the server's: a member that JSON can express stands
as it is there, too, and the others use one reserved name, `$kvs`, in the spirit of MongoDB's extended JSON:

    value   {"$kvs":{"base64":"gA=="}}                       bytes that are not UTF-8
            {"$kvs":{"expires_at_ms":1700000000000,"value":1}}   with an expiry; `base64` may stand for `value`
            {"$kvs":{"value":{"$kvs":0}}}                    a user's own document that looks like a tag
    key     "$kvs:gA=="                                      base64 of bytes that are not UTF-8, or that start with $kvs:
            "$kvs:3:KEY"                                     of another database than 0, KEY as in that one

The function libraries stand beside them as one member, `$kvs::functions` (`formats.libraries`).

Both directions are total. A tag is read as one only if it is what the encoder would have written; anything else that
looks like a tag is a user's document, and is escaped when it is written next. The kind of a value (`data.kinds`) says the
tag and the JSON of it: no data type is named here. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, Protocol

from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.kinds import VALUE, form_of_tag, kind_of
from kvserver.formats.codec import JSON, JSONText, canonical
from kvserver.formats.names import RESERVED, bytes_of, is_plain, is_utf8, name_of
from kvserver.options.table import MOST_DATABASES

EXPIRY: Final = "expires_at_ms"
_RESERVED_TEXT = RESERVED.decode()
# The name of a key of another database than 0.
_ELSEWHERE = re.compile(_RESERVED_TEXT.replace("$", r"\$") + r"([1-9][0-9]{0,9}):(.*)", re.DOTALL)
# The times that 64 bits have: clients read no others, and no file of Redis holds them.
EXPIRY_TIMES: Final = range(-(1 << 63), 1 << 63)
TAG: Final = "$kvs"
_VALUE_TAG_START = b'{"$kvs":'


class Mapping(Protocol):
    """The way in which keys and entries of a keyspace stand in a payload.

    `has_tags`: values that JSON can't express stand in it, too. `reserved`: a key that is ASCII and does not hold these bytes
    is plain.
    """

    has_tags: bool
    reserved: bytes

    def is_plain_key(self, key: bytes) -> bool:
        """True if the key stands in the payload as its own bytes."""

    def encode_key(self, key: bytes, number: int = 0) -> str:
        """The member name of a key, plain or not, of the database of this number: that of b"" is the start of all names."""

    def encode_entry(self, entry: Entry) -> bytes:
        """The canonical JSON of an entry."""

    def encode_long(self, entry: Entry) -> Iterator[bytes]:
        """Yield the canonical JSON of an entry in pieces; an empty piece is a step that has only looked at the value."""

    def decode_key(self, name: str) -> tuple[int, bytes]:
        """The number of the database and the key of a member name."""

    def decode_entry(self, value: JSON) -> Entry:
        """The entry of a member's value."""


class Plain:
    """The mapping of the library's own frames. TypeError for an entry with an expiry, and for a value that needs a tag."""

    has_tags = False
    # No ASCII key holds this byte, so nothing is reserved.
    reserved = b"\xff"

    def is_plain_key(self, key: bytes) -> bool:
        # A lone surrogate, from a frame written elsewhere, is held as three bytes that are not UTF-8.
        return key.isascii() or is_utf8(key)

    def encode_key(self, key: bytes, number: int = 0) -> str:
        if number:
            raise TypeError("a library store has one database")
        return key.decode("utf-8", "surrogatepass")

    def encode_entry(self, entry: Entry) -> bytes:
        _refuse_expiry(entry)
        tag, text = kind_of(entry).json(entry)
        _refuse_tag(tag)
        return text

    def encode_long(self, entry: Entry) -> Iterator[bytes]:
        _refuse_expiry(entry)
        tag, pieces = yield from kind_of(entry).json_steps(entry)
        _refuse_tag(tag)
        yield from pieces

    def decode_key(self, name: str) -> tuple[int, bytes]:
        return 0, name.encode("utf-8", "surrogatepass")

    def decode_entry(self, value: JSON) -> Entry:
        return decode_value(value)


def _refuse_expiry(entry: Entry) -> None:
    if isinstance(entry, Expiring):
        raise TypeError("a library store holds no Expiring")


def _refuse_tag(tag: str) -> None:
    if tag != VALUE:
        raise TypeError(f"a library store holds nothing that JSON says by {tag} alone")


class Tagged:
    """The mapping of a server's frames."""

    has_tags = True
    reserved = RESERVED

    def is_plain_key(self, key: bytes) -> bool:
        return is_plain(key)

    def encode_key(self, key: bytes, number: int = 0) -> str:
        return f"{_RESERVED_TEXT}{number}:{name_of(key)}" if number else name_of(key)

    def encode_entry(self, entry: Entry) -> bytes:
        if type(entry) is Expiring:
            tag, text = kind_of(entry.value).json(entry.value)
            return _with_tag(tag, text, entry.expires_at_ms)
        tag, text = kind_of(entry).json(entry)
        return text if tag == VALUE and not text.startswith(_VALUE_TAG_START) else _with_tag(tag, text, None)

    def encode_long(self, entry: Entry) -> Iterator[bytes]:
        value, expires_at_ms = (entry.value, entry.expires_at_ms) if isinstance(entry, Expiring) else (entry, None)
        tag, pieces = yield from kind_of(value).json_steps(value)
        first = b""
        while len(first) < len(_VALUE_TAG_START):
            piece = next(pieces, None)
            if piece is None:
                break
            # It may have been a step alone.
            if not piece:
                yield b""
            first += piece
        opening = closing = b""
        if tag != VALUE or expires_at_ms is not None or first.startswith(_VALUE_TAG_START):
            # No JSON holds a NUL.
            opening, _, closing = _with_tag(tag, b"\0", expires_at_ms).partition(b"\0")
        yield opening + first
        yield from pieces
        if closing:
            yield closing

    def decode_key(self, name: str) -> tuple[int, bytes]:
        number, text = 0, name
        elsewhere = _ELSEWHERE.fullmatch(name)
        if elsewhere and int(elsewhere[1]) < MOST_DATABASES:
            number, text = int(elsewhere[1]), elsewhere[2]
        key = bytes_of(text)
        return (0, name.encode("utf-8", "surrogatepass")) if key is None else (number, key)

    def decode_entry(self, value: JSON) -> Entry:
        tag = value.get(TAG) if type(value) is dict and len(value) == 1 else None
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


def _with_tag(tag: str, text: bytes, expires_at_ms: int | None) -> bytes:
    """JSON under a tag. The names are in their order, like those of all objects."""
    if expires_at_ms is None:
        return b'{"$kvs":{"%b":%b}}' % (tag.encode(), text)
    if tag < EXPIRY:
        return b'{"$kvs":{"%b":%b,"expires_at_ms":%d}}' % (tag.encode(), text, expires_at_ms)
    return b'{"$kvs":{"expires_at_ms":%d,"%b":%b}}' % (expires_at_ms, tag.encode(), text)


def _decode_tag(members: dict[str, Any]) -> Entry | None:
    tags = members.keys() - {EXPIRY}
    if len(tags) != 1:
        return None
    tag = tags.pop()
    if tag == VALUE:
        value: Value | None = decode_value(members[tag])
    else:
        form = form_of_tag(tag)
        value = form.read(members[tag]) if form else None
    expires_at_ms = members.get(EXPIRY)
    if value is None or expires_at_ms is None:
        return value
    return Expiring(value, expires_at_ms) if type(expires_at_ms) is int and expires_at_ms in EXPIRY_TIMES else None
