"""Geohashes: positions on earth as whole numbers of 52 bits, the distances between them, and the cells around one. Pure.

The world, without the poles, is halved 26 times by longitude and by latitude. A hash has the bits of both in turn, that of the
longitude first, so that all positions in a cell, which are those with the same first bits, have hashes one behind the other.
Angles are in degrees, distances in meters. Sources: geohash.c and geohash_helper.c of redis 7.0, whose floating point
operations are done here in the same order, so that the digits are the same.
"""

from __future__ import annotations

import math
from math import asin, cos, sin, sqrt
from typing import Final, NamedTuple, Protocol

MAX_LONGITUDE: Final = 180.0
# The limit of the maps of EPSG:3857.
MAX_LATITUDE: Final = 85.05112878
STEPS: Final = 26

_BITS: Final = 2 * STEPS
# The hashes of positions within the limits are less.
_END: Final = 1 << _BITS
_SIZE: Final = 1 << STEPS
_WIDTH: Final = MAX_LONGITUDE - -MAX_LONGITUDE
_HEIGHT: Final = MAX_LATITUDE - -MAX_LATITUDE
_EARTH_RADIUS: Final = 6372797.560856
_RADIANS: Final = math.pi / 180.0
_MERCATOR_MAX: Final = 20037726.37
# Beyond these latitudes, cells are so narrow that larger ones are taken.
_NARROW_LATITUDE, _NARROWEST_LATITUDE = 66, 80
# In a hash, bits of the longitude stand at odd places, those of the latitude at even ones.
_ODD: Final = 0xAAAAAAAAAAAAAAAA
_EVEN: Final = 0x5555555555555555
_MASK_32: Final = 2**32 - 1
_MASK_64: Final = 2**64 - 1
_STANDARD_MAX_LATITUDE: Final = 90.0
_ALPHABET: Final = b"0123456789bcdefghjkmnpqrstuvwxyz"
# The cells around one, by steps to the east and to the north, in the order in which Redis walks them.
_AROUND: Final = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))


class Position(NamedTuple):
    """A place on earth."""

    longitude: float
    latitude: float


class Bounds(NamedTuple):
    """The limits of a cell, or of what is searched."""

    west: float
    south: float
    east: float
    north: float


class Shape(Protocol):
    """What is searched around a position, in the unit in which it was asked for."""

    @property
    def unit(self) -> float:
        """The unit, in meters."""

    @property
    def halves(self) -> tuple[float, float]:
        """Half the width and half the height, in units."""

    @property
    def reach(self) -> float:
        """The distance from the center to what is farthest from it, in units."""

    def distance(self, center: Position, other: Position) -> float | None:
        """The distance of a position from the center, or None if the position lies outside."""


class Circle(NamedTuple):
    """All that is no farther away than the radius."""

    radius: float
    unit: float

    @property
    def halves(self) -> tuple[float, float]:
        return self.radius, self.radius

    @property
    def reach(self) -> float:
        return self.radius

    def distance(self, center: Position, other: Position) -> float | None:
        distance = distance_between(center, other)
        return None if distance > self.radius * self.unit else distance


class Box(NamedTuple):
    """All that is no farther away than half the width, along its own latitude, and than half the height."""

    width: float
    height: float
    unit: float

    @property
    def halves(self) -> tuple[float, float]:
        return self.width / 2, self.height / 2

    @property
    def reach(self) -> float:
        return sqrt((self.width / 2) * (self.width / 2) + (self.height / 2) * (self.height / 2))

    def distance(self, center: Position, other: Position) -> float | None:
        if _distance_of_latitudes(center.latitude, other.latitude) > self.height * self.unit / 2:
            return None
        if distance_between(other, Position(center.longitude, other.latitude)) > self.width * self.unit / 2:
            return None
        return distance_between(center, other)


# --- Hashes ---


def encode(position: Position, steps: int = STEPS, *, max_latitude: float = MAX_LATITUDE) -> int:
    """The hash of a position: of the cell in which it lies, after so many halvings.

    The position lies within the limits. One on the limit itself gets a bit more than other hashes have, as in Redis.
    """
    longitude, latitude = position
    north = (latitude + max_latitude) / (max_latitude - -max_latitude)
    east = (longitude + MAX_LONGITUDE) / (MAX_LONGITUDE - -MAX_LONGITUDE)
    size = 1 << steps
    return _spread(int(north * size)) | _spread(int(east * size)) << 1


