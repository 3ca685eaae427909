"""The directory of a long row of members that is kept in runs of some hundred. What a run is, its subclass decides.

A position is found by the sizes of the runs, and by sums of these for groups of runs, which are found when somebody asks:
at 10,000,000 members there are some 30,000 runs in 500 groups. So no step depends on the members, and hardly on the runs.

A fork copies the directory alone, and of a long one only the list of its pages. Either side then has a token of its own, and a
run may be changed only by the one whose token it holds, so that it is copied when it is first written to. What is dropped in
one step is freed in many.

Nobody may write to a fork while it is walked, but to others that share its runs.
"""

from __future__ import annotations

from array import array
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from kvserver.containers import lazyfree
from kvserver.containers.pages import Pages

# So many sums of groups are passed at once.
_STEP: Final = 32

R = TypeVar("R")


class Runs(Generic[R]):
    """Runs in their order, never none of them, and how many members each has. No run is empty, unless it is the only one.

    `groups` has the sums of the sizes of groups, from the first group on, as many as were asked for. The last group has none,
    so that who writes to the last run has no sum to change.
    """

    __slots__ = ("count", "groups", "runs", "sizes", "token")

    # There are `1 << GROUP_BITS` runs in a group.
    GROUP_BITS: ClassVar[int] = 6
    # A directory of more runs is made of pages, in which a run takes 0.15 µs more to be found.
    MOST_FLAT: ClassVar[int] = 2048

    def __init__(self, first: R, token: object, size: int = 0) -> None:
        """Begin with one run, which holds this token, or is nobody's, and has so many members."""
        self.token = token
        self.runs: list[R] | Pages[R] = [first]
        # An array, which is copied without touching an object for each run.
        self.sizes = array("i", [size])
        self.groups: list[int] = []
        self.count = size

    def __len__(self) -> int:
        return self.count

    def __del__(self) -> None:
        # At the end of the interpreter a module may have lost its names.
        if lazyfree is not None and lazyfree.begun is not None and lazyfree.begun() and len(self.runs) > 1:
            self._put_off(_paged(self.runs, 0, len(self.runs)))

    def fork(self) -> Self:
        """Another one with the same members. Each can be changed without the other's notice; none is copied yet."""
        other = type(self).__new__(type(self))
        other.runs, other.sizes, other.groups = self.runs.copy(), self.sizes[:], self.groups.copy()
        other.count, other.token, self.token = self.count, object(), object()
        return other

    def before(self, index: int) -> int:
        """The number of members in the runs in front of this one."""
        if not index:
            return 0
        group = index >> self.GROUP_BITS
        return sum(self._sums(group)[:group]) + sum(self.sizes[group << self.GROUP_BITS : index])

    def locate(self, position: int) -> tuple[int, int]:
        """The run of a member, and the place in it. The position behind the last member lies behind it in the last run."""
        sizes = self.sizes
        if position < sizes[0]:
            return 0, position
        last = len(sizes) - 1
        in_last = position - self.count + sizes[last]
        if in_last >= 0:
            return last, in_last
        groups = self._sums(last >> self.GROUP_BITS)
        # Many sums are passed at once: to pass each on its own would take 20 µs at 10,000,000 members.
        for group in range(0, len(groups), _STEP):
            total = sum(groups[group : group + _STEP])
            if position < total:
                break
            position -= total
        else:
            group = len(groups)
        for total in groups[group : group + _STEP]:
            if position < total:
                break
            position -= total
            group += 1
        index = group << self.GROUP_BITS
        for size in sizes[index : index + (1 << self.GROUP_BITS)]:
            if position < size:
                break
            position -= size
            index += 1
        return index, position

    def _sums(self, wanted: int) -> list[int]:
        """The sums of groups, at least of so many. There are no more than come before the group of the last run."""
        sizes, groups, bits = self.sizes, self.groups, self.GROUP_BITS
        for group in range(len(groups), wanted):
            groups.append(sum(sizes[group << bits : group + 1 << bits]))
        return groups

    def _resize(self, index: int, by: int) -> None:
        """Take notice that a run has so many more members. An index counts from the front."""
        self.count += by
        self.sizes[index] += by
        group = index >> self.GROUP_BITS
        if group < len(self.groups):
            self.groups[group] += by

    def _move(self, index: int) -> None:
        """Take notice that other runs stand from this index on: the sums of their groups are found anew when somebody asks."""
        del self.groups[index >> self.GROUP_BITS :]

    def _insert(self, index: int, run: R, size: int) -> None:
        """Put a run in front of the one at an index. Its members are not counted: they were in another run, or come later."""
        self.runs.insert(index, run)
        self.sizes.insert(index, size)
        if type(self.runs) is list and len(self.runs) > self.MOST_FLAT:
            self.runs = Pages(self.runs)
        self._move(index)

    def _remove(self, index: int) -> None:
        """Remove a run, whose members are not counted any more."""
        del self.runs[index], self.sizes[index]
        # The group of the last run has no sum. It is another group now, if the run was the only one of its group.
        self._move(min(index, len(self.runs) - 1))

    def _drop(self, start: int, stop: int) -> None:
        """Drop runs with their members, to be freed later. At least one run is left."""
        if start < stop:
            dropped = _paged(self.runs, start, stop)
            self.count -= sum(self.sizes[start:stop])
            del self.runs[start:stop], self.sizes[start:stop]
            self._move(min(start, len(self.runs) - 1))
            self._put_off(dropped)

    def _put_off(self, pages: list[list[R]]) -> None:
        lazyfree.free(pages, _contents)


def _paged(runs: list[R] | Pages[R], start: int, stop: int) -> list[list[R]]:
    """Some runs in pages, which nobody may change."""
    if isinstance(runs, Pages):
        return runs.pages(start, stop)
    return [runs[begin : min(begin + _STEP, stop)] for begin in range(start, stop, _STEP)]


def _contents(run: Any) -> list[object]:
    """The objects that go with a run: its members, or all of them in one if they are packed."""
    members = getattr(run, "members", run)
    return [members] if isinstance(members, bytes) else list(members)
