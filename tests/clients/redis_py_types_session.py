"""A program that uses Redis's data types by redis-py, as its documentation shows: `python redis_py_types_session.py PORT`.

The tests call its function with the newest redis-py, and run it as a program with an older one. It must import nothing of
kvserver.
"""

from __future__ import annotations

import sys
from typing import Any

import redis

BRIDGES = {"tower": (-0.0754, 51.5055), "westminster": (-0.1217, 51.5009), "clifton": (-2.6279, 51.4549)}


def scored(reply: Any) -> list[tuple[str, float]]:
    """Members with their scores: by version and protocol, redis-py gives a list of tuples, of lists, or one flat list."""
    if reply and isinstance(reply[0], str):
        reply = zip(reply[::2], reply[1::2], strict=True)
    return [(member, float(score)) for member, score in reply]


def use_hashes(client: Any) -> None:
    assert client.hset("bike:1", mapping={"model": "Deimos", "type": "enduro", "price": 4972}) == 3
    assert client.hset("bike:1", "colour", "red") == 1
    assert client.hset("bike:1", items=["wheels", 2, "colour", "blue"]) == 1
    assert client.hget("bike:1", "model") == "Deimos"
    assert client.hget("bike:1", "missing") is None
    assert client.hgetall("bike:1") == {"model": "Deimos", "type": "enduro", "price": "4972", "colour": "blue", "wheels": "2"}
    assert client.hmget("bike:1", ["model", "price", "missing"]) == ["Deimos", "4972", None]
    assert client.hincrby("bike:1", "price", 100) == 5072
    assert client.hincrby("bike:1", "price", -72) == 5000
    assert client.hincrbyfloat("bike:1", "weight", 12.5) == 12.5
    assert client.hlen("bike:1") == 6
    assert client.hstrlen("bike:1", "model") == 6
    assert client.hexists("bike:1", "weight")
    assert client.hsetnx("bike:1", "model", "Ares") in (0, False)
    assert client.hdel("bike:1", "weight", "wheels", "missing") == 2
    assert client.hkeys("bike:1") == ["model", "type", "price", "colour"]
    assert client.hvals("bike:1") == ["Deimos", "enduro", "5000", "blue"]
    assert client.hrandfield("bike:1") in client.hkeys("bike:1")
    assert len(client.hrandfield("bike:1", -10)) == 10
    client.hset("many", mapping={f"field:{number}": number for number in range(1000)})
    assert dict(client.hscan_iter("many", count=50)) == {f"field:{number}": str(number) for number in range(1000)}
    assert len(list(client.hscan_iter("many", match="field:99*"))) == 11


def use_lists(client: Any) -> None:
    assert client.lpush("repairs", "bike:1", "bike:2") == 2
    assert client.rpush("repairs", "bike:3", "bike:4", "bike:5") == 5
    assert client.lrange("repairs", 0, -1) == ["bike:2", "bike:1", "bike:3", "bike:4", "bike:5"]
    assert client.lpop("repairs") == "bike:2"
    assert client.rpop("repairs", 2) == ["bike:5", "bike:4"]
    assert client.lpop("missing") is None
    assert client.lmove("repairs", "finished", "LEFT", "RIGHT") == "bike:1"
    assert client.rpoplpush("repairs", "finished") == "bike:3"
    assert client.exists("repairs") == 0
    assert client.lrange("finished", 0, -1) == ["bike:3", "bike:1"]
    assert client.rpushx("repairs", "bike:9") == 0
    assert client.linsert("finished", "BEFORE", "bike:1", "bike:2") == 3
    assert client.lindex("finished", 1) == "bike:2"
    assert client.lset("finished", 1, "bike:7")
    assert client.lpos("finished", "bike:1") == 2
    client.rpush("finished", "bike:1")
    assert client.lpos("finished", "bike:1", count=0) == [2, 3]
    assert client.lrem("finished", 0, "bike:1") == 2
    assert client.llen("finished") == 2
    assert client.lmpop(2, "missing", "finished", direction="RIGHT") == ["finished", ["bike:7"]]
    client.rpush("latest", *range(100))
    assert client.ltrim("latest", 0, 9)
    assert client.lrange("latest", -3, -1) == ["7", "8", "9"]


