"""Both forms of what reads nodes of streams give the same, of sound ones and of damaged ones, and in order."""

from __future__ import annotations

import random
from array import array
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import blocks
from helpers.leaves import assert_frees_all, each_end_of_memory, forms
from kvserver.formats.listpack import write_listpack

KEY = (5, 7)
TOP = 2**64
FIELDS = [b"f", b"12"]

fields = st.lists(st.sampled_from([b"f", b"g", b"12", b""]), min_size=1, max_size=3)
# An entry: how far its id is behind the one in front, its fields, if they are not those of the first entry, and its flags.
rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-2, 300), st.none() | fields, st.integers(0, 1), st.binary(max_size=90)),
    max_size=9,
)


def result(form: Any, data: bytes, key: tuple[int, int] = KEY) -> Any:
    """What a form reads, or that it refuses."""
    try:
        return form(data, *key)
    except ValueError:
        return "refused"


def read(data: bytes, key: tuple[int, int] = KEY) -> Any:
    """What both forms read, or that both refuse it."""
    results = [result(form, data, key) for form in forms("read_node").values()]
    assert all(found == results[0] for found in results), results
    return results[0]


def node(entries: list[list[bytes]], live: int, gone: int = 0, names: list[bytes] = FIELDS) -> bytes:
    """The listpack of a node whose entries are the strings of these."""
    head = [b"%d" % live, b"%d" % gone, b"%d" % len(names), *names, b"0"]
    return write_listpack([*head, *(string for entry in entries for string in entry)])


