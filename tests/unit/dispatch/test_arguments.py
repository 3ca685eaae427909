"""Numbers and times are read as Redis reads them."""

from __future__ import annotations

import pytest

from kvserver.dispatch.arguments import NOT_AN_INTEGER, expiry_ms, integer
from kvserver.errors import CommandError


@pytest.mark.parametrize("number", [0, 1, -1, 42, 2**63 - 1, -(2**63)])
def test_integer_is_read(number: int) -> None:
    assert integer(b"%d" % number) == number


@pytest.mark.parametrize(
    "text", [b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"-", b"1_0", b"1.0", b"1e3", b"0x1", b"\xd9\xa1", b"9223372036854775808"]
)
def test_what_redis_takes_for_no_integer_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError, match="not an integer or out of range"):
        integer(text)
    with pytest.raises(CommandError, match=r"^ERR mine$"):
        integer(text, "ERR mine")


def test_expiry_counts_units_from_its_base() -> None:
    assert expiry_ms(b"5", unit_ms=1000, base_ms=100, command="set") == 5_100
    assert expiry_ms(b"5", unit_ms=1, base_ms=0, command="set") == 5


@pytest.mark.parametrize("text", [b"0", b"-1", b"9223372036854775807", b"9223372036854775"])
def test_expiry_that_is_no_time_ahead_or_overflows_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError, match=r"^ERR invalid expire time in 'set' command$"):
        expiry_ms(text, unit_ms=1000, base_ms=1_700_000_000_000, command="set")


def test_largest_expiry_is_taken() -> None:
    assert expiry_ms(b"9223372036854775807", unit_ms=1, base_ms=0, command="set") == 2**63 - 1
    with pytest.raises(CommandError, match="invalid expire time"):
        expiry_ms(b"9223372036854775807", unit_ms=1, base_ms=1, command="set")


def test_expiry_that_is_no_number_is_told_as_such() -> None:
    with pytest.raises(CommandError, match=NOT_AN_INTEGER):
        expiry_ms(b"soon", unit_ms=1, base_ms=0, command="set")
