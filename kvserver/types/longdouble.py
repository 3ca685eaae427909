"""`LongDouble`, the numbers of INCRBYFLOAT: C's `long double` on x86-64, whose digits Redis prints. Exact, in integers. Pure.

An x87 extended double has a mantissa of 64 bits and an exponent of 15; reading and adding round to the nearest, ties to
even. Texts are those of glibc's strtold, as Redis 7.0's string2ld takes them, and of `%.17Lf` without trailing zeros.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MANTISSA_BITS = 64
# Finite numbers are below 2**16384.
_MAX_BITS = 16384
# The smallest (denormal) number is 2**-16445.
_MIN_EXPONENT = -16445
_MAX_TEXT_BYTES = 5 * 1024 - 1
_FRACTION_DIGITS = 17

# Digits are taken whole (`++`): a long text that is no number would be tried at each of them again.
_DECIMAL = re.compile(rb"([+-]?)(?:([0-9]++)\.?([0-9]*+)|\.([0-9]++))(?:[eE]([+-]?[0-9]++))?")
_HEXADECIMAL = re.compile(rb"([+-]?)0[xX](?:([0-9a-fA-F]++)\.?([0-9a-fA-F]*+)|\.([0-9a-fA-F]++))(?:[pP]([+-]?[0-9]++))?")
_INFINITE = re.compile(rb"([+-]?)inf(?:inity)?", re.IGNORECASE)
# Beyond these exponents a number is infinite or zero, whatever its digits, so that 10 ** 999999999 is never computed.
_HUGE_DECIMAL_EXPONENT = 4933
_TINY_DECIMAL_EXPONENT = -4999
_CLAMPED_EXPONENT = 1_000_000
# Python reads and prints at most 4,300 digits at once.
_DIGITS_AT_ONCE = 4000


class LongDouble(NamedTuple):
    """The number `mantissa * 2**exponent`. An infinity has the exponent _INFINITE_EXPONENT."""

    mantissa: int
    exponent: int

    @property
    def is_finite(self) -> bool:
        return self.exponent != _INFINITE_EXPONENT

    @staticmethod
    def parse(text: bytes) -> LongDouble | None:
        """The number that Redis reads, an infinity as well. None for NaN, a number that is too big or small, or no number."""
        if len(text) > _MAX_TEXT_BYTES:
            return None
        if match := _DECIMAL.fullmatch(text):
            number = _parse_decimal(match)
        elif match := _HEXADECIMAL.fullmatch(text):
            number = _parse_hexadecimal(match)
        elif match := _INFINITE.fullmatch(text):
            return _signed(_INFINITY, match[1])
        else:
            return None
        return None if number is None or not number.is_finite else _signed(number, match[1])

    def __add__(self, other: object) -> LongDouble:
        """The sum, rounded. An infinity if either number is one, even where Redis has NaN, for infinities of both signs."""
        if not isinstance(other, LongDouble):
            return NotImplemented
        if not (self.is_finite and other.is_finite):
            return _INFINITY
        exponent = min(self.exponent, other.exponent)
        total = (self.mantissa << self.exponent - exponent) + (other.mantissa << other.exponent - exponent)
        return _scaled(total, exponent)

    def negated(self) -> LongDouble:
        """The number with the other sign."""
        return LongDouble(-self.mantissa, self.exponent)

    def is_above(self, other: LongDouble) -> bool:
        """True if this number is greater. Infinities are greater, or less, than all others."""
        exponent = min(self.exponent, other.exponent)
        return self.mantissa << self.exponent - exponent > other.mantissa << other.exponent - exponent

    def times(self, factor: int) -> LongDouble:
        """The product with a positive integer, rounded."""
        return _scaled(self.mantissa * factor, self.exponent) if self.is_finite else self

    def ceiling(self) -> int:
        """The least integer that is not below. Not for an infinity."""
        return self.mantissa << self.exponent if self.exponent >= 0 else -(-self.mantissa >> -self.exponent)

    def text(self) -> bytes:
        """The digits of `%.17Lf` without trailing zeros. Not for an infinity."""
        magnitude = abs(self.mantissa)
        if self.exponent >= 0:
            digits, fraction = _print_digits(magnitude << self.exponent), ""
        else:
            scaled = _round(magnitude * 10**_FRACTION_DIGITS, 1 << -self.exponent)
            padded = _print_digits(scaled).zfill(_FRACTION_DIGITS + 1)
            digits, fraction = padded[:-_FRACTION_DIGITS], padded[-_FRACTION_DIGITS:].rstrip("0")
        number = f"{digits}.{fraction}" if fraction else digits
        return f"-{number}".encode() if self.mantissa < 0 and number != "0" else number.encode()


_INFINITE_EXPONENT = _MAX_BITS + 1
_INFINITY = LongDouble(1, _INFINITE_EXPONENT)
_ZERO = LongDouble(0, 0)
# The greatest of the finite numbers.
LARGEST = LongDouble((1 << MANTISSA_BITS) - 1, _MAX_BITS - MANTISSA_BITS)


def _scaled(mantissa: int, exponent: int) -> LongDouble:
    """The long double next to `mantissa * 2**exponent`."""
    magnitude = _ratio(abs(mantissa) << max(exponent, 0), 1 << max(-exponent, 0))
    return LongDouble(-magnitude.mantissa, magnitude.exponent) if mantissa < 0 else magnitude


def _signed(number: LongDouble, sign: bytes) -> LongDouble:
    return LongDouble(-number.mantissa, number.exponent) if sign == b"-" else number


def _parse_decimal(match: re.Match[bytes]) -> LongDouble | None:
    whole, fraction = match[2] or b"", match[3] or match[4] or b""
    digits = (whole + fraction).lstrip(b"0")
    if not digits:
        return _ZERO
    exponent = _exponent(match[5]) - len(fraction)
    if not _TINY_DECIMAL_EXPONENT < exponent + len(digits) <= _HUGE_DECIMAL_EXPONENT + 1:
        return None
    number = _ratio(_read_digits(digits) * 10 ** max(exponent, 0), 10 ** max(-exponent, 0))
    return number if number.mantissa else None


def _parse_hexadecimal(match: re.Match[bytes]) -> LongDouble | None:
    whole, fraction = match[2] or b"", match[3] or match[4] or b""
    mantissa = int(whole + fraction, 16)
    if not mantissa:
        return _ZERO
    exponent = _exponent(match[5]) - 4 * len(fraction)
    if not _MIN_EXPONENT - 1 <= exponent + mantissa.bit_length() <= _MAX_BITS:
        return None
    number = _ratio(mantissa << max(exponent, 0), 1 << max(-exponent, 0))
    return number if number.mantissa else None


def _exponent(text: bytes | None) -> int:
    """The exponent of a text, 0 for None. One that is so big that only its sign counts is clamped."""
    if text is None:
        return 0
    digits = text.lstrip(b"+-").lstrip(b"0") or b"0"
    magnitude = int(digits) if len(digits) < len(str(_CLAMPED_EXPONENT)) else _CLAMPED_EXPONENT
    return -magnitude if text[:1] == b"-" else magnitude


def _ratio(numerator: int, denominator: int) -> LongDouble:
    """The long double next to a quotient that is not negative."""
    exponent = numerator.bit_length() - denominator.bit_length() - MANTISSA_BITS
    while True:
        exponent = max(exponent, _MIN_EXPONENT)
        scaled, divisor = numerator << max(-exponent, 0), denominator << max(exponent, 0)
        if scaled // divisor >> MANTISSA_BITS == 0:
            break
        exponent += 1
    mantissa = _round(scaled, divisor)
    return _INFINITY if mantissa.bit_length() + exponent > _MAX_BITS else LongDouble(mantissa, exponent)


def _round(numerator: int, denominator: int) -> int:
    """The nearest integer, ties to even."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient & 1))


def _read_digits(digits: bytes) -> int:
    number = 0
    for start in range(0, len(digits), _DIGITS_AT_ONCE):
        piece = digits[start : start + _DIGITS_AT_ONCE]
        number = number * 10 ** len(piece) + int(piece)
    return number


def _print_digits(number: int) -> str:
    upper, lower = divmod(number, 10**_DIGITS_AT_ONCE)
    return f"{upper}{lower:0{_DIGITS_AT_ONCE}}" if upper else str(lower)
