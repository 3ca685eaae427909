"""The strings and the numbers of a stream's node, made small (`types.stream.joined`)."""

from __future__ import annotations

from array import array
from itertools import accumulate
from sys import byteorder
from typing import Final

from kvserver._speedups.choice import leaf

# Of so many joined strings, the place of the first is known.
STRIDE: Final = 16
# Longer strings on average are not joined.
_MOST_BYTES: Final = 1024
_SEPARATOR: Final = b"\0"
_NUMBER_BYTES: Final = 8


@leaf
def join_strings(strings: list[bytes]) -> tuple[bytes, bytes] | None:
    """The strings in one, with a NUL between each two, and where every sixteenth of them begins, and at last the end, plus 1.

    The places are numbers of eight bytes. None where there are no strings, where they are long, or where one has a NUL.
    """
    before = list(accumulate(map(len, strings), initial=0))
    if before[-1] > _MOST_BYTES * len(strings):
        return None
    joined = _SEPARATOR.join(strings)
    if joined.count(_SEPARATOR) != len(strings) - 1:
        return None
    begins = [before[place] + place for place in range(0, len(strings), STRIDE)]
    return joined, array("Q", [*begins, len(joined) + 1]).tobytes()


@leaf
def narrow_numbers(numbers: bytes) -> bytes:
    """Numbers of eight bytes with as few of them as the greatest needs: 1, 2, 4 or 8."""
    wide = memoryview(numbers).cast("Q")
    most = max(wide, default=0)
    size, code = next((size, code) for code, size in (("B", 1), ("H", 2), ("I", 4), ("Q", 8)) if most < 1 << 8 * size)
    if not numbers:
        return b""
    # Measured: to take some bytes of each takes a third of what it takes to pack them.
    step = _NUMBER_BYTES // size
    parts = memoryview(numbers).cast(code)  # type: ignore[call-overload]
    return bytes(parts[step - 1 if byteorder == "big" else 0 :: step].tobytes())
