"""The random numbers of scripts: those of POSIX's lrand48, as in Redis. Pure: the same seed gives the same numbers."""

from __future__ import annotations

from typing import Final

_FIRST_STATE: Final = 0x1234ABCD330E
_MULTIPLIER: Final = 0x5DEECE66D
_INCREMENT: Final = 0xB
_MASK: Final = (1 << 48) - 1
# A seed is put in front of these bits.
_LOW_BITS: Final = 0x330E
_RANDOM_MAX: Final = 0x7FFFFFFF


class Randomness:
    """The generator of a server, which all of its scripts and functions share, whatever is flushed."""

    def __init__(self) -> None:
        self._state = _FIRST_STATE

    def seed(self, number: float) -> None:
        """Begin anew, as math.randomseed with this number says."""
        whole = int(number) if abs(number) < 2**63 else 0
        self._state = ((whole & 0xFFFFFFFF) << 16) | _LOW_BITS

    def next(self) -> float:
        """The next number, from 0 to less than 1."""
        self._state = (self._state * _MULTIPLIER + _INCREMENT) & _MASK
        return ((self._state >> 17) % _RANDOM_MAX) / _RANDOM_MAX
