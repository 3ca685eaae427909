"""Consumer groups of a stream: how far each has read, and which entries are pending, and with whom. Pure.

An entry is pending from its delivery to a consumer until it is acknowledged. Redis has its pending entries list (PEL) twice,
by group and by consumer; here the group has a row for each entry, and the consumer its ids alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

from kvserver.containers.named import Named
from kvserver.types.stream.ids import Id
from kvserver.types.stream.rows import Rows

# The number of entries that a group has read is not known.
UNKNOWN: Final = -1
# Redis counts deliveries in so many values.
COUNTS: Final = 1 << 64
_HALF: Final = COUNTS >> 1
# The memory of a group and of a consumer, without their rows and names.
_GROUP_BYTES: Final = 600
_CONSUMER_BYTES: Final = 450


class Delivery(NamedTuple):
    """The last delivery of a pending entry: to which consumer, when (Unix milliseconds), and which number it was."""

    consumer: bytes
    time_ms: int
    number: int


class Consumer:
    """A consumer of a group. `seen_ms` is when it was last heard of, in Unix milliseconds; `ids` are its pending entries."""

    __slots__ = ("ids", "name", "owner", "seen_ms")

    def __init__(self, name: bytes, seen_ms: int) -> None:
        self.name = name
        self.seen_ms = seen_ms
        self.ids = Rows()
        self.owner: object = None

    def fork(self) -> Self:
        """An equal consumer, independent of this one."""
        other = type(self)(self.name, self.seen_ms)
        other.ids = self.ids.fork()
        return other

    def size_bytes(self) -> int:
        """The memory that the consumer takes: an estimate in constant time."""
        return _CONSUMER_BYTES + self.ids.size_bytes()


class Group:
    """A consumer group.

    - `last_id` is the greatest id that was delivered, or that somebody set.
    - `entries_read` is the number of entries up to that one, of all that were ever added, or UNKNOWN. It is a signed number of
      64 bits, which wraps as in Redis: it may be negative.
    - `pending` has a row for each pending entry: the consumer's name, the time and the number of its deliveries. Only the
      methods here change it.
    - `consumers` are by name.
    """

    __slots__ = ("consumers", "entries_read", "last_id", "owner", "pending")

    def __init__(self, last_id: Id, entries_read: int = UNKNOWN) -> None:
        self.last_id = last_id
        self.entries_read = entries_read
        self.pending = Rows("OqQ")
        self.consumers: Named[Consumer] = Named()
        self.owner: object = None

    # --- Consumers ---

    def see(self, name: bytes, now_ms: int) -> bool:
        """Note that a consumer is heard of, and return True if it is a new one."""
        consumer = self.consumers.own(name)
        if consumer is None:
            self.consumers.add(name, Consumer(name, now_ms))
            return True
        consumer.seen_ms = now_ms
        return False

    def drop_consumer(self, name: bytes) -> int | None:
        """Remove a consumer with its pending entries. Return how many these were, or None if there is no such consumer."""
        consumer = self.consumers.get(name)
        if consumer is None:
            return None
        for milliseconds, sequence in consumer.ids.rows():
            self.pending.discard((milliseconds, sequence))
        self.consumers.discard(name)
        return len(consumer.ids)

    # --- Pending entries ---

    def delivery(self, identity: Id) -> Delivery | None:
        """The last delivery of an entry, or None if it is not pending."""
        row = self.pending.get(identity)
        return None if row is None else Delivery(*row)

    def deliver(self, identity: Id, name: bytes, time_ms: int, number: int) -> None:
        """Let an entry be pending with a consumer, which is there, and with nobody else."""
        self._give(identity, self._own(name), time_ms, number)

    def deliver_all(self, ids: list[Id], consumer: Consumer, time_ms: int) -> None:
        """`deliver` for the first delivery of each of some entries, in the order of their ids, to a consumer that is owned."""
        if len(ids) == 1:
            self._give(ids[0], consumer, time_ms, 1)
            return
        last = self.pending.last_id()
        if last is not None and ids[0] <= last:
            for identity in ids:
                self._give(identity, consumer, time_ms, 1)
            return
        # Nobody has any of them: their ids are behind all that are pending.
        columns, count = list(zip(*ids, strict=True)), len(ids)
        self.pending.load([*columns, [consumer.name] * count, [time_ms] * count, [1] * count])
        consumer.ids.load(list(columns))

    def load(self, ids: list[Id], owners: dict[Id, Consumer], deliveries: dict[Id, tuple[int, int]]) -> None:
        """Let entries be pending whose ids are in order and behind all that are.

        Each has a consumer, and the time and the number of its delivery.
        """
        of_consumers: dict[bytes, list[Id]] = {}
        for identity in ids:
            of_consumers.setdefault(owners[identity].name, []).append(identity)
        for some in of_consumers.values():
            owners[some[0]].ids.load(_columns(some))
        found = [deliveries[identity] for identity in ids]
        names = [owners[identity].name for identity in ids]
        self.pending.load([*_columns(ids), names, [time_ms for time_ms, _ in found], [number for _, number in found]])

    def _give(self, identity: Id, consumer: Consumer, time_ms: int, number: int) -> None:
        # Each row holds the one name that the consumer has.
        name = consumer.name
        before = self.pending.put(identity, name, time_ms, number)
        if before is None:
            consumer.ids.put(identity)
        elif before[0] != name:
            self._own(before[0]).ids.discard(identity)
            consumer.ids.put(identity)

    def acknowledge(self, identity: Id) -> bool:
        """Let an entry be pending no more. Return True if it was."""
        row = self.pending.discard(identity)
        if row is None:
            return False
        self._own(row[0]).ids.discard(identity)
        return True

    def acknowledge_all(self, ids: list[Id]) -> int:
        """`acknowledge` for each of some entries. Return how many were pending."""
        # Measured: what a consumer got in one go and acknowledges so takes a third of the time.
        removed = self.pending.discard_all(ids) if len(ids) > 1 else None
        if removed is None:
            return sum(map(self.acknowledge, ids))
        names = removed[0]
        if names.count(names[0]) == len(names) and self._own(names[0]).ids.discard_all(ids) is not None:
            return len(ids)
        for name, identity in zip(names, ids, strict=True):
            self._own(name).ids.discard(identity)
        return len(ids)

    def _own(self, name: bytes) -> Consumer:
        """A consumer that is there, to be changed."""
        consumer = self.consumers.own(name)
        assert consumer is not None
        return consumer

    # --- The whole ---

    def fork(self) -> Self:
        """An equal group, independent of this one: either of the two copies what it changes."""
        other = type(self).__new__(type(self))
        other.last_id, other.entries_read, other.owner = self.last_id, self.entries_read, None
        other.pending, other.consumers = self.pending.fork(), self.consumers.fork()
        return other

    def size_bytes(self) -> int:
        """The memory that the group takes: an estimate in constant time."""
        return _GROUP_BYTES + self.pending.size_bytes() + self.consumers.size_bytes()


def _columns(ids: list[Id]) -> list[Sequence[Any]]:
    return [[milliseconds for milliseconds, _ in ids], [sequence for _, sequence in ids]]


def signed(number: int) -> int:
    """A number as Redis has it in a signed integer of 64 bits: it wraps."""
    return (number + _HALF) % COUNTS - _HALF


def idle_ms(now_ms: int, time_ms: int) -> int:
    """How long ago a time was (both in Unix milliseconds), as Redis counts it: negative for a later one, and it wraps.

    RESTORE takes any 64 bits for a time.
    """
    return signed(now_ms - time_ms)


# The groups of a stream, by name.
Groups = Named[Group]
