"""Members that have a time each, of which the earliest is always known: fields and keys that are due some day. Pure.

Few of them are a dict, in which the earliest is looked for at each write. More are a table of the times and a row in their
order. Either way those that are due are found without a look at the others, and a fork copies little.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

from kvserver.containers.ordered import Ordered
from kvserver.containers.table import STRING_BYTES, Table

# A write to so many members takes a microsecond.
MOST_IN_DICT: Final = 64
# The memory of a time as an object.
_TIME_BYTES: Final = 32


class Times:
    """Members, each once, with a time each: an integer from 0 to 2**53, the greatest up to which a double is exact.

    `earliest` is the least time, or None if there are no members.
    """

    __slots__ = ("_few", "_many", "earliest")

    def __init__(self, times: dict[bytes, int] | None = None) -> None:
        """Begin with these times, or without any."""
        self.earliest: int | None = None
        self._few = {} if times is None else times.copy()
        # The times by member, and the members by time; None while they are few.
        self._many: tuple[Table, Ordered] | None = None
        if len(self._few) > MOST_IN_DICT:
            self._convert()
        self._look()

    def get(self, member: bytes) -> int | None:
        """The time of a member, or None if it is not there."""
        return self._few.get(member) if self._many is None else self._many[0].get(member)

    def set(self, member: bytes, time: int) -> None:
        """Give a member a time in place of the one that it has."""
        if self._many is None:
            self._few[member] = time
            if len(self._few) > MOST_IN_DICT:
                self._convert()
        else:
            times, order = self._many
            before = times.get(member)
            if before is None:
                order.add(time, member)
            else:
                order.move(before, member, time)
            times.set(member, time)
        self._look()

    def discard(self, member: bytes) -> bool:
        """Remove a member, and return True if it was there."""
        time = self.get(member)
        if time is None:
            return False
        if self._many is None:
            del self._few[member]
        else:
            times, order = self._many
            times.delete(member)
            order.remove(time, member)
        self._look()
        return True

    def take_due(self, now: int, most: int) -> list[bytes]:
        """Remove up to `most` members whose time is not later than now, and return them."""
        if self.earliest is None or self.earliest > now:
            return []
        if self._many is None:
            due = [member for member, time in self._few.items() if time <= now][:most]
            for member in due:
                del self._few[member]
        else:
            times, order = self._many
            due, _ = order.remove_slice(0, min(order.position_of_score(now, after=True), most))
            for member in due:
                times.delete(member)
        self._look()
        return due

    def count_due(self, now: int) -> int:
        """The number of members whose time is not later than now."""
        if self._many is None:
            return sum(time <= now for time in self._few.values())
        return self._many[1].position_of_score(now, after=True)

    def items(self) -> Iterable[tuple[bytes, int]]:
        """All members and their times, in no order."""
        return self._few.items() if self._many is None else self._many[0].items()

    def __len__(self) -> int:
        return len(self._few) if self._many is None else len(self._many[0])

    def fork(self) -> Self:
        """Equal times, independent of these."""
        other = type(self).__new__(type(self))
        other.earliest, other._few = self.earliest, self._few.copy()
        other._many = None if self._many is None else (self._many[0].fork(), self._many[1].fork())
        return other

    def size_bytes(self) -> int:
        """The memory that this takes, with its members: an estimate in constant time."""
        if self._many is None:
            few = self._few
            return few.__sizeof__() + len(few) * (STRING_BYTES + _TIME_BYTES) + sum(map(len, few))
        times, order = self._many
        return times.size_bytes() + order.size_bytes() + len(times) * _TIME_BYTES

    def _convert(self) -> None:
        times, order = Table(), Ordered()
        times.update(self._few.items())
        ordered = sorted(zip(self._few.values(), self._few, strict=True))
        order.load([member for _, member in ordered], [time for time, _ in ordered])
        self._few, self._many = {}, (times, order)

    def _look(self) -> None:
        """Find the earliest time."""
        if self._many is None:
            self.earliest = min(self._few.values(), default=None)
        else:
            order = self._many[1]
            self.earliest = int(order[0][1]) if len(order) else None
