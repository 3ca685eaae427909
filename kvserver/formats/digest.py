"""The digest by which DEBUG DIGEST compares data: that of equal data is equal, however it is held. Pure.

It is redis-server's own, so that data of both servers can be compared. What has an order is mixed into a digest, one behind
the other; what has none is joined to it by an exclusive or. Source: xorDigest, mixDigest and xorObjectDigest in debug.c of
redis 7.0 and, for fields that expire, of redis 7.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha1
from typing import Final

DIGEST_BYTES: Final = 20
EMPTY: Final = bytes(DIGEST_BYTES)
# The types of values, which are mixed in before their contents.
STRING_TYPE, LIST_TYPE, SET_TYPE, ZSET_TYPE, HASH_TYPE, MODULE_TYPE, STREAM_TYPE = (
    number.to_bytes(4, "big") for number in range(7)
)
# What is joined for a key that expires, and for a field that does.
KEY_EXPIRES: Final = b"!!expire!!"
FIELD_EXPIRES: Final = b"!!hexpire!!"


def join(digest: bytes, items: Iterable[bytes]) -> bytes:
    """The digest to which the items are joined, whatever their order."""
    joined = int.from_bytes(digest, "big")
    for item in items:
        joined ^= int.from_bytes(sha1(item).digest(), "big")
    return joined.to_bytes(DIGEST_BYTES, "big")


def mix(digest: bytes, items: Iterable[bytes]) -> bytes:
    """The digest into which the items are mixed, one behind the other."""
    for item in items:
        digest = sha1(join(digest, (item,))).digest()
    return digest
