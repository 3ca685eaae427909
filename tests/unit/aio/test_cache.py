"""A cache of aio keeps to its limit as that of the library does, and finds what there is in its folder."""

from __future__ import annotations

import asyncio
import doctest
from pathlib import Path
from typing import Any

import pytest

from kvserver import Cache, CacheFull, CodecError, StoreClosed, ValueTooLarge, aio
from kvserver.aio import cache as cache_module
from kvserver.data.footprint import entry_bytes

ENTRY_BYTES = entry_bytes(b"k00", b"v" * 100)


def test_examples() -> None:
    assert doctest.testmod(cache_module).attempted
    assert not doctest.testmod(cache_module).failed


async def test_calls_that_a_store_has_not() -> None:
    async with aio.Cache[Any](ttl=50) as cache:
        await cache.set("a", 5)
        assert (await cache.decr("a"), await cache.incr("a", 2)) == (4, 6)
        assert await cache.peek("a") == await cache.get("a") == 6
        assert await cache.peek("z", 0) == await cache.get("z", 0) == 0
        assert cache.stats() == cache.stats(reset=True) == (1, 1, 0)
        assert await cache.touch("a", 1000)
        assert (await cache.ttl("a") or 0) > 999
        assert not await cache.touch("z")
        assert cache.volume() == entry_bytes(b"a", cache._core.databases[0].get(b"a"))


@pytest.mark.parametrize("journal", [False, True])
async def test_limit_holds_and_what_has_gone_is_gone(tmp_path: Path, journal: bool) -> None:
    limit = 20 * ENTRY_BYTES
    async with aio.Cache[str](tmp_path, size_limit=limit, journal=journal) as cache:
        for number in range(100):
            await cache.set(f"k{number:02d}", "v" * 100)
            assert cache.volume() <= limit
        with pytest.raises(ValueTooLarge):
            await cache.set("large", "v" * limit)
        expected = {key async for key in cache}
        assert expected == {f"k{number:02d}" for number in range(80, 100)}
        assert cache.stats().evictions == 80
    with Cache[str](tmp_path) as found:
        assert set(found) == expected


async def test_folder_that_holds_more_than_the_limit_loses_what_there_is_no_room_for(tmp_path: Path) -> None:
    with Cache[str](tmp_path) as filled:
        filled.update({f"k{number}": "v" * 100 for number in range(5000)})
        volume = filled.volume()
    async with aio.Cache[str](tmp_path) as cache:
        assert (len(cache), cache.volume()) == (5000, volume)
    async with aio.Cache[str](tmp_path, size_limit=volume // 2) as cache:
        assert cache.volume() <= volume // 2
        await cache.restore()
        assert cache.volume() <= volume // 2
        assert 2000 < len(cache) < 2600


async def test_refusals_are_those_of_the_library() -> None:
    class Failing:
        def encode(self, value: Any) -> bytes:
            raise LookupError

        def decode(self, data: bytes) -> Any: ...

    async with aio.Cache[Any](size_limit=ENTRY_BYTES, policy="noeviction") as cache:
        await cache.set("k00", "v" * 100)
        with pytest.raises(CacheFull):
            await cache.set("more", 1)
    async with aio.Cache(codec=Failing()) as cache:
        with pytest.raises(CodecError, match="'k'"):
            await cache.set("k", 1)
    for options in ({"size_limit": 0}, {"policy": "lru"}, {"ttl": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            aio.Cache(**options)


@pytest.mark.parametrize("call", ["set", "add", "setdefault", "update"])
@pytest.mark.parametrize("journal", [False, True])
async def test_others_have_their_turn_while_many_keys_go(call: str, journal: bool, tmp_path: Path) -> None:
    keys = 800
    async with aio.Cache[Any](tmp_path, size_limit=keys * ENTRY_BYTES, journal=journal) as cache:
        for number in range(keys):
            await cache.set(f"k{number}", "v" * 100)
        value = "v" * ((keys - 300) * ENTRY_BYTES)
        ended, written = asyncio.Event(), 0

        async def write() -> None:
            nonlocal written
            while not ended.is_set():
                await cache.set(f"w{written}", written)
                written += 1
                assert cache.volume() <= keys * ENTRY_BYTES
                await asyncio.sleep(0)

        writing = [asyncio.create_task(write()) for _ in range(3)]
        await asyncio.sleep(0)
        before = written
        async with asyncio.timeout(60):
            await (cache.update({"large": value, "b": 1}) if call == "update" else getattr(cache, call)("large", value))
        meanwhile = written - before
        expected = {key async for key in cache}
        ended.set()
        await asyncio.gather(*writing)
        expected |= {key async for key in cache}
        assert await cache.get("large") == value
        # In one step, it would be one or two of each task.
        assert meanwhile > 20
    with Cache[Any](tmp_path) as found:
        assert found["large"] == value
        assert set(found) <= expected


async def test_store_that_is_closed_while_many_keys_go_says_so() -> None:
    cache = await aio.Cache[Any](size_limit=3000 * ENTRY_BYTES).open()
    for number in range(3000):
        await cache.set(f"k{number}", "v" * 100)
    setting = asyncio.create_task(cache.set("large", "v" * (2700 * ENTRY_BYTES)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert 0 < cache.stats().evictions < 2000
    await cache.close()
    with pytest.raises(StoreClosed):
        await setting


async def test_tasks_share_a_cache_that_is_always_full(tmp_path: Path) -> None:
    async with aio.Cache[Any](tmp_path, size_limit=50 * ENTRY_BYTES, journal=True, fsync="always") as cache:

        async def work(task: int) -> None:
            for number in range(10):
                await cache.set(f"{task}:{number}", {"of": task})
                await cache.incr("n")
                assert (await cache.get(f"{task}:{number}", {"of": task}))["of"] == task

        await asyncio.gather(*map(work, range(30)))
        expected = {key: value async for key, value in cache.items()}
        assert cache.volume() <= 50 * ENTRY_BYTES
        assert expected["n"] == 300
    with Cache[Any](tmp_path) as found:
        assert dict(found.items()) == expected
