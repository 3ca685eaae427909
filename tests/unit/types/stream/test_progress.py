"""Groups count what they read, as long as that can be known. The case file compares all of it with redis-server."""

from __future__ import annotations

from kvserver.types.stream.group import UNKNOWN, Group
from kvserver.types.stream.ids import Id
from kvserver.types.stream.progress import advance, distance, lag
from kvserver.types.stream.stream import Stream


def stream_of(count: int, *deleted: int) -> Stream:
    """A stream with the ids from 1 on, of which some were deleted."""
    stream = Stream()
    for number in range(1, count + 1):
        stream.entries.add((number, 0), [b"f", b"v"], 100, 4096)
        stream.last_id, stream.added = (number, 0), number
    for number in deleted:
        assert stream.delete((number, 0))
    return stream


def ids(*numbers: int) -> list[Id]:
    return [(number, 0) for number in numbers]


def test_distances_that_can_be_known() -> None:
    assert distance(Stream(), (5, 5)) == 0
    stream = stream_of(9)
    assert [distance(stream, identity) for identity in ids(0, 1, 2, 9, 10)] == [0, 1, UNKNOWN, 9, UNKNOWN]
    stream = stream_of(9, 1, 2)
    assert [distance(stream, identity) for identity in ids(2, 3, 4, 9)] == [2, 3, UNKNOWN, 9]
    stream = stream_of(9, 5)
    assert [distance(stream, identity) for identity in ids(0, 1, 9)] == [UNKNOWN, UNKNOWN, 9]
    stream = stream_of(2, 1, 2)
    assert [distance(stream, identity) for identity in ids(0, 2, 3)] == [2, 2, UNKNOWN]


def test_lag_is_what_is_left_to_read() -> None:
    assert lag(Stream(), Group((0, 0))) == 0
    stream = stream_of(9)
    assert lag(stream, Group((4, 0), 4)) == 5
    assert lag(stream, Group((0, 0))) == 9
    assert lag(stream, Group((4, 0))) is None
    assert lag(stream, Group((9, 0))) == 0
    stream = stream_of(9, 6)
    assert lag(stream, Group((4, 0), 4)) is None
    assert lag(stream, Group((7, 0), 6)) == 3


def test_numbers_wrap_as_those_of_redis() -> None:
    most = 2**63 - 1
    stream, group = stream_of(3), Group((0, 0), most)
    assert lag(stream, group) == 3 - most
    advance(stream, group, ids(1, 2))
    assert (group.entries_read, lag(stream, group)) == (-(2**63) + 1, 1 - most)
    # Behind -2 comes -1, which says that the number is not known.
    group = Group((0, 0), -2)
    advance(stream, group, ids(1, 2, 3))
    assert group.entries_read == 3
    stream.added = 2**64 - 2
    assert [distance(stream, identity) for identity in ids(0, 1, 2, 3)] == [-5, -4, UNKNOWN, -2]


def test_groups_move_on_and_never_back() -> None:
    stream, group = stream_of(9), Group((0, 0), 0)
    advance(stream, group, ids(1, 2, 3))
    assert (group.last_id, group.entries_read) == ((3, 0), 3)
    advance(stream, group, ids(2, 3))
    assert (group.last_id, group.entries_read) == ((3, 0), 3)
    group = Group((3, 0))
    advance(stream, group, ids(4))
    assert (group.last_id, group.entries_read) == ((4, 0), UNKNOWN)
    advance(stream, group, ids(*range(5, 10)))
    assert (group.last_id, group.entries_read) == ((9, 0), 9)
    stream, group = stream_of(9, 5), Group((0, 0), 0)
    advance(stream, group, ids(1, 2))
    assert group.entries_read == UNKNOWN
    advance(stream, group, ids(3, 4, 6, 7, 8, 9))
    assert group.entries_read == 9
