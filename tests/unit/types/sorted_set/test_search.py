"""Searches in a sorted set: what is found, how much of it, and in which order, in small sorted sets and in large ones."""

from __future__ import annotations

import random

import pytest

from kvserver.errors import CommandError
from kvserver.types.sorted_set.geohash import Circle, Position, decode, distance_between, encode
from kvserver.types.sorted_set.search import Search, box_in, circle_in, found_by, position_in, position_of, unit_in
from kvserver.types.sorted_set.value import Members, Small, SortedSet

CENTER = Position(15.0, 37.0)
KM = 1000.0


def around(count: int, seed: int = 1) -> dict[bytes, float]:
    rng = random.Random(seed)
    return {b"m%d" % n: float(encode(Position(rng.uniform(10, 20), rng.uniform(32, 42)))) for n in range(count)}


def search_for(words: bytes, radius_km: float) -> Search:
    search = Search()
    search.center, search.shape = CENTER, Circle(radius_km, KM)
    split, place = words.split(), 0
    while place < len(split):
        behind = search.take(split, place)
        assert behind > place
        place = behind
    return search


def members_in(members: Members, words: bytes, radius_km: float = 300) -> list[bytes]:
    found, unit = found_by(members, search_for(words, radius_km))
    assert unit == KM
    return [each.member for each in found]


@pytest.mark.parametrize("count", [0, 1, 50, 700])
def test_all_that_is_near_is_found_in_either_form(count: int) -> None:
    scores = around(count)
    small, large = Small(scores), SortedSet(Small(scores), is_listpack=False)
    near = {member: distance_between(CENTER, decode(score)) for member, score in scores.items()}
    expected = sorted((member for member in near if near[member] <= 300 * KM), key=near.__getitem__)
    assert members_in(small, b"ASC") == members_in(large, b"ASC") == expected
    assert members_in(small, b"DESC") == members_in(large, b"DESC") == expected[::-1]
    assert members_in(small, b"") == members_in(large, b"")
    assert sorted(members_in(small, b"")) == sorted(expected)
    assert members_in(small, b"COUNT 3") == members_in(large, b"COUNT 3") == expected[:3]
    assert members_in(small, b"COUNT 3 DESC") == expected[::-1][:3]
    assert members_in(small, b"COUNT 3 ANY") == members_in(small, b"")[:3]


def test_any_takes_the_first_ones_and_then_sorts_them() -> None:
    small = Small(around(200))
    first = members_in(small, b"")[:20]
    assert sorted(members_in(small, b"COUNT 20 ANY ASC")) == sorted(first)
    assert members_in(small, b"COUNT 20 ANY ASC") == members_in(small, b"COUNT 20 ANY DESC")[::-1]


def test_any_looks_at_no_more_members_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    large = SortedSet(Small(around(5000)), is_listpack=False)
    taken: list[int] = []
    plain = SortedSet.slice

    def counted(self: SortedSet, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        taken.append(stop - start)
        return plain(self, start, stop)

    monkeypatch.setattr(SortedSet, "slice", counted)
    assert len(members_in(large, b"COUNT 5 ANY", 3000)) == 5
    assert sum(taken) < 500


def test_nothing_is_found_where_there_is_no_sorted_set() -> None:
    assert found_by(None, Search()) == ([], 1.0)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (b"COUNT 0", "COUNT must be > 0"),
        (b"COUNT -1", "COUNT must be > 0"),
        (b"COUNT x", "value is not an integer or out of range"),
    ],
)
def test_wrong_count_is_refused(words: bytes, error: str) -> None:
    with pytest.raises(CommandError, match=error):
        search_for(words, 1)


def test_option_of_another_command_is_left() -> None:
    assert Search().take([b"STORE", b"k"], 0) == 0
    assert Search().take([b"ASC", b"COUNT"], 1) == 1


def test_what_can_not_be_together_is_refused() -> None:
    search = search_for(b"ANY WITHDIST", 1)
    search.check_shown("SOMETHING")
    with pytest.raises(CommandError, match="the ANY argument requires COUNT argument"):
        search.check_count()
    search.destination = b"d"
    with pytest.raises(CommandError, match="ERR SOMETHING is not compatible with WITHDIST, WITHHASH and WITHCOORD options"):
        search.check_shown("SOMETHING")


def test_words_are_read() -> None:
    assert position_in(b"-180", b"85.05112878") == Position(-180.0, 85.05112878)
    assert [unit_in(unit) for unit in (b"m", b"Km", b"FT", b"mi")] == [1.0, 1000.0, 0.3048, 1609.34]
    assert circle_in(b"1.5", b"km") == Circle(1.5, KM)
    assert box_in(b"1", b"2", b"m").halves == (0.5, 1.0)
    assert position_of(Small({b"a": 0.0}), b"a") == decode(0.0)


@pytest.mark.parametrize(
    ("longitude", "latitude", "error"),
    [
        (b"200", b"100", "ERR invalid longitude,latitude pair 200.000000,100.000000"),
        (b"0", b"-inf", "ERR invalid longitude,latitude pair 0.000000,-inf"),
        (b"x", b"100", "ERR value is not a valid float"),
    ],
)
def test_wrong_position_is_refused(longitude: bytes, latitude: bytes, error: str) -> None:
    with pytest.raises(CommandError) as caught:
        position_in(longitude, latitude)
    assert str(caught.value) == error


def test_wrong_shape_is_refused() -> None:
    for radius, error in ((b"x", "need numeric radius"), (b"-1", "radius cannot be negative"), (b"1", "unsupported unit")):
        with pytest.raises(CommandError, match=error):
            circle_in(radius, b"parsecs")
    for height, error in ((b"x", "need numeric height"), (b"-1", "height or width cannot"), (b"1", "unsupported unit")):
        with pytest.raises(CommandError, match=error):
            box_in(b"1", height, b"parsecs")
    with pytest.raises(CommandError, match="need numeric width"):
        box_in(b"x", b"y", b"m")
    with pytest.raises(CommandError, match="could not decode requested zset member"):
        position_of(Small({}), b"a")
