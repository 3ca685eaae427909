"""A node is the same open and sealed, and as long as Redis's listpack of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvserver._speedups.listpacks import read_listpack
from kvserver.types.stream.ids import Id
from kvserver.types.stream.node import MOST_BYTES, Node
from kvserver.types.stream.payload import write_node

strings = st.binary(max_size=70) | st.integers(-(2**63), 2**63 - 1).map(lambda number: b"%d" % number) | st.just(b"f")
pairs = st.lists(strings, min_size=2, max_size=8).map(lambda found: found[: len(found) // 2 * 2])
steps = st.tuples(st.sampled_from([0, 1, 200, 2**40]), st.integers(0, 2**60))


@settings(max_examples=50)
@given(st.lists(st.tuples(steps, pairs | st.just([b"f", b"v"]), st.booleans()), min_size=1, max_size=20))
def test_node_has_its_entries_open_and_sealed(entries: list[tuple[tuple[int, int], list[bytes], bool]]) -> None:
    node = Node((5, entries[0][0][1]), entries[0][1][::2], None)
    milliseconds, expected, deleted = 5, [], []
    for place, ((behind, sequence), row, is_deleted) in enumerate(entries):
        milliseconds += behind + 1 if place else 0
        node.add((milliseconds, sequence), row, sum(map(len, row)))
        expected.append(((milliseconds, sequence), row))
        deleted += [place] if is_deleted else []
    if deleted:
        node.mark(deleted)
    listpack = write_node(node)
    # What the length is at most is never too little.
    assert node.has_room(0, 0, len(listpack) + 1)
    assert not node.has_room(0, 0, len(listpack))
    assert node.size() == len(listpack)
    assert read_listpack(listpack)
    sealed = node.copy(None)
    sealed.seal()
    opened = sealed.opened(None)
    assert not sealed.is_open
    assert opened.size() == node.size()
    living = [item for place, item in enumerate(expected) if place not in deleted]
    for each in (node, sealed, opened):
        assert len(each) == len(expected)
        assert each.live == len(living)
        assert each.items(0, len(each)) == living
        assert [(identity, row) for identity, row, _ in each.every()] == expected
        assert list(each.live_positions()) == [place for place in range(len(expected)) if place not in deleted]
        assert (each.first_live() < 0) == (each.last_live() < 0) == (not living)
        for place, (identity, _) in enumerate(expected):
            assert each.position(identity) == place
            assert each.find(identity) == (-1 if place in deleted else place)
            assert each.items(place, place + 1) == ([] if place in deleted else [expected[place]])
        texts = list(each.all_strings())
        for start in range(len(texts) + 1):
            for stop in {start, min(start + 1, len(texts)), (start + len(texts) + 1) // 2, len(texts)}:
                assert list(each.some_strings(start, stop)) == texts[start:stop]
        assert each.position((0, 0)) == 0
        assert each.position((2**62, 0)) == len(expected)
        assert each.find((2**62, 0)) == -1
        assert each.size_bytes() > sum(map(len, each.all_strings()))


def test_room_is_counted_as_by_redis() -> None:
    node = Node((1, 0), [b"f"], None)
    for number in range(1, 10):
        node.add((number, 0), [b"f", b"12"], 3)
    size = node.size()
    assert node.has_room(5, 10, size + 6)
    assert not node.has_room(5, 10, size + 5)
    assert not node.has_room(5, 9, 0)
    assert node.has_room(5, 0, MOST_BYTES)


def test_copy_of_an_open_node_goes_its_own_way() -> None:
    node = Node((1, 0), [b"f"], None)
    node.add((1, 0), [b"f", b"1"], 2)
    other = node.copy(None)
    other.add((2, 0), [b"g", b"2"], 2)
    other.mark([0])
    assert node.items(0, len(node)) == [((1, 0), [b"f", b"1"])]
    assert other.items(0, 2) == [((2, 0), [b"g", b"2"])]


def test_deleted_entries_take_ids_that_are_in_order() -> None:
    node = Node((1, 0), [b"f"], None)
    ids: list[Id] = [(1, 0), (5, 0), (6, 0)]
    for identity in ids:
        node.add(identity, [b"f", b"v"], 2)
    node.mark([1, 2])
    node.forget_behind((2, 0))
    node.add((2, 1), [b"f", b"w"], 2)
    assert node.items(0, len(node)) == [((1, 0), [b"f", b"v"]), ((2, 1), [b"f", b"w"])]
    assert node.find((2, 1)) == 3
    assert node.find((5, 0)) == -1
