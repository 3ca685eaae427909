"""Searches for places on earth: their words, and what they find in a sorted set scored by geohash. Pure.

Source: georadiusGeneric and what it calls in geo.c of redis 7.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from kvserver.dispatch.arguments import integer
from kvserver.errors import CommandError
from kvserver.types.sorted_set.bounds import ScoreBound
from kvserver.types.sorted_set.geohash import MAX_LATITUDE, MAX_LONGITUDE, Box, Circle, Position, Shape, decode, ranges_around
from kvserver.types.sorted_set.partial_sort import order_of
from kvserver.types.sorted_set.score import score_of
from kvserver.types.sorted_set.value import Members

_SHOWING: Final = frozenset((b"WITHCOORD", b"WITHDIST", b"WITHHASH"))
_METERS: Final = {b"M": 1.0, b"KM": 1000.0, b"FT": 0.3048, b"MI": 1609.34}
# So many members are taken from a sorted set at once.
_SLICE: Final = 256


class Found(NamedTuple):
    """A member within the searched shape; the distance is in meters."""

    member: bytes
    score: float
    position: Position
    distance: float


class Search:
    """The words of a call, as far as they are read. The last of several options of a name counts.

    `destination` is the key to store the result in, or None for a reply; `has_distances`: distances are stored as scores.
    `count` is 0 for all that is found. `is_any`: the first ones found do, wherever they lie.
    """

    def __init__(self) -> None:
        self.center: Position | None = None
        self.shape: Shape | None = None
        self.shown: set[bytes] = set()
        self.order = b""
        self.count = 0
        self.is_any = False
        self.destination: bytes | None = None
        self.has_distances = False

    def take(self, words: list[bytes], place: int) -> int:
        """Read an option that all searches have. Return the place behind it, or the same place if there is no such option."""
        word = words[place].upper()
        if word in _SHOWING:
            self.shown.add(word)
        elif word in (b"ASC", b"DESC"):
            self.order = word
        elif word == b"ANY":
            self.is_any = True
        elif word == b"COUNT" and place + 1 < len(words):
            self.count = integer(words[place + 1])
            if self.count <= 0:
                raise CommandError("ERR COUNT must be > 0")
            return place + 2
        else:
            return place
        return place + 1

    def check_shown(self, name: str) -> None:
        """CommandError, in which `name` says what stores, if the result is stored and is to be shown with more as well."""
        if self.destination is not None and self.shown:
            raise CommandError(f"ERR {name} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")

    def check_count(self) -> None:
        """CommandError if ANY is there without a COUNT."""
        if self.is_any and not self.count:
            raise CommandError("ERR the ANY argument requires COUNT argument")


# --- Words ---


def position_in(longitude: bytes, latitude: bytes) -> Position:
    """The position that two words are. CommandError if they are none, or lie beyond the limits."""
    position = Position(score_of(longitude), score_of(latitude))
    if abs(position.longitude) > MAX_LONGITUDE or abs(position.latitude) > MAX_LATITUDE:
        raise CommandError(f"ERR invalid longitude,latitude pair {position.longitude:f},{position.latitude:f}")
    return position


def unit_in(text: bytes) -> float:
    """The unit that a word names, in meters. CommandError if it names none."""
    meters = _METERS.get(text.upper())
    if meters is None:
        raise CommandError("ERR unsupported unit provided. please use M, KM, FT, MI")
    return meters


def circle_in(radius: bytes, unit: bytes) -> Circle:
    """The circle that a radius and a unit say. CommandError for the first that is wrong."""
    length = score_of(radius, "ERR need numeric radius")
    if length < 0:
        raise CommandError("ERR radius cannot be negative")
    return Circle(length, unit_in(unit))


def box_in(width: bytes, height: bytes, unit: bytes) -> Box:
    """The box that a width, a height and a unit say. CommandError for the first that is wrong."""
    lengths = score_of(width, "ERR need numeric width"), score_of(height, "ERR need numeric height")
    if min(lengths) < 0:
        raise CommandError("ERR height or width cannot be negative")
    return Box(*lengths, unit_in(unit))


def position_of(members: Members, member: bytes) -> Position:
    """The position of a member. CommandError if it is missing."""
    score = members.scores.get(member)
    if score is None:
        raise CommandError("ERR could not decode requested zset member")
    return decode(score)


# --- Searching ---


def found_by(members: Members | None, search: Search) -> tuple[list[Found], float]:
    """What is found, in the order of the reply, and the unit that was asked for, in meters."""
    if members is None:
        return [], 1.0
    assert search.center is not None, "a call without a center was refused"
    assert search.shape is not None, "a call without a shape was refused"
    walk = _walk(members, search.center, search.shape)
    found = list(islice(walk, search.count if search.is_any else None))
    # The nearest ones are meant, unless anything else was said.
    order = search.order or (b"ASC" if search.count and not search.is_any else b"")
    if order:
        sign = 1 if order == b"ASC" else -1
        places = order_of([sign * each.distance for each in found], search.count or len(found))
        found = [found[place] for place in places]
    return found, search.shape.unit


def _walk(members: Members, center: Position, shape: Shape) -> Iterator[Found]:
    """All members within a shape, cell by cell, and in the order of scores in each cell."""
    for low, high in ranges_around(center, shape):
        start, stop = members.between_scores(ScoreBound(low, False), ScoreBound(high, False))
        while start < stop:
            until = min(start + _SLICE, stop)
            for member, score in zip(*members.slice(start, until), strict=True):
                position = decode(score)
                distance = shape.distance(center, position)
                if distance is not None:
                    yield Found(member, score, position, distance)
            start = until
