"""Append-only files are read from any pieces to the same commands, each with its offset, by which damage is told."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import pytest

from helpers.transfers import aof
from kvserver.errors import SourceInvalid
from kvserver.formats.aof import AOFReader, Batch
from kvserver.resp.request import Request

LONG = b"x" * 300_000


def read(data: bytes, size: int) -> tuple[list[tuple[int, Request]], AOFReader]:
    """The commands, each with its offset, of data that comes in pieces of this size."""
    reader = AOFReader()
    found: list[tuple[int, Request]] = []

    def take(batches: Iterable[Batch]) -> None:
        for batch in batches:
            found.extend((batch.offset_of(place), request) for place, request in enumerate(batch.commands))

    for start in range(0, len(data), size):
        take(reader.feed(data[start : start + size]))
    take(reader.finish())
    return found, reader


@pytest.mark.parametrize("size", [1, 2, 7, 1 << 10, 1 << 20])
def test_commands_come_with_their_offsets_from_any_pieces(size: int) -> None:
    first, second, third = aof("SELECT 0"), aof(["SET", "a", b"\r\n#*1\r\n"]), aof("MULTI", "EXEC")
    data = first + b"#TS:1700000000\r\n" + second + b"# a remark\n" + third
    found, reader = read(data, size)
    assert found == [
        (0, [b"SELECT", b"0"]),
        (len(first) + 16, [b"SET", b"a", b"\r\n#*1\r\n"]),
        (len(data) - len(third), [b"MULTI"]),
        (len(data) - len(aof("EXEC")), [b"EXEC"]),
    ]
    assert (reader.position, reader.torn_bytes) == (len(data), 0)


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_long_arguments_and_many_of_them_are_read(size: int) -> None:
    data = aof(["SET", "a", LONG], ["RPUSH", "l", *range(20_000)], "GET a")
    found, reader = read(data, size)
    assert [len(request) for _, request in found] == [3, 20_002, 2]
    assert found[0][1][2] == LONG
    assert reader.position == len(data)


def test_every_cut_leaves_the_whole_commands_and_tells_the_rest() -> None:
    commands = [aof("SET a 1"), b"#TS:1\r\n", aof(["SET", "b", b"\xff" * 40])]
    data = b"".join(commands)
    for end in range(len(data)):
        found, reader = read(data[:end], 16)
        assert reader.position + reader.torn_bytes == end
        assert len(found) == sum(1 for place in (0, 2) if end >= len(b"".join(commands[: place + 1])))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"SET a 1\r\n", r"expected '\*', got 'S'"),
        (b"\0" * 100, r"expected '\*'"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*2\r\n+OK\r\n", r"expected '\$', got '\+'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$9999999999999\r\n", "invalid bulk length"),
        (b"*0\r\n", "a command of no words"),
        (b"*0\r\n*1\r\n$1\r\na\r\n", "a command of no words"),
        (b"#" + b"x" * 2000, "has no end"),
    ],
)
@pytest.mark.parametrize("size", [3, 1 << 20])
def test_damage_is_told_by_its_offset(damage: bytes, reason: str, size: int) -> None:
    before = aof("SET a 1") * 3
    with pytest.raises(SourceInvalid, match=rf"damaged at offset {len(before)}: .*{reason}"):
        read(before + damage, size)


@pytest.mark.parametrize("declared", [b"*2147483647\r\n", b"*1\r\n$4000000000\r\n"])
def test_nothing_is_allocated_that_is_only_declared(declared: bytes) -> None:
    tracemalloc.start()
    try:
        _, reader = read(declared, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert reader.torn_bytes == len(declared)
