"""Digests are those of redis-server: what has an order is mixed, what has none is joined. (tests/wire compares them.)"""

from __future__ import annotations

from hashlib import sha1

from kvserver.formats.digest import DIGEST_BYTES, EMPTY, STRING_TYPE, join, mix


def test_nothing_changes_no_digest() -> None:
    assert mix(EMPTY, ()) == join(EMPTY, ()) == EMPTY == bytes(DIGEST_BYTES)


def test_mixed_is_hashed_twice_and_joined_once() -> None:
    once = sha1(b"a").digest()
    assert join(EMPTY, (b"a",)) == once
    assert mix(EMPTY, (b"a",)) == sha1(once).digest()


def test_order_counts_where_it_is_mixed() -> None:
    assert join(EMPTY, (b"a", b"b")) == join(EMPTY, (b"b", b"a")) != EMPTY
    assert mix(EMPTY, (b"a", b"b")) == mix(mix(EMPTY, (b"a",)), (b"b",)) != mix(EMPTY, (b"b", b"a"))


def test_value_of_redis() -> None:
    """What redis-server 7.0.15 says of DEBUG DIGEST-VALUE behind SET k 1."""
    assert mix(EMPTY, (STRING_TYPE, b"1")).hex() == "b4fc66738120fba0b5aa500ab5c2bf89cea1c5da"
