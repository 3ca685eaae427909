"""The random numbers of scripts are those of redis-server, which tests/wire/cases/scripts.txt compares, too."""

from __future__ import annotations

from kvserver.scripting.randomness import Randomness


def test_numbers_are_those_of_lrand48() -> None:
    randomness = Randomness()
    assert f"{randomness.next():.14f}" == "0.39646477363839"
    randomness.seed(1)
    assert f"{randomness.next():.14f}" == "0.04163034448476"


def test_seed_is_a_whole_number_of_32_bits() -> None:
    numbers = []
    for seed in (7, 7.9, 7 + 2**32):
        randomness = Randomness()
        randomness.seed(seed)
        numbers.append(randomness.next())
    assert numbers[0] == numbers[1] == numbers[2]


def test_numbers_that_are_none_are_seeds() -> None:
    first, other = Randomness(), Randomness()
    first.seed(float("inf"))
    other.seed(0)
    assert first.next() == other.next()