def use_sets(client: Any) -> None:
    assert client.sadd("france", "bike:1", "bike:2", "bike:3", "bike:1") == 3
    assert client.sadd("usa", "bike:1", "bike:4") == 2
    assert client.sismember("usa", "bike:1")
    assert not client.sismember("usa", "bike:2")
    assert client.smismember("france", ["bike:2", "bike:9"]) == [1, 0]
    assert set(client.smembers("france")) == {"bike:1", "bike:2", "bike:3"}
    assert set(client.sinter("france", "usa")) == {"bike:1"}
    assert set(client.sunion("france", "usa")) == {"bike:1", "bike:2", "bike:3", "bike:4"}
    assert set(client.sdiff("france", "usa")) == {"bike:2", "bike:3"}
    assert client.sintercard(2, ["france", "usa"], limit=5) == 1
    assert client.sunionstore("both", "france", "usa") == client.scard("both") == 4
    assert client.sinterstore("both", "france", "missing") == 0
    assert client.smove("france", "usa", "bike:2")
    assert client.srem("france", "bike:3", "bike:9") == 1
    assert client.srandmember("france") == "bike:1"
    assert set(client.srandmember("usa", 10)) == {"bike:1", "bike:2", "bike:4"}
    assert client.spop("france") == "bike:1"
    assert client.spop("france") is None
    assert len(client.spop("usa", 2)) == 2
    client.sadd("many", *range(1000))
    assert {int(member) for member in client.sscan_iter("many", count=70)} == set(range(1000))


def use_sorted_sets(client: Any) -> None:
    assert client.zadd("racers", {"Norem": 10, "Castilla": 12, "Royce": 10, "Ford": 6, "Prickett": 14}) == 5
    assert client.zrange("racers", 0, -1) == ["Ford", "Norem", "Royce", "Castilla", "Prickett"]
    assert client.zrevrange("racers", 0, 1) == ["Prickett", "Castilla"]
    assert scored(client.zrange("racers", 0, 1, withscores=True)) == [("Ford", 6), ("Norem", 10)]
    assert client.zrange("racers", "(10", "+inf", byscore=True) == ["Castilla", "Prickett"]
    assert client.zrange("racers", 14, 10, desc=True, byscore=True, offset=1, num=2) == ["Castilla", "Royce"]
    assert client.zrangebyscore("racers", "-inf", 10, start=0, num=2) == ["Ford", "Norem"]
    assert scored(client.zrevrangebyscore("racers", 12, 11, withscores=True)) == [("Castilla", 12)]
    assert client.zrank("racers", "Norem") == 1
    assert client.zrevrank("racers", "Norem") == 3
    assert client.zscore("racers", "Ford") == 6
    assert client.zscore("racers", "missing") is None
    assert client.zmscore("racers", ["Ford", "missing"]) == [6, None]
    assert client.zincrby("racers", 50, "Royce") == 60
    assert client.zadd("racers", {"Royce": 1, "Ford": 9}, gt=True, ch=True) == 1
    assert client.zadd("racers", {"Ford": 1.5}, xx=True, incr=True) == 10.5
    assert client.zadd("racers", {"Ford": 1}, nx=True) == 0
    assert client.zcount("racers", 10, 20) == 4
    assert client.zrem("racers", "Castilla", "missing") == 1
    assert client.zremrangebyscore("racers", "-inf", 10) == 1
    assert client.zremrangebyrank("racers", 0, 0) == client.zcard("racers") - 1 == 1
    client.zadd("words", dict.fromkeys(("ant", "bee", "cow", "dog"), 0))
    assert client.zrangebylex("words", "[b", "(d") == ["bee", "cow"]
    assert client.zrevrangebylex("words", "+", "[c") == ["dog", "cow"]
    assert client.zlexcount("words", "-", "[bee") == 2
    assert client.zremrangebylex("words", "[a", "[b") == 1
    client.zadd("others", {"bee": 2, "eel": 3})
    assert client.zunion(["words", "others"]) == ["cow", "dog", "bee", "eel"]
    assert scored(client.zinter(["words", "others"], withscores=True)) == [("bee", 2)]
    assert client.zdiff(["words", "others"]) == ["cow", "dog"]
    assert client.zunionstore("all", {"words": 1, "others": 10}, aggregate="MAX") == 4
    assert scored(client.zrange("all", -2, -1, withscores=True)) == [("bee", 20), ("eel", 30)]
    assert client.zinterstore("both", ["words", "others"]) == client.zintercard(2, ["words", "others"]) == 1
    assert client.zrangestore("last", "all", 2, 3) == 2
    assert scored(client.zpopmin("last")) == [("bee", 20)]
    assert scored(client.zpopmax("all", 2)) == [("eel", 30), ("bee", 20)]
    name, popped = client.zmpop(2, ["missing", "last"], min=True)
    # The member and its score are a list of their own in some versions.
    assert (name, str(popped).count("eel")) == ("last", 1)
    assert client.zrandmember("words") in ("bee", "cow", "dog")
    client.zadd("many", {f"member:{number}": number for number in range(1000)})
    assert dict(client.zscan_iter("many", count=50)) == {f"member:{number}": number for number in range(1000)}


