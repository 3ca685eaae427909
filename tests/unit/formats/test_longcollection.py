"""Large collections are read in short steps, wherever they are cut; what is no tag is read as the document that it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.documents import AWKWARD_TEXTS, cut_of, encoded, exact
from helpers.long_values import CHUNK_BYTES, check_reading, decode
from kvserver.containers import lazyfree
from kvserver.containers.ordered import Ordered
from kvserver.containers.sequence import Sequence
from kvserver.containers.table import Table
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.kinds import kind_of
from kvserver.errors import PayloadInvalid
from kvserver.formats.decoder import Decoder
from kvserver.formats.encoder import encode
from kvserver.formats.longcollection import LongArray, LongObject, LongPairs
from kvserver.types import TAGGED
from kvserver.types.hash.value import Hash
from kvserver.types.list.value import List
from kvserver.types.set.value import Set
from kvserver.types.sorted_set.value import SortedSet

MEMBERS = 8_000


def member(number: int) -> bytes:
    return (b"member:%06d", "é%06d".encode(), b"\xff%06d", b'",%06d\\"')[number % 4] % number


def large(name: str) -> Value:
    members = [member(number) for number in range(MEMBERS)]
    if name == "hash":
        return Hash(((member, b"v" + member) for member in members), is_listpack=False)
    if name == "expiring hash":
        hash_ = Hash(((member, b"v" + member) for member in members), is_listpack=False)
        for number in range(0, MEMBERS, 3):
            hash_.expire(members[number], 1_700_000_000_000 + number % 100)
        return hash_
    if name == "set":
        return Set(members, is_intset=False)
    if name == "zset":
        return SortedSet(zip(members, map(float, range(MEMBERS)), strict=True), is_listpack=False)
    return List(members, is_value=True)


@pytest.mark.parametrize("name", ["hash", "expiring hash", "set", "zset", "list"])
def test_large_one_is_written_and_read_in_short_steps(name: str) -> None:
    value = large(name)
    contents: dict[bytes, Entry] = {b"a": b"1", b"expiring": Expiring(value, 1_700_000_000_000), b"large": value, b"z": b"2"}
    pieces = list(encode([cut_of(contents)], TAGGED))
    # Brackets, quotes and commas beside the names.
    assert max(map(len, pieces)) < 20_000
    payload = b"".join(pieces)
    counts: list[int] = []
    count = 0

    def counting(cls: type, method: str) -> mock._patch[object]:
        original = getattr(cls, method)

        def counted(self: object, members: list[bytes], *others: object) -> None:
            nonlocal count
            # One member, several, or pairs that can be counted only once.
            members = members if isinstance(members, list | bytes) else list(members)
            count += 1 if isinstance(members, bytes) else len(members)
            original(self, members, *others)

        return mock.patch.object(cls, method, counted)

    whole = mock.Mock(wraps=TAGGED.decode_entry)
    found: dict[bytes, Entry] = {}
    with (
        counting(Table, "update"),
        counting(Table, "set"),
        counting(Set, "add_all"),
        counting(Ordered, "load"),
        counting(Sequence, "extend"),
        mock.patch.object(TAGGED, "decode_entry", whole),
    ):
        for members in decode(payload, TAGGED, CHUNK_BYTES):
            found.update(members.get(0, ()))
            counts.append(count)
            count = 0
    assert {call.args for call in whole.call_args_list} <= {("1",), ("2",)}, "one is read as a whole"
    # What is updated is set, too.
    assert max(counts) <= 2 * 1_024
    assert sum(map(bool, counts)) > 2 * MEMBERS // 512
    assert exact(found) == exact(contents)
    assert type(found[b"large"]) is type(value)
    assert kind_of(found[b"large"]).encoding(found[b"large"]) == kind_of(value).encoding(value)


texts = st.sampled_from([*AWKWARD_TEXTS, '","', '],["', '"],[', ",", "]]", "}", '":"', "\\", '\\"', "$kvs:gA=="]) | st.text(
    max_size=4
)
some_names = st.lists(texts | st.text(min_size=40, max_size=90), max_size=12)
sorted_names = some_names.map(lambda names: sorted(set(names)))
some_scores = st.floats() | st.sampled_from(["inf", "-inf", 1, -0.0, None, "1.0", "nan", 1e400])
ordered_pairs = st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False)).map(
    lambda scores: sorted(map(list, scores.items()), key=lambda pair: (pair[1], str(pair[0]).encode()))
)
timed_values = texts | st.fixed_dictionaries(
    {"expires_at_ms": st.integers(1, 1 << 48) | st.sampled_from([0, -1, 1.0, True, "1"]), "value": texts}
)
inner = (
    some_names
    | sorted_names
    | st.dictionaries(texts, texts | st.none(), max_size=12)
    | st.dictionaries(texts, timed_values, max_size=12)
    | st.dictionaries(texts, timed_values, max_size=12).map(lambda fields: dict(sorted(fields.items())))
    | sorted_names.map(lambda names: dict.fromkeys(names, "v"))
    | ordered_pairs
    | ordered_pairs.map(lambda pairs: [*pairs, *pairs[:1]])
    | ordered_pairs.map(lambda pairs: [["low", "-inf"], *pairs, ["top", "inf"]])
    | st.lists(st.tuples(texts, some_scores), max_size=6)
    | st.lists(texts | st.integers() | st.lists(texts, max_size=2), max_size=6)
    | st.lists(st.integers(), min_size=30, max_size=60)
)
separators = st.sampled_from([(",", ":")] * 5 + [(", ", ":"), (" ,", ":"), (",", ": "), (",", " :")])
tags = st.sampled_from(["hash", "set", "zset", "list"])
openings = st.sampled_from(
    ['{"$kvs":{', '{"$kvs":{"expires_at_ms":1700000000000,', '{"$kvs":{"expires_at_ms":-0,', '{"$kvs": {']
)
endings = st.sampled_from(["}}"] * 6 + [',"value":1}}', "} }", "}", ""])
behind = st.sampled_from(["}", ',"z":"1"}', ',"k":2}', " }", "", ',"z":"' + "y" * 300 + '"}'])


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    between, colon = draw(separators)
    text = json.dumps(draw(inner), separators=(between, colon), ensure_ascii=draw(st.sampled_from([False] * 4 + [True])))
    cut = draw(st.sampled_from([len(text)] * 9 + [len(text) // 2]))
    return f'{{"k":{draw(openings)}"{draw(tags)}":{text[:cut]}{draw(endings)}{draw(behind)}'.encode("utf-8", "surrogatepass")


@settings(max_examples=400)
@given(payloads(), st.integers(16, 96), st.integers(1, 40))
@example(b'{"k":{"$kvs":{"zset":[]}},"z":"1"}', 16, 1)
@example(b'{"k":{"$kvs":{"zset":[["a",1.0],["b",2.0]]}}}', 16, 3)
@example(b'{"k":{"$kvs":{"zset":[["a",1.0],["a",2.0]]}}}', 16, 3)
@example(b'{"k":{"$kvs":{"zset":[["a",-0.0],["b",0.0],["c",1e400]]}}}', 16, 3)
@example(b'{"k":{"$kvs":{"zset":["ab","ac"]}}}', 16, 3)
@example(b'{"k":{"$kvs":{"zset":[["a",1.0] ]}},"z":"1"}', 16, 3)
@example(b'{"k":{"$kvs":{"set":["a",",","b"]}}}', 16, 3)
@example(b'{"k":{"$kvs":{"set":[",","a",""]}}}', 16, 3)
@example(b'{"k":{"$kvs":{"set":["a","b",]}}}', 16, 3)
@example(b'{"k":{"$kvs":{"list":["\xff","b"]}}}', 16, 3)
@example(b'{"k":{"$kvs":{"list":["' + b"x" * 300 + b'","b"]}}}', 16, 3)
@example(b'{"k":{"$kvs":{"list":["' + b"\\\\" * 50 + b'\\"","b"]}}}', 16, 5)
@example(b'{"k":{"$kvs":{"hash":{"a":"1","b":"2","a":"3"}}}}', 16, 3)
@example(b'{"k":{"$kvs":{"hash":{"a":"1","b":"2"},"value":1}}}', 16, 3)
@example(b'{"k":{"$kvs":{"hash":[]}},"z":"1"}', 16, 3)
@example(b'{"k":{"$kvs":{"hash":{"a":{"expires_at_ms":1,"value":"1"},"b":"2","c":{"expires_at_ms":3,"value":"3"}}}}}', 16, 3)
@example(b'{"k":{"$kvs":{"hash":{"a":{"expires_at_ms":1,"value":"1"},"b":{"value":"1","expires_at_ms":1}}}}}', 16, 3)
@example(b'{"k":{"$kvs":{"hash":{"a":{"expires_at_ms":1,"value":"1"},"b":{"expires_at_ms":1}}}}}', 16, 3)
@example(b'{"k":{"$kvs":{"hash":{"a":{"expires_at_ms":1,"value":"1","x":1}}}}}', 16, 3)
@example(b'{"k":{"$kvs":{"hash":{"a":{"expires_at_ms":1700000000000000,"value":"1"}}}}}', 16, 3)
def test_it_is_read_or_refused_as_json_does(payload: bytes, length: int, size: int) -> None:
    check_reading(payload, TAGGED, length, size)


def test_member_longer_than_all_windows_comes_without_being_joined_with_each_chunk() -> None:
    value = List([b"x" * 3_000_000, b"y", b"z" * 3_000_000], is_value=True)
    payload = encoded({b"k": value, b"z": b"1"}, TAGGED)
    joins = 0
    join = Decoder._join

    def counted(self: Decoder) -> None:
        nonlocal joins
        joins += 1
        join(self)

    with mock.patch.object(Decoder, "_join", counted):
        found = dict(member for members in decode(payload, TAGGED, 1 << 12) for member in members.get(0, ()))
    assert exact(found) == exact({b"k": value, b"z": b"1"})
    assert joins < 100


class Gathered:
    """A builder that shows what it is given."""

    def __init__(self) -> None:
        self.members: list[bytes] = []

    def add(self, members: list[bytes], values: list[object]) -> None:
        self.members += members

    def value(self) -> None:
        return None

    def pieces(self) -> Iterator[bytes]:
        return iter(())


def readers() -> list[LongArray | LongObject | LongPairs]:
    return [
        LongArray(b"", None, Gathered(), is_sorted=False),
        LongObject(b"", None, Gathered()),
        LongPairs(b"", None, Gathered()),
    ]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    "text", [b"1", b'"a"', b"tr", b"[" + b"7" * 5_000, b"{" + b"7" * 5_000, b"[7,8,9", b"[[[[", b"[]", b"{}"]
)
def test_other_json_is_refused_soon_whatever_follows(text: bytes, number: int) -> None:
    reader = readers()[number]
    data = text + b',"q" ,"q"' * 1_000
    position = reader.read(data, 0)
    if position is not None:
        assert (position, reader.read(data, position)) == (1, None)
    assert text.startswith(reader.as_json())


def test_half_of_one_waits_to_be_freed() -> None:
    lazyfree.begin()
    try:
        payload = encoded({b"k": large("hash")}, TAGGED)
        while lazyfree.free_some():
            pass
        with pytest.raises(PayloadInvalid):
            list(decode(payload[:-500], TAGGED, CHUNK_BYTES))
        assert lazyfree.pending()
        while lazyfree.free_some():
            pass
    finally:
        lazyfree.end()
