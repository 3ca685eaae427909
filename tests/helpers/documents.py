"""Contents for stores: hypothesis' strategies for keys, values and documents, and references to compare them with.

The references use nothing but the standard library's json, so that they can't share a mistake with kvserver.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from hypothesis import strategies as st

from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.freeze import Cut
from kvserver.data.keyspace import Keyspace
from kvserver.data.kinds import _marks, is_changed_in_place, kind_of
from kvserver.formats.codec import JSONText
from kvserver.formats.decoder import Members
from kvserver.formats.encoder import encode
from kvserver.formats.tags import Mapping
from kvserver.types.string.value import Embedded, Raw

Contents = dict[bytes, Entry]

AWKWARD_TEXTS = (
    "",
    "\0",
    "\x1f",
    "\x7f",
    '"',
    "\\",
    '","',
    '\\","',
    "a,b",
    "}",
    "é",
    "\u2028",
    "\uffff",
    "\U0001f388",
    "\U0010ffff",
    "KVS1",
    "$kvs",
    "$kvs:",
    "$kvs:gA==",
    "$kvs:gB==",
    "$kvs:YQ==",
)
AWKWARD_NUMBERS = (0, -0.0, 0.1, 1e16, 1e-7, 1.5, 1e22, 5e-324, 2**53 + 1, 2**63, 2**64, -(2**64) - 1, 10**100, -(10**99))
AWKWARD_BYTES = (b"", b"\x80", b"\xff\xfe", b"\xed\xa0\x80", b"$kvs:", b"$kvs:gA==", b"$kvs:\xff", b"{}", b"1", b"\xc3")

texts = st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=12)
texts_with_surrogates = texts | st.text(st.characters(), max_size=6).map(lambda text: text + "\ud800")
numbers = st.sampled_from(AWKWARD_NUMBERS) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts


def _nested(names: st.SearchStrategy[str], leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=8,
    )


values = _nested(texts, scalars)
# Words of documents that look much like the tags of a payload.
tag_words = st.sampled_from(["$kvs", "value", "base64", "expires_at_ms", "$kvs:", "x"])
tag_like_values = _nested(tag_words, scalars | st.sampled_from(["gA==", "gB==", "YQ==", "!", 0, 1_700_000_000_000]))

keys = st.sampled_from(AWKWARD_BYTES) | st.binary(max_size=6) | texts.map(str.encode)
# What is no plain string, wrapped where a strategy gives one by chance.
json_texts = (values | tag_like_values).map(lambda value: as_json_text([value] if isinstance(value, str) else value))
plain_values: st.SearchStrategy[bytes] = keys | st.binary(max_size=20) | json_texts
entries = plain_values | st.builds(Expiring, plain_values, st.integers(-(2**63), 2**63 - 1))


def canonical_by_json(value: Any) -> bytes:
    """Canonical JSON as Python writes it, with an escape for a lone surrogate, which UTF-8 can't express."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def as_json_text(value: Any) -> JSONText:
    return JSONText(canonical_by_json(value))


def is_packed(value: Any) -> bool:
    """True for a small collection, which begins with the mark of its kind and a separator."""
    return type(value) is str and value[1:2] == "\0" and value[0] in _marks


def exact(value: Any) -> Any:
    """A form of a value that is equal only for the same types: 1, 1.0 and True differ, 0.0 and -0.0, b"1" and JSONText."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, Expiring):
        return (Expiring, exact(value.value), value.expires_at_ms)
    # A payload does not tell how a collection or a document is held, nor in which order a set has its members.
    if is_packed(value) or is_changed_in_place(value) or type(value) is JSONText:
        return kind_of(value).json(value)
    # A journal need not tell the encoding of a string.
    if isinstance(value, Raw | Embedded):
        value = bytes(value)
    return (type(value), repr(value))


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def tagged_name(key: bytes) -> str:
    """The member name of a server's key."""
    if is_utf8(key) and not key.startswith(b"$kvs:"):
        return key.decode()
    return "$kvs:" + b64encode(key).decode()


def bytes_of(value: Value) -> bytes:
    """A value that is a string or a document."""
    assert isinstance(value, bytes)
    return value


def tagged_value(entry: Entry) -> Any:
    """The JSON value of a server's entry."""
    value = entry.value if isinstance(entry, Expiring) else entry
    expiry = {"expires_at_ms": entry.expires_at_ms} if isinstance(entry, Expiring) else {}
    if isinstance(value, JSONText):
        document = json.loads(value)
    elif is_utf8(value := bytes_of(value)):
        document = value.decode()
    else:
        return {"$kvs": {"base64": b64encode(value).decode(), **expiry}}
    if expiry or (isinstance(document, dict) and min(document, default="") == "$kvs"):
        return {"$kvs": {"value": document, **expiry}}
    return document


# A key of database 0, or a key with the number of another one.
Place = bytes | tuple[int, bytes]


def place_of(mapping: Mapping, name: str) -> Place:
    """The place of a member of a payload."""
    number, key = mapping.decode_key(name)
    return (number, key) if number else key


def placed(members: Members) -> list[tuple[Place, Entry]]:
    """The members of a step of the decoder, with their places."""
    return [((number, key) if number else key, entry) for number, some in members.items() for key, entry in some]


def cut_of(contents: dict[bytes, Entry]) -> Cut:
    keyspace = Keyspace(lambda: 0)
    for key, entry in contents.items():
        keyspace.set(key, entry)
    return keyspace.cut()


def encoded(contents: Contents, mapping: Mapping) -> bytes:
    """The payload of a frame that holds these keys."""
    return b"".join(encode([cut_of(contents)], mapping))