def entry(flags: int, milliseconds: int, sequence: int, *strings: bytes) -> list[bytes]:
    """The strings of an entry: values alone, or fields and values, as its flags say."""
    count = [] if flags & 2 else [b"%d" % (len(strings) // 2)]
    parts = len(strings) + (3 if flags & 2 else 4)
    return [b"%d" % number for number in (flags, milliseconds, sequence)] + count + [*strings, b"%d" % parts]


def numbers(column: bytes | None) -> list[int] | None:
    return None if column is None else array("Q", column).tolist()


def test_columns_are_those_of_the_entries() -> None:
    entries = [
        entry(2, 0, 0, b"a", b"-1"),
        entry(3, 0, 1, b"", b"x"),
        entry(0, 1, -3, b"g", b"y"),
        entry(2, TOP // 4, 0, b"1", b"2"),
    ]
    found = read(node(entries, 3, 1))
    assert found[0] == FIELDS
    assert numbers(found[1]) == [0, 0, 1, TOP // 4]
    assert numbers(found[2]) == [7, 8, 4, 7]
    assert numbers(found[3]) == [0, 0, 2, 0]
    assert found[4] == [b"a", b"-1", b"", b"x", b"g", b"y", b"1", b"2"]
    assert found[5] == b"\0\1\0\0"


def test_what_nobody_needs_is_not_there() -> None:
    # The same fields, written once more.
    entries = [entry(0, 0, 0, b"f", b"a", b"12", b"b"), entry(2, 0, 1, b"c", b"d")]
    assert read(node(entries, 2))[3:] == (None, [b"a", b"b", b"c", b"d"], None)


def test_deleted_entry_out_of_order_gets_the_id_in_front() -> None:
    for sequence, wanted in ((-1, 7), (4, 7), (2, 9), (3, 7), (9, 7)):
        found = read(node([entry(2, 0, 0, b"a", b"b"), entry(3, 0, sequence, b"", b""), entry(2, 0, 3, b"c", b"d")], 2, 1))
        assert numbers(found[2]) == [7, wanted, 10]
    found = read(node([entry(2, 0, 0, b"a", b"b"), entry(3, 9, 0, b"", b""), entry(3, 8, 0, b"", b"")], 1, 2))
    assert numbers(found[1]) == [0, 9, 9]


ENTRIES = [entry(2, 0, 0, b"a", b"b"), entry(2, 0, 1, b"c", b"d")]


@pytest.mark.parametrize(
    "wrong",
    [
        node(ENTRIES, 1),
        node(ENTRIES, 3),
        node(ENTRIES, 1, 1),
        node(ENTRIES, 3, -1),
        node(ENTRIES, 2**62),
        node([], 0),
        node([*ENTRIES, [b"2"]], 2),
        node([*ENTRIES, entry(2, 0, 1, b"", b"")], 3),
        node([*ENTRIES, entry(2, 0, 0, b"", b"")], 3),
        node([*ENTRIES, entry(2, -1, 5, b"", b"")], 3),
        node([*ENTRIES, entry(4, 0, 5, b"", b"")], 3),
        node([*ENTRIES, entry(-1, 0, 5, b"", b"")], 3),
        node([*ENTRIES, entry(0, 0, 5)], 3),
        node([*ENTRIES, [*entry(0, 0, 5, b"f", b"x")[:-1], b"7"]], 3),
        node([*ENTRIES, [*entry(2, 0, 5, b"f", b"x")[:-1], b"x"]], 3),
        node([*ENTRIES, [b"0", b"0", b"5", b"%d" % 2**62, b"f", b"x", b"6"]], 3),
        node(ENTRIES, 2, names=[]),
        node(ENTRIES, 2)[:-1],
        blocks.listpack([blocks.listpack_string(text) for text in (b"+2", b"0", b"1", b"f", b"0", *entry(2, 0, 0, b"a"))]),
        b"",
    ],
)
def test_what_is_no_node_is_refused(wrong: bytes) -> None:
    assert read(wrong) == "refused"


def test_ids_behind_the_greatest_are_refused() -> None:
    assert read(node(ENTRIES, 2), (TOP - 1, TOP - 2)) != "refused"
    assert read(node(ENTRIES, 2), (TOP - 1, TOP - 1)) == "refused"


@settings(max_examples=300)
@given(rows, st.randoms(use_true_random=False))
def test_any_entries_are_read_alike(some: list[Any], rng: random.Random) -> None:
    milliseconds = sequence = gone = 0
    entries: list[list[bytes]] = []
    for more, after, names, flag, value in some:
        milliseconds, sequence = milliseconds + more, after if more else sequence + after
        gone += flag
        if names is None:
            entries.append(entry(2 | flag, milliseconds, sequence, value, b"1"))
        else:
            entries.append(entry(flag, milliseconds, sequence, *(part for name in names for part in (name, value))))
    data = node(entries, len(entries) - gone, gone)
    read(data)
    damaged = bytearray(data)
    for _ in range(rng.randrange(1, 3)):
        damaged[rng.randrange(6, len(data) - 1)] = rng.choice((0, 1, 2, 3, 0x7F, 0x81, 0xDF, 0xF4, rng.randrange(256)))
    read(bytes(damaged))


def test_nothing_is_kept_and_memory_may_end() -> None:
    entries = [entry(0, 0, 0, b"f", b"a" * 70, b"12", b"b"), entry(3, 0, 1, b"c", b"d"), entry(0, 9, 0, b"x", b"y")]
    data = node(entries, 2, 1)
    whole = read(data)
    for form in forms("read_node").values():
        assert_frees_all(partial(form, data, *KEY), data)
        assert_frees_all(partial(result, form, node(entries, 3)))
    leaf = forms("read_node").get("compiled")
    if leaf is not None:
        ended = [found for _, found in each_end_of_memory(lambda: (None, lambda: leaf(data, *KEY)))]
        assert all(found in (None, whole) for found in ended)
        assert ended[-1] == whole
        mistakes: list[tuple[object, ...]] = [(), (data,), (bytearray(data), 1, 1), (data, b"", 1), (data, 1, "1")]
        for wrong in mistakes:
            with pytest.raises(TypeError):
                leaf(*wrong)
