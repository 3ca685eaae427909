"""A program that uses aiocache on Redis: `python aiocache_session.py PORT`."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from typing import Any

from aiocache import Cache, cached
from aiocache.serializers import JsonSerializer


async def use(port: int) -> None:
    cache: Any = Cache(Cache.REDIS, endpoint="127.0.0.1", port=port, namespace="main", serializer=JsonSerializer())
    async with cache:
        await cache.raw("flushall")
        assert await cache.set("key", {"name": "Ada"}, ttl=100)
        assert await cache.get("key") == {"name": "Ada"}
        assert await cache.get("missing", "default") == "default"
        assert await cache.exists("key")
        assert await cache.expire("key", 50)
        assert 0 < await cache.raw("ttl", "mainkey") <= 50 or 0 < await cache.raw("ttl", "main:key") <= 50
        assert await cache.add("added", 1)
        try:
            await cache.add("added", 2)
        except ValueError:
            pass
        else:
            raise AssertionError("a second add raised nothing")
        assert await cache.multi_set([("a", 1), ("b", [2])])
        assert await cache.multi_set([("c", 3)], ttl=100)
        assert await cache.multi_get(["a", "b", "c", "missing"]) == [1, [2], 3, None]
        assert await cache.increment("hits", 5) == 5
        assert await cache.increment("hits", -2) == 3
        assert await cache.delete("a") == 1
        assert await cache.clear(namespace="main")
        assert await cache.get("key") is None

    calls = []

    @cached(ttl=100, cache=Cache.REDIS, endpoint="127.0.0.1", port=port, key="answer", serializer=JsonSerializer())
    async def answer() -> int:
        calls.append(1)
        return 42

    assert [await answer(), await answer()] == [42, 42]
    assert len(calls) == 1
    await answer.cache.close()


def main(port: int) -> None:
    asyncio.run(use(port))
    print(version("aiocache"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
