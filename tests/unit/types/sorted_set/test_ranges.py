"""Ranges of sorted sets: the positions that bounds, directions and limits give."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.sessions import Server, run
from kvserver.types.sorted_set.ranges import find, parse_bounds, parse_range, select
from kvserver.types.sorted_set.value import Small

SOME = Small({b"%d" % number: float(number) for number in range(10)})
numbers = st.integers(-12, 12)


@settings(max_examples=50)
@given(numbers, numbers, st.booleans())
def test_ranks_are_those_of_redis(first: int, last: int, is_backwards: bool) -> None:
    members = sorted(SOME.scores, reverse=is_backwards)
    start, stop = first + 10 if first < 0 else first, last + 10 if last < 0 else last
    expected = members[max(start, 0) : max(stop + 1, 0)]
    positions = find(SOME, parse_bounds("rank", b"%d" % first, b"%d" % last), is_backwards=is_backwards)
    assert SOME.members(*positions) == sorted(expected)


@settings(max_examples=50)
@given(numbers, numbers, numbers, numbers, st.booleans())
def test_limit_skips_and_counts_from_where_the_range_begins(
    low: int, high: int, offset: int, count: int, is_backwards: bool
) -> None:
    words = [b"%d" % number for number in ((high, low) if is_backwards else (low, high))]
    limit = [b"LIMIT", b"%d" % offset, b"%d" % count]
    range_ = parse_range([b"", b"", *words, b"BYSCORE", *limit, *([b"REV"] if is_backwards else [])], 2)
    within = [member for member, score in SOME if low <= score <= high]
    if is_backwards:
        within.reverse()
    expected = [] if offset < 0 else within[offset:] if count < 0 else within[offset : offset + count]
    assert SOME.members(*select(SOME, range_)) == sorted(expected)


def test_a_rank_of_64_bits_is_one() -> None:
    assert find(SOME, parse_bounds("rank", b"-9223372036854775808", b"9223372036854775807")) == (0, 10)
    assert find(SOME, parse_bounds("rank", b"9223372036854775807", b"-9223372036854775808")) == (0, 0)


@pytest.mark.parametrize("protocol", [2, 3])
def test_scores_are_pairs_in_resp3(protocol: int) -> None:
    session = Server().session()
    session.protocol = protocol
    run(session, "ZADD", "k", 1, "a", "2.5", "b")
    reply = run(session, "ZREVRANGE", "k", 0, -1, "WITHSCORES")
    assert reply == ([b"b", b"2.5", b"a", b"1"] if protocol == 2 else [(b"b", 2.5), (b"a", 1.0)])


def test_part_of_a_large_sorted_set_is_stored_as_a_small_one() -> None:
    server = Server()
    session = server.session()
    run(session, "ZADD", "k", *(word for number in range(300) for word in (number, number)))
    assert run(session, "ZRANGESTORE", "d", "k", 299, 200, "REV", "BYSCORE", "LIMIT", 1, 3) == 3
    assert server.keyspace.live(b"d") == "z\x00296\x01296\x00297\x01297\x00298\x01298\x00"
    assert run(session, "ZRANGESTORE", "d", "k", 0, -1) == 300
    assert run(session, "ZREMRANGEBYSCORE", "d", "(100", "+inf") == 199
    assert run(session, "ZRANGE", "k", -1, -1) == [b"299"]
    assert run(session, "ZRANGE", "d", -1, -1) == [b"100"]


@pytest.mark.parametrize("words", ["ZREMRANGEBYLEX z - [a", "ZRANGESTORE z z - [a BYLEX"])
def test_journal_needs_no_encoding_to_find_members_by_name(words: str) -> None:
    """SORT has made a skip list of the sorted set, in which other members lie between two names where scores differ."""
    server, again = Server(), Server()
    session = server.session()
    run(session, "ZADD", "z", 1, "c", 2, "b", 3, "a", 4, "e", 5, "d")
    run(session, "SORT", "z", "ALPHA")
    run(session, *words.split())
    for request in server.keyspace.records.take():
        run(again.session(), *request)
    asked = ("ZRANGE", "z", 0, -1, "WITHSCORES")
    assert run(again.session(), *asked) == run(session, *asked)
