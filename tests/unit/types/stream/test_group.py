"""A group's pending entries are those of its consumers, whatever happens, and forks go ways of their own."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvserver.types.stream.group import UNKNOWN, Delivery, Group, idle_ms, signed
from kvserver.types.stream.ids import Id

NAMES = [b"a", b"b", b""]
ids = st.tuples(st.integers(0, 3), st.integers(0, 3))
names = st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("deliver"), ids, names, st.integers(0, 9)),
    st.tuples(st.just("acknowledge"), ids, names, st.integers(0, 4)),
    st.tuples(st.just("drop"), ids, names, st.just(0)),
    st.tuples(st.just("fork"), ids, names, st.just(0)),
)

Model = dict[bytes, tuple[int, dict[Id, tuple[int, int]]]]


def contents(group: Group) -> Model:
    """The consumers, each with when it was seen, and its pending entries. What the group and its consumers hold agrees."""
    found: Model = {}
    for name, consumer in group.consumers.in_order():
        own = {}
        for row in consumer.ids.rows():
            identity = (row[0], row[1])
            delivery = group.delivery(identity)
            assert delivery is not None
            assert delivery.consumer is consumer.name == name
            own[identity] = delivery[1:]
        found[name] = (consumer.seen_ms, own)
    assert len(group.pending) == sum(len(own) for _, own in found.values())
    return found


@settings(max_examples=50)
@given(st.lists(steps, max_size=40))
def test_group_and_consumers_agree(some: list[tuple[str, Id, bytes, int]]) -> None:
    group, model = Group((0, 0)), Model()
    others: list[tuple[Group, Model]] = []
    for step, (what, identity, name, number) in enumerate(some):
        if what == "deliver":
            # A name that is equal, and another object.
            assert group.see(bytes(bytearray(name)), step) == (name not in model)
            group.deliver(identity, bytes(bytearray(name)), step, number)
            for _, own in model.values():
                own.pop(identity, None)
            model[name] = (step, {**model.get(name, (0, {}))[1], identity: (step, number)})
        elif what == "acknowledge":
            pending = sorted((each for _, own in model.values() for each in own if each >= identity))
            some_ids = [*pending[:number], identity]
            assert group.acknowledge_all(some_ids) == len(set(some_ids) & set(pending))
            for _, own in model.values():
                for each in some_ids:
                    own.pop(each, None)
        elif what == "drop":
            gone = model.pop(name, None)
            assert group.drop_consumer(name) == (None if gone is None else len(gone[1]))
        else:
            others.append((group, model))
            group, model = group.fork(), {each: (seen, dict(own)) for each, (seen, own) in model.items()}
        assert contents(group) == model
    assert all(contents(other) == before for other, before in others)


def test_what_a_group_begins_with() -> None:
    group = Group((5, 6))
    assert (group.last_id, group.entries_read, len(group.pending), len(group.consumers)) == ((5, 6), UNKNOWN, 0, 0)
    assert group.delivery((1, 1)) is None
    assert not group.acknowledge((1, 1))
    group.see(b"a", 1)
    group.deliver((1, 1), b"a", 2, 3)
    assert group.delivery((1, 1)) == Delivery(b"a", 2, 3)
    group.last_id, group.entries_read = (9, 9), 4
    other = group.fork()
    assert (other.last_id, other.entries_read, other.owner) == ((9, 9), 4, None)


def test_size_grows_with_what_is_there() -> None:
    group = Group((0, 0))
    sizes = [group.size_bytes()]
    for number in range(1000):
        group.see(b"%d" % (number % 10), 0)
        group.deliver((number, 0), b"%d" % (number % 10), 0, 1)
        if number in (9, 999):
            sizes.append(group.size_bytes())
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    assert 40_000 < sizes[2] < 150_000


def test_numbers_of_deliveries_wrap_where_they_are_told() -> None:
    assert [signed(number) for number in (0, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 2**63 - 1, -(2**63), -1]


def test_ages_are_integers_of_64_bits() -> None:
    assert [idle_ms(50, time_ms) for time_ms in (20, 80, -1)] == [30, -30, 51]
    assert (idle_ms(50, -(2**63)), idle_ms(0, 2**63 - 1)) == (50 - 2**63, 1 - 2**63)
