"""GEOADD, GEOPOS, GEODIST, GEOHASH, GEOSEARCH, GEORADIUS and their kin: places on earth, as sorted sets scored by geohash.

Source: geo.c of redis 7.0, with its order of refusals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.acl.guarded import WRITE
from kvserver.data.entries import Value
from kvserver.dispatch.arguments import SYNTAX_ERROR
from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Effect
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, Digits, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.sorted_set.commands import zadd
from kvserver.types.sorted_set.geohash import Box, Circle, Position, decode, distance_between, encode, text_of
from kvserver.types.sorted_set.search import Found, Search, box_in, circle_in, found_by, position_in, position_of, unit_in
from kvserver.types.sorted_set.value import Members, members_of, put_result, result_of

_ADDING: Final = frozenset((b"NX", b"XX", b"CH"))


# --- Commands of members ---


@command("geoadd",
         "key:key condition<NX|XX>?@6.2.0 CH=change:pure-token?@6.2.0 longitude_latitude_member{longitude:double "
         "latitude:double member}+",
         "write denyoom", access="RW update",
         events="zadd", since="3.2.0", group="geo",
         complexity="O(log(N)) for each item added, where N is the number of elements in the sorted set.",
         summary="Add one or more geospatial items in the geospatial index represented using a sorted set")  # fmt: skip
def geoadd(session: Session, request: Request) -> Reply | Effect:
    start = 2
    while start < len(request) and request[start].upper() in _ADDING:
        start += 1
    words = request[start:]
    options = {word.upper() for word in request[2:start]}
    if len(words) % 3 or {b"NX", b"XX"} <= options:
        raise CommandError(SYNTAX_ERROR)
    # As in Redis, it runs and is recorded as a ZADD.
    added = [b"ZADD", *request[1:start]]
    for longitude, latitude, member in zip(words[::3], words[1::3], words[2::3], strict=True):
        added += b"%d" % encode(position_in(longitude, latitude)), member
    return zadd.handler(session, added)


@command("geopos", "key:key member+", "readonly", access="RO access", arity=-2,
         since="3.2.0", group="geo", complexity="O(N) where N is the number of members requested.",
         summary="Returns longitude and latitude of members of a geospatial index")  # fmt: skip
def geopos(session: Session, request: Request) -> Reply:
    scores = _scores(session.keyspace.read(request[1]), request[2:])
    return [NULL_ARRAY if score is None else _coordinates(decode(score)) for score in scores]


@command("geohash", "key:key member+", "readonly", access="RO access", arity=-2,
         since="3.2.0", group="geo",
         complexity="O(log(N)) for each member requested, where N is the number of elements in the sorted set.",
         summary="Returns members of a geospatial index as standard geohash strings")  # fmt: skip
def geohash(session: Session, request: Request) -> Reply:
    scores = _scores(session.keyspace.read(request[1]), request[2:])
    return [None if score is None else text_of(decode(score)) for score in scores]


@command("geodist", "key:key member1 member2 unit<M|KM|FT|MI>?", "readonly", access="RO access",
         since="3.2.0", group="geo", complexity="O(log(N))",
         summary="Returns the distance between two members of a geospatial index")  # fmt: skip
def geodist(session: Session, request: Request) -> Reply:
    if len(request) > 5:
        raise CommandError(SYNTAX_ERROR)
    unit = unit_in(request[4]) if len(request) == 5 else 1.0
    one, other = _scores(session.keyspace.read(request[1]), request[2:4])
    if one is None or other is None:
        return None
    return _distance_text(distance_between(decode(one), decode(other)) / unit)


def _scores(value: Value | None, wanted: list[bytes]) -> list[float | None]:
    members = members_of(value)
    return [None if members is None else members.scores.get(member) for member in wanted]


# --- Commands that search ---


def _finish(session: Session, request: Request, members: Members | None, search: Search) -> Reply:
    """Search, and reply or store."""
    found, unit = found_by(members, search)
    if search.destination is None:
        return [_shown(each, search.shown, unit) for each in found]
    scores = {each.member: each.distance / unit if search.has_distances else each.score for each in found}
    return put_result(session, search.destination, result_of(scores, session.server.config), request)


def _shown(found: Found, shown: set[bytes], unit: float) -> Reply:
    if not shown:
        return found.member
    reply: list[Reply] = [found.member]
    if b"WITHDIST" in shown:
        reply.append(_distance_text(found.distance / unit))
    if b"WITHHASH" in shown:
        reply.append(int(found.score))
    if b"WITHCOORD" in shown:
        reply.append(_coordinates(found.position))
    return reply


def _distance_text(distance: float) -> bytes:
    return b"%.4f" % distance


def _coordinates(position: Position) -> Reply:
    return [_digits(position.longitude), _digits(position.latitude)]


def _digits(degrees: float) -> Digits:
    text = (b"%.17f" % degrees).rstrip(b"0").rstrip(b".")
    return Digits(b"0" if text == b"-0" else text)


@command("geosearch",
         "key:key from<FROMMEMBER=member|FROMLONLAT=longitude_latitude{longitude:double latitude:double}> "
         "by<circle{BYRADIUS=radius:double unit<M|KM|FT|MI>}|box{BYBOX=width:double height:double unit<M|KM|FT|MI>}> "
         "order<ASC|DESC>? count{COUNT=count:integer ANY?}? WITHCOORD? WITHDIST? WITHHASH?",
         "readonly", access="RO access",
         since="6.2.0", group="geo",
         complexity="O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape "
         "provided as the filter and M is the number of items inside the shape",
         summary="Query a sorted set representing a geospatial index to fetch members inside an area of a box or a "
         "circle.")  # fmt: skip
def geosearch(session: Session, request: Request) -> Reply:
    return _search(session, request, request[1], request[2:], Search())


@command("geosearchstore",
         "destination:key source:key#1 from<FROMMEMBER=member|FROMLONLAT=longitude_latitude{longitude:double "
         "latitude:double}> by<circle{BYRADIUS=radius:double unit<M|KM|FT|MI>}|box{BYBOX=width:double height:double "
         "unit<M|KM|FT|MI>}> order<ASC|DESC>? count{COUNT=count:integer ANY?}? STOREDIST?",
         "write denyoom", access="OW update; RO access",
         since="6.2.0", group="geo",
         complexity="O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape "
         "provided as the filter and M is the number of items inside the shape",
         summary="Query a sorted set representing a geospatial index to fetch members inside an area of a box or a circle, "
         "and store the result in another key.")  # fmt: skip
def geosearchstore(session: Session, request: Request) -> Reply:
    search = Search()
    search.destination = request[1]
    return _search(session, request, request[2], request[3:], search)


def _search(session: Session, request: Request, source: bytes, words: list[bytes], search: Search) -> Reply:
    """Run a GEOSEARCH or a GEOSEARCHSTORE: read its words in their order, and search."""
    members = members_of(session.keyspace.read(source))
    origin = b""
    place = 0
    while place < len(words):
        behind = search.take(words, place)
        if behind == place:
            word, arguments = words[place].upper(), words[place + 1 :]
            if word == b"STOREDIST" and search.destination is not None:
                search.has_distances = True
                behind = place + 1
            elif word == b"FROMMEMBER" and arguments and origin in (b"", word):
                # Where there are no members, the rest of the words is looked at, too.
                search.center = None if members is None else position_of(members, arguments[0])
                origin, behind = word, place + 2
            elif word == b"FROMLONLAT" and len(arguments) >= 2 and origin in (b"", word):
                search.center = position_in(*arguments[:2])
                origin, behind = word, place + 3
            elif word == b"BYRADIUS" and len(arguments) >= 2 and not isinstance(search.shape, Box):
                search.shape = circle_in(*arguments[:2])
                behind = place + 3
            elif word == b"BYBOX" and len(arguments) >= 3 and not isinstance(search.shape, Circle):
                search.shape = box_in(*arguments[:3])
                behind = place + 4
            else:
                raise CommandError(SYNTAX_ERROR)
        place = behind
    search.check_shown("GEOSEARCHSTORE")
    name = request[0].decode("utf-8", "surrogateescape")
    if not origin:
        raise CommandError(f"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}")
    if search.shape is None:
        raise CommandError(f"ERR exactly one of BYRADIUS and BYBOX can be specified for {name}")
    search.check_count()
    return _finish(session, request, members, search)


def _take_options(search: Search, words: list[bytes], *, can_store: bool) -> None:
    place = 0
    while place < len(words):
        behind = search.take(words, place)
        if behind == place:
            word = words[place].upper()
            if not can_store or word not in (b"STORE", b"STOREDIST") or place + 1 == len(words):
                raise CommandError(SYNTAX_ERROR)
            search.destination, search.has_distances = words[place + 1], word == b"STOREDIST"
            behind = place + 2
        place = behind


def _events_from(start: int) -> Callable[[Request], str]:
    """The events of a call that has options from this word on: of several keys to store in, the last one counts."""

    def events(request: Request) -> str:
        search = Search()
        _take_options(search, request[start:], can_store=True)
        assert search.destination is not None
        return f"georadiusstore@{request.index(search.destination)}"

    return events


def _stored_in_from(start: int) -> Callable[[Request], list[tuple[int, int]]]:
    """The keys that a call stores in, which has options from this word on: a specification finds but the first of each."""

    def stored_in(request: Request) -> list[tuple[int, int]]:
        places = range(start, len(request) - 1)
        return [(place + 1, WRITE) for place in places if request[place].upper() in (b"STORE", b"STOREDIST")]

    return stored_in


@command("georadius",
         "key:key longitude:double latitude:double radius:double unit<M|KM|FT|MI> WITHCOORD? WITHDIST? WITHHASH? "
         "count{COUNT=count:integer ANY?@6.2.0}? order<ASC|DESC>? STORE=key:key#1? STOREDIST=key:key#2?",
         "write denyoom", access="RO access; OW update; OW update",
         more_keys=_stored_in_from(6), events=_events_from(6), since="3.2.0", group="geo",
         complexity="O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited "
         "by center and radius and M is the number of items inside the index.",
         deprecated=("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
         summary="Query a sorted set representing a geospatial index to fetch members matching a given maximum distance "
         "from a point")  # fmt: skip
def georadius(session: Session, request: Request) -> Reply:
    return _search_from_point(session, request, can_store=True)


@command("georadius_ro",
         "key:key longitude:double latitude:double radius:double unit<M|KM|FT|MI> WITHCOORD? WITHDIST? WITHHASH? "
         "count{COUNT=count:integer ANY?@6.2.0}? order<ASC|DESC>?",
         "readonly", access="RO access",
         since="3.2.10", group="geo",
         complexity="O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited "
         "by center and radius and M is the number of items inside the index.",
         deprecated=("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument"),
         summary="A read-only variant for GEORADIUS")  # fmt: skip
def georadius_ro(session: Session, request: Request) -> Reply:
    return _search_from_point(session, request, can_store=False)


@command("georadiusbymember",
         "key:key member radius:double unit<M|KM|FT|MI> WITHCOORD? WITHDIST? WITHHASH? count{COUNT=count:integer ANY?}? "
         "order<ASC|DESC>? STORE=key:key#1? STOREDIST=key:key#2?",
         "write denyoom", access="RO access; OW update; OW update",
         more_keys=_stored_in_from(5), events=_events_from(5), since="3.2.0", group="geo",
         complexity="O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited "
         "by center and radius and M is the number of items inside the index.",
         deprecated=("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments"),
         summary="Query a sorted set representing a geospatial index to fetch members matching a given maximum distance "
         "from a member")  # fmt: skip
def georadiusbymember(session: Session, request: Request) -> Reply:
    return _search_from_member(session, request, can_store=True)


@command("georadiusbymember_ro",
         "key:key member radius:double unit<M|KM|FT|MI> WITHCOORD? WITHDIST? WITHHASH? count{COUNT=count:integer ANY?}? "
         "order<ASC|DESC>?",
         "readonly", access="RO access",
         since="3.2.10", group="geo",
         complexity="O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited "
         "by center and radius and M is the number of items inside the index.",
         deprecated=("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
         summary="A read-only variant for GEORADIUSBYMEMBER")  # fmt: skip
def georadiusbymember_ro(session: Session, request: Request) -> Reply:
    return _search_from_member(session, request, can_store=False)


def _search_from_point(session: Session, request: Request, *, can_store: bool) -> Reply:
    members = members_of(session.keyspace.read(request[1]))
    search = Search()
    search.center = position_in(*request[2:4])
    search.shape = circle_in(*request[4:6])
    return _search_within_radius(session, request, members, request[6:], search, can_store=can_store)


def _search_from_member(session: Session, request: Request, *, can_store: bool) -> Reply:
    members = members_of(session.keyspace.read(request[1]))
    search = Search()
    if members is not None:
        search.center = position_of(members, request[2])
        search.shape = circle_in(*request[3:5])
    return _search_within_radius(session, request, members, request[5:], search, can_store=can_store)


def _search_within_radius(
    session: Session, request: Request, members: Members | None, words: list[bytes], search: Search, *, can_store: bool
) -> Reply:
    """Run one of the GEORADIUS commands, of which only options are to be read yet."""
    _take_options(search, words, can_store=can_store)
    search.check_shown("STORE option in GEORADIUS")
    search.check_count()
    return _finish(session, request, members, search)
