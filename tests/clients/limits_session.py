"""A program that limits rates by limits, in all of its strategies, plain and in asyncio: `python limits_session.py PORT`.

It prints the version last.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from typing import Any

from limits import RateLimitItemPerYear, parse
from limits.aio.storage import RedisStorage as AsyncRedisStorage
from limits.aio.strategies import STRATEGIES as ASYNC_STRATEGIES
from limits.storage import storage_from_string
from limits.strategies import STRATEGIES


def use(storage: Any, strategy: Any) -> None:
    limiter = strategy(storage)
    # Some strategies count by the clock's windows, and none may end meanwhile.
    few, many = RateLimitItemPerYear(3, 10), RateLimitItemPerYear(100, 10)
    assert limiter.test(few, "Ada")
    assert [limiter.hit(few, "Ada") for _ in range(5)] == [True, True, True, False, False]
    assert not limiter.test(few, "Ada")
    assert limiter.hit(few, "Grace")
    assert limiter.get_window_stats(few, "Grace").remaining == 2
    assert limiter.get_window_stats(few, "Ada").remaining == 0
    assert limiter.hit(many, "Ada", cost=60)
    assert not limiter.hit(many, "Ada", cost=60)
    limiter.clear(few, "Ada")
    assert limiter.hit(few, "Ada")
    storage.reset()
    assert limiter.get_window_stats(few, "Ada").remaining == 3


async def use_async(port: int) -> None:
    storage: Any = AsyncRedisStorage(f"async+redis://127.0.0.1:{port}", implementation="redispy")
    assert await storage.check()
    item = parse("3 per 10 years")
    for strategy in ASYNC_STRATEGIES.values():
        limiter = strategy(storage)
        assert sum(await asyncio.gather(*(limiter.hit(item, "Ada") for _ in range(10)))) == 3
        assert (await limiter.get_window_stats(item, "Ada")).remaining == 0
        await limiter.clear(item, "Ada")
        assert await limiter.test(item, "Ada")
        await storage.reset()
    await storage.bridge.storage.aclose()


def main(port: int) -> None:
    storage = storage_from_string(f"redis://127.0.0.1:{port}")
    assert storage.check()
    for strategy in STRATEGIES.values():
        use(storage, strategy)
    asyncio.run(use_async(port))
    print(version("limits"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
