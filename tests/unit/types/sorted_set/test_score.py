"""Scores are read as Redis reads them, and printed so that the same score is read again."""

from __future__ import annotations

import math
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.sessions import Server, run
from kvserver.errors import CommandError
from kvserver.resp.reply import Error
from kvserver.types.sorted_set.score import NOT_A_FLOAT, listed_text_of, score_in, score_of, scored, text_of

doubles = st.floats(allow_nan=False)


def exact(score: float | None) -> bytes:
    return b"" if score is None else struct.pack("<d", score)


@given(doubles)
def test_text_gives_the_same_score(score: float) -> None:
    text = text_of(score)
    assert exact(score_of(text)) == exact(score_in(text)) == exact(score)
    assert score_of(listed_text_of(score)) == score
    assert exact(score_of(repr(score).encode())) == exact(score)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        *(("3", 3.0), ("+3", 3.0), ("-0", -0.0), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("1E-3", 0.001), ("007", 7.0)),
        *(("inf", math.inf), ("-INFINITY", -math.inf), ("+Inf", math.inf), ("0x1p3", 8.0), ("-0X.8", -0.5)),
        *(("0x1P-1074", 5e-324), ("0e-999", 0.0), ("0x0p999999999999999999999", 0.0), ("4.9e-324", 5e-324)),
        *(("1.7976931348623157e308", 1.7976931348623157e308), ("9007199254740993", 9007199254740992.0)),
        ("1" * 400 + "e-400", 0.1111111111111111),
    ],
)
def test_score_is_read(text: str, score: float) -> None:
    assert exact(score_of(text.encode())) == exact(score_in(text.encode())) == exact(score)


@pytest.mark.parametrize(
    "text",
    [
        *("", " 1", "1 ", "nan", "-nan", "nan(1)", "1e", "1e+", "0x", "0x1p", "1_0", "1,5", "1f", ".", "+", "-", "e5"),
        *("0x.p1", "1\0", "\u0661"),
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match=NOT_A_FLOAT):
        score_of(text.encode())
    with pytest.raises(CommandError, match="other text"):
        score_of(text.encode(), "ERR other text")


@pytest.mark.parametrize(
    ("text", "score"),
    [
        *(("1e400", math.inf), ("-1e400", -math.inf), ("1e-400", 0.0), ("-1e-400", -0.0), ("0x1p9999", math.inf)),
        *(("-0x1p9999", -math.inf), ("0x1p-9999", 0.0), ("0x1p99999999999999999999", math.inf)),
    ],
)
def test_score_out_of_range_is_a_bound_and_no_score(text: str, score: float) -> None:
    assert exact(score_in(text.encode())) == exact(score)
    with pytest.raises(CommandError, match=NOT_A_FLOAT):
        score_of(text.encode())


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("", 0.0),
        (" 1", 1.0),
        ("\t\n\v\f\r1", 1.0),
        ("1\0x", 1.0),
        ("\0", 0.0),
        ("1 ", None),
        (" ", None),
        ("nan", None),
        ("x", None),
    ],
)
def test_bound_is_read_as_a_c_string(text: str, score: float | None) -> None:
    assert exact(score_in(text.encode())) == exact(score)


def test_listpack_has_whole_numbers_as_integers() -> None:
    found = [listed_text_of(score) for score in (1e17, 2.0**62, 2.0**62 + 1024, -(2.0**62), 0.5, math.inf, -0.0)]
    whole = b"4611686018427387904"
    assert found == [b"100000000000000000", whole, b"4.6116860184273889e+18", b"-" + whole, b"0.5", b"inf", b"0"]


def test_reply_is_flat_or_nested() -> None:
    assert scored([b"a", b"b"], [1.0, 1e17], is_nested=False) == [b"a", b"1", b"b", b"1e+17"]
    assert scored([b"a", b"b"], [1.0, 1e17], is_nested=True) == [(b"a", 1.0), (b"b", 1e17)]


def test_long_text_that_is_no_number_costs_next_to_nothing() -> None:
    session = Server().session()
    run(session, "HSET", "h", "f", "1" * 5_000 + "x")
    run(session, "RPUSH", "l", "1" * 1_000_000 + "x")
    started_at = time.process_time()
    for digits in (
        "1" * 1_000_000 + "x",
        "." + "1" * 1_000_000 + "x",
        "0x" + "f" * 1_000_000 + "y",
        "1e" + "1" * 1_000_000 + "x",
    ):
        assert isinstance(run(session, "ZADD", "z", digits, "m"), Error)
    assert isinstance(run(session, "SORT", "l"), Error)
    assert isinstance(run(session, "HINCRBYFLOAT", "h", "f", 1), Error)
    # It was quadratic: minutes.
    assert time.process_time() - started_at < 2
