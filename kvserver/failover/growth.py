"""The growth of the log, as one who follows has seen it: how much stands behind a place, which a new leader has to know.

A snapshot goes on from a place that lies behind. To know what each entry was would take more memory the longer a log is: a
number of places is kept, and what is told is never too little.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

MOST_PLACES: Final = 1024


class Amount(NamedTuple):
    """An amount of what the log has: the bytes of entries, and the records in them."""

    byte_count: int = 0
    records: int = 0


class Growth:
    """The growth since an entry that no snapshot lies before."""

    def __init__(self) -> None:
        self._total = Amount()
        # The numbers of some entries, and what there was up to each of them.
        self._numbers: list[int] = []
        self._amounts: list[Amount] = []
        # So many bytes at least are from one place to the next.
        self._step_bytes = 1

    def add(self, number: int, byte_count: int, records: int) -> None:
        """Take notice of the next entry, with its number, its bytes and the records that end in it."""
        self._total = Amount(self._total.byte_count + byte_count, self._total.records + records)
        if self._total.byte_count - (self._amounts[-1].byte_count if self._amounts else 0) >= self._step_bytes:
            self._numbers.append(number)
            self._amounts.append(self._total)
            if len(self._numbers) > MOST_PLACES:
                self._numbers, self._amounts = self._numbers[1::2], self._amounts[1::2]
                self._step_bytes = self._total.byte_count // (MOST_PLACES // 2) + 1

    def behind(self, number: int) -> Amount:
        """The amount behind the entry with this number. It may be too much, by some thousandth parts of the whole."""
        place = bisect_right(self._numbers, number)
        before = self._amounts[place - 1] if place else Amount()
        return Amount(self._total.byte_count - before.byte_count, self._total.records - before.records)
