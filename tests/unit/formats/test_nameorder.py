"""Members come once, in the order of their names, in batches that are short, and what is given up waits to be freed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.documents import keys
from kvserver.containers import lazyfree
from kvserver.containers.table import Table
from kvserver.formats import nameorder
from kvserver.formats.nameorder import by_name
from kvserver.formats.names import name_of
from kvserver.formats.sorting import BATCH_BYTES, BATCH_KEYS


def some(count: int, seed: int) -> list[bytes]:
    """Members of which each is its own name, none is, or some are."""
    source = random.Random(seed)
    kinds = [(b"%d" % number, b"\xff%d" % number, b"$kvs:%d" % number, "é%d".encode() % number) for number in range(count)]
    return [member[seed % 5 if seed % 5 < 4 else source.randrange(4)] for member in kinds]


def chunks_of(members: list[bytes]) -> Iterable[Iterable[bytes]]:
    table = Table()
    table.update((member, None) for member in members)
    return table.chunks()


def joined(batches: Iterator[list[bytes] | None]) -> list[bytes]:
    return [member for batch in batches for member in batch or ()]


@given(st.lists(keys, unique=True, max_size=60), st.integers(2, 9))
@example([b"", b"$", b"$kvs:", b"$kvs", b"$kvs;", b"\xff", b"%", b"$kvs:a"], 2)
def test_order_is_that_of_the_names(members: list[bytes], length: int) -> None:
    with mock.patch.object(nameorder, "_PILE_MEMBERS", length), mock.patch.object(nameorder, "PIECE_MEMBERS", 2):
        assert joined(by_name([members[start : start + 3] for start in range(0, len(members), 3)])) == sorted(
            members, key=name_of
        )


@pytest.mark.parametrize("seed", range(5))
def test_many_are_divided_until_they_are_few(seed: int) -> None:
    members = some(3_000, seed)
    # A sample of two members, so that borders are bad, and piles are divided in two again and again.
    with mock.patch.multiple(nameorder, _PILE_MEMBERS=64, _MOST_PARTS=2, PIECE_MEMBERS=16):
        assert joined(by_name(chunks_of(members))) == sorted(members, key=name_of)


def test_no_step_looks_at_many_members() -> None:
    seen = 0

    class Counting(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            nonlocal seen
            seen += len(self)
            return super().__iter__()

    members = some(40_000, 4)
    chunks = [Counting(members[start : start + 128]) for start in range(0, len(members), 128)]
    named = 0
    base64_names = nameorder._base64_names

    def counted(members: list[bytes]) -> list[bytes]:
        nonlocal named
        named += len(members)
        return base64_names(members)

    steps = 0
    with mock.patch.object(nameorder, "_base64_names", counted):
        for batch in by_name(chunks):
            steps += 1
            assert seen <= 128
            assert named <= nameorder._MOST_PARTS * nameorder._SAMPLES_PER_PART + nameorder.PIECE_MEMBERS
            assert batch is None or (0 < len(batch) <= BATCH_KEYS and sum(map(len, batch)) <= BATCH_BYTES)
            seen = named = 0
    assert steps > 2 * len(members) // nameorder.PIECE_MEMBERS


def test_long_members_are_in_batches_of_their_own() -> None:
    members = [b"%d" % number + b"x" * 2 * BATCH_BYTES for number in range(20)] + [b"\xff" * BATCH_BYTES, b"short"]
    batches = [batch for batch in by_name([members]) if batch]
    assert [member for batch in batches for member in batch] == sorted(members, key=name_of)
    assert all(len(batch) == 1 or sum(map(len, batch)) <= BATCH_BYTES for batch in batches)


def test_what_was_sorted_in_vain_waits_to_be_freed() -> None:
    lazyfree.begin()
    try:
        steps = by_name(chunks_of(some(20_000, 4)))
        while not next(steps):
            pass
        while lazyfree.free_some():
            pass
        steps.close()  # type: ignore[attr-defined]
        assert lazyfree.pending() > 1
        while lazyfree.free_some():
            pass
    finally:
        lazyfree.end()
