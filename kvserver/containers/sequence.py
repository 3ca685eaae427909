"""Members by their positions, as in a list. Its ends are plain; most runs between are one object each.

A closed run is packed: its members with NUL between, so that a member takes one byte more than its own. Where members are
long, or have a NUL in them, it is a tuple. Neither is of concern to the garbage collector. A run is opened when somebody
writes to it. Who pushes fills a new run when the one at the end is full, and closes the one before that. So who pushes and
pops at the border of two runs opens and closes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import ClassVar, Final

from kvserver.containers import fresh
from kvserver.containers.runs import Runs

_SEPARATOR: Final = b"\0"
# Members that are longer on average gain too little by being packed to be copied.
_PACKED_BYTES: Final = 128
# So many of the first run, and of the last one, tell how long members are.
_SAMPLE: Final = 8
# What a member takes: a reference, the object around its bytes, and a NUL; packed, the NUL alone. What a run takes besides.
_MEMBER_BYTES: Final = 49
_RUN_BYTES: Final = 120


class Run:
    """Some members, as they are."""

    __slots__ = ("members", "owner")

    def __init__(self, members: list[bytes], owner: object) -> None:
        self.members = members
        self.owner = owner


Closed = bytes | tuple[bytes, ...]


def _members(run: Run | Closed) -> list[bytes] | tuple[bytes, ...]:
    """The members of a run, which nobody may change."""
    if isinstance(run, bytes):
        return run.split(_SEPARATOR)
    return run if isinstance(run, tuple) else run.members


def _part(run: Run | Closed, size: int, start: int, stop: int) -> list[bytes]:
    """The members in some places of a run, in a new list. A packed one is divided from the nearer end."""
    if not isinstance(run, bytes):
        return [*_members(run)[start:stop]]
    if start + stop <= size:
        return run.split(_SEPARATOR, stop)[start:stop]
    # The rest in front is one piece, if there is one.
    pieces = run.rsplit(_SEPARATOR, size - start)
    return pieces[len(pieces) - size + start : len(pieces) - size + stop]


def _offset(run: bytes, size: int, place: int) -> int:
    """The offset of the member in some place of a packed run, which is divided from the nearer end."""
    if place * 2 < size:
        return len(run) - len(run.split(_SEPARATOR, place)[-1])
    return len(run.rsplit(_SEPARATOR, size - place)[0]) + 1


def _places(run: Run | Closed, member: bytes) -> list[int]:
    """The places in a run that have a member which is equal to this one."""
    if isinstance(run, bytes) and (member not in run or b"\0%b\0" % member not in b"\0%b\0" % run):
        return []
    members = _members(run)
    places: list[int] = []
    place = -1
    for _ in range(members.count(member)):
        place = members.index(member, place + 1)
        places.append(place)
    return places


class Sequence(Runs[Run | Closed]):
    """Members in order, each as often as it was put there. Positions count from 0 and are never negative."""

    __slots__ = ()

    # A run at an end gets so many members; one in which members are inserted is divided when it has more than twice as many.
    LOAD: ClassVar[int] = 256

    def __init__(self, members: Iterable[bytes] = ()) -> None:
        some = list(members)
        first, token = some if len(some) <= self.LOAD else some[: self.LOAD], object()
        super().__init__(Run(first, token), token, len(first))
        if len(some) > self.LOAD:
            self.extend(some[self.LOAD :])

    def size_bytes(self) -> int:
        """An estimate, members included, by the first ones, the last ones, and a run in the middle."""
        if not self.count:
            return _RUN_BYTES
        size = self.sizes[0]
        sample = _part(self.runs[0], size, 0, _SAMPLE)
        sample += _part(self.runs[-1], self.sizes[-1], max(0, self.sizes[-1] - _SAMPLE), self.sizes[-1])
        mean = sum(map(len, sample)) / len(sample)
        middle = len(self.runs) // 2
        run, size = self.runs[middle], self.sizes[middle]
        if isinstance(run, bytes):
            of_middle = (len(run) + 1) / size
        else:
            of_middle = sum(map(len, _members(run)[:_SAMPLE])) / min(size, _SAMPLE) + _MEMBER_BYTES
        open_members = min(self.count, 4 * self.LOAD)
        total = open_members * (mean + _MEMBER_BYTES) + (self.count - open_members) * of_middle
        return int(total) + len(self.runs) * _RUN_BYTES

    # --- The ends ---

    def push_left(self, member: bytes) -> None:
        """Put a member in front of all others."""
        run = self.runs[0]
        members = run.members if type(run) is Run and run.owner is self.token else self._open(0)
        if len(members) < self.LOAD:
            members.insert(0, member)
            self.sizes[0] += 1
            if self.groups:
                self.groups[0] += 1
        else:
            self._insert(0, Run([member], self.token), 1)
            if len(self.runs) > 4:
                self._close(2)
        self.count += 1

    def push_right(self, member: bytes) -> None:
        """Put a member behind all others."""
        run = self.runs[-1]
        members = run.members if type(run) is Run and run.owner is self.token else self._open(len(self.runs) - 1)
        if len(members) < self.LOAD:
            members.append(member)
            self.sizes[-1] += 1
        else:
            self._insert(len(self.runs), Run([member], self.token), 1)
            if len(self.runs) > 4:
                self._close(len(self.runs) - 3)
        self.count += 1

    def pop_left(self) -> bytes:
        """Remove the first member and return it. Raises IndexError if there is none."""
        run = self.runs[0]
        members = run.members if type(run) is Run and run.owner is self.token else self._open(0)
        member = members.pop(0)
        self.count -= 1
        self.sizes[0] -= 1
        if self.groups:
            self.groups[0] -= 1
        if not members and self.count:
            self._remove(0)
        return member

    def pop_right(self) -> bytes:
        """Remove the last member and return it. Raises IndexError if there is none."""
        run = self.runs[-1]
        members = run.members if type(run) is Run and run.owner is self.token else self._open(len(self.runs) - 1)
        member = members.pop()
        self.count -= 1
        self.sizes[-1] -= 1
        if not members and self.count:
            self._remove(len(self.runs) - 1)
        return member

    def extend(self, members: list[bytes]) -> None:
        """Put members behind all others, a run at a time."""
        last = len(self.runs) - 1
        start = max(0, min(self.LOAD - self.sizes[last], len(members)))
        if start:
            self._open(last).extend(members[:start])
            self._resize(last, start)
        for begin in range(start, len(members), self.LOAD):
            some = members[begin : begin + self.LOAD]
            self._insert(len(self.runs), Run(some, self.token), len(some))
            self.count += len(some)
            if len(self.runs) > 4:
                self._close(len(self.runs) - 3)
        # Nobody shall have to find the sums of all groups at once.
        self._sums((len(self.runs) - 1) >> self.GROUP_BITS)

    def trim(self, start: int, stop: int) -> None:
        """Keep only the members from one position up to another."""
        stop = min(stop, self.count)
        if start >= stop:
            # One run has to be there, and an empty one at that.
            self._insert(len(self.runs), Run([], self.token), 0)
            self._drop(0, len(self.runs) - 1)
            return
        last = len(self.runs) - 1
        cut = self.count - stop
        if cut >= self.sizes[last]:
            index, end = self.locate(stop - 1)
            self._drop(index + 1, len(self.runs))
            self._cut(index, end + 1, self.sizes[index])
        elif cut:
            self._cut(last, self.sizes[last] - cut, self.sizes[last])
        if start >= self.sizes[0]:
            index, start = self.locate(start)
            self._drop(0, index)
        self._cut(0, 0, start)

    # --- Positions ---

    def __getitem__(self, position: int) -> bytes:
        """The member at a position. Raises IndexError if there is none."""
        if not 0 <= position < self.count:
            raise IndexError(position)
        index, place = self.locate(position)
        run = self.runs[index]
        if not isinstance(run, bytes):
            return _members(run)[place]
        start = _offset(run, self.sizes[index], place)
        end = run.find(_SEPARATOR, start)
        return run[start:end] if end >= 0 else run[start:]

    def set(self, position: int, member: bytes) -> None:
        """Put a member in another's place. Raises IndexError if there is none at the position."""
        if not 0 <= position < self.count:
            raise IndexError(position)
        index, place = self.locate(position)
        run = self.runs[index]
        if isinstance(run, bytes) and len(member) <= _PACKED_BYTES and _SEPARATOR not in member:
            start = _offset(run, self.sizes[index], place)
            end = run.find(_SEPARATOR, start)
            self.runs[index] = b"%b%b%b" % (run[:start], member, run[end:] if end >= 0 else b"")
            return
        self._open(index)[place] = member
        if not isinstance(run, Run):
            self._close(index)

    def insert(self, position: int, member: bytes) -> None:
        """Put a member in front of the one at a position, or at the end. Raises IndexError if the position is behind that."""
        if not 0 <= position <= self.count:
            raise IndexError(position)
        index, place = self.locate(position)
        was_closed = not isinstance(self.runs[index], Run)
        members = self._open(index)
        members.insert(place, member)
        self._resize(index, 1)
        if len(members) > 2 * self.LOAD:
            half = len(members) // 2
            self._insert(index + 1, Run(members[half:], self.token), len(members) - half)
            fresh.note(len(members) - half)
            del members[half:]
            self.sizes[index] = half
            self._move(index)
            if was_closed:
                self._close(index + 1)
        if was_closed:
            self._close(index)

    def delete(self, position: int) -> None:
        """Remove the member at a position. Raises IndexError if there is none."""
        if not 0 <= position < self.count:
            raise IndexError(position)
        index, place = self.locate(position)
        was_closed = not isinstance(self.runs[index], Run)
        self._cut(index, place, place + 1)
        self._settle(index, was_closed)

    def slice(self, start: int, stop: int) -> list[bytes]:
        """The members from one position up to another, in a new list."""
        missing = min(stop, self.count) - start
        if missing <= 0:
            return []
        index, place = self.locate(start)
        size = self.sizes[index]
        found = _part(self.runs[index], size, place, min(size, place + missing))
        while len(found) < missing:
            index += 1
            size = self.sizes[index]
            found += _part(self.runs[index], size, 0, min(size, missing - len(found)))
        return found

    # --- Members ---

    def positions(self, member: bytes, *, backward: bool = False, limit: int = 0) -> Iterator[int]:
        """The positions of members equal to this one, from the first or from the last on. Nobody may write meanwhile.

        At most `limit` members are compared, unless it is 0.
        """
        left = limit or self.count
        if backward:
            end = self.count
            for run, size in zip(reversed(self.runs), reversed(self.sizes), strict=True):
                for place in reversed(_places(run, member)):
                    if size - place > left:
                        return
                    yield end - size + place
                end -= size
                left -= size
                if left <= 0:
                    return
        else:
            start = 0
            for run, size in zip(self.runs, self.sizes, strict=True):
                for place in _places(run, member):
                    if place >= left:
                        return
                    yield start + place
                start += size
                left -= size
                if left <= 0:
                    return

    def remove(self, member: bytes, count: int = 0) -> int:
        """Remove members equal to this one: the first so many, the last so many if `count` is negative, all if it is 0.

        Returns how many were there to be removed.
        """
        left = wanted = abs(count) or self.count
        indices = range(len(self.runs)) if count >= 0 else range(len(self.runs) - 1, -1, -1)
        changed: list[tuple[int, bool]] = []
        for index in indices:
            run = self.runs[index]
            places = _places(run, member)
            if not places:
                continue
            places = places[:left] if count >= 0 else places[-left:]
            changed.append((index, not isinstance(run, Run)))
            members = self._open(index)
            for place in reversed(places):
                del members[place]
            self._resize(index, -len(places))
            left -= len(places)
            if not left:
                break
        # From the end on, so that a run that goes moves none that comes later.
        for index, was_closed in sorted(changed, reverse=True):
            self._settle(index, was_closed)
        return wanted - left

    def chunks(self) -> Iterator[list[bytes] | tuple[bytes, ...]]:
        """The members, some hundred at a time. They are the container's own: nobody may change them."""
        return map(_members, self.runs)

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(map(_members, self.runs))

    def __reversed__(self) -> Iterator[bytes]:
        return chain.from_iterable(reversed(_members(run)) for run in reversed(self.runs))

    # --- Runs ---

    def _open(self, index: int) -> list[bytes]:
        """The members of a run, to be changed: of a copy, if forks may share it."""
        run = self.runs[index]
        if not isinstance(run, Run) or run.owner is not self.token:
            run = self.runs[index] = Run([*_members(run)], self.token)
            fresh.note(len(run.members))
        return run.members

    def _close(self, index: int) -> None:
        """Pack a run, or make it a tuple. One that is closed is left as it is."""
        run = self.runs[index]
        if isinstance(run, Run):
            members = run.members
            self.runs[index] = tuple(members)
            # Long members are not joined at all: it would take its time.
            if sum(map(len, members)) <= _PACKED_BYTES * len(members):
                packed = _SEPARATOR.join(members)
                if packed.count(_SEPARATOR) == len(members) - 1:
                    self.runs[index] = packed
                    return
            fresh.note(len(members))

    def _cut(self, index: int, start: int, stop: int) -> None:
        """Remove some places of a run, perhaps all."""
        if start < stop:
            del self._open(index)[start:stop]
            self._resize(index, start - stop)

    def _settle(self, index: int, was_closed: bool) -> None:
        """Remove a run that is empty, join one that got short with a neighbour, and close what was closed."""
        size = self.sizes[index]
        last = len(self.runs) - 1
        if not size:
            if last:
                self._remove(index)
            return
        if size < self.LOAD >> 2:
            for left in (index - 1, index):
                if 0 <= left < last and self.sizes[left] + self.sizes[left + 1] <= self.LOAD:
                    self._join(left)
                    index = left
                    break
        if was_closed:
            self._close(index)

    def _join(self, index: int) -> None:
        """Make one run of two."""
        members = self._open(index)
        members += _members(self.runs[index + 1])
        self.sizes[index] = len(members)
        self._remove(index + 1)
        self._move(index)