def use_places(client: Any) -> None:
    places = [part for name, (longitude, latitude) in BRIDGES.items() for part in (longitude, latitude, name)]
    assert client.geoadd("bridges", places) == 3
    assert round(float(client.geodist("bridges", "tower", "westminster", unit="m")), -1) == 3250
    assert client.geodist("bridges", "tower", "missing") is None
    assert client.geohash("bridges", "tower")[0].startswith("gcpvn")
    for found, wanted in zip(client.geopos("bridges", *BRIDGES), BRIDGES.values(), strict=True):
        assert all(abs(one - other) < 1e-4 for one, other in zip(found, wanted, strict=True))
    assert client.geosearch("bridges", longitude=-0.1, latitude=51.5, radius=10, unit="km", sort="ASC") == [
        "westminster",
        "tower",
    ]
    near = client.geosearch("bridges", member="tower", width=400, height=100, unit="km", count=3, sort="DESC", withdist=True)
    assert [name for name, _ in near] == ["clifton", "westminster", "tower"]
    assert float(near[2][1]) == 0
    assert client.geosearchstore("near", "bridges", member="tower", radius=10, unit="km", storedist=True) == 2
    assert 3 < client.zscore("near", "westminster") < 4
    assert sorted(client.georadius("bridges", -0.1, 51.5, 10, unit="km")) == ["tower", "westminster"]
    assert client.georadiusbymember("bridges", "clifton", 10, unit="mi") == ["clifton"]


def use_cardinalities(client: Any) -> None:
    assert client.pfadd("bikes", "Hyperion", "Deimos", "Phoebe", "Quaoar") == 1
    assert client.pfadd("bikes", "Deimos") == 0
    assert client.pfcount("bikes") == 4
    assert client.pfadd("commuter", "Salacia", "Mimas", "Quaoar") == 1
    assert client.pfcount("bikes", "commuter") == 6
    assert client.pfmerge("all", "bikes", "commuter")
    assert client.pfcount("all") == 6


def use_sorting(client: Any) -> None:
    client.rpush("ids", 3, 1, 2)
    for number, name in ((1, "z"), (2, "y"), (3, "x")):
        client.set(f"name:{number}", name)
        client.hset(f"user:{number}", mapping={"name": name, "age": number * 10})
    assert client.sort("ids") == ["1", "2", "3"]
    assert client.sort("ids", desc=True, start=0, num=2) == ["3", "2"]
    assert client.sort("ids", by="name:*", alpha=True) == ["3", "2", "1"]
    assert client.sort("ids", by="user:*->age", get="user:*->name") == ["z", "y", "x"]
    assert client.sort("ids", by="nosort", get=["#", "name:*"], groups=True) == [("3", "x"), ("1", "z"), ("2", "y")]
    assert client.sort("ids", store="sorted") == 3
    assert client.lrange("sorted", 0, -1) == ["1", "2", "3"]
    assert client.sort_ro("ids", desc=True) == ["3", "2", "1"]


def use_scans(client: Any) -> None:
    client.mset({f"user:{number}": number for number in range(500)})
    client.rpush("queue:1", "a")
    assert len(set(client.scan_iter(count=100))) == 501
    assert sorted(client.scan_iter(match="user:1?")) == [f"user:1{digit}" for digit in range(10)]
    assert list(client.scan_iter(_type="list")) == ["queue:1"]
    cursor, keys = client.scan(0, match="*", count=10_000)
    assert (cursor, len(keys)) == (0, 501)


def use_pipelines(client: Any) -> None:
    with client.pipeline() as pipe:
        pipe.hset("hash", "field", 1).rpush("list", "a", "b").sadd("set", "x").zadd("zset", {"m": 1.5})
        pipe.hgetall("hash").lrange("list", 0, -1).smembers("set").zscore("zset", "m")
        *_, fields, items, members, score = pipe.execute()
    assert (fields, items, set(members), score) == ({"field": "1"}, ["a", "b"], {"x"}, 1.5)
    with client.pipeline(transaction=False) as pipe:
        pipe.lpush("hash", "x").llen("list")
        error, length = pipe.execute(raise_on_error=False)
    assert isinstance(error, redis.ResponseError)
    assert str(error).endswith("Operation against a key holding the wrong kind of value")
    assert length == 2

    def take(pipe: Any) -> None:
        first = pipe.lindex("list", 0)
        pipe.multi()
        pipe.lpop("list")
        pipe.hset("hash", "taken", first)

    assert client.transaction(take, "list") == ["a", 1]
    assert client.hget("hash", "taken") == "a"


def types_session(port: int, protocol: int) -> None:
    client: Any = redis.Redis(port=port, protocol=protocol, decode_responses=True, socket_timeout=20)
    with client:
        for use in (
            use_hashes,
            use_lists,
            use_sets,
            use_sorted_sets,
            use_places,
            use_cardinalities,
            use_sorting,
            use_scans,
            use_pipelines,
        ):
            client.flushall()
            use(client)


def main(port: int) -> None:
    for protocol in (2, 3):
        types_session(port, protocol)
    print(redis.__version__)


if __name__ == "__main__":
    main(int(sys.argv[1]))
