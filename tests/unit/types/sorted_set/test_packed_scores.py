"""packed_scores: packed sorted sets stay in order, and are what sorted lists of pairs are."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from kvserver.containers.packed import pack_pairs, pairs_of
from kvserver.types.sorted_set import packed_scores
from kvserver.types.sorted_set.bounds import ScoreBound
from kvserver.types.sorted_set.packed_scores import rank_of, without_first
from kvserver.types.sorted_set.score import text_of

members = st.sampled_from([b"", b"a", b"aa", b"b", b"\x02", b"\xff", b"\xc3\xa9", b"x" * 64])
scores = st.sampled_from([0.0, 1.0, 1.5, -2.0, 1e300, inf, -inf])


def in_order(pairs: dict[bytes, float]) -> list[tuple[float, bytes]]:
    return sorted((score, member) for member, score in pairs.items())


def packed(pairs: dict[bytes, float]) -> str:
    return pack_pairs("z", ((member, text_of(score)) for score, member in in_order(pairs))) or ""


def unpacked(text: str) -> list[tuple[float, bytes]]:
    return [(float(score), member) for member, score in pairs_of(text).items()]


@given(st.dictionaries(members, scores))
def test_members_and_scores_come_in_order(pairs: dict[bytes, float]) -> None:
    found = packed_scores.in_order(packed(pairs))
    assert found == ([member for _, member in in_order(pairs)], [score for score, _ in in_order(pairs)])


@given(st.dictionaries(members, scores), scores, scores, st.booleans(), st.booleans())
def test_members_between_two_bounds_are_found(
    pairs: dict[bytes, float], low: float, high: float, is_behind_low: bool, is_behind_high: bool
) -> None:
    found = packed_scores.between(packed(pairs), ScoreBound(low, is_behind_low), ScoreBound(high, is_behind_high))
    assert found == [
        member
        for score, member in in_order(pairs)
        if (score > low if is_behind_low else score >= low) and (score <= high if is_behind_high else score < high)
    ]


@given(st.dictionaries(members, scores), members | st.sampled_from([b"a\0", b"\1", b"a\x011\0b"]))
def test_rank_is_the_position(pairs: dict[bytes, float], member: bytes) -> None:
    position = in_order(pairs).index((pairs[member], member)) if member in pairs else None
    assert rank_of(packed(pairs), member) == position


@given(st.dictionaries(members, scores, min_size=1))
def test_first_is_the_lowest(pairs: dict[bytes, float]) -> None:
    member, score, rest = without_first(packed(pairs))
    assert [(float(score), member), *unpacked(rest)] == in_order(pairs)
