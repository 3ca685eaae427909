"""Long values come in short pieces, and are the same when they are put together."""

from __future__ import annotations

from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.rdb_collections import HASH, HASH_METADATA, ZSET_2, write_expiring_hash, write_hash, write_zset
from kvserver.formats.rdb_pieces import (
    expiring_hash_in_pieces,
    hash_in_pieces,
    in_pieces,
    string_in_pieces,
    zset_in_pieces,
)

COUNT = 10_000


def test_pieces_are_short_and_nothing_is_lost() -> None:
    parts = [b"%d" % number for number in range(COUNT)]
    pieces = list(in_pieces(parts))
    assert b"".join(pieces) == b"".join(parts)
    assert COUNT // 300 < len(pieces) < COUNT // 200
    long_parts = [b"x" * PIECE_BYTES] * 3
    assert list(in_pieces(long_parts)) == [*long_parts, b""]


def test_long_string_is_cut() -> None:
    string = bytes(range(256)) * 1_000
    pieces = list(string_in_pieces(b"\0", string))
    assert max(map(len, pieces)) == PIECE_BYTES
    assert b"".join(pieces) == b"\0\x80" + len(string).to_bytes(4, "big") + string


def test_collections_are_those_that_are_written_whole() -> None:
    pairs = [(b"%d" % number, b"value") for number in range(COUNT)]
    assert b"".join(hash_in_pieces(COUNT, pairs)) == write_hash(HASH, pairs)
    scores = [(b"%d" % number, number / 3) for number in range(COUNT)]
    assert b"".join(zset_in_pieces(COUNT, reversed(scores))) == write_zset(ZSET_2, scores)
    fields = [(b"%d" % number, b"value", 5 + number if number % 2 else None) for number in range(COUNT)]
    assert b"".join(expiring_hash_in_pieces(COUNT, 6, fields)) == write_expiring_hash(HASH_METADATA, fields)
