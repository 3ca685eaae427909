"""A stream: entries of fields and values in the order of their ids, what became of others, and consumer groups. Pure."""

from __future__ import annotations

from typing import Self

from kvserver.containers.named import Named
from kvserver.types.stream.entries import Entries
from kvserver.types.stream.group import Group
from kvserver.types.stream.ids import FIRST, Id


class Stream:
    """A stream, changed in place. It stays when it has no entries.

    `last_id` is the greatest id that an entry ever had, or that XSETID gave; `added` counts all entries that were ever added,
    modulo 2**64; `max_deleted_id` is the greatest id that XDEL removed. `groups` are its consumer groups, by name.
    """

    __slots__ = ("added", "entries", "groups", "last_id", "max_deleted_id")

    def __init__(self) -> None:
        self.entries = Entries()
        self.last_id = FIRST
        self.added = 0
        self.max_deleted_id = FIRST
        self.groups: Named[Group] = Named()

    @property
    def length(self) -> int:
        """The number of entries."""
        return self.entries.count

    @property
    def first_id(self) -> Id:
        """The id of the first entry, or 0-0 if there is none."""
        return self.entries.first() or FIRST

    def delete(self, identity: Id) -> bool:
        """Delete the entry with this id, for a command. Return True if it was there."""
        if not self.entries.remove(identity):
            return False
        self.max_deleted_id = max(self.max_deleted_id, identity)
        return True

    def fork(self) -> Self:
        """An equal stream, independent of this one: either of the two copies what it changes."""
        other = type(self).__new__(type(self))
        other.entries, other.last_id, other.added = self.entries.fork(), self.last_id, self.added
        other.max_deleted_id = self.max_deleted_id
        other.groups = self.groups.fork()
        return other

    def size_bytes(self) -> int:
        """The memory that the stream takes: an estimate in constant time."""
        return self.entries.size_bytes() + self.groups.size_bytes()
