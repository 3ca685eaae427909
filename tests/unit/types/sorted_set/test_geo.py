"""Geo commands: replies as redis-server's to the last digit, what the journal gets, and forms that give the same.

KVSERVER_GEO_COUNT is the number of worlds that the campaign makes, each with about sixty random commands; KVSERVER_GEO_SEED is
the seed of the first one.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from helpers.servers import ServerProcess
from helpers.servers import encode as encoded
from helpers.sessions import Server, run
from kvserver.data.kinds import kind_of
from kvserver.resp.reply import Error, encode
from kvserver.types.sorted_set import value
from kvserver.types.sorted_set.value import SortedSet

COUNT = int(os.environ.get("KVSERVER_GEO_COUNT", "4"))
SEED = int(os.environ.get("KVSERVER_GEO_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
UNITS = ("m", "km", "ft", "MI")
# Scores by which a member is nowhere that Redis would have put it.
ODD_SCORES = ("-5.5", "1e300", "inf", "-inf", "0.5", "4503599627370495.5", "4503599627370496", "-1e19", "3.7e15")

Call = list[str | int]


class World:
    """Random places, mostly near each other, some of them in the same spot or on a limit, and random calls about them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._middle = rng.uniform(-180, 180), rng.uniform(-85, 85)
        self._spread = rng.choice((0.001, 0.1, 5, 60, 400))
        self._places = [self._place() for _ in range(rng.choice((5, 30, 80, 200)))]
        for n in range(len(self._places)):
            if rng.random() < 0.15:
                self._places[n] = rng.choice(self._places)

    def _place(self) -> tuple[float, float]:
        rng = self._rng
        if rng.random() < 0.08:
            longitude = rng.choice((-180, 180, 0, -90, 90, 179.9999999, rng.uniform(-180, 180)))
            return longitude, rng.choice((85.05112878, -85.05112878, 0, 66, -66, 80.5, -80.5, rng.uniform(-85, 85)))
        longitude, latitude = (middle + rng.uniform(-self._spread, self._spread) for middle in self._middle)
        return (longitude + 180) % 360 - 180, max(-85.05, min(85.05, latitude))

    def calls(self) -> list[Call]:
        rng = self._rng
        places = [str(word) for n, place in enumerate(self._places) for word in (*place, f"m{n}")]
        made: list[Call] = [["GEOADD", "k", *places]]
        odd = [*ODD_SCORES] if rng.random() < 0.3 else []
        made += [["ZADD", "k", score, score] for score in odd]
        for member in ("m0", "m1", "missing", *odd):
            made += [["GEOPOS", "k", member], ["GEOHASH", "k", member], ["GEODIST", "k", member, "m0", rng.choice(UNITS)]]
        for _ in range(40):
            made += self._searches()
        return made

    def _member(self) -> str:
        return f"m{self._rng.randrange(len(self._places))}"

    def _length(self) -> str:
        rng = self._rng
        usual = (0, 1.0, 10 ** rng.uniform(-2, 5), 10 ** rng.uniform(0, 4.5), self._spread * 100 * rng.random())
        return str(rng.choice((*usual, *usual, 1e7, rng.choice(("1e300", "inf")))))

    def _searches(self) -> list[Call]:
        """One search, and a look at what it stored if it did."""
        rng = self._rng
        options: Call = []
        for option in ("ASC", "DESC", "COUNT"):
            if rng.random() < 0.3:
                options.append(option)
                if option == "COUNT":
                    options += [rng.choice((1, 2, 3, 5, 10, 50, 100)), *(["ANY"] if rng.random() < 0.3 else [])]
        shown: Call = [option for option in ("WITHCOORD", "WITHDIST", "WITHHASH") if rng.random() < 0.4]
        look: list[Call] = [["ZRANGE", "d", 0, -1, "WITHSCORES"], ["OBJECT", "ENCODING", "d"]]
        kind = rng.random()
        if kind < 0.2:
            stored: Call = [rng.choice(("STORE", "STOREDIST")), "d"]
            near: Call = ["GEORADIUSBYMEMBER", "k", self._member()]
            if rng.random() < 0.5:
                near = ["GEORADIUS", "k", *map(str, self._place())]
            return [[*near, self._length(), rng.choice(UNITS), *options, *stored], *look]
        center: Call = ["FROMMEMBER", self._member()] if kind < 0.6 else ["FROMLONLAT", *map(str, self._place())]
        shape: Call = ["BYRADIUS", self._length()] if rng.random() < 0.5 else ["BYBOX", self._length(), self._length()]
        words: Call = [*center, *shape, rng.choice(UNITS), *options]
        if rng.random() < 0.15:
            return [["GEOSEARCHSTORE", "d", "k", *words, *rng.choice(((), ("STOREDIST",)))], *look]
        return [["GEOSEARCH", "k", *words, *shown]]


