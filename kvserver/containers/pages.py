"""A long row of objects, forked in a short step: a list of pages, of which either side copies one before it first changes it.

It stands for a list that has become too long to be copied at once: a copy touches each object in it, which takes two
milliseconds for the 39,000 runs of ten million members. A place is found by where the pages start. Pure.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain
from typing import Final, Generic, Self, TypeVar, overload

# A page is made of so many objects, and divided when it has twice as many.
PAGE: Final = 256

T = TypeVar("T")


class Pages(Generic[T]):
    """A row with those methods of a list that a directory needs. Slices have no steps, and indices of slices count from 0.

    Nobody may change a row while it is iterated over.
    """

    __slots__ = ("_owned", "_pages", "_starts")

    def __init__(self, items: Iterable[T]) -> None:
        some = list(items)
        self._pages = [some[start : start + PAGE] for start in range(0, len(some), PAGE)]
        # For each page 1 if no fork shares it.
        self._owned = bytearray(b"\1") * len(self._pages)
        self._starts = array("q", [0])
        self._count()

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self._pages)

    def __reversed__(self) -> Iterator[T]:
        return chain.from_iterable(map(reversed, reversed(self._pages)))

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return list(chain.from_iterable(page[start:stop] for page, start, stop in self._parts(index)))
        number, place = self._locate(index)
        return self._pages[number][place]

    def __setitem__(self, index: int, item: T) -> None:
        number, place = self._locate(index)
        self._own(number)[place] = item

    def __delitem__(self, index: int | slice) -> None:
        first, _, _ = index.indices(len(self)) if isinstance(index, slice) else (index, 0, 1)
        parts = self._parts(index if isinstance(index, slice) else slice(index, index + 1))
        number = bisect_right(self._starts, first) - 1
        for page, start, stop in parts:
            if stop - start == len(page):
                del self._pages[number], self._owned[number]
            else:
                del self._own(number)[start:stop]
                number += 1
        self._count()

    def insert(self, index: int, item: T) -> None:
        """Put an object in front of the one at an index, or at the end. The row is not empty."""
        number = min(bisect_right(self._starts, index), len(self._pages)) - 1
        page = self._own(number)
        page.insert(index - self._starts[number], item)
        if len(page) >= 2 * PAGE:
            self._pages.insert(number + 1, page[PAGE:])
            self._owned.insert(number + 1, 1)
            del page[PAGE:]
        self._count()

    def copy(self) -> Self:
        """Another row of the same objects. Each can be changed without the other's notice."""
        other = type(self).__new__(type(self))
        other._pages, other._starts = self._pages.copy(), self._starts[:]
        for each in (self, other):
            each._owned = bytearray(len(self._pages))
        return other

    def pages(self, start: int, stop: int) -> list[list[T]]:
        """The objects from one index up to another, in new lists or those of the row, which nobody may change."""
        return [
            page if stop - start == len(page) else page[start:stop] for page, start, stop in self._parts(slice(start, stop))
        ]

    def _locate(self, index: int) -> tuple[int, int]:
        starts = self._starts
        if index < 0:
            index += starts[-1]
        if not 0 <= index < starts[-1]:
            raise IndexError(index)
        number = bisect_right(starts, index) - 1
        return number, index - starts[number]

    def _parts(self, index: slice) -> list[tuple[list[T], int, int]]:
        """The pages of a slice, and for each the places in it."""
        start, stop, _ = index.indices(len(self))
        parts: list[tuple[list[T], int, int]] = []
        number = bisect_right(self._starts, start) - 1
        while start < stop:
            first, end = self._starts[number], min(stop, self._starts[number + 1])
            parts.append((self._pages[number], start - first, end - first))
            start = end
            number += 1
        return parts

    def _own(self, number: int) -> list[T]:
        """A page that may be changed."""
        if not self._owned[number]:
            self._pages[number] = self._pages[number].copy()
            self._owned[number] = 1
        return self._pages[number]

    def _count(self) -> None:
        """Find where the pages start, and the end."""
        self._starts = array("q", accumulate(map(len, self._pages), initial=0))