def decode(score: float) -> Position:
    """The middle of the cell whose hash a score is. Any score gives a position, though Redis made only some of them."""
    # Measured: most of the time of a search is spent here, so that the limits of the cell are not made as `Bounds`.
    bits = int(score) if 0 <= score < _END else _hash_of(score)
    east, north = _gathered(bits >> 1), _gathered(bits)
    west_edge = -MAX_LONGITUDE + (east * 1.0 / _SIZE) * _WIDTH
    east_edge = -MAX_LONGITUDE + ((east + 1 & _MASK_32) * 1.0 / _SIZE) * _WIDTH
    south_edge = -MAX_LATITUDE + (north * 1.0 / _SIZE) * _HEIGHT
    north_edge = -MAX_LATITUDE + ((north + 1 & _MASK_32) * 1.0 / _SIZE) * _HEIGHT
    longitude, latitude = (west_edge + east_edge) / 2, (south_edge + north_edge) / 2
    if bits >= _END:
        # Only a score that is no hash, or one of the limits, leads out of the world.
        longitude = min(max(longitude, -MAX_LONGITUDE), MAX_LONGITUDE)
        latitude = min(max(latitude, -MAX_LATITUDE), MAX_LATITUDE)
    return Position(longitude, latitude)


def text_of(position: Position) -> bytes:
    """The 11 letters that others know as the geohash of a position; the last one always is a 0, for want of bits."""
    bits = encode(position, max_latitude=_STANDARD_MAX_LATITUDE)
    return bytes(_ALPHABET[bits >> _BITS - 5 * place & 31] for place in range(1, 11)) + b"0"


def _hash_of(score: float) -> int:
    """The unsigned integer of 64 bits that x86-64 makes of a double, one that is out of range as well."""
    if -(2.0**63) <= score < 2.0**64:
        return int(score) & _MASK_64
    return 0 if score > 0 else 2**63


def _bounds_of(bits: int, steps: int) -> Bounds:
    """The limits of a cell."""
    north, east = _gathered(bits), _gathered(bits >> 1)
    size = 1 << steps
    return Bounds(
        -MAX_LONGITUDE + (east * 1.0 / size) * _WIDTH,
        -MAX_LATITUDE + (north * 1.0 / size) * _HEIGHT,
        -MAX_LONGITUDE + ((east + 1 & _MASK_32) * 1.0 / size) * _WIDTH,
        -MAX_LATITUDE + ((north + 1 & _MASK_32) * 1.0 / size) * _HEIGHT,
    )


def _spread(bits: int) -> int:
    """The bits of a number below 2**32, each moved to the place that is twice its own."""
    bits = (bits | bits << 16) & 0x0000FFFF0000FFFF
    bits = (bits | bits << 8) & 0x00FF00FF00FF00FF
    bits = (bits | bits << 4) & 0x0F0F0F0F0F0F0F0F
    bits = (bits | bits << 2) & 0x3333333333333333
    return (bits | bits << 1) & _EVEN


def _gathered(bits: int) -> int:
    """The number whose bits stand at the even places."""
    bits &= _EVEN
    bits = (bits | bits >> 1) & 0x3333333333333333
    bits = (bits | bits >> 2) & 0x0F0F0F0F0F0F0F0F
    bits = (bits | bits >> 4) & 0x00FF00FF00FF00FF
    bits = (bits | bits >> 8) & 0x0000FFFF0000FFFF
    return (bits | bits >> 16) & _MASK_32


# --- Distances ---


def distance_between(one: Position, other: Position) -> float:
    """The distance by the haversine formula, on a sphere."""
    v = sin((other.longitude * _RADIANS - one.longitude * _RADIANS) / 2)
    if v == 0:
        return _distance_of_latitudes(one.latitude, other.latitude)
    latitude, other_latitude = one.latitude * _RADIANS, other.latitude * _RADIANS
    u = sin((other_latitude - latitude) / 2)
    haversine = u * u + cos(latitude) * cos(other_latitude) * v * v
    # What is on the other side of the world may seem to be farther away than that.
    return 2.0 * _EARTH_RADIUS * asin(min(sqrt(haversine), 1.0))