@pytest.mark.parametrize("world", range(COUNT))
def test_replies_are_those_of_redis_to_the_last_digit(redis_oracle: ServerProcess, world: int) -> None:
    seed = SEED + world
    rng = random.Random(seed)
    calls, protocol = World(rng).calls(), rng.choice((2, 3))
    session = Server().session()
    session.protocol = protocol
    with redis_oracle.connect() as wire:
        wire.command("HELLO", protocol)
        wire.send(b"".join(encoded(*call) for call in calls))
        for call in calls:
            theirs = wire.read_reply()
            reply: Any = run(session, *call)
            ours = encode(reply, protocol)
            if ours != theirs:
                pytest.fail(f"KVSERVER_GEO_SEED={seed}: {call}\nkvserver: {ours!r}\n   redis: {theirs!r}", pytrace=False)


@pytest.mark.patches_compiled
def test_packed_and_large_ones_are_the_same_to_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = World(random.Random(SEED)).calls()[:40]
    told = []
    for most in (64, 3, 0):
        monkeypatch.setattr(value, "MOST_MEMBERS", most)
        session = Server().session()
        told.append([getattr(reply, "text", reply) for reply in (run(session, *call) for call in calls)])
    assert told[0] == told[1] == told[2], f"KVSERVER_GEO_SEED={SEED}"


def test_journal_gives_the_same_again() -> None:
    server = Server()
    session = server.session()
    for call in World(random.Random(SEED)).calls():
        run(session, *call)
    again = Server()
    for request in server.keyspace.records.take():
        assert not isinstance(run(again.session(), *request), Error)
    for key in ("k", "d"):
        asked = ("ZRANGE", key, 0, -1, "WITHSCORES")
        assert run(again.session(), *asked) == run(session, *asked), f"KVSERVER_GEO_SEED={SEED}"


def written(*calls: str) -> list[list[bytes]]:
    """What is recorded of the last of these calls."""
    server = Server()
    for call in calls:
        server.keyspace.records.take()
        run(server.session(), *call.split())
    return [[*request] for request in server.keyspace.records.take()]


def test_geoadd_is_recorded_as_the_zadd_that_it_is() -> None:
    assert written("GEOADD k ch 13.361389 38.115556 Palermo") == [[b"ZADD", b"k", b"ch", b"3479099956230698", b"Palermo"]]
    assert written("GEOADD k 1 1 a", "GEOADD k 1 1 a") == []
    assert written("GEOADD k 1 1 a 200 1 b") == []


@pytest.mark.parametrize(
    ("call", "is_recorded"),
    [
        ("GEOSEARCHSTORE d k FROMMEMBER a BYRADIUS 1 km", True),
        ("GEORADIUS k 1 1 1 km STOREDIST d", True),
        ("GEORADIUSBYMEMBER k a 1 km STORE d", True),
        ("GEORADIUSBYMEMBER k a 1 km WITHDIST", False),
        ("GEOSEARCH k FROMMEMBER a BYRADIUS 1 km", False),
        ("GEORADIUS k 9 9 1 km STORE missing", False),
    ],
)
def test_what_stores_is_recorded_as_itself(call: str, is_recorded: bool) -> None:
    assert written("GEOADD k 1 1 a", call) == ([call.encode().split()] if is_recorded else [])


def test_nothing_found_is_recorded_as_a_deletion() -> None:
    assert written("GEOADD k 1 1 a", "SET d x", "GEOSEARCHSTORE d k FROMLONLAT 9 9 BYRADIUS 1 km") == [[b"DEL", b"d"]]
    assert written("SET d x", "GEORADIUSBYMEMBER missing a 1 km STORE d") == [[b"DEL", b"d"]]


def test_many_or_long_members_are_stored_as_a_large_one() -> None:
    server = Server()
    session = server.session()
    run(session, "GEOADD", "k", *[word for n in range(70) for word in (1, 1, f"m{n}")], 5, 5, "x" * 65)
    for place, is_large in ((1, True), (5, True), (9, False)):
        run(session, "GEOADD", "k", 9, 9, "short")
        run(session, "GEOSEARCHSTORE", "d", "k", "FROMLONLAT", place, place, "BYRADIUS", 1, "km")
        stored = server.keyspace.live(b"d")
        assert stored is not None
        assert isinstance(stored, SortedSet) is is_large
        assert kind_of(stored).encoding(stored) == (b"skiplist" if place == 5 else b"listpack")


def test_coordinates_are_doubles_with_the_digits_of_strings() -> None:
    session = Server().session()
    run(session, "GEOADD", "k", "13.361389", "38.115556", "Palermo")
    reply: Any = run(session, "GEOPOS", "k", "Palermo")
    assert encode(reply, 2) == b"*1\r\n*2\r\n$20\r\n13.36138933897018433\r\n$20\r\n38.11555639549629859\r\n"
    assert encode(reply, 3) == b"*1\r\n*2\r\n,13.36138933897018433\r\n,38.11555639549629859\r\n"
