"""The names of byte strings in JSON: of keys, and of what stands inside of collections. Pure.

A byte string that is UTF-8 is its own name. All others, and those that begin as a tag does, are `$kvs:` and base64.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Final

RESERVED: Final = b"$kvs:"
_RESERVED_TEXT: Final = RESERVED.decode()


def is_plain(data: bytes) -> bool:
    """True if a byte string is its own name."""
    return (data.isascii() or is_utf8(data)) and not data.startswith(RESERVED)


def name_of(data: bytes) -> str:
    """The name of a byte string."""
    return data.decode() if is_plain(data) else _RESERVED_TEXT + b64encode(data).decode()


def bytes_of(name: str) -> bytes | None:
    """The byte string that has this name, or None if none has."""
    if not name.startswith(_RESERVED_TEXT):
        try:
            return name.encode()
        except UnicodeEncodeError:
            # A lone surrogate, from a payload written elsewhere.
            return None
    data = _decode_base64(name[len(_RESERVED_TEXT) :])
    # Base64 can spell the same bytes in several ways, and plain strings have no name in it.
    return data if data is not None and name_of(data) == name else None


def _decode_base64(text: object) -> bytes | None:
    """The bytes of a base64 text, or None if it is none."""
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def as_text(data: bytes) -> str | bytes:
    """The text of a byte string for a program: a str if the bytes are UTF-8, else themselves."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return bytes(data)


def is_utf8(data: bytes) -> bool:
    """True if the bytes are the UTF-8 of a text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
