"""The subsequence is the one that Redis finds, compared with its algorithm written down cell by cell."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.sessions import run, text
from kvserver.state.session import Session
from kvserver.types.string.lcs import Match, length, matches


def matches_by_table(first: bytes, second: bytes) -> list[Match]:
    """As t_string.c of Redis 7.0 does it."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first, 1):
        for j, other in enumerate(second, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if one == other else max(table[i - 1][j], table[i][j - 1])
    found: list[Match] = []
    i, j, count = len(first), len(second), 0
    while i and j:
        if first[i - 1] == second[j - 1]:
            i, j, count = i - 1, j - 1, count + 1
            if i and j:
                continue
        if count:
            found.append(Match(i, j, count))
            count = 0
        if i and j:
            if table[i - 1][j] > table[i][j - 1]:
                i -= 1
            else:
                j -= 1
    return found


few_letters = st.lists(st.sampled_from(b"ab"), max_size=24).map(bytes)
some_letters = st.lists(st.sampled_from(b"abcd\xff"), max_size=24).map(bytes)


@given(few_letters | some_letters, few_letters | some_letters)
def test_pieces_are_those_of_redis(first: bytes, second: bytes) -> None:
    expected = matches_by_table(first, second)
    assert matches(first, second) == expected
    assert length(first, second) == sum(match.length for match in expected)


def test_pieces_are_those_of_redis_for_all_short_strings() -> None:
    strings = [bytes(letters) for length in range(6) for letters in product(b"ab", repeat=length)]
    for first, second in product(strings, strings):
        assert matches(first, second) == matches_by_table(first, second), (first, second)


@pytest.fixture
def session(session: Session) -> Session:
    run(session, "MSET", "a", "ohmytext", "b", "mynewtext")
    return session


def test_reply_is_the_subsequence_its_length_or_its_places(session: Session) -> None:
    assert run(session, "LCS", "a", "b") == b"mytext"
    assert run(session, "LCS", "a", "b", "LEN") == 6
    assert run(session, "LCS", "a", "b", "IDX") == {b"matches": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], b"len": 6}
    assert run(session, "LCS", "a", "b", "IDX", "MINMATCHLEN", 4) == {b"matches": [[[4, 7], [5, 8]]], b"len": 6}
    assert run(session, "LCS", "a", "b", "idx", "minmatchlen", -1, "withmatchlen") == {
        b"matches": [[[4, 7], [5, 8], 4], [[2, 3], [0, 1], 2]],
        b"len": 6,
    }


def test_missing_key_is_an_empty_string(session: Session) -> None:
    assert run(session, "LCS", "a", "missing") == b""
    assert run(session, "LCS", "missing", "a", "LEN") == 0
    assert run(session, "LCS", "missing", "gone", "IDX") == {b"matches": [], b"len": 0}


def test_json_is_compared_by_its_text(session: Session) -> None:
    run(session, "JSON.SET", "j", "$", '["my"]')
    assert run(session, "LCS", "a", "j") == b"my"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("NOSUCH",), "ERR syntax error"),
        (("MINMATCHLEN",), "ERR syntax error"),
        (("MINMATCHLEN", "x"), "ERR value is not an integer or out of range"),
        (("LEN", "IDX"), "ERR If you want both the length and indexes, please just use IDX."),
    ],
)
def test_wrong_options_are_refused(session: Session, words: tuple[str, ...], error: str) -> None:
    assert text(run(session, "LCS", "a", "b", *words)) == error


def test_table_that_redis_would_not_allocate_is_refused(session: Session) -> None:
    session.server.config.proto_max_bulk_len = (8 + 1) * (9 + 1) * 4
    assert run(session, "LCS", "a", "b", "LEN") == 6
    session.server.config.proto_max_bulk_len -= 1
    error = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
    assert text(run(session, "LCS", "a", "b", "LEN")) == error


def test_longest_strings_that_are_allowed_take_no_noticeable_time(session: Session) -> None:
    """Redis's limit of 512 MB is a table of 11,584 by 11,584; a loop over its cells would take a minute here."""
    run(session, "SET", "a", bytes(range(256)) * 45)
    run(session, "SET", "b", bytes(range(255, -1, -1)) * 45)
    assert run(session, "LCS", "a", "b", "LEN") == 90 - 1
    assert len(run(session, "LCS", "a", "b")) == 90 - 1  # type: ignore[arg-type]
    run(session, "SET", "a", b"x" * 11_500)
    run(session, "SET", "b", b"x" * 11_400 + b"y")
    assert run(session, "LCS", "a", "b", "IDX") == {b"matches": [[[100, 11_499], [0, 11_399]]], b"len": 11_400}
    run(session, "SET", "a", b"xy" * 5_000_000)
    run(session, "SET", "b", "yx")
    assert run(session, "LCS", "a", "b") == b"yx"
    assert run(session, "LCS", "b", "a") == b"yx"
