"""The consumer groups of a stream in the payloads of DUMP and RESTORE, as redis-server writes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, starmap
from operator import lt
from struct import Struct, unpack
from typing import Any, Final

from kvserver._speedups.rdb_strings import write_length, write_string
from kvserver.containers.named import Named
from kvserver.data.steps import Steps
from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import BAD_FORMAT, Reader
from kvserver.types.stream.group import COUNTS, Consumer, Group, Groups, signed
from kvserver.types.stream.ids import Id

# The keys of pending entries, and times.
_KEY: Final = Struct(">QQ")
_TIME: Final = Struct("<q")
# The first type that tells how many entries a group has read, and the one that tells when a consumer was last active.
_WITH_ENTRIES_READ: Final = 19
_WITH_ACTIVE_TIME: Final = 21
# A step reads so many pending entries.
_ROWS: Final = 128


def write_groups(groups: Groups) -> Iterator[bytes]:
    """Yield the parts of the groups behind the entries in a payload of DUMP: their number, and each in the order of names.

    A group has its name, its last id and the number of entries that it has read; behind their number its pending entries,
    each with the time and the number of its deliveries; behind their number its consumers. A consumer has its name, the time
    when it was seen, and behind their number the ids of its pending entries. Source: rdbSaveObject, rdbSaveStreamPEL and
    rdbSaveStreamConsumers in rdb.c of redis 7.0.
    """
    yield write_length(len(groups))
    for name, group in groups.in_order():
        yield write_string(name)
        yield b"".join(map(write_length, (*group.last_id, group.entries_read % COUNTS, len(group.pending))))
        for milliseconds, sequence, _, time_ms, count in group.pending.rows():
            yield _KEY.pack(milliseconds, sequence) + _TIME.pack(time_ms) + write_length(count)
        yield write_length(len(group.consumers))
        for consumer_name, consumer in group.consumers.in_order():
            yield write_string(consumer_name) + _TIME.pack(consumer.seen_ms) + write_length(len(consumer.ids))
            yield from starmap(_KEY.pack, consumer.ids.rows())


def read_groups(reader: Reader, dump_type: int, max_bytes: int) -> Steps[Groups]:
    """Read the groups behind the entries in a payload of this type in steps, and return them. DumpInvalid for what is none.

    No compressed string in it may have more than `max_bytes` bytes. The earliest type does not tell how many entries a group
    has read. Pending entries that are not in the order of their ids, as nobody writes them, are brought into it in one step.
    """
    groups: Groups = Named()
    for _ in range(reader.length()):
        name = reader.string(max_bytes)
        if groups.get(name) is not None:
            raise DumpInvalid(BAD_FORMAT)
        group = groups.add(name, Group((reader.length(), reader.length())))
        if dump_type >= _WITH_ENTRIES_READ:
            group.entries_read = signed(reader.length())
        deliveries, is_ordered = yield from _read_deliveries(reader)
        owners: dict[Id, Consumer] = {}
        for _ in range(reader.length()):
            yield from _read_consumer(reader, dump_type, max_bytes, group, owners)
        # Each pending entry has a consumer: as many have one, and each that has is among them.
        if len(owners) != len(deliveries):
            raise DumpInvalid(BAD_FORMAT)
        for ids in _parts_of(deliveries if is_ordered else sorted(deliveries)):
            if not all(map(owners.__contains__, ids)):
                raise DumpInvalid(BAD_FORMAT)
            group.load(ids, owners, deliveries)
            yield
    return groups


def _read_deliveries(reader: Reader) -> Steps[tuple[dict[Id, tuple[int, int]], bool]]:
    """Read the pending entries of a group: when each was delivered the last time, and how often it was.

    Return also if they are in the order of their ids.
    """
    count = reader.length()
    deliveries: dict[Id, tuple[int, int]] = {}
    last: list[Id] = []
    is_ordered = True
    for rows in _parts(count):
        items: list[Any] = reader.items(b"888n", rows, 0)
        milliseconds, sequences, times_ms = (
            unpack(f"{order}{rows}{kind}", b"".join(items[place::4]))
            for place, order, kind in ((0, ">", "Q"), (1, ">", "Q"), (2, "<", "q"))
        )
        ids = [*last, *zip(milliseconds, sequences, strict=True)]
        is_ordered = is_ordered and all(map(lt, ids, islice(ids, 1, None)))
        deliveries.update(zip(ids[len(last) :], zip(times_ms, items[3::4], strict=True), strict=True))
        last = ids[-1:]
        yield
    if len(deliveries) != count:
        raise DumpInvalid(BAD_FORMAT)
    return deliveries, is_ordered


def _parts_of(ids: Iterable[Id]) -> Iterator[list[Id]]:
    """The ids, some hundred at a time."""
    rest = iter(ids)
    while some := list(islice(rest, _ROWS)):
        yield some


def _parts(count: int) -> Iterator[int]:
    """The lengths of the parts of so many rows."""
    while count:
        rows = min(count, _ROWS)
        yield rows
        count -= rows


def _read_consumer(reader: Reader, dump_type: int, max_bytes: int, group: Group, owners: dict[Id, Consumer]) -> Steps[None]:
    """Read a consumer of a group, and let it own its entries, which no other consumer has."""
    name = reader.string(max_bytes)
    if group.consumers.get(name) is not None:
        raise DumpInvalid(BAD_FORMAT)
    consumer = group.consumers.add(name, Consumer(name, _read_time(reader)))
    if dump_type >= _WITH_ACTIVE_TIME:
        _read_time(reader)
    count = reader.length()
    before = len(owners)
    for rows in _parts(count):
        owners.update(dict.fromkeys(_KEY.iter_unpack(reader.take(_KEY.size * rows)), consumer))
        yield
    if len(owners) != before + count:
        raise DumpInvalid(BAD_FORMAT)


def _read_time(reader: Reader) -> int:
    (time_ms,) = _TIME.unpack(reader.take(_TIME.size))
    return int(time_ms)
