"""A program that uses django-redis, the cache with Redis's types: `python django_redis_session.py PORT`.

It prints the version last.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from typing import Any

import django
from django.conf import settings
from django.core.cache import caches
from django_redis import get_redis_connection


def use_keys(cache: Any) -> None:
    document = {"name": "Ada", "tags": ["é", b"\xff"], "none": None}
    assert cache.set("document", document, timeout=300)
    assert cache.get("document") == document
    assert cache.get("missing", "default") == "default"
    assert cache.set("document", 1, nx=True) is False
    assert cache.set("other", 1, xx=True) is False
    assert cache.set("at-once", 1, timeout=0) is False
    assert cache.add("document", 1) is False
    assert cache.add("added", 1) is True
    assert cache.has_key("added")
    assert "added" in cache
    assert cache.set("hits", 10)
    assert [cache.incr("hits"), cache.incr("hits", 4), cache.decr("hits", 3)] == [11, 15, 12]
    assert cache.get("hits") == 12
    cache.set("huge", 2**63, timeout=100)
    assert cache.incr("huge") == 2**63 + 1
    assert 0 < cache.ttl("huge") <= 100
    cache.set_many({"a": 1, "b": [2]}, timeout=60)
    assert cache.get_many(["a", "b", "missing"]) == {"a": 1, "b": [2]}
    assert cache.delete_many(["a", "b"]) == 2
    assert cache.get_or_set("made", lambda: "new") == "new"
    assert cache.delete("made") is True
    assert cache.delete("made") is False


def use_versions(cache: Any) -> None:
    cache.set("edition", "first", timeout=300)
    assert cache.incr_version("edition") == 2
    assert cache.get("edition") is None
    assert cache.get("edition", version=2) == "first"
    assert 0 < cache.ttl("edition", version=2) <= 300
    cache.set("edition", "old")
    assert cache.keys("edition") == ["edition"]
    assert cache.delete_pattern("edition", version=2) == 1
    assert cache.decr_version("edition") == 0


def use_expiry(cache: Any) -> None:
    cache.set("key", "value", timeout=None)
    assert cache.ttl("key") is None
    assert cache.ttl("missing") == cache.pttl("missing") == 0
    assert cache.expire("key", 100)
    assert cache.ttl("key") in (99, 100)
    assert cache.pexpire("key", 5000)
    assert 0 < cache.pttl("key") <= 5000
    assert cache.persist("key")
    assert cache.pttl("key") is None
    assert cache.expire_at("key", int(time.time()) + 50)
    assert 0 < cache.ttl("key") <= 50
    assert cache.pexpire_at("key", int(time.time() * 1000) + 70_000)
    assert 50 < cache.ttl("key") <= 70
    assert cache.touch("key", 200)
    assert 190 < cache.ttl("key") <= 200
    assert cache.touch("key", None)
    assert cache.ttl("key") is None
    assert not cache.touch("missing", 200)
    assert cache.expire("key", 0)
    assert not cache.has_key("key")


def use_patterns(cache: Any) -> None:
    cache.set_many({f"user:{number}": number for number in range(50)})
    cache.set("group:[1]", 1)
    assert sorted(cache.keys("user:?")) == [f"user:{number}" for number in range(10)]
    assert sorted(cache.iter_keys("user:*", itersize=7)) == sorted(f"user:{number}" for number in range(50))
    assert cache.delete_pattern("user:1*", itersize=3) == 11
    assert len(cache.keys("*:*")) == 40
    assert cache.delete_pattern("group:[[]1]") == 1


def use_sets(cache: Any) -> None:
    assert cache.sadd("odd", 1, 3, 5) == 3
    assert cache.sadd("small", 1, 2, "three") == 3
    assert cache.scard("odd") == 3
    assert cache.sismember("odd", 3)
    assert cache.smismember("odd", 3, 4) == [True, False]
    assert cache.smembers("small") == {1, 2, "three"}
    assert cache.sinter("odd", "small") == {1}
    assert cache.sdiff("odd", "small") == {3, 5}
    assert cache.sunion("odd", "small") == {1, 2, 3, 5, "three"}
    assert cache.sinterstore("both", "odd", "small") == 1
    assert cache.sdiffstore("rest", "odd", "small") == 2
    assert cache.sunionstore("all", "odd", "small") == 5
    assert cache.smove("odd", "small", 5)
    assert cache.srandmember("both") == 1
    assert cache.spop("both") == 1
    assert cache.srem("small", 5, "missing") == 1
    assert set(cache.sscan_iter("small")) == {1, 2, "three"}


def use_hashes(cache: Any) -> None:
    assert cache.hset("person", "name", "Ada") == 1
    assert cache.hset("person", mapping={"born": 1815, "name": "Ada"}) == 1
    assert cache.hlen("person") == 2
    assert cache.hkeys("person") == ["name", "born"]
    assert cache.hexists("person", "born")
    assert cache.hdel("person", "born") == 1
    assert not cache.hexists("person", "born")


def use_sorted_sets(cache: Any) -> None:
    assert cache.zadd("ranks", {"a": 1, "b": 2, "c": 3.5}) == 3
    assert cache.zadd("ranks", {"a": 9, "d": 4}, nx=True) == 1
    assert cache.zcard("ranks") == 4
    assert cache.zcount("ranks", 2, "+inf") == 3
    assert cache.zincrby("ranks", 2, "a") == cache.zscore("ranks", "a") == 3
    assert cache.zrange("ranks", 0, -1, withscores=True) == [("b", 2), ("a", 3), ("c", 3.5), ("d", 4)]
    assert cache.zrevrange("ranks", 0, 1) == ["d", "c"]
    assert cache.zrangebyscore("ranks", 3, 4, start=1, num=1) == ["c"]
    assert cache.zrevrangebyscore("ranks", 4, 3, withscores=True) == [("d", 4), ("c", 3.5), ("a", 3)]
    assert cache.zrank("ranks", "c") == 2
    assert cache.zpopmin("ranks") == ("b", 2)
    assert cache.zpopmax("ranks", 2) == [("d", 4), ("c", 3.5)]
    assert cache.zrem("ranks", "missing") == 0
    assert cache.zremrangebyscore("ranks", 0, 10) == 1


def use_locks(cache: Any) -> None:
    lock, other = cache.lock("lock", timeout=10), cache.lock("lock", timeout=10, blocking=False)
    with lock:
        assert not other.acquire()
        assert 0 < cache.ttl("lock") <= 10
        assert lock.extend(10)
        assert 10 < cache.ttl("lock") <= 20
    assert other.acquire()
    other.release()
    assert not lock.locked()
    try:
        cache.incr("missing")
    except ValueError:
        pass
    else:
        raise AssertionError("what is missing was counted up")
    assert not cache.has_key("missing")
    assert cache.incr("missing", ignore_key_check=True) == 1


def main(port: int) -> None:
    backend = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{port}/1",
        "KEY_PREFIX": "session",
    }
    packed = {
        "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
        "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
    }
    settings.configure(CACHES={"default": backend, "packed": {**backend, "OPTIONS": packed}})
    django.setup()
    cache, compressed = caches["default"], caches["packed"]
    for use in (use_keys, use_versions, use_expiry, use_patterns, use_sets, use_hashes, use_sorted_sets, use_locks):
        cache.clear()
        assert get_redis_connection("default").dbsize() == 0
        use(cache)
    compressed.set("text", "long " * 1000)
    assert compressed.get("text") == "long " * 1000
    assert get_redis_connection("packed").strlen("session:1:text") < 200
    print(version("django-redis"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
