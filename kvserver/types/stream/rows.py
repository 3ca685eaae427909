"""Rows in the order of ids: an id each, and perhaps some values beside it, in columns. Pure.

Pending entries are kept in it: a million of them are some ten thousand arrays, in which the garbage collector has nothing to
look for, and not as many objects. The directory is that of other long rows (`containers.runs`), so that a fork copies the
directory alone, and what is dropped in one step is freed in many.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final, Self

from kvserver.containers import fresh, lazyfree
from kvserver.containers.runs import Runs
from kvserver.types.stream.ids import FIRST, Id

# What a value takes: eight bytes, and some that are kept free. What a run takes besides, with its columns.
_VALUE_BYTES: Final = 9
_RUN_BYTES: Final = 120
_COLUMN_BYTES: Final = 80

# A column: an array of numbers, or a list of objects.
Column = Any
# An id and its values.
Row = tuple[Any, ...]


class Run:
    """Some rows, in columns: the milliseconds and the sequence numbers of the ids, then the values."""

    __slots__ = ("columns", "owner")

    def __init__(self, columns: list[Column], owner: object) -> None:
        self.columns = columns
        self.owner = owner


def _last_of(run: Run) -> Id:
    columns = run.columns
    return columns[0][-1], columns[1][-1]


def _place(run: Run, identity: Id) -> int:
    """The number of rows in a run whose ids are less than this one."""
    columns = run.columns
    milliseconds, sequences = columns[0], columns[1]
    first, second = identity
    place = bisect_left(milliseconds, first)
    if place < len(milliseconds) and milliseconds[place] == first and sequences[place] < second:
        place = bisect_left(sequences, identity[1], place, bisect_right(milliseconds, identity[0], place))
    return place


class Rows(Runs[Run]):
    """Rows by their ids, each id once. `kinds` are those of the values' columns: codes of arrays, or O for any object.

    Objects are never forked or freed one by one: they are strings that others hold, too.
    """

    __slots__ = ("kinds",)

    # A run is divided when it has more than twice as many rows.
    LOAD: ClassVar[int] = 128

    def __init__(self, kinds: str = "") -> None:
        self.kinds = kinds
        token = object()
        super().__init__(self._empty(token), token)

    def fork(self) -> Self:
        """Another one with the same rows. Each can be changed without the other's notice; none is copied yet."""
        other = super().fork()
        other.kinds = self.kinds
        return other

    def size_bytes(self) -> int:
        """The memory that the rows take, without the objects in them: an estimate in constant time."""
        columns = 2 + len(self.kinds)
        return self.count * columns * _VALUE_BYTES + len(self.runs) * (_RUN_BYTES + columns * _COLUMN_BYTES)

    # --- One row ---

    def get(self, identity: Id) -> Row | None:
        """The values of an id, or None if there is no such row."""
        run = self.runs[self._run_of(identity)]
        place = self._find(run, identity)
        return None if place < 0 else tuple([column[place] for column in run.columns[2:]])

    def put(self, identity: Id, *values: Any) -> Row | None:
        """Give an id values, and return those that it had, or None if there was no such row."""
        run = self.runs[-1]
        columns = run.columns
        milliseconds, sequences = columns[0], columns[1]
        size = len(milliseconds)
        if (
            size < 2 * self.LOAD
            and run.owner is self.token
            # A run without rows is the only one.
            and (not size or (milliseconds[-1], sequences[-1]) < identity)
        ):
            # Measured: most rows come behind all others.
            milliseconds.append(identity[0])
            sequences.append(identity[1])
            for place, value in enumerate(values, 2):
                columns[place].append(value)
            # The group of the last run has no sum.
            self.sizes[-1] += 1
            self.count += 1
            return None
        row = (*identity, *values)
        index = self._run_of(identity)
        run = self.runs[index]
        place = _place(run, identity)
        if run.owner is not self.token:
            run = self._own(index)
        milliseconds, sequences = run.columns[0], run.columns[1]
        size = len(milliseconds)
        if place == size:
            for column, value in zip(run.columns, row, strict=True):
                column.append(value)
        elif milliseconds[place] == identity[0] and sequences[place] == identity[1]:
            before = tuple([column[place] for column in run.columns[2:]])
            for column, value in zip(run.columns, row, strict=True):
                column[place] = value
            return before
        else:
            for column, value in zip(run.columns, row, strict=True):
                column.insert(place, value)
        self._resize(index, 1)
        if size >= 2 * self.LOAD:
            self._divide(index, run, place)
        return None

    def discard(self, identity: Id) -> Row | None:
        """Remove a row, and return its values, or None if there was no such row."""
        if not self.count:
            return None
        index = place = 0
        run = self.runs[0]
        columns = run.columns
        # Measured: what goes is the first row more often than any other.
        if columns[0][0] != identity[0] or columns[1][0] != identity[1]:
            index = self._run_of(identity)
            run = self.runs[index]
            columns = run.columns
            place = self._find(run, identity)
            if place < 0:
                return None
        if run.owner is not self.token:
            columns = self._own(index).columns
        del columns[0][place], columns[1][place]
        values = tuple([column.pop(place) for column in columns[2:]]) if self.kinds else ()
        self._resize(index, -1)
        if len(columns[0]) < (self.LOAD >> 2 or 1) and len(self.runs) > 1:
            self._settle(index)
        return values

    def discard_all(self, ids: list[Id]) -> list[Column] | None:
        """Remove rows that follow each other, with these ids, and return the columns of their values.

        None, and nothing is removed, where they do not, or are not in one run.
        """
        index = self._run_of(ids[0])
        run = self.runs[index]
        start = self._find(run, ids[0])
        if start < 0:
            return None
        stop = start + len(ids)
        if list(zip(run.columns[0][start:stop], run.columns[1][start:stop], strict=True)) != ids:
            return None
        columns = self._own(index).columns
        values = [column[start:stop] for column in columns[2:]]
        for column in columns:
            del column[start:stop]
        self._resize(index, -len(ids))
        if len(columns[0]) < (self.LOAD >> 2 or 1) and len(self.runs) > 1:
            self._settle(index)
        return values

    # --- Many rows ---

    def load(self, columns: list[Sequence[Any]]) -> None:
        """Add rows that are in order and behind all that are there: the columns of some hundred rows, ids first."""
        start = 0
        while start < len(columns[0]):
            index = len(self.runs) - 1
            if self.sizes[index] >= 2 * self.LOAD:
                index += 1
                self._insert(index, self._empty(self.token), 0)
            run = self._own(index)
            size = len(run.columns[0])
            stop = start + 2 * self.LOAD - size
            for column, values in zip(run.columns, columns, strict=True):
                column.extend(values[start:stop])
            self._resize(index, len(run.columns[0]) - size)
            start = stop

    def first_id(self) -> Id | None:
        """The least id, or None if there are no rows."""
        if not self.count:
            return None
        milliseconds, sequences = self.runs[0].columns[:2]
        return milliseconds[0], sequences[0]

    def last_id(self) -> Id | None:
        """The greatest id, or None if there are no rows."""
        return _last_of(self.runs[-1]) if self.count else None

    def rows(self, start: Id = FIRST) -> Iterator[Row]:
        """The rows from this id on: the two parts of the id, then the values. Nobody may change the rows meanwhile."""
        for columns in self.chunks(start):
            yield from zip(*columns, strict=True)

    def chunks(self, start: Id = FIRST) -> Iterator[list[Column]]:
        """The columns of the rows from this id on, some hundred rows at a time. Nobody may change them."""
        index = self._run_of(start)
        place = _place(self.runs[index], start)
        for number in range(index, len(self.runs)):
            columns = self.runs[number].columns
            yield [column[place:] for column in columns] if place else columns
            place = 0

    # --- Runs ---

    def _empty(self, owner: object) -> Run:
        columns = [[] if kind == "O" else array(kind) for kind in "QQ" + self.kinds]
        return Run(columns, owner)

    def _run_of(self, identity: Id) -> int:
        """The run that has the row with this id, or gets it: the first whose last id is not less, or the last run."""
        runs = self.runs
        last = len(runs) - 1
        if not last or _last_of(runs[last - 1]) < identity:
            return last
        # Measured: most rows that go are in the first run.
        if _last_of(runs[0]) >= identity:
            return 0
        return bisect_left(runs, identity, 0, last, key=_last_of)

    def _find(self, run: Run, identity: Id) -> int:
        """The place of a row in its run, or -1."""
        place = _place(run, identity)
        columns = run.columns
        is_there = place < len(columns[0]) and columns[0][place] == identity[0] and columns[1][place] == identity[1]
        return place if is_there else -1

    def _own(self, index: int) -> Run:
        """A run that may be changed: a copy, if forks may share it."""
        run = self.runs[index]
        if run.owner is not self.token:
            run = self.runs[index] = Run([column[:] for column in run.columns], self.token)
            self._note(run)
        return run

    def _note(self, run: Run) -> None:
        """Note the lists of a run, which are new to the garbage collector."""
        objects = self.kinds.count("O")
        if objects:
            fresh.note(objects * len(run.columns[0]))

    def _divide(self, index: int, run: Run, place: int) -> None:
        """Make two runs of one that got too long by a row at this place: halves, unless all is added at the end."""
        size = len(run.columns[0])
        half = size - 1 if place == size - 1 and index == len(self.runs) - 1 else size // 2
        behind = Run([column[half:] for column in run.columns], self.token)
        for column in run.columns:
            del column[half:]
        # Where all is added at the end, the one that is full was never noted yet.
        self._note(run)
        self.sizes[index] = half
        self._insert(index + 1, behind, size - half)
        self._move(index)

    def _settle(self, index: int) -> None:
        """Remove a run that is empty, or join one that got short with a neighbour, if both have room in one."""
        if not self.sizes[index]:
            self._remove(index)
            return
        for left in (index - 1, index):
            if 0 <= left < len(self.runs) - 1 and self.sizes[left] + self.sizes[left + 1] <= self.LOAD:
                run, behind = self._own(left), self.runs[left + 1]
                for column, more in zip(run.columns, behind.columns, strict=True):
                    column.extend(more)
                self.sizes[left] = len(run.columns[0])
                self._remove(left + 1)
                self._move(left)
                return

    def _put_off(self, pages: list[list[Run]]) -> None:
        lazyfree.free(pages, _columns_of)


def _columns_of(run: Run) -> list[object]:
    return list(run.columns)
