"""Payloads of streams are those of redis-server, which the case file of streams compares; here is what is refused."""

from __future__ import annotations

import random

import pytest

from kvserver._speedups.rdb_strings import write_length, write_string
from kvserver.errors import DumpInvalid
from kvserver.formats.listpack import write_listpack
from kvserver.types.stream.payload import STREAM_LISTPACKS, STREAM_LISTPACKS_2, STREAM_LISTPACKS_3, read_stream, write_stream
from kvserver.types.stream.stream import Stream

# Two entries with the fields of the node, one of them deleted, and one with others; Redis writes them like this.
ENTRIES = [b"2", b"1", b"1", b"f", b"0", *[b"2", b"0", b"0", b"v", b"4"], *[b"3", b"1", b"0", b"w", b"4"]]
ENTRIES += [b"0", b"2", b"-1", b"1", b"g", b"x", b"6"]
NUMBERS = [2, *(7, 0), *(5, 1), *(6, 1), 3]


def body(entries: list[bytes] = ENTRIES, numbers: list[int] = NUMBERS, key: tuple[int, int] = (5, 1)) -> bytes:
    node = write_string(b"".join(part.to_bytes(8, "big") for part in key)) + write_string(write_listpack(entries))
    return write_length(1) + node + b"".join(map(write_length, [*numbers, 0]))


def test_stream_is_read_and_written_again() -> None:
    stream = read_stream(STREAM_LISTPACKS_2, body(), 100)
    assert stream.entries.range() == [((5, 1), [b"f", b"v"]), ((7, 0), [b"g", b"x"])]
    assert (stream.last_id, stream.max_deleted_id, stream.added) == ((7, 0), (6, 1), 3)
    assert write_stream(stream) == bytes((STREAM_LISTPACKS_2,)) + body()
    assert write_stream(read_stream(STREAM_LISTPACKS_3, body(), 100)) == write_stream(stream)


def test_first_type_tells_less() -> None:
    stream = read_stream(STREAM_LISTPACKS, body(numbers=NUMBERS[:3]), 100)
    assert (stream.length, stream.last_id, stream.max_deleted_id, stream.added) == (2, (7, 0), (0, 0), 2)


def test_stream_without_entries_is_one() -> None:
    stream = Stream()
    stream.last_id = (7, 3)
    dumped = write_stream(stream)
    assert write_stream(read_stream(dumped[0], dumped[1:], 100)) == dumped


def test_deleted_entry_may_have_an_id_that_comes_later() -> None:
    entries = [b"2", b"1", b"1", b"f", b"0", *[b"2", b"0", b"0", b"v", b"4"], *[b"3", b"4", b"0", b"w", b"4"]]
    entries += [b"2", b"2", b"-1", b"x", b"4"]
    stream = read_stream(STREAM_LISTPACKS_2, body(entries), 100)
    assert stream.entries.range() == [((5, 1), [b"f", b"v"]), ((7, 0), [b"f", b"x"])]
    assert not stream.entries.has((9, 1))


def changed(place: int, string: bytes) -> list[bytes]:
    return [*ENTRIES[:place], string, *ENTRIES[place + 1 :]]


@pytest.mark.parametrize(
    "wrong",
    [
        body(changed(0, b"1")),
        body(changed(1, b"2")),
        body(changed(2, b"0")),
        body(changed(2, b"2")),
        body(changed(2, b"1000000")),
        body(changed(4, b"1")),
        body(changed(5, b"4")),
        body(changed(5, b"x")),
        body(changed(6, b"x")),
        body(changed(9, b"5")),
        body(changed(16, b"0")),
        body(changed(18, b"2")),
        body(changed(18, b"-1")),
        body(ENTRIES[:-1]),
        body(ENTRIES[:5]),
        body([]),
        body(numbers=[3, *NUMBERS[1:]]),
        body(numbers=[2, 6, 9, *NUMBERS[3:]]),
        body() + b"\0",
        body()[:-3],
        body(key=(2**64 - 1, 0)),
        write_length(1) + write_string(b"\0" * 15) + body()[18:],
        b"",
    ],
)
def test_what_is_no_stream_is_refused(wrong: bytes) -> None:
    with pytest.raises(DumpInvalid):
        read_stream(STREAM_LISTPACKS_2, wrong, 1_000)


def test_nodes_come_in_order() -> None:
    node = body()[1 : -len(NUMBERS) - 1]
    with pytest.raises(DumpInvalid):
        read_stream(STREAM_LISTPACKS_2, write_length(2) + node + node + bytes([4, *NUMBERS[1:], 0]), 1_000)


def test_damaged_payload_is_read_or_refused() -> None:
    whole = body()
    for seed in range(400):
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            stream = read_stream(STREAM_LISTPACKS_2, bytes(data), 1_000)
        except DumpInvalid:
            continue
        items = stream.entries.range()
        assert len(items) == stream.length, seed
        assert [identity for identity, _ in items] == sorted({identity for identity, _ in items}), seed
        dumped = write_stream(stream)
        assert write_stream(read_stream(dumped[0], dumped[1:], 1_000)) == dumped, seed
