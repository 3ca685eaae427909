"""The JSON of collections is that of json.dumps, in pieces that are short, however long members are."""

from __future__ import annotations

import json
import random
from math import inf
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from helpers.documents import keys
from kvserver.formats import members as module
from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.members import LATEST_MS, PIECE_MEMBERS, Timed, array_pieces, named, object_pieces, pairs_pieces
from kvserver.formats.names import name_of

strings = keys | st.binary(min_size=5, max_size=30) | st.text(min_size=5, max_size=20).map(str.encode)
lengths = st.integers(1, 16)
scores = st.floats(allow_nan=False) | st.sampled_from([inf, -inf, -0.0, 0.0, 1e16, 1e22])


def dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@given(st.lists(strings))
def test_names_are_those_of_each(members: list[bytes]) -> None:
    assert named(iter(members)) == list(map(name_of, members))


@given(st.lists(st.lists(strings, max_size=5) | st.none(), max_size=8), lengths)
def test_array(batches: list[list[bytes] | None], length: int) -> None:
    with mock.patch.multiple(module, PIECE_BYTES=length, PIECE_MEMBERS=3):
        text = b"".join(array_pieces(batches))
    assert text == dumped([name_of(member) for batch in batches for member in batch or ()])


@given(st.dictionaries(strings, strings | st.builds(Timed, strings, st.integers(1, LATEST_MS))), lengths)
def test_object(fields: dict[bytes, bytes | Timed], length: int) -> None:
    names = sorted(fields, key=name_of)
    with mock.patch.multiple(module, PIECE_BYTES=length, PIECE_MEMBERS=3):
        text = b"".join(object_pieces([names[:4], None, names[4:]], fields.get))
    named_values = {
        name_of(field): {"expires_at_ms": value.expires_at_ms, "value": name_of(value.value)}
        if isinstance(value := fields[field], Timed)
        else name_of(value)
        for field in names
    }
    assert text == dumped(named_values)


@given(st.lists(st.tuples(strings, scores)), lengths)
def test_pairs(pairs: list[tuple[bytes, float]], length: int) -> None:
    chunks = [([member for member, _ in some], [score for _, score in some]) for some in (pairs[:4], pairs[4:])]
    with mock.patch.multiple(module, PIECE_BYTES=length, PIECE_MEMBERS=3):
        text = b"".join(pairs_pieces(chunks))
    written = [[name_of(member), score if abs(score) < inf else repr(score)] for member, score in pairs]
    assert text == dumped(written)


def test_no_piece_is_long() -> None:
    source = random.Random(5)
    members = [source.randbytes(source.choice((0, 5, 5, 5, 500, 40_000, 200_000))) for _ in range(500)]
    members += [b"x" * 300_000, b"short"] + [b"%d" % number for number in range(1_000)]
    for pieces in (
        array_pieces([members]),
        object_pieces([members], dict(zip(members, reversed(members), strict=True)).get),
        object_pieces([members], lambda member: Timed(member, 1)),
        pairs_pieces([(members, [1.0] * len(members))]),
    ):
        for piece in pieces:
            assert len(piece) <= PIECE_BYTES * 2 or b'","' not in piece
            assert len(piece) <= PIECE_BYTES * 6
            assert piece.count(b",") <= 3 * PIECE_MEMBERS
