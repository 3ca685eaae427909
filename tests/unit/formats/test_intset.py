"""Intsets are written in the size that their integers need. `_speedups.test_blocks` reads them again."""

from __future__ import annotations

import pytest

from helpers import blocks
from kvserver.formats.intset import write_intset


@pytest.mark.parametrize(
    ("number", "size"),
    [(0, 2), (32_767, 2), (-32_768, 2), (32_768, 4), (-32_769, 4), (2**31 - 1, 4), (-(2**31), 4), (2**31, 8),
     (-(2**31) - 1, 8), (2**63 - 1, 8), (-(2**63), 8)],
)  # fmt: skip
def test_farthest_integer_decides_the_size(number: int, size: int) -> None:
    assert write_intset([5, number, 1]) == blocks.intset(sorted([5, number, 1]), size)


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1])
def test_integer_of_more_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        write_intset([number])