def _distance_of_latitudes(one: float, other: float) -> float:
    """The distance along a meridian."""
    return _EARTH_RADIUS * abs(other * _RADIANS - one * _RADIANS)


# --- Cells to search ---


def ranges_around(center: Position, shape: Shape) -> list[tuple[int, int]]:
    """The hashes to search: of the cell of the center and of those around it that matter, in Redis's order.

    Each range ends before its second hash. A position within the shape may be missing where Redis misses it, too.
    """
    bounds = _bounds_around(center, shape)
    steps = _steps_for(shape.reach * shape.unit, center.latitude)
    bits = encode(center, steps)
    if steps > 1 and not _is_covered(bits, steps, bounds):
        steps -= 1
        bits = encode(center, steps)
    cells, before = [bits], None
    for east, north in _AROUND:
        if steps >= 2 and _is_needless(_bounds_of(bits, steps), bounds, east, north):
            continue
        cell = _moved(bits, steps, east, north)
        # Where cells are as large as a half of the world, the next one to either side is the same.
        if cell != before:
            cells.append(cell)
        before = cell
    shift = _BITS - 2 * steps
    return [(cell << shift, cell + 1 << shift) for cell in cells]


def _bounds_around(center: Position, shape: Shape) -> Bounds:
    """The limits of what is searched; the longitudes are those of its edge that Redis takes for the longer one."""
    longitude, latitude = center
    half_width, half_height = shape.halves
    width, height = shape.unit * half_width, shape.unit * half_height
    north = height / _EARTH_RADIUS / _RADIANS
    edge = latitude - north if latitude < 0 else latitude + north
    # The cosine of an infinity is not a number, which Python would refuse.
    cosine = cos(edge * _RADIANS) if math.isfinite(edge) else math.nan
    east = width / _EARTH_RADIUS / cosine / _RADIANS
    return Bounds(longitude - east, latitude - north, longitude + east, latitude + north)


def _steps_for(meters: float, latitude: float) -> int:
    """The number of halvings after which cells are so large that nine of them mostly reach so far."""
    if meters == 0:
        return STEPS
    steps = 1
    while meters < _MERCATOR_MAX:
        meters *= 2
        steps += 1
    steps -= 2 + (abs(latitude) > _NARROW_LATITUDE) + (abs(latitude) > _NARROWEST_LATITUDE)
    return min(max(steps, 1), STEPS)


def _is_covered(bits: int, steps: int, bounds: Bounds) -> bool:
    """True if the cells next to this one reach as far as the bounds."""
    west, south, east, north = (_bounds_of(_moved(bits, steps, *move), steps) for move in ((-1, 0), (0, -1), (1, 0), (0, 1)))
    is_short = north.north < bounds.north or south.south > bounds.south or east.east < bounds.east or west.west > bounds.west
    return not is_short


def _is_needless(cell: Bounds, bounds: Bounds, east: int, north: int) -> bool:
    """True if the cell that lies in this direction can't be reached, since the cell itself reaches beyond the bounds there."""
    return (
        (north < 0 and cell.south < bounds.south)
        or (north > 0 and cell.north > bounds.north)
        or (east < 0 and cell.west < bounds.west)
        or (east > 0 and cell.east > bounds.east)
    )


def _moved(bits: int, steps: int, east: int, north: int) -> int:
    """The cell so many steps farther to the east and to the north, round the world."""
    unused = 64 - 2 * steps
    odd, even = bits & _ODD, bits & _EVEN
    if east:
        odd = _carried(odd, _EVEN >> unused, east) & _ODD >> unused
    if north:
        even = _carried(even, _ODD >> unused, north) & _EVEN >> unused
    return odd | even


def _carried(bits: int, gaps: int, step: int) -> int:
    """Add one step, 1 or -1, to a number whose bits have gaps in between."""
    return bits + gaps + 1 if step > 0 else (bits | gaps) - (gaps + 1)
