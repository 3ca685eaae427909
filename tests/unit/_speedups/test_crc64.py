"""The checksum is that of Redis, whichever way it is computed, and goes on behind other data."""

from __future__ import annotations

import random

import pytest

from helpers import dumps
from helpers.leaves import assert_frees_all, forms, same
from kvserver._speedups.crc64 import GENERATOR


def crc64(data: bytes, *crc: int) -> int:
    """What both forms give for the data."""
    found: int = same("crc64", data, *crc)
    return found


def test_check_value_of_redis() -> None:
    """From crc64.c."""
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc64(b"") == 0


@pytest.mark.parametrize("length", [1, 8, 1_750, 1_751, 1_752, 1_753, 3_502, 3_503, 3_504, 5_000, 20_000])
def test_long_data_gives_what_its_bits_give(length: int) -> None:
    data = random.Random(length).randbytes(length)
    assert crc64(data) == dumps.crc64(data)


@pytest.mark.parametrize("length", [2**18 - 1, 2**18, 2**18 + 1, 2**18 + 7, 2**18 + 9, 2**19 + 3, 3 * 2**18 + 1_752])
def test_data_is_summed_piece_by_piece_without_a_seam(length: int) -> None:
    """The sum of data with its own sum behind it is zero, and that of no other data is."""
    data = random.Random(length).randbytes(length)
    sealed = data + crc64(data).to_bytes(8, "little")
    assert crc64(sealed) == 0
    for position in (0, 1, length // 2, length - 1, length + 7):
        damaged = bytearray(sealed)
        damaged[position] ^= 1 << position % 8
        assert crc64(bytes(damaged)) != 0


def test_generator_is_that_of_the_bitwise_definition() -> None:
    assert dumps.crc64(b"\x80") == int(f"{GENERATOR:064b}"[::-1], 2)


def test_checksum_goes_on_behind_other_data() -> None:
    data = random.Random(1).randbytes(5_000)
    for border in (0, 1, 7, 8, 9, 2_500, 5_000):
        assert crc64(data[border:], crc64(data[:border])) == dumps.crc64(data)
    assert same("crc64", bytearray(data)) == crc64(data)


def test_leaf_refuses_what_its_twin_is_never_given() -> None:
    leaf = forms("crc64").get("compiled")
    if leaf is None:
        pytest.skip("the leaves are pure here")
    assert_frees_all(lambda: leaf(b"some data", 5))
    for wrong in ((), ("text",), (b"", "text"), (b"", 1, 2)):
        with pytest.raises(TypeError):
            leaf(*wrong)
    with pytest.raises(OverflowError):
        leaf(b"", 1 << 64)
