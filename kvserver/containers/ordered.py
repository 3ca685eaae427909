"""Members by their scores, as in a sorted set: ascending by score, and by the bytes of the member where scores are equal.

That is the order of Redis's skip list (`zslInsert` in its t_zset.c). The container finds nobody's score: a table beside it has
them, and the same objects of bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from operator import lt
from typing import ClassVar, Final, Self, cast

from kvserver.containers import fresh
from kvserver.containers.runs import Runs

# What a place in a run takes: a reference and a double, and some that are kept free. What a run takes besides.
_PLACE_BYTES: Final = 18
_RUN_BYTES: Final = 230


class Run:
    """Some pairs: members, and their scores in an array, in which to search without touching a single object.

    Members that were loaded are in a tuple, which the garbage collector soon leaves alone, until somebody changes them.
    """

    __slots__ = ("members", "owner", "scores")

    def __init__(self, members: list[bytes], scores: array[float], owner: object) -> None:
        self.members = members
        self.scores = scores
        self.owner = owner


def _place(run: Run, score: float, member: bytes) -> int:
    """The number of pairs in a run that are less than this one."""
    scores = run.scores
    place = bisect_left(scores, score)
    if place < len(scores) and scores[place] == score and run.members[place] < member:
        place = bisect_left(run.members, member, place, bisect_right(scores, score, place))
    return place


def _last_member(run: Run) -> bytes:
    return run.members[-1]


class Ordered(Runs[Run]):
    """Pairs of a score and a member, each once, in order. A score is not NaN.

    `borders` has the score of the last pair of each run but the last one, so that a single run has none to look at.
    Positions count from 0; those of a slice are as in a list's, and never negative.
    """

    __slots__ = ("borders",)

    # A run is divided when it has more than twice as many members. Those that are loaded in order get as many and a half.
    LOAD: ClassVar[int] = 256

    def __init__(self) -> None:
        token = object()
        super().__init__(Run([], array("d"), token), token)
        self.borders = array("d")

    def fork(self) -> Self:
        """Another one with the same pairs. Each can be changed without the other's notice; none is copied yet."""
        other = super().fork()
        other.borders = self.borders[:]
        return other

    def size_bytes(self) -> int:
        """An estimate of what this takes itself. Members and their scores as objects are the table's."""
        return self.count * _PLACE_BYTES + len(self.runs) * _RUN_BYTES

    # --- One pair ---

    def add(self, score: float, member: bytes) -> None:
        """Add a pair that is not there yet."""
        index = self._run_of(score, member) if self.borders else 0
        run = self.runs[index]
        if run.owner is not self.token:
            run = self._own(index)
        place = _place(run, score, member)
        run.scores.insert(place, score)
        run.members.insert(place, member)
        self._resize(index, 1)
        if len(run.members) > 2 * self.LOAD:
            self._divide(index, run, place)

    def remove(self, score: float, member: bytes) -> None:
        """Remove a pair. Raises KeyError, and removes nothing, if it is not there."""
        index = self._run_of(score, member) if self.borders else 0
        run = self.runs[index]
        place = self._find(run, score, member)
        self._remove_at(index, run, place)

    def move(self, score: float, member: bytes, to: float) -> None:
        """Give a member another score. Raises KeyError, and changes nothing, if the pair is not there."""
        index = self._run_of(score, member) if self.borders else 0
        run = self.runs[index]
        place = self._find(run, score, member)
        # Its neighbours are asked by score alone: where these are equal, the pair is removed and added.
        if 0 < place < len(run.members) - 1 and run.scores[place - 1] < to < run.scores[place + 1]:
            if run.owner is not self.token:
                run = self._own(index)
            run.scores[place] = to
        else:
            # The object that is here already, which the caller may hold elsewhere too.
            member = run.members[place]
            self._remove_at(index, run, place)
            self.add(to, member)

    def pop_first(self) -> tuple[bytes, float]:
        """Remove the first pair, and return its member and score. Raises IndexError if there is none."""
        run = self.runs[0]
        pair = run.members[0], run.scores[0]
        self._remove_at(0, run, 0)
        return pair

    def pop_last(self) -> tuple[bytes, float]:
        """Remove the last pair, and return its member and score. Raises IndexError if there is none."""
        run = self.runs[-1]
        pair = run.members[-1], run.scores[-1]
        self._remove_at(len(self.runs) - 1, run, len(run.members) - 1)
        return pair

    # --- Positions ---

    def rank(self, score: float, member: bytes) -> int:
        """The number of pairs that are less than this one: its position, if it is there."""
        index = self._run_of(score, member) if self.borders else 0
        place = _place(self.runs[index], score, member)
        return self.before(index) + place if index else place

    def position_of_score(self, score: float, after: bool) -> int:
        """The number of pairs with a lesser score; with `after`, those with this score are counted, too."""
        find = bisect_right if after else bisect_left
        index = find(self.borders, score)
        place = find(self.runs[index].scores, score)
        return self.before(index) + place if index else place

    def position_of_member(self, member: bytes, after: bool) -> int:
        """The number of lesser members, where all scores are equal; with `after`, this member is counted, too."""
        find = bisect_right if after else bisect_left
        index = find(self.runs, member, 0, len(self.borders), key=_last_member) if self.borders else 0
        place = find(self.runs[index].members, member)
        return self.before(index) + place if index else place

    def __getitem__(self, position: int) -> tuple[bytes, float]:
        """The member and the score at a position. Raises IndexError if there is none."""
        if not 0 <= position < self.count:
            raise IndexError(position)
        index, place = self.locate(position)
        run = self.runs[index]
        return run.members[place], run.scores[place]

    # --- Slices ---

    def members(self, start: int, stop: int) -> list[bytes]:
        """The members from one position up to another, in a new list."""
        missing = min(stop, self.count) - start
        if missing <= 0:
            return []
        index, place = self.locate(start)
        found = [*self.runs[index].members[place : place + missing]]
        while len(found) < missing:
            index += 1
            found += self.runs[index].members[: missing - len(found)]
        return found

    def slice(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """The members from one position up to another, and their scores, in two new lists."""
        missing = min(stop, self.count) - start
        if missing <= 0:
            return [], []
        index, place = self.locate(start)
        run = self.runs[index]
        members, scores = [*run.members[place : place + missing]], run.scores[place : place + missing]
        while len(members) < missing:
            index += 1
            run = self.runs[index]
            scores += run.scores[: missing - len(members)]
            members += run.members[: missing - len(members)]
        return members, scores.tolist()

    def remove_slice(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """Remove the pairs from one position up to another. Returns them as `slice` does."""
        removed = self.slice(start, stop)
        if not removed[0]:
            return removed
        first, place = self.locate(start)
        last, end = self.locate(min(stop, self.count))
        if first == last:
            self._cut(first, place, end)
            self._settle(first)
            return removed
        self._cut(last, 0, end)
        self._cut(first, place, self.sizes[first])
        # Nothing of the runs between is left, and perhaps nothing of these two.
        start, stop = first + bool(place), last + (not self.sizes[last])
        if stop - start == len(self.runs):
            # One run has to be there.
            start = 1
        self._drop(start, stop)
        if start < len(self.runs):
            self._settle(start)
        if start:
            self._settle(start - 1)
        return removed

    # --- All pairs ---

    def load(self, members: list[bytes], scores: list[float]) -> None:
        """Add pairs that are in order and behind all that are there. Raises ValueError, and adds none, if they are not."""
        if len(members) != len(scores):
            raise ValueError("pairs to load lack a half")
        if self.count and members and (self.runs[-1].scores[-1], self.runs[-1].members[-1]) >= (scores[0], members[0]):
            raise ValueError("pairs to load are not behind all others")
        # Pairs are compared only if there are equal scores among them, since that takes five times as long.
        if not all(map(lt, scores, islice(scores, 1, None))):
            pairs = list(zip(scores, members, strict=True))
            if not all(map(lt, pairs, islice(pairs, 1, None))):
                raise ValueError("pairs to load are not in order")
        load = self.LOAD + self.LOAD // 2
        start = max(0, min(load - self.sizes[-1], len(members)))
        if start:
            run = self.runs[-1]
            if run.owner is None:
                # It was loaded, and stays nobody's.
                joined = (*run.members, *members[:start])
                fresh.note(len(joined))
                self.runs[-1] = Run(cast("list[bytes]", joined), run.scores + array("d", scores[:start]), None)
            else:
                run = self._own(len(self.runs) - 1)
                run.members += members[:start]
                run.scores.extend(scores[:start])
            self._resize(len(self.runs) - 1, start)
        for begin in range(start, len(members), load):
            some = tuple(members[begin : begin + load])
            fresh.note(len(some))
            # It is nobody's, and so never changed: who changes it makes a list of it first.
            run = Run(cast("list[bytes]", some), array("d", scores[begin : begin + load]), None)
            self.borders.append(self.runs[-1].scores[-1])
            self._insert(len(self.runs), run, len(some))
            self.count += len(some)
        # Nobody shall have to find the sums of all groups at once.
        self._sums(len(self.borders) >> self.GROUP_BITS)

    def chunks(self) -> Iterator[tuple[Sequence[bytes], Sequence[float]]]:
        """The members and their scores, some hundred at a time. They are the container's own: nobody may change them."""
        for run in self.runs:
            yield run.members, run.scores

    def __iter__(self) -> Iterator[tuple[bytes, float]]:
        return chain.from_iterable(zip(run.members, run.scores, strict=True) for run in self.runs)

    def __reversed__(self) -> Iterator[tuple[bytes, float]]:
        return chain.from_iterable(
            zip(reversed(run.members), reversed(run.scores), strict=True) for run in reversed(self.runs)
        )

    # --- Runs ---

    def _run_of(self, score: float, member: bytes) -> int:
        """The run that has the pair, or gets it: the first whose last pair is not less, or the last run."""
        borders = self.borders
        index = bisect_left(borders, score)
        if index < len(borders) and borders[index] == score:
            index = bisect_left(self.runs, member, index, bisect_right(borders, score, index), key=_last_member)
        return index

    def _find(self, run: Run, score: float, member: bytes) -> int:
        """The place of a pair in its run. Raises KeyError if it is not there."""
        place = _place(run, score, member)
        if place == len(run.members) or run.members[place] != member or run.scores[place] != score:
            raise KeyError(member)
        return place

    def _own(self, index: int) -> Run:
        """A run that may be changed: a copy, if forks may share it, or if it was loaded."""
        run = self.runs[index]
        if run.owner is not self.token:
            run = self.runs[index] = Run([*run.members], run.scores[:], self.token)
            fresh.note(len(run.members))
        return run

    def _remove_at(self, index: int, run: Run, place: int) -> None:
        if run.owner is not self.token:
            run = self._own(index)
        del run.scores[place], run.members[place]
        self._resize(index, -1)
        if self.borders:
            if place and place == len(run.members) and index < len(self.borders):
                self.borders[index] = run.scores[-1]
            # An empty run goes even where LOAD is so little that no run is short.
            if len(run.members) < (self.LOAD >> 2 or 1):
                self._settle(index)

    def _cut(self, index: int, start: int, stop: int) -> None:
        """Remove some places of a run, perhaps all."""
        if start < stop:
            run = self._own(index)
            del run.scores[start:stop], run.members[start:stop]
            self._resize(index, start - stop)
            if run.members and index < len(self.borders):
                self.borders[index] = run.scores[-1]

    def _divide(self, index: int, run: Run, place: int) -> None:
        """Make two runs of one that got too long by a pair at this place: halves, unless all is added at the end."""
        size = len(run.members)
        half = size - 1 if place == size - 1 and index == len(self.borders) else size // 2
        behind = Run(run.members[half:], run.scores[half:], self.token)
        # Where all is added at the end, the one that is full was never noted yet.
        fresh.note(size)
        del run.scores[half:], run.members[half:]
        self.borders.insert(index, run.scores[-1])
        self.sizes[index] = half
        self._insert(index + 1, behind, size - half)
        self._move(index)

    def _settle(self, index: int) -> None:
        """Remove a run that is empty, and join one that got short with a neighbour, if both have room in one."""
        size = self.sizes[index]
        if not self.borders or size >= (self.LOAD >> 2 or 1):
            return
        if not size:
            self._remove(index)
            return
        for left in (index - 1, index):
            if 0 <= left < len(self.borders) and self.sizes[left] + self.sizes[left + 1] <= self.LOAD:
                self._join(left)
                return

    def _join(self, index: int) -> None:
        """Make one run of two."""
        run, behind = self._own(index), self.runs[index + 1]
        run.members += behind.members
        run.scores.extend(behind.scores)
        self.sizes[index] = len(run.members)
        del self.borders[index]
        super()._remove(index + 1)
        self._move(index)

    def _remove(self, index: int) -> None:
        del self.borders[min(index, len(self.borders) - 1)]
        super()._remove(index)

    def _drop(self, start: int, stop: int) -> None:
        # The run that is the last one then has no border.
        if stop == len(self.runs):
            start_of_borders = max(0, start - 1)
            del self.borders[start_of_borders:]
        else:
            del self.borders[start:stop]
        super()._drop(start, stop)
