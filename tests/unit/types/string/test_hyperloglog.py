"""HyperLogLogs have redis-server's bytes, at every size, and estimate what redis-server estimates."""

from __future__ import annotations

import hashlib
import random

import pytest

from kvserver.errors import CommandError
from kvserver.types.string.hyperloglog import (
    DENSE_BYTES,
    EMPTY,
    HyperLogLog,
    cardinality,
    check,
    dense,
    differing,
    estimate,
    highest,
    is_dense,
    murmur64,
    packed,
    register_of,
    registers_of,
    unpacked,
    with_cardinality,
    with_registers,
)
from kvserver.types.string.hyperloglog_sparse import REGISTERS

SEED = random.SystemRandom().randrange(1 << 32)


def random_registers(rng: random.Random, most: int = 51) -> bytes:
    return bytes(rng.choices(range(most + 1), k=REGISTERS))


@pytest.mark.parametrize(
    ("element", "register"),
    [
        (b"", (5938, 2)),
        (b"a", (12711, 2)),
        (b"foo", (7348, 5)),
        (b"\xff\x00\x80", (913, 1)),
        (b"12345678", (10579, 3)),
        (b"a longer element than that", (648, 1)),
    ],
)
def test_element_belongs_to_the_register_that_redis_takes(element: bytes, register: tuple[int, int]) -> None:
    assert register_of(element) == register


def test_hash_is_murmur() -> None:
    assert [murmur64(b"a" * length) for length in (0, 1, 7, 8, 9, 16)] == [
        15627466953755236146,
        6039968161137406375,
        7292348957302680318,
        6967888947900041948,
        1474890404774886469,
        10918570968483375254,
    ]


@pytest.mark.parametrize(
    ("count", "max_bytes", "length", "number", "digest"),
    [
        (0, 3000, 18, 0, "a548e8daa487445a"),
        (1, 3000, 21, 1, "54bd0380d9e97039"),
        (2, 3000, 24, 2, "f3a7c5b44ac72f08"),
        (10, 3000, 48, 10, "a5ce62d368049c00"),
        (100, 3000, 285, 99, "28e31e2547b980be"),
        (1000, 3000, 1897, 997, "c3d3a91d5d2882e1"),
        (1500, 3000, 2722, 1500, "4b9bcf8f3f332515"),
        (2000, 3000, 12304, 2004, "1413d367ae2022e9"),
        (20000, 3000, 12304, 19986, "fead0d85a6b6d337"),
        (100, 100, 12304, 99, "b61f4dd5d6b5ba12"),
        (1, 0, 12304, 1, "bc7aa8787c42fcd7"),
    ],
)
def test_value_after_so_many_elements_has_the_bytes_of_redis(
    count: int, max_bytes: int, length: int, number: int, digest: str
) -> None:
    changing = HyperLogLog(EMPTY, max_bytes)
    for element in range(count):
        changing.add(b"element:%d" % element)
    value = changing.changed()
    assert cardinality(value) is None
    assert (len(value), estimate(registers_of(value))) == (length, number)
    assert hashlib.sha256(value).hexdigest().startswith(digest)
    assert is_dense(value) == (length == DENSE_BYTES)
    assert changing.is_promoted == is_dense(value)


def test_registers_are_packed_and_unpacked() -> None:
    rng = random.Random(SEED)
    registers = random_registers(rng, 63)
    bits = sum(register << 6 * index for index, register in enumerate(registers))
    assert packed(registers) == bits.to_bytes(DENSE_BYTES - 16, "little"), SEED
    assert unpacked(packed(registers)) == registers, SEED


def test_highest_is_that_of_each_register() -> None:
    rng = random.Random(SEED)
    one, other = random_registers(rng, 63), random_registers(rng, 63)
    assert highest(one, other) == bytes(map(max, one, other)), SEED
    assert highest(bytes(REGISTERS), one) == one
    assert differing(one, other) == [index for index in range(REGISTERS) if one[index] != other[index]], SEED


def test_sparse_and_dense_have_the_same_registers() -> None:
    rng = random.Random(SEED)
    sparse, always_dense = HyperLogLog(EMPTY, 3000), HyperLogLog(dense(EMPTY), 3000)
    for _ in range(300):
        element = rng.randbytes(rng.randrange(20))
        assert sparse.add(element) == always_dense.add(element), SEED
    assert not is_dense(sparse.changed())
    assert dense(sparse.changed()) == always_dense.changed(), SEED


def test_dense_register_changes_no_other_one() -> None:
    rng = random.Random(SEED)
    registers = random_registers(rng)
    changing = HyperLogLog(with_registers(EMPTY, registers), 3000)
    expected = bytearray(registers)
    for index in (0, 1, 2, 3, REGISTERS - 2, REGISTERS - 1, *rng.sample(range(REGISTERS), 50)):
        run = rng.randint(1, 51)
        assert changing.lift(index, run) == (run > expected[index])
        expected[index] = max(run, expected[index])
    assert registers_of(changing.changed()) == expected, SEED


def test_register_above_32_makes_a_value_dense() -> None:
    changing = HyperLogLog(EMPTY, 3000)
    assert changing.lift(3, 32)
    assert not changing.is_promoted
    assert changing.lift(4, 33)
    assert changing.is_promoted
    assert registers_of(changing.changed())[:6] == bytes((0, 0, 0, 32, 33, 0))


@pytest.mark.parametrize(
    ("registers", "number"),
    [
        (bytes(REGISTERS), 0),
        (bytes((1,)) + bytes(REGISTERS - 1), 1),
        (b"\x01" * REGISTERS, 23637),
        (b"\x32" * REGISTERS, 2**63),
        (b"\x33" * REGISTERS, 2**63),
        (b"\x3f" * REGISTERS, 2**63),
    ],
)
def test_estimate_at_the_ends(registers: bytes, number: int) -> None:
    assert estimate(registers) == number


def test_header_keeps_the_estimate_and_all_else() -> None:
    value = EMPTY[:5] + b"abc" + EMPTY[8:]
    assert cardinality(value) == 0
    kept = with_cardinality(value, 2**62 + 5)
    assert cardinality(kept) == 2**62 + 5
    assert kept[5:8] == b"abc"
    assert dense(kept)[5:16] == kept[5:16]
    assert dense(dense(kept)) == dense(kept)
    changing = HyperLogLog(kept, 3000)
    assert cardinality(changing.changed()) is None
    # An estimate of 64 bits counts as out of date, as in Redis.
    assert cardinality(with_cardinality(value, 2**63)) is None


@pytest.mark.parametrize(
    "value",
    [b"", b"HYLL", EMPTY[:15], b"HYLM" + EMPTY[4:], b"HYLL\x02" + EMPTY[5:], b"HYLL\x00" + EMPTY[5:], dense(EMPTY) + b"\0"],
)
def test_other_strings_are_none(value: bytes) -> None:
    with pytest.raises(CommandError, match="WRONGTYPE Key is not a valid HyperLogLog string value"):
        check(value)


def test_header_alone_and_both_forms_look_like_one() -> None:
    for value in (EMPTY, EMPTY[:16], dense(EMPTY)):
        check(value)
