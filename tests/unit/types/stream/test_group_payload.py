"""Groups survive the way through DUMP and RESTORE; a payload that makes no sense is refused."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings

from helpers.stream_groups import some_groups, text_of
from kvserver._speedups.rdb_strings import write_length, write_string
from kvserver.containers.named import Named
from kvserver.data.steps import at_once
from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import Reader
from kvserver.types.stream.group import Consumer, Group, Groups
from kvserver.types.stream.group_payload import read_groups, write_groups

ID = (1).to_bytes(8, "big") + bytes(8)
TIME = (5).to_bytes(8, "little")
HEAD = write_length(1) + write_string(b"g") + write_length(3) + write_length(4)
ENTRY = ID + TIME + write_length(7)


def loaded(body: bytes, dump_type: int = 19) -> Groups:
    reader = Reader(body)
    groups = at_once(read_groups(reader, dump_type, 1000))
    reader.end()
    return groups


def test_earlier_and_later_types_are_read() -> None:
    consumer = write_length(1) + write_string(b"c") + TIME
    rest = write_length(1) + ENTRY + consumer
    own = write_length(1) + ID
    told = b'{"g":{"consumers":[["c",5]],"entries_read":%b,"last_id":"3-4","pending":[["1-0","c",5,7]]}}'
    assert text_of(loaded(HEAD + rest + own, 15)) == told % b"null"
    assert text_of(loaded(HEAD + write_length(9) + rest + own, 19)) == told % b"9"
    assert text_of(loaded(HEAD + write_length(9) + rest + TIME + own, 21)) == told % b"9"


@pytest.mark.parametrize(
    "rest",
    [
        # A pending entry of no consumer, twice the same, one that the consumer alone has, and twice the same of a consumer.
        write_length(1) + ENTRY + write_length(0),
        write_length(2) + ENTRY + ENTRY + write_length(1) + write_string(b"c") + TIME + write_length(1) + ID,
        write_length(0) + write_length(1) + write_string(b"c") + TIME + write_length(1) + ID,
        write_length(1) + ENTRY + write_length(1) + write_string(b"c") + TIME + write_length(2) + ID + ID,
        # One entry is pending, and the consumer has another.
        write_length(1) + ENTRY + write_length(1) + write_string(b"c") + TIME + write_length(1) + ID[:-1] + b"\1",
        # The same consumer twice; and what ends early.
        write_length(0) + write_length(2) + 2 * (write_string(b"c") + TIME + write_length(0)),
        write_length(1) + ENTRY,
        write_length(1 << 60),
        write_length(0) + write_length(1) + write_string(b"c") + b"\0",
    ],
)
def test_what_makes_no_sense_is_refused(rest: bytes) -> None:
    with pytest.raises(DumpInvalid):
        loaded(HEAD + write_length(0) + rest)


def test_pending_entries_may_come_in_any_order() -> None:
    ids = [(number % 7 * 1000 + number).to_bytes(8, "big") + bytes(8) for number in range(500)]
    rest = write_length(len(ids)) + b"".join(each + TIME + write_length(7) for each in ids)
    own = write_length(1) + write_string(b"c") + TIME + write_length(len(ids)) + b"".join(ids)
    group = loaded(HEAD + write_length(9) + rest + own).get(b"g")
    assert group is not None
    rows = [row[:3] for row in group.pending.rows()]
    assert rows == sorted((int.from_bytes(each[:8], "big"), 0, b"c") for each in ids)
    consumer = group.consumers.get(b"c")
    assert consumer is not None
    assert [row[:2] for row in consumer.ids.rows()] == [row[:2] for row in rows]


def test_group_that_comes_twice_is_refused() -> None:
    group = HEAD[1:] + write_length(0) + write_length(0) + write_length(0)
    with pytest.raises(DumpInvalid):
        loaded(write_length(2) + group + group)
    assert len(loaded(write_length(1) + group)) == 1


def test_consumer_without_entries_is_kept() -> None:
    groups: Groups = Named()
    groups.add(b"g", Group((0, 0))).consumers.add(b"c", Consumer(b"c", 5))
    assert text_of(loaded(b"".join(write_groups(groups)))) == text_of(groups)


@settings(max_examples=30, phases=(Phase.explicit, Phase.generate))
@given(some_groups())
def test_dump_comes_back(groups: Groups) -> None:
    reader = Reader(b"".join(write_groups(groups)))
    loaded = at_once(read_groups(reader, 19, 1 << 20))
    reader.end()
    assert text_of(loaded) == text_of(groups)
