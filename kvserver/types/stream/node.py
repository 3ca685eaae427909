"""Nodes of a stream: up to a hundred entries that follow each other, which Redis keeps in one listpack. Pure.

The first entry of a node gives it its key and its fields: entries with the same fields, in the same order, hold their values
alone. Nodes are bounded by the size of Redis's listpack, which is counted here, so that both servers divide a stream in the
same way: trims with `~` remove whole nodes. Entries that were deleted stay in their node, with a mark, until it goes as a
whole, as in Redis.

The last node of a stream is open: its strings are a list, to which more are added. The others are sealed: their strings are
one byte string, where they are short and hold no NUL, and their numbers take as few bytes as they need. So an entry takes
about what it takes in Redis. A sealed node is never changed, only replaced.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from kvserver._speedups.listpacks import OVERHEAD_BYTES
from kvserver.containers import fresh
from kvserver.formats.listpack import entries_size, entry_size, integer_size, integers_size, string_size
from kvserver.types.stream.ids import Id
from kvserver.types.stream.joined import join, narrow, split, split_some

# An entry as commands see it: its id, and fields and values in turn.
Item = tuple[Id, list[bytes]]

# Redis's limit of a node, where none is configured.
MOST_BYTES: Final = 1 << 30
# No node gets more entries: it is sealed in one step, which takes a third of a millisecond then. Redis has no such limit.
MOST_ENTRIES: Final = 1000
# The flags of an entry, a number of one byte, whichever are set; the number behind the fields of the first entry is zero.
_FLAGS_SIZE: Final = 2
_ZERO_SIZE: Final = 2
# The number of entries takes no more than so many bytes more, however many are added.
_GROWTH: Final = 8
# What an entry takes beside its strings, and a string beside its bytes, is no more than this; if its numbers and strings are
# short, less.
_MOST_OVERHEAD: Final = 40
_USUAL_OVERHEAD: Final = 16
_MOST_STRING_OVERHEAD: Final = 10
_SHORT_STRING, _LONG_STRING = 64, 4096
# The memory of a node besides its strings and numbers, and that of a string that is not joined.
_NODE_BYTES: Final = 700
_STRING_BYTES: Final = 56


class Node:
    """Some entries of a stream, in their order.

    - `first` is the id of the first one, deleted or not, and `fields` are its fields.
    - For each entry, `milliseconds` are those behind the first one's, and `sequences` the second parts of the ids. `counts`
      are the numbers of strings of those that have other fields, and 0 for the others; None if all have the same.
    - `strings` are the strings of all entries: values, or fields and values in turn.
    - `deleted` has a 1 for each entry that was deleted, else a 0; None if none was.
    - `live` is the number of entries that were not deleted.
    - `bound` is what the length of Redis's listpack of an open node is at most.
    - `owner` is the token of the one that may change the node, which is open then.
    """

    __slots__ = (
        "_begins",
        "_counted",
        "_counted_size",
        "_counted_strings",
        "_fields_length",
        "bound",
        "counts",
        "deleted",
        "fields",
        "first",
        "live",
        "milliseconds",
        "owner",
        "sequences",
        "strings",
    )

    def __init__(self, first: Id, fields: list[bytes], owner: object | None) -> None:
        """Begin an open node without entries, before one with this id and these fields is added."""
        self.first = first
        self.fields = fields
        self.milliseconds = array("Q")
        self.sequences = array("Q")
        self.counts: array[int] | None = None
        self.strings: list[bytes] | tuple[bytes, ...] | bytes = []
        self.deleted: bytearray | None = None
        self.live = 0
        self.owner = owner
        # Where some of the joined strings begin.
        self._begins: array[int] | None = None
        # The length of Redis's listpack with so many of the entries and strings, but for the counts of entries; and what it is
        # at most with all of them.
        self._counted = self._counted_strings = 0
        self._fields_length = sum(map(len, fields))
        self._counted_size = OVERHEAD_BYTES + integer_size(len(fields)) + sum(map(entry_size, fields)) + _ZERO_SIZE
        self.bound = self._counted_size + _MOST_OVERHEAD

    def __len__(self) -> int:
        """The number of entries, deleted ones counted."""
        return len(self.milliseconds)

    @property
    def is_open(self) -> bool:
        return type(self.strings) is list

    @property
    def members(self) -> list[bytes] | tuple[bytes, ...] | bytes:
        """The strings, as a run of other containers has them."""
        return self.strings

    def has_room(self, length: int, most_entries: int, most_bytes: int) -> bool:
        """True if an entry whose fields and values have so many bytes may be added to an open node. A limit of 0 is none."""
        if not 0 < most_bytes <= MOST_BYTES:
            most_bytes = MOST_BYTES
        if not 0 < most_entries <= MOST_ENTRIES:
            most_entries = MOST_ENTRIES
        # Measured: so the strings are looked at a few times for a node, and not for each entry.
        if self.bound + length >= most_bytes and self.size() + length >= most_bytes:
            return False
        return len(self.milliseconds) < most_entries

    def add(self, identity: Id, strings: list[bytes], length: int) -> None:
        """Add an entry to an open node: its id, which is the greatest, fields and values in turn, and how long they are."""
        first_milliseconds, first_sequence = self.first
        milliseconds, sequence = identity
        milliseconds -= first_milliseconds
        if strings[::2] == self.fields:
            values = strings[1::2]
            length -= self._fields_length
            if self.counts is not None:
                self.counts.append(0)
        else:
            values = strings
            if self.counts is None:
                self.counts = array("Q", bytes(8 * len(self.milliseconds)))
            self.counts.append(len(values))
        self.milliseconds.append(milliseconds)
        self.sequences.append(sequence)
        self.strings += values  # type: ignore[operator]
        count = len(values)
        is_usual = milliseconds < 1 << 31 and -4096 <= sequence - first_sequence < 4096 and count < _SHORT_STRING
        of_string = 2 if length < _SHORT_STRING else 4 if length < _LONG_STRING else _MOST_STRING_OVERHEAD
        self.bound += length + (_USUAL_OVERHEAD if is_usual else _MOST_OVERHEAD) + of_string * count
        self.live += 1
        if self.deleted is not None:
            self.deleted.append(0)

    def add_alike(self, ids: list[Id], rows: list[list[bytes]], most_entries: int, most_bytes: int) -> int:
        """Add the first of some entries, as far as they have the fields of an open node, and surely have room in it.

        The ids have the same milliseconds, and each is one more than the one before. Return how many were added.
        """
        milliseconds, sequence = ids[0][0] - self.first[0], ids[0][1] - self.first[1]
        if self.counts is not None or milliseconds >= 1 << 31 or not -4096 <= sequence <= 4096 - len(ids):
            return 0
        fields, width = self.fields, len(self.fields)
        values: list[bytes] = []
        for row in rows:
            if row[::2] != fields:
                break
            values += row[1::2]
        # What the longest of them takes, if its values are as long as the longest one.
        longest = max(map(len, values), default=0)
        of_entry = _FLAGS_SIZE + integer_size(milliseconds) + max(integer_size(sequence), integer_size(sequence + len(ids)))
        of_entry += integer_size(width + 3) + width * string_size(longest)
        if not 0 < most_bytes <= MOST_BYTES:
            most_bytes = MOST_BYTES
        if not 0 < most_entries <= MOST_ENTRIES:
            most_entries = MOST_ENTRIES
        room = (most_bytes - self.bound - _GROWTH - self._fields_length - longest * width) // of_entry
        count = min(len(values) // width, room, most_entries - len(self.milliseconds))
        if count <= 0:
            return 0
        del values[count * width :]
        self.milliseconds.extend([milliseconds] * count)
        self.sequences.extend([number for _, number in ids[:count]])
        self.strings += values  # type: ignore[operator]
        self.bound += count * of_entry + _GROWTH
        self.live += count
        if self.deleted is not None:
            self.deleted.extend(bytes(count))
        return count

    def size(self) -> int:
        """The length of Redis's listpack of an open node."""
        count, counted = len(self.milliseconds), self._counted
        strings = self.strings
        assert type(strings) is list
        first_sequence, usual = self.first[1], integer_size(len(self.fields) + 3)
        # Beside its strings, an entry has flags, its id, perhaps the number of its fields, and the number of all that.
        size = self._counted_size + entries_size(strings[self._counted_strings :]) + _FLAGS_SIZE * (count - counted)
        size += integers_size(self.milliseconds[counted:])
        sequences = self.sequences[counted:]
        if sequences and first_sequence <= min(sequences) and max(sequences) < first_sequence + (1 << 7):
            size += 2 * len(sequences)
        else:
            size += sum([integer_size(sequence - first_sequence) for sequence in sequences])
        if self.counts is None:
            size += usual * (count - counted)
        else:
            size += sum(
                integer_size(parts // 2) + integer_size(parts + 4) if parts else usual for parts in self.counts[counted:]
            )
        self._counted, self._counted_strings, self._counted_size = count, len(strings), size
        self.bound = self._counted_size + integer_size(self.live) + integer_size(count - self.live)
        return self.bound

    def mark(self, positions: Iterable[int]) -> None:
        """Mark entries as deleted that are not yet. The node is open, or nobody else has it."""
        if self.deleted is None:
            self.deleted = bytearray(len(self.milliseconds))
        for position in positions:
            self.deleted[position] = 1
            self.live -= 1

    def forget_behind(self, identity: Id) -> None:
        """Give entries of an open node whose ids are greater, all of them deleted, the id of one in front of them."""
        start, last = self.position(identity), max(self.last_live(), 0)
        for position in range(max(start, last + 1), len(self.milliseconds)):
            self.milliseconds[position], self.sequences[position] = self.milliseconds[last], self.sequences[last]

    def copy(self, owner: object | None) -> Node:
        """An equal node that is open, with this owner, if this one is open; else one that is sealed, too."""
        other = Node.__new__(Node)
        other.first, other.fields, other.live, other.owner = self.first, self.fields, self.live, owner
        other._begins = self._begins
        other._counted, other._counted_strings = self._counted, self._counted_strings
        other._fields_length = self._fields_length
        other._counted_size, other.bound = self._counted_size, self.bound
        other.milliseconds, other.sequences, other.counts, other.strings = (
            self.milliseconds,
            self.sequences,
            self.counts,
            self.strings,
        )
        other.deleted = None if self.deleted is None else self.deleted[:]
        if type(other.strings) is not list:
            other.owner = None
        else:
            fresh.note(len(other.strings))
            other.milliseconds, other.sequences = self.milliseconds[:], self.sequences[:]
            other.counts = None if self.counts is None else self.counts[:]
            other.strings = other.strings[:]
        return other

    def seal(self) -> None:
        """Make the node as small as it can be. It is not changed from then on."""
        self.owner = None
        strings = self.all_strings()
        joined = join(strings)
        if joined is None:
            self.strings = tuple(strings)
            fresh.note(len(strings))
        else:
            self.strings, self._begins = joined
        self.milliseconds = narrow(self.milliseconds)
        self.sequences = narrow(self.sequences)
        self.counts = None if self.counts is None else narrow(self.counts)

    def opened(self, owner: object | None) -> Node:
        """An equal node that is open, and has this owner."""
        other = Node(self.first, self.fields, owner)
        for identity, strings, _ in self.every():
            other.add(identity, strings, sum(map(len, strings)))
        if self.deleted is not None:
            other.mark(position for position, mark in enumerate(self.deleted) if mark)
        return other

    # --- Reading ---

    def identity(self, position: int) -> Id:
        """The id of an entry. IndexError if there is none."""
        return self.first[0] + self.milliseconds[position], self.sequences[position]

    def position(self, identity: Id) -> int:
        """The position of the first entry whose id is not less than this one."""
        milliseconds, sequence = identity
        milliseconds -= self.first[0]
        if milliseconds < 0:
            return 0
        start = bisect_left(self.milliseconds, milliseconds)
        if start == len(self.milliseconds) or self.milliseconds[start] > milliseconds:
            return start
        stop = bisect_right(self.milliseconds, milliseconds, start)
        return bisect_left(self.sequences, sequence, start, stop)

    def find(self, identity: Id) -> int:
        """The position of the entry with this id that was not deleted, or -1."""
        position = self.position(identity)
        if position == len(self.milliseconds) or self.identity(position) != identity:
            return -1
        return -1 if self.deleted is not None and self.deleted[position] else position

    def first_live(self) -> int:
        """The position of the first entry that was not deleted, or -1."""
        if self.deleted is None:
            return 0 if self.milliseconds else -1
        return self.deleted.find(0)

    def last_live(self) -> int:
        """The position of the last entry that was not deleted, or -1."""
        if self.deleted is None:
            return len(self.milliseconds) - 1
        return self.deleted.rfind(0)

    def live_positions(self, stop: int | None = None) -> Iterator[int]:
        """The positions, up to one, of the entries that were not deleted."""
        positions = range(len(self.milliseconds) if stop is None else stop)
        deleted = self.deleted
        return iter(positions) if deleted is None else (position for position in positions if not deleted[position])

    def items(self, start: int, stop: int) -> list[Item]:
        """The entries between two positions that were not deleted."""
        if self.deleted is None and self.counts is None and len(self.fields) == 1:
            # Measured: the usual entries are read in half the time.
            base, field = self.first[0], self.fields[0]
            strings = self.some_strings(start, stop)
            columns = zip(self.milliseconds[start:stop], self.sequences[start:stop], strings, strict=True)
            return [((base + milliseconds, sequence), [field, value]) for milliseconds, sequence, value in columns]
        identities = self.identities(start, stop)
        items = list(zip(identities, self._rows(start, stop), strict=True))
        if self.deleted is not None:
            gone = self.deleted[start:stop]
            items = [item for item, mark in zip(items, gone, strict=True) if not mark]
        return items

    def every(self) -> Iterator[tuple[Id, list[bytes], bool]]:
        """All entries, the deleted ones as well: the id, fields and values in turn, and True if it was deleted."""
        count = len(self.milliseconds)
        marks = self.deleted or bytes(count)
        return zip(self.identities(0, count), self._rows(0, count), map(bool, marks), strict=True)

    def all_strings(self) -> list[bytes] | tuple[bytes, ...]:
        """The strings, which nobody may change."""
        strings = self.strings
        if type(strings) is bytes:
            return split(strings)
        assert not isinstance(strings, bytes)
        return strings

    def size_bytes(self) -> int:
        """The memory that the node takes: an estimate."""
        count = len(self.milliseconds)
        if type(self.strings) is bytes:
            numbers = self.milliseconds.itemsize + self.sequences.itemsize + (self.counts.itemsize if self.counts else 0)
            return _NODE_BYTES + len(self.strings) + count * numbers
        strings = self.all_strings()
        return _NODE_BYTES + 16 * count + _STRING_BYTES * len(strings) + sum(map(len, strings))

    def identities(self, start: int, stop: int) -> list[Id]:
        """The ids of the entries between two positions, deleted ones counted."""
        base = self.first[0]
        if stop - start == 1:
            # Measured: in a seventh of the time.
            return [(base + self.milliseconds[start], self.sequences[start])]
        behind = self.milliseconds[start:stop]
        return list(zip([base + each for each in behind], self.sequences[start:stop], strict=True))

    def _rows(self, start: int, stop: int) -> list[list[bytes]]:
        """The fields and values of the entries between two positions."""
        fields = self.fields
        width = len(fields)
        if self.counts is None:
            strings = self.some_strings(start * width, stop * width)
            if width == 1:
                field = fields[0]
                return [[field, value] for value in strings]
            return [_interleave(fields, strings[begin : begin + width]) for begin in range(0, len(strings), width)]
        ends = list(accumulate([count or width for count in self.counts[:stop]], initial=0))
        strings, begin = self.some_strings(ends[start], ends[stop]), ends[start]
        return [
            list(strings[low - begin : high - begin]) if count else _interleave(fields, strings[low - begin : high - begin])
            for low, high, count in zip(ends[start:stop], ends[start + 1 :], self.counts[start:stop], strict=True)
        ]

    def some_strings(self, start: int, stop: int) -> list[bytes] | tuple[bytes, ...]:
        """The strings between two places, which nobody may change. Measured: of those that are joined, only some are made."""
        strings = self.strings
        if type(strings) is not bytes:
            return strings[start:stop]  # type: ignore[return-value]
        assert self._begins is not None
        return split_some(strings, self._begins, start, stop)


def _interleave(fields: list[bytes], values: list[bytes] | tuple[bytes, ...]) -> list[bytes]:
    row = fields * 2
    row[::2] = fields
    row[1::2] = values
    return row
