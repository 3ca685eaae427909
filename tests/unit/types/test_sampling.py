"""sampling: members by chance are members, as many as are wanted, and all of them with the same chance."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from kvserver.containers.table import Table
from kvserver.errors import CommandError
from kvserver.types.collection import Members
from kvserver.types.sampling import one_of, some_of, wanted_of

NAMES = [b"%d" % number for number in range(600)]


def members(is_table: bool, count: int) -> Members:
    some: Table | dict[bytes, None] = Table() if is_table else {}
    some.update((name, None) for name in NAMES[:count])
    return some


@pytest.mark.parametrize("is_table", [False, True])
@pytest.mark.parametrize("count", [1, 3, 300, 599, 600, 700])
def test_different_ones_are_as_many_as_wanted(is_table: bool, count: int) -> None:
    chosen = some_of(members(is_table, 600), count, random.Random(count).randrange)
    assert len(chosen) == len(set(chosen)) == min(count, 600)
    assert set(chosen) <= set(NAMES)


@pytest.mark.parametrize("is_table", [False, True])
def test_repeated_ones_are_as_many_as_wanted(is_table: bool) -> None:
    chosen = some_of(members(is_table, 2), -50, random.Random(1).randrange)
    assert Counter(chosen).keys() == {b"0", b"1"}
    assert len(chosen) == 50


@pytest.mark.parametrize("is_table", [False, True])
@pytest.mark.parametrize("count", [1, 6])
def test_every_one_has_the_same_chance(is_table: bool, count: int) -> None:
    below = random.Random(7).randrange
    some = members(is_table, 10)
    met = Counter(name for _ in range(1_000) for name in some_of(some, count, below))
    met.update(one_of(some, below) for _ in range(1_000))
    expected = (count + 1) * 100
    # The sum of ten squares is chi-square with nine degrees of freedom: above 40 once in 100,000 seeds.
    assert sum((met[name] - expected) ** 2 / expected for name in NAMES[:10]) < 40


@pytest.mark.parametrize("text", [b"x", b"9223372036854775808", b"-9223372036854775808"])
def test_wrong_numbers_are_refused(text: bytes) -> None:
    with pytest.raises(CommandError, match="value is "):
        wanted_of(text)
    assert wanted_of(b"-262145") == -(1 << 18) - 1


@pytest.mark.parametrize("is_table", [False, True])
def test_reply_without_an_end_is_refused(is_table: bool) -> None:
    with pytest.raises(CommandError, match="out of range"):
        some_of(members(is_table, 2), -(1 << 18) - 1, random.Random(1).randrange)
