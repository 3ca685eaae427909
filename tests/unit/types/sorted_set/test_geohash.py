"""Geohashes: known values, the way to a hash and back, and cells that are where they should be.

That the digits are those of Redis, the campaign of `test_geo` shows.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvserver.types.sorted_set.geohash import (
    MAX_LATITUDE,
    Box,
    Circle,
    Position,
    _hash_of,
    decode,
    distance_between,
    encode,
    ranges_around,
    text_of,
)

PALERMO, CATANIA = Position(13.361389, 38.115556), Position(15.087269, 37.502669)
# On the limits themselves, hashes have a bit more.
positions = st.builds(Position, st.floats(-180, 179.99), st.floats(-85, 85))
# Latitudes at which a circle of a few degrees touches no pole.
inhabited = st.builds(Position, st.floats(-170, 170), st.floats(-60, 60))


def test_hash_of_a_known_place() -> None:
    assert encode(PALERMO) == 3479099956230698
    assert decode(3479099956230698) == Position(13.361389338970184, 38.1155563954963)
    assert text_of(decode(3479099956230698)) == b"sqc8b49rny0"


@settings(max_examples=40)
@given(positions)
def test_hash_leads_back_to_its_cell(position: Position) -> None:
    bits = encode(position)
    assert 0 <= bits < 1 << 52
    found = decode(bits)
    assert encode(found) == bits
    assert abs(found.longitude - position.longitude) <= 360 / 2**26
    assert abs(found.latitude - position.latitude) <= 2 * MAX_LATITUDE / 2**26


@settings(max_examples=40)
@given(positions, st.integers(1, 26))
def test_cell_of_fewer_steps_begins_the_hash(position: Position, steps: int) -> None:
    assert encode(position, steps) == encode(position) >> 2 * (26 - steps)


def test_hashes_go_from_the_south_west_to_the_north_east() -> None:
    quarters = [encode(Position(longitude, latitude), 1) for longitude in (-1, 1) for latitude in (-1, 1)]
    assert quarters == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("score", "hashed"),
    [
        (-0.5, 0),
        (0.5, 0),
        (-1.0, 2**64 - 1),
        (2.0**64, 0),
        (math.inf, 0),
        (-math.inf, 2**63),
        (-1e19, 2**63),
        (2.0**63, 2**63),
    ],
)
def test_score_that_is_no_hash_is_cast_as_in_c(score: float, hashed: int) -> None:
    assert _hash_of(score) == hashed


def test_distances() -> None:
    assert distance_between(decode(encode(PALERMO)), decode(encode(CATANIA))) == pytest.approx(166274.1516, abs=1e-4)
    assert distance_between(PALERMO, PALERMO) == 0
    # Redis's shorter formula along a meridian gives other last digits.
    south, north = Position(179.99999731779099, -66.00000105689367), Position(179.99999731779099, 66.00000105689367)
    assert distance_between(south, north) == 14681871.835108863
    radius = 6372797.560856
    assert distance_between(Position(-90, 0), Position(90, 0)) == pytest.approx(math.pi * radius)


@settings(max_examples=40)
@given(positions, positions)
def test_distance_is_the_same_both_ways(one: Position, other: Position) -> None:
    assert distance_between(one, other) == pytest.approx(distance_between(other, one), rel=1e-9)


@settings(max_examples=40)
@given(inhabited, st.floats(-3, 3), st.floats(-3, 3))
def test_cells_to_search_hold_all_that_lies_within_a_circle(center: Position, east: float, north: float) -> None:
    other = decode(encode(Position(center.longitude + east, center.latitude + north)))
    circle = Circle(distance_between(center, other) * 1.0001 + 1, 1.0)
    assert circle.distance(center, other) is not None
    ranges = ranges_around(center, circle)
    assert any(low <= encode(other) < high for low, high in ranges)
    assert len(set(ranges)) == len(ranges) <= 9


def test_circle_and_box_have_edges() -> None:
    east, north = Position(1, 0), Position(0, 1)
    degree = distance_between(Position(0, 0), north)
    assert Circle(degree / 1000, 1000.0).distance(Position(0, 0), north) == pytest.approx(degree)
    assert Circle(degree * 0.999, 1.0).distance(Position(0, 0), north) is None
    assert Box(1, 2.001 * degree, 1.0).distance(Position(0, 0), north) == pytest.approx(degree)
    assert Box(1, 1.999 * degree, 1.0).distance(Position(0, 0), north) is None
    assert Box(2.001 * degree, 1, 1.0).distance(Position(0, 0), east) == pytest.approx(degree)
    assert Box(1.999 * degree, 1, 1.0).distance(Position(0, 0), east) is None


@pytest.mark.parametrize("shape", [Circle(math.inf, 1.0), Box(math.inf, math.inf, 1000.0), Box(0, 1e308, 1609.34)])
def test_endless_shape_has_four_cells_the_world(shape: Circle | Box) -> None:
    ranges = ranges_around(PALERMO, shape)
    assert sorted(ranges) == [(part << 50, part + 1 << 50) for part in range(4)]


def test_cells_around_are_in_the_order_of_redis() -> None:
    # A cell of 45 degrees by 21, in the middle of which the shape is as wide and high as two cells.
    center = Position(22.5, MAX_LATITUDE / 8)
    cells = [low >> 46 for low, _ in ranges_around(center, Circle(2_400_000, 1.0))]
    around = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]
    steps_east, steps_north = 45.0, MAX_LATITUDE / 4
    assert cells == [encode(Position(22.5 + steps_east * x, center.latitude + steps_north * y), 3) for x, y in around]


def test_point_needs_one_cell() -> None:
    assert len(ranges_around(PALERMO, Circle(0, 1.0))) == 1
