"""Runs of registers are changed as if each register were changed alone, and nothing that looks like runs breaks anything."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest

from kvserver.errors import CommandError, DenseNeeded
from kvserver.types.string.hyperloglog import EMPTY
from kvserver.types.string.hyperloglog_sparse import HEADER_BYTES, REGISTERS, SparseRegisters, expand, told

SEED = random.SystemRandom().randrange(1 << 32)
HEADER = EMPTY[:HEADER_BYTES]


def runs(text: str) -> bytes:
    """The value of runs as PFDEBUG DECODE tells them."""
    value = HEADER
    for word in text.split():
        kind, _, numbers = word.partition(":")
        first, _, second = numbers.partition(",")
        if kind == "v":
            value += bytes((0x80 | int(first) - 1 << 2 | int(second) - 1,))
        elif kind == "z":
            value += bytes((int(first) - 1,))
        else:
            value += (0x4000 | int(first) - 1).to_bytes(2, "big")
    return value


def lifted(value: bytes, *registers: tuple[int, int], max_bytes: int = 3000) -> bytes:
    data = bytearray(value)
    changing = SparseRegisters(data, max_bytes)
    for index, run in registers:
        changing.lift(index, run)
    return bytes(data)


@pytest.mark.parametrize(
    ("before", "index", "run", "after"),
    [
        ("Z:16384", 0, 1, "v:1,1 Z:16383"),
        ("Z:16384", 16383, 32, "Z:16383 v:32,1"),
        ("Z:16384", 64, 2, "z:64 v:2,1 Z:16319"),
        ("Z:16384", 65, 2, "Z:65 v:2,1 Z:16318"),
        ("z:1 Z:16383", 0, 3, "v:3,1 Z:16383"),
        ("Z:1 Z:16383", 0, 3, "v:3,1 Z:16383"),
        ("v:3,1 Z:16383", 0, 4, "v:4,1 Z:16383"),
        ("v:3,4 Z:16380", 0, 4, "v:4,1 v:3,3 Z:16380"),
        ("v:3,4 Z:16380", 1, 4, "v:3,1 v:4,1 v:3,2 Z:16380"),
        ("v:3,4 Z:16380", 3, 4, "v:3,3 v:4,1 Z:16380"),
        ("v:3,2 z:1 v:3,1 Z:16380", 2, 3, "v:3,4 Z:16380"),
        ("v:3,2 z:1 v:3,2 Z:16379", 2, 3, "v:3,3 v:3,2 Z:16379"),
        ("v:3,1 v:2,1 v:3,2 Z:16380", 1, 3, "v:3,4 Z:16380"),
    ],
)
def test_run_is_split_and_joined(before: str, index: int, run: int, after: str) -> None:
    assert lifted(runs(before), (index, run)) == runs(after)
    assert told(runs(after)) == after.encode()
    # A register that is as high, or higher, stays.
    assert lifted(runs(after), (index, run), (index, 1)) == runs(after)


def test_registers_are_those_that_were_lifted_in_any_order() -> None:
    rng = random.Random(SEED)
    for span in (30, 300, REGISTERS):
        changes = [(rng.randrange(span), rng.choice((1, 1, 2, 3, 32))) for _ in range(400)]
        expected = bytearray(REGISTERS)
        for index, run in changes:
            expected[index] = max(expected[index], run)
        data = bytearray(EMPTY)
        together = SparseRegisters(data, 10_000)
        alone = EMPTY
        for index, run in changes:
            together.lift(index, run)
            alone = lifted(alone, (index, run))
        assert expand(bytes(data)) == expected, SEED
        # A search that goes on from the last register finds what one from the start finds.
        assert data == alone, SEED
        ascending = sorted(set(changes))
        one_by_one = EMPTY
        for change in ascending:
            one_by_one = lifted(one_by_one, change, max_bytes=10_000)
        assert lifted(EMPTY, *ascending, max_bytes=10_000) == one_by_one, SEED


def test_what_runs_cannot_hold_leaves_them_as_they_were() -> None:
    data = bytearray(EMPTY)
    with pytest.raises(DenseNeeded):
        SparseRegisters(data, 3000).lift(5, 33)
    with pytest.raises(DenseNeeded):
        SparseRegisters(data, len(EMPTY) + 1).lift(5, 3)
    assert data == EMPTY
    assert SparseRegisters(data, len(EMPTY) + 2).lift(5, 3)
    assert not SparseRegisters(data, 0).lift(5, 3)


@pytest.mark.parametrize(
    "body", [b"", b"\x7f\xfe", b"\x7f\xff\x00", b"\x7f\xff\xff", b"\x7f", b"\x7f\xff\x40", b"\x7f\xff" * 3, bytes(40_000)]
)
def test_runs_of_other_than_all_registers_are_corrupted(body: bytes) -> None:
    with pytest.raises(CommandError, match="INVALIDOBJ Corrupted HLL object detected"):
        expand(HEADER + body)


def test_register_without_a_run_is_corrupted() -> None:
    for body in (b"", b"\x40", b"\x3f", b"\x7f", b"\x41\x00\xff"):
        data = bytearray(HEADER + body)
        with pytest.raises(CommandError, match="INVALIDOBJ"):
            SparseRegisters(data, 3000).lift(1000, 3)
        assert data == HEADER + body


def test_random_bytes_break_nothing() -> None:
    rng = random.Random(SEED)
    for _ in range(200):
        value = HEADER + bytes(
            rng.choices(rng.choice((b"\x40\x00", b"\x7f\xff\x80", bytes(range(256)))), k=rng.randrange(300))
        )
        data, total = bytearray(value), None
        with suppress(CommandError):
            total = len(expand(value))
        assert total in (None, REGISTERS), SEED
        assert told(value).count(b":") <= 300
        changing = SparseRegisters(data, 3000)
        for index in [*sorted(rng.sample(range(REGISTERS), 20)), rng.randrange(100)]:
            with suppress(CommandError, DenseNeeded):
                changing.lift(index, rng.randint(1, 33))


def test_long_strings_that_look_like_runs_take_no_long_time() -> None:
    began = time.process_time()
    for body in (bytes(50_000_000), b"\x40\x00" * 16_384, b"\x40\x00" * 10_000_000):
        value = HEADER + body
        with suppress(CommandError):
            told(value)
        with pytest.raises(CommandError):
            expand(value + b"\0")
    assert time.process_time() - began < 2
