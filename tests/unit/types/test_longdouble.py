"""The digits are those of C's long double on x86-64, of which the oracle below has an exact model."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.types.longdouble import LongDouble


def number(text: str) -> LongDouble:
    parsed = LongDouble.parse(text.encode())
    assert parsed is not None, text
    return parsed


def printed(text: str) -> str:
    return number(text).text().decode()


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e3", "1000"),
        ("1E-3", "0.001"),
        ("0.1", "0.1"),
        ("3.14159265358979323846", "3.14159265358979324"),
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551617", "18446744073709551616"),
        ("1e-17", "0.00000000000000001"),
        ("4e-18", "0"),
        ("-4e-18", "0"),
        ("0x1.8p3", "12"),
        ("-0X.8", "-0.5"),
        ("0x1p-1", "0.5"),
    ],
)
def test_text_has_seventeen_decimals_at_most(text: str, digits: str) -> None:
    assert printed(text) == digits


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1_0", "1e", "1e+", ".", "e5", "0x", "0x.p1", "nan", "-nan", "nan(1)", "1,5", "1f", "--1", "1\0", "in"],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    assert LongDouble.parse(text.encode()) is None


@pytest.mark.parametrize("text", ["1.2e4932", "-1e5000", "1e-4951", "1e999999999999", "-1e-999999999999", "0x1p16384"])
def test_what_is_too_big_or_too_close_to_zero_is_refused(text: str) -> None:
    assert LongDouble.parse(text.encode()) is None


@pytest.mark.parametrize("text", ["1.18973149535723176502e4932", "4e-4951", "0e999999999999", "0x1p16383", "0x1p-16445"])
def test_what_is_just_inside_is_read(text: str) -> None:
    assert number(text).is_finite


def test_texts_are_as_long_as_redis_reads_them() -> None:
    assert printed("0" * 5000 + "1") == "1"
    assert printed("1" + "0" * 4900) == printed("1e4900")
    assert LongDouble.parse(b"0" * 5119) is not None
    assert LongDouble.parse(b"0" * 5120) is None


@pytest.mark.parametrize("text", ["inf", "-inf", "INFINITY", "+Infinity"])
def test_infinity_is_read_and_stays_infinite(text: str) -> None:
    assert not number(text).is_finite
    assert not (number(text) + number("1")).is_finite
    assert not (number("1") + number(text)).is_finite


def test_sum_that_overflows_is_infinite() -> None:
    assert not (number("1e4932") + number("1e4932")).is_finite
    assert (number("1e4932") + number("-1e4932")).text() == b"0"


def test_sum_is_rounded_to_sixty_four_bits_ties_to_even() -> None:
    assert (number("18446744073709551615") + number("1")).text() == b"18446744073709551616"
    assert (number("18446744073709551616") + number("1")).text() == b"18446744073709551616"
    assert (number("18446744073709551618") + number("1")).text() == b"18446744073709551620"
    assert (number("18446744073709551616") + number("1.5")).text() == b"18446744073709551618"


def nearest(exact: Fraction) -> Fraction:
    """The multiple of the last bit's worth that is next to a number, by the definition: no denormals here."""
    if not exact:
        return exact
    step = Fraction(1)
    while abs(exact) / step >= 2**64:
        step *= 2
    while abs(exact) / step < 2**63:
        step /= 2
    return round(exact / step) * step


decimals = st.decimals(-(10**22), 10**22, allow_nan=False, allow_infinity=False, places=19)


@given(decimals, decimals)
def test_sum_is_that_of_exact_fractions_rounded(first: Decimal, second: Decimal) -> None:
    expected = nearest(nearest(Fraction(first)) + nearest(Fraction(second)))
    total = number(str(first)) + number(str(second))
    assert total.mantissa * Fraction(2) ** total.exponent == expected
    with localcontext() as context:
        context.prec = 200
        rounded = Decimal(round(expected * 10**17)).scaleb(-17)
    assert Decimal(total.text().decode()) == rounded
