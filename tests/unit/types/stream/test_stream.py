"""A stream knows what it had, and a fork of it goes its own way."""

from __future__ import annotations

from kvserver.types.stream.ids import FIRST
from kvserver.types.stream.stream import Stream


def stream_of(count: int) -> Stream:
    stream = Stream()
    for number in range(1, count + 1):
        stream.entries.add((number, 0), [b"f", b"%d" % number], 100, 4096)
        stream.last_id = (number, 0)
        stream.added += 1
    return stream


def test_stream_tells_its_ends_and_the_greatest_id_that_was_deleted() -> None:
    stream = stream_of(3)
    assert (stream.length, stream.first_id, stream.last_id) == (3, (1, 0), (3, 0))
    assert stream.delete((2, 0))
    assert not stream.delete((2, 0))
    assert stream.delete((1, 0))
    assert (stream.length, stream.first_id, stream.max_deleted_id) == (1, (3, 0), (2, 0))
    assert stream.delete((3, 0))
    assert (stream.length, stream.first_id, stream.last_id, stream.added) == (0, FIRST, (3, 0), 3)


def test_fork_goes_its_own_way() -> None:
    stream = stream_of(3)
    fork = stream.fork()
    stream.delete((3, 0))
    fork.entries.add((4, 0), [b"f", b"v"], 100, 4096)
    fork.last_id = (4, 0)
    assert (stream.length, stream.last_id, stream.max_deleted_id) == (2, (3, 0), (3, 0))
    assert (fork.length, fork.added, fork.max_deleted_id) == (4, 3, FIRST)
    assert 0 < stream.size_bytes() < 5_000
