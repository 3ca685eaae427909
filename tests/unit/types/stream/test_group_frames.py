"""Groups survive the way through frames, whole and in pieces; nothing else passes for groups."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from helpers.stream_groups import some_groups, text_of
from kvserver.containers.named import Named
from kvserver.types.stream.group import Group, Groups
from kvserver.types.stream.group_frames import LongGroups, groups_of, groups_pieces
from kvserver.types.stream.group_payload import write_groups

EXAMPLE = (
    b'{"a":{"consumers":[],"entries_read":null,"last_id":"0-0","pending":[]},'
    b'"workers":{"consumers":[["$kvs:/w==",5],["alice",7]],"entries_read":1,"last_id":"1526919030474-0",'
    b'"pending":[["1-0","alice",6,2],["1526919030474-0","$kvs:/w==",-1,18446744073709551615]]}}'
)


def example() -> Groups:
    groups = groups_of(json.loads(EXAMPLE))
    assert groups is not None
    return groups


def read_in_pieces(text: bytes, size: int) -> tuple[LongGroups, int | None]:
    """Read a text that comes in chunks, as the decoder does. Return the reader and the end of the groups, or None.

    In any case the reader gives back what it has read.
    """
    reader, data, position, start = LongGroups(), b"", 0, 0
    for end in range(size, len(text) + size, size):
        data = data[position:] + text[end - size : end]
        start += position
        position = 0
        while not reader.has_ended:
            found = reader.read(data, position)
            if found is None:
                assert reader.as_json() == text[: start + position]
                return reader, None
            if found == position:
                break
            position = found
        if reader.has_ended:
            return reader, start + position
    return reader, None


@settings(max_examples=30, phases=(Phase.explicit, Phase.generate))
@given(some_groups(), st.sampled_from([1, 7, 100, 1 << 16]))
def test_json_is_canonical_and_comes_back(groups: Groups, size: int) -> None:
    text = text_of(groups)
    document = json.loads(text)
    assert json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == text
    whole = groups_of(document)
    assert whole is not None
    assert text_of(whole) == text
    reader, end = read_in_pieces(text + b',"last_id":"0-0"}', size)
    assert end == len(text)
    assert text_of(reader.groups) == reader.as_json() == text
    assert [*write_groups(reader.groups)] == [*write_groups(groups)] == [*write_groups(whole)]


def test_example_is_read_and_written_as_it_stands() -> None:
    groups = example()
    assert text_of(groups) == EXAMPLE
    workers = groups.get(b"workers")
    assert workers is not None
    assert workers.entries_read == 1
    assert workers.delivery((1, 0)) == (b"alice", 6, 2)
    assert [consumer.seen_ms for _, consumer in workers.consumers.in_order()] == [7, 5]


CHANGES: list[tuple[bytes, bytes]] = [
    (b'"entries_read":1', b'"entries_read":true'),
    (b'"entries_read":1', b'"entries_read":1.0'),
    (b'"entries_read":1', b'"entries_read":-1'),
    (b'"entries_read":1', b'"entries_read":9223372036854775808'),
    (b'"entries_read":1', b'"entries_read":-9223372036854775809'),
    (b'"last_id":"0-0"', b'"last_id":"0"'),
    (b'"last_id":"0-0"', b'"last_id":"00-0"'),
    (b'"last_id":"0-0"', b'"last_id":"18446744073709551616-0"'),
    (b'"alice",7', b'"alice","7"'),
    (b'"alice",7', b'"alice",9223372036854775808'),
    (b'"alice",7', b'"$kvs:YQ==",7'),
    (b'["$kvs:/w==",5],["alice",7]', b'["alice",7],["$kvs:/w==",5]'),
    (b'["$kvs:/w==",5],["alice",7]', b'["alice",7]'),
    (b'["$kvs:/w==",5],["alice",7]', b'["$kvs:/w==",5],["alice",7],["alice",7]'),
    (b'["1-0","alice",6,2]', b'["1-0","bob",6,2]'),
    (b'["1-0","alice",6,2]', b'["1-0","alice",6,-2]'),
    (b'["1-0","alice",6,2]', b'["1-0","alice",6,18446744073709551616]'),
    (b'["1-0","alice",6,2]', b'["1-0","alice",6]'),
    (b'["1-0","alice",6,2]', b'["1526919030475-0","alice",6,2]'),
    (b'["1-0","alice",6,2]', b'["1","alice",6,2]'),
    (b'"workers"', b'"$kvs:YQ=="'),
    (b'"pending":[]', b'"pending":{}'),
    (b'"consumers":[]', b'"consumer":[]'),
    (b'"pending":[]', b'"pending":[],"x":1'),
]


@pytest.mark.parametrize(("part", "other"), CHANGES)
def test_what_is_not_written_like_this_is_no_groups(part: bytes, other: bytes) -> None:
    text = EXAMPLE.replace(part, other, 1)
    assert text != EXAMPLE
    assert groups_of(json.loads(text)) is None
    for size in (1, 50, 1 << 16):
        _, end = read_in_pieces(text + b',"last_id":"0-0","max_deleted_id":"0-0"}', size)
        assert end is None


@pytest.mark.parametrize("document", [None, [], {"a": 1}, {"a": {}}, {"$kvs:": {}}])
def test_other_documents_are_no_groups(document: Any) -> None:
    assert groups_of(document) is None


@pytest.mark.parametrize("text", [b"[]", b'{"b', b'{"a":[]}', EXAMPLE.replace(b":[", b": [")])
def test_other_texts_are_no_groups(text: bytes) -> None:
    _, end = read_in_pieces(text, 1 << 16)
    assert end is None


def test_no_step_of_many_consumers_and_entries_is_long() -> None:
    groups: Groups = Named()
    group = groups.add(b"g", Group((0, 0)))
    for number in range(3000):
        group.see(b"consumer%d" % number, 0)
        group.deliver((number, 0), b"consumer%d" % number, 1, 1)
    pieces = list(groups_pieces(groups))
    assert max(map(len, pieces)) < 20_000
    reader, end = read_in_pieces(b"".join(pieces) + b",", 1 << 16)
    assert end == sum(map(len, pieces))
    assert text_of(reader.groups) == b"".join(pieces)
