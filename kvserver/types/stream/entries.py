"""The entries of a stream, in nodes: found by id, added at the end, trimmed from the front, deleted anywhere. Pure.

The directory of nodes is that of other long rows (`containers.runs`), so that a fork copies the directory alone, and what is
dropped in one step is freed in many.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Final, Self

from kvserver.containers.runs import Runs
from kvserver.types.stream.ids import FIRST, LAST, Id
from kvserver.types.stream.node import MOST_BYTES, MOST_ENTRIES, Item, Node

_key_of: Final = attrgetter("first")
# What stands in a row without entries. It is nobody's, and replaced by the first node that has some.
_EMPTY: Final = Node(FIRST, [], None)
# Fewer entries are added one by one in less time.
_FEW: Final = 3
# Fewer ids are looked up one by one in less time than those of a node are listed.
_FEW_OF_NODE: Final = 16


class Entries(Runs[Node]):
    """The entries of a stream. The last node may be open, all others are sealed. An empty row has one node without entries."""

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        # The node in which something was last looked up: who reads on finds what follows there.
        self._recent = 0
        super().__init__(_EMPTY, object())

    def fork(self) -> Self:
        """Another one with the same entries. Each can be changed without the other's notice; none is copied yet."""
        other = super().fork()
        other._recent = self._recent
        return other

    @property
    def node_count(self) -> int:
        """The number of nodes that have entries, deleted ones counted."""
        count = len(self.runs)
        return count if count > 1 or len(self.runs[0]) else 0

    def nodes(self) -> Iterator[Node]:
        """The nodes that have entries, deleted ones counted. They are the container's own: nobody may change them."""
        return islice(self.runs, self.node_count)

    def add(self, identity: Id, strings: list[bytes], most_entries: int, most_bytes: int) -> None:
        """Add an entry: its id, which is greater than all that were ever added, and fields and values in turn.

        A node has no more entries, and no listpack of more bytes, than the limits say; 0 stands for the most there are.
        OverflowError for more bytes than any node has.
        """
        length = sum(map(len, strings))
        if length > MOST_BYTES:
            raise OverflowError(f"{length} bytes")
        node = self.runs[-1]
        if not node.milliseconds:
            node = self.runs[-1] = Node(identity, strings[::2], self.token)
        else:
            if node.owner is not self.token:
                node = self._open(len(self.runs) - 1)
            count = len(node.milliseconds)
            is_roomy = node.bound + length < most_bytes <= MOST_BYTES and count < most_entries <= MOST_ENTRIES
            if not (is_roomy or node.has_room(length, most_entries, most_bytes)):
                node.seal()
                node = Node(identity, strings[::2], self.token)
                self._insert(len(self.runs), node, 0)
        node.add(identity, strings, length)
        # The group of the last run has no sum that would have to be changed.
        self.sizes[-1] += 1
        self.count += 1

    def add_alike(self, ids: list[Id], rows: list[list[bytes]], most_entries: int, most_bytes: int) -> int:
        """`add` for the first of some entries, as many as the last node surely has room for. Return how many: perhaps none.

        The ids have the same milliseconds, and each is one more than the one before.
        """
        node = self.runs[-1]
        if not node.milliseconds or len(rows) < _FEW:
            return 0
        if node.owner is not self.token:
            node = self._open(len(self.runs) - 1)
        count = node.add_alike(ids, rows, most_entries, most_bytes)
        self.sizes[-1] += count
        self.count += count
        return count

    def load(self, node: Node) -> None:
        """Add a whole node, which stands behind all others, and belongs to nobody else."""
        if node.is_open:
            node.owner = self.token
        last = len(self.runs) - 1
        if not self.runs[last].milliseconds:
            self.runs[last] = node
            self.sizes[last] = node.live
        else:
            if self.runs[last].is_open:
                self._open(last).seal()
            self._insert(last + 1, node, node.live)
        self.count += node.live

    def remove(self, identity: Id) -> bool:
        """Delete the entry with this id. Return True if it was there."""
        index = self._index(identity)
        position = self.runs[index].find(identity)
        if position < 0:
            return False
        if self.sizes[index] == 1:
            self.count -= 1
            self._remove_node(index)
        else:
            self._mark(index, [position])
        return True

    def forget_behind(self, identity: Id) -> None:
        """Let entries that were deleted have no greater ids than this one, so that others may have these from now on.

        All that were not deleted have no greater ids.
        """
        index = len(self.runs) - 1
        if self.runs[index].milliseconds and self.runs[index].first > identity:
            self._remove_node(index)
        elif self.runs[index].milliseconds and self.runs[index].identity(-1) > identity:
            node = self.runs[index] = self.runs[index].opened(self.token)
            node.forget_behind(identity)

    def trim_to_length(self, length: int, *, is_exact: bool, limit: int = 0) -> int:
        """Remove entries from the front until so many are left, and return how many went.

        If it is not exact, only whole nodes go, and no more entries than the limit, unless it is 0.
        """
        most = max(self.count - length, 0)
        if not most or (not is_exact and self.sizes[0] > most):
            return 0
        excess = min(most, limit) if limit else most
        removed, whole, sizes = 0, 0, self.sizes
        while removed < most and whole < len(sizes) and removed + sizes[whole] <= excess:
            removed += sizes[whole]
            whole += 1
        self._remove_first(whole)
        if is_exact and removed < excess:
            self._mark(0, list(islice(self.runs[0].live_positions(), excess - removed)))
        return excess if is_exact else removed

    def trim_to_id(self, identity: Id, *, is_exact: bool, limit: int = 0) -> int:
        """Remove the entries whose ids are less than this one, and return how many went: see `trim_to_length`."""
        before = self.count
        removed, whole = 0, 0
        for node, size in zip(self.nodes(), self.sizes, strict=False):
            if (limit and removed + size > limit) or node.identity(-1) >= identity:
                break
            removed += size
            whole += 1
        self._remove_first(whole)
        if is_exact and self.node_count:
            node = self.runs[0]
            positions = list(node.live_positions(node.position(identity)))
            if positions:
                self._mark(0, positions)
        return before - self.count

    # --- Reading ---

    def first(self) -> Id | None:
        """The id of the first entry, or None if there is none."""
        return next((node.identity(node.first_live()) for node in self.runs if node.live), None)

    def last(self) -> Id | None:
        """The id of the last entry, or None if there is none."""
        node = self.runs[-1]
        if node.deleted is None and node.live:
            return node.identity(-1)
        return next((node.identity(node.last_live()) for node in reversed(self.runs) if node.live), None)

    def has(self, identity: Id) -> bool:
        """True if there is an entry with this id."""
        return self.runs[self._index(identity)].find(identity) >= 0

    def have(self, ids: list[Id]) -> list[bool]:
        """`has` for each of some ids in their order. Measured: for a hundred in one node, a tenth of the time."""
        found: list[bool] = []
        while len(found) < len(ids):
            place = len(found)
            index = self._index(ids[place])
            node = self.runs[index]
            is_last = index == len(self.runs) - 1
            stop = len(ids) if is_last else max(bisect_left(ids, self.runs[index + 1].first, place), place + 1)
            if stop - place < _FEW_OF_NODE:
                found += [node.find(identity) >= 0 for identity in ids[place:stop]]
            else:
                there = node.identities(0, len(node))
                live = {there[position] for position in node.live_positions()}
                found += [identity in live for identity in ids[place:stop]]
        return found

    def get(self, identity: Id) -> list[bytes] | None:
        """The fields and values, in turn, of the entry with this id, or None if there is none."""
        node = self.runs[self._index(identity)]
        position = node.find(identity)
        return None if position < 0 else node.items(position, position + 1)[0][1]

    def range(self, start: Id = FIRST, end: Id = LAST, count: int = -1, *, is_backward: bool = False) -> list[Item]:
        """The entries from one id to another, both included; no more than so many, if the count is not negative.

        If the range is backward, the last ones come first.
        """
        # Measured: a range of a few entries behind an id takes half the time.
        span = self.span(start, count) if count and end == LAST and not is_backward else None
        if span is not None:
            node, begin, stop = span
            return node.items(begin, stop) if begin < stop else []
        found: list[Item] = []
        for items in self.chunks(start, end, is_backward=is_backward, count=count):
            # Measured: most ranges are in one node.
            if not found and len(items) == count:
                return items
            found += items
            if 0 <= count <= len(found):
                break
        return found if count < 0 else found[:count]

    def span(self, start: Id, count: int) -> tuple[Node, int, int] | None:
        """The node that has the first entries from an id on, and the positions from and up to which they stand in it.

        They are so many, or as many as there are; all, if the count is not positive. None if they stand in several nodes, or
        among some that were deleted.
        """
        runs = self.runs
        last = len(runs) - 1
        index = self._index(start)
        node = runs[index]
        begin, size = node.position(start), len(node.milliseconds)
        if begin == size and index < last:
            index += 1
            node = runs[index]
            begin, size = 0, len(node.milliseconds)
        if node.deleted is not None:
            return None
        if 0 < count <= size - begin:
            return node, begin, begin + count
        return (node, begin, size) if index == last else None

    def chunks(self, start: Id = FIRST, end: Id = LAST, *, is_backward: bool = False, count: int = -1) -> Iterator[list[Item]]:
        """The entries from one id to another, some at a time. Nobody may change them.

        The caller takes no more than `count` entries, if that is not negative, so that some need not be looked at.
        """
        if start > end or not count:
            return
        low, high = self._index(start) if start > FIRST else 0, self._index(end) if end < LAST else len(self.runs) - 1
        for index in range(high, low - 1, -1) if is_backward else range(low, high + 1):
            node = self.runs[index]
            begin = node.position(start) if index == low else 0
            stop = len(node)
            if index == high and end < LAST:
                stop = node.position(end)
                if stop < len(node) and node.identity(stop) == end:
                    stop += 1
            if 0 < count < stop - begin and node.deleted is None:
                if is_backward:
                    begin = stop - count
                else:
                    stop = begin + count
            items = node.items(begin, stop) if begin < stop else []
            if is_backward:
                items.reverse()
            if items:
                yield items
            count -= len(items) if count > 0 else 0
            if not count:
                return

    def size_bytes(self) -> int:
        """The memory that the entries take: an estimate in constant time."""
        count = len(self.runs)
        last = self.runs[-1].size_bytes()
        if count == 1:
            return last
        looked = {0, count // 2, count - 2}
        return last + (count - 1) * sum(self.runs[index].size_bytes() for index in looked) // len(looked)

    # --- Nodes ---

    def _index(self, identity: Id) -> int:
        """The node that has the entry with this id, if any has."""
        runs = self.runs
        last = len(runs) - 1
        if not last or identity >= runs[last].first:
            return last
        recent = self._recent
        if recent < last and runs[recent].first <= identity < runs[recent + 1].first:
            return recent
        self._recent = index = max(bisect_right(runs, identity, 0, last, key=_key_of) - 1, 0)
        return index

    def _open(self, index: int) -> Node:
        """The last node, open and to be changed: a copy, if forks may share it."""
        node = self.runs[index]
        if node.owner is not self.token:
            node = self.runs[index] = node.copy(self.token) if node.is_open else node.opened(self.token)
        return node

    def _mark(self, index: int, positions: list[int]) -> None:
        """Mark entries of a node as deleted."""
        node = self.runs[index]
        if node.owner is not self.token:
            node = self.runs[index] = node.copy(self.token)
        node.mark(positions)
        self._resize(index, -len(positions))

    def _remove_node(self, index: int) -> None:
        """Remove a node, whose entries are not counted any more."""
        if len(self.runs) > 1:
            self._remove(index)
        else:
            self.runs[0] = _EMPTY
            self.sizes[0] = 0

    def _remove_first(self, whole: int) -> None:
        """Remove so many nodes from the front, with their entries."""
        if whole == len(self.runs):
            whole -= 1
            self.count -= self.sizes[-1]
            self.runs[whole] = _EMPTY
            self.sizes[whole] = 0
        self._drop(0, whole)
