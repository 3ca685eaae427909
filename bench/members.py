"""The collections that a benchmark stores, and the commands on them that it measures.

Owns the tables of both: a data type is a row of TYPES, a command one of ROWS. Must never measure: filling is preparation.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.control import Control
from bench.dataset import FillFailed
from bench.load import Batch
from bench.request import encode_request
from bench.workload import SEED

# A command that fills brings so many members at most.
FILL_MEMBERS = 100
# The requests in flight while filling: enough to keep the server busy, few enough to fit in socket buffers on either side.
FILL_REQUESTS = 500
# A load goes over so many members in all, if the collections are smaller than that.
POOL_MEMBERS = 100_000
MOST_KEYS = 1000
# The length of the range that LRANGE and ZRANGEBYSCORE ask for.
RANGE = 100


@dataclass(frozen=True)
class CollectionType:
    """A data type, the command that fills a collection of it, and the words that this takes for the member of a number.

    `change` gives a command that writes to the place of that member, and its words behind the key. `at_once` is how many
    members a command brings at most, and `most_keys` how many small collections there may be.
    """

    name: str
    fill_command: str
    words: Callable[[int], tuple[bytes, ...]]
    change: Callable[[int], tuple[bytes, ...]]
    at_once: int = FILL_MEMBERS
    most_keys: int = 1_000_000


def member(number: int) -> bytes:
    return b"member:%08d" % number


def value(number: int) -> bytes:
    return b"%010d" % (number + 1_000_000_000)


HASH = CollectionType(
    "hash", "HSET", lambda number: (member(number), value(number)), lambda number: (b"HSET", member(number), b"1")
)
LIST = CollectionType("list", "RPUSH", lambda number: (member(number),), lambda number: (b"LSET", b"%d" % number, b"changed"))
SET = CollectionType("set", "SADD", lambda number: (member(number),), lambda number: (b"SREM", member(number)))
SORTED_SET = CollectionType(
    "zset", "ZADD", lambda number: (b"%d" % number, member(number)), lambda number: (b"ZADD", b"%d.5" % number, member(number))
)
# An entry has a command of its own. redis-server takes some 4 KB for a stream, however small it is.
STREAM = CollectionType(
    "stream",
    "XADD",
    lambda number: (b"%d-0" % (number + 1), b"field", member(number)),
    lambda number: (b"XDEL", b"%d-0" % (number + 1)),
    at_once=1,
    most_keys=50_000,
)
TYPES = (HASH, LIST, SET, SORTED_SET, STREAM)


@dataclass(frozen=True)
class Row:
    """Commands that are measured together, by turns, so that a collection stays as large as it is.

    Their words are texts in which a name in braces stands for something: `key`; a random `member`, `index` or `score`, which
    all commands of a turn share; `end` of a range that begins at the index; the `new` member, which no other turn has; and how
    many `members` the collection has.
    """

    type: CollectionType
    commands: tuple[str, ...]
    # What it brings must be new each time: where that is not what it takes away, the collection would shrink otherwise.
    is_fresh: bool = False

    @property
    def name(self) -> str:
        return ", ".join(command.split()[0] for command in self.commands)


ROWS = (
    Row(HASH, ("HSET {key} {member} 1234567890",)),
    Row(HASH, ("HGET {key} {member}",)),
    Row(HASH, ("HINCRBY {key} {member} 1",)),
    Row(LIST, ("LPUSH {key} {new}", "RPOP {key}")),
    Row(LIST, ("LRANGE {key} {index} {end}",)),
    Row(LIST, ("LINDEX {key} {index}",)),
    Row(SET, ("SISMEMBER {key} {member}",)),
    Row(SET, ("SADD {key} {new}", "SREM {key} {new}")),
    Row(SET, ("SADD {key} {new}", "SPOP {key}"), is_fresh=True),
    Row(SORTED_SET, ("ZRANK {key} {member}",)),
    Row(SORTED_SET, ("ZRANGEBYSCORE {key} {index} {end}",)),
    Row(SORTED_SET, ("ZADD {key} {score} {member}",)),
    Row(SORTED_SET, ("ZINCRBY {key} 1 {member}",)),
    Row(SORTED_SET, ("ZADD {key} {score} {new}", "ZPOPMIN {key}"), is_fresh=True),
    Row(STREAM, ("XRANGE {key} {index} + COUNT 10",)),
    Row(STREAM, ("XREAD COUNT 10 STREAMS {key} {index}",)),
    # This comes last, since its ids are other ones.
    Row(STREAM, ("XADD {key} MAXLEN ~ {members} * field {member}",)),
)


@dataclass(frozen=True)
class Collections:
    """So many collections of one type, each of so many members. An index names one of them, and its key."""

    type: CollectionType
    keys: int
    members: int

    @classmethod
    def of_size(cls, kind: CollectionType, members: int) -> "Collections":
        """As many as a load goes over."""
        return cls(kind, max(1, min(MOST_KEYS, POOL_MEMBERS // members)), members)

    @property
    def name(self) -> str:
        return f"{self.keys} of type {self.type.name} with {self.members} members"

    def key(self, index: int) -> bytes:
        return b"%b:%d:%08d" % (self.type.name.encode(), self.members, index)

    def fill(self, control: Control, in_flight: int = FILL_REQUESTS) -> None:
        """Store all of them, with so many requests at once. FillFailed if the server does not hold them then."""
        before = control.call("DBSIZE")
        requests = self.requests()
        while some := list(itertools.islice(requests, in_flight)):
            control.send(b"".join(some))
            for _ in some:
                control.receive()
        after = control.call("DBSIZE")
        if not isinstance(before, int) or after != before + self.keys:
            raise FillFailed(f"filled {self.keys} keys beside {before}, but the server says it has {after}")

    def requests(self) -> Iterator[bytes]:
        """The requests that fill them, in turn."""
        for index in range(self.keys):
            for start in range(0, self.members, self.type.at_once):
                numbers = range(start, min(start + self.type.at_once, self.members))
                words = itertools.chain.from_iterable(map(self.type.words, numbers))
                yield encode_request(self.type.fill_command, self.key(index), *words)

    def batches(self, row: Row, pipeline: int, count: int, first_turn: int = 0) -> list[Batch]:
        """The batches of a load with so many requests in its circle, which are the same for the same first turn."""
        choice = random.Random(SEED)
        turns = range(first_turn, first_turn + count // len(row.commands))
        requests = [request for turn in turns for request in self._turn(row, choice, turn)]
        return [
            Batch(row.name, b"".join(requests[start : start + pipeline]), pipeline)
            for start in range(0, len(requests) - pipeline + 1, pipeline)
        ]

    def _turn(self, row: Row, choice: random.Random, turn: int) -> list[bytes]:
        index = choice.randrange(self.members)
        meant = {
            "key": self.key(choice.randrange(self.keys)).decode(),
            "member": member(index).decode(),
            "index": index,
            "end": index + RANGE - 1,
            "score": choice.randrange(self.members),
            "new": f"new:{turn:010d}",
            "members": self.members,
        }
        return [encode_request(*(word.format_map(meant) for word in command.split())) for command in row.commands]
