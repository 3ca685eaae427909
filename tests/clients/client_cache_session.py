"""A program that uses redis-py's client-side cache. It must import nothing of kvserver."""

from __future__ import annotations

import time

import redis
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

DEADLINE_S = 10.0
# redis-py asks for a server that calls itself 7.4 or later, though all that it uses has been there since 6.0.
CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"


def until(port: int, cached: redis.Redis, key: str, value: str | None) -> None:
    """Ask a client that caches until it has the new value: it is told by a push, which it reads when it is next asked."""
    ends_at = time.monotonic() + DEADLINE_S
    while cached.get(key) != value:
        assert time.monotonic() < ends_at, f"{key} stays as it was"


def cache_session(port: int) -> None:
    """Let a client that caches read what another one changes."""
    other = redis.Redis(port=port, decode_responses=True)
    other.flushall()
    cached = redis.Redis(port=port, protocol=3, cache_config=CacheConfig(), decode_responses=True)
    cache = cached.get_cache()
    assert cache is not None
    assert cached.get("name") is None
    other.set("name", "Ada")
    until(port, cached, "name", "Ada")
    # What came together with the push that it is out of date redis-py does not keep.
    assert cached.get("name") == "Ada"
    calls = other.info("commandstats")["cmdstat_get"]["calls"]
    assert all(cached.get("name") == "Ada" for _ in range(100))
    assert other.info("commandstats")["cmdstat_get"]["calls"] == calls, "the client asked the server all the same"
    # Its own writes are no news for itself alone.
    cached.set("name", "Bob")
    until(port, cached, "name", "Bob")
    other.hset("hash", "field", "1")
    assert cached.hget("hash", "field") == "1"
    other.hincrby("hash", "field", 1)
    ends_at = time.monotonic() + DEADLINE_S
    while cached.hget("hash", "field") != "2":
        assert time.monotonic() < ends_at
    other.set("short", "1", px=20)
    cached.get("short")
    until(port, cached, "short", None)
    with other.pipeline(transaction=True) as pipeline:
        pipeline.set("name", "Cleo")
        pipeline.delete("hash")
        pipeline.execute()
    until(port, cached, "name", "Cleo")
    assert other.eval("return redis.call('set', KEYS[1], 'Dora')", 1, "name") == "OK"
    until(port, cached, "name", "Dora")
    other.flushall()
    until(port, cached, "name", None)
    assert other.info("clients")["tracking_clients"] >= 1
    cached.close()
    other.close()
