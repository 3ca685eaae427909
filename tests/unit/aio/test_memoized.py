"""A memoized coroutine function computes once for all tasks that ask, whoever of them is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, assert_type

import pytest

from kvserver import Cache, aio
from kvserver.aio.memoized import BoundMemoized, Memoized

calls: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
async def cache() -> AsyncIterator[aio.Cache[Any]]:
    async with aio.Cache[Any]() as cache:
        yield cache


class Gate:
    """A function that waits until it is let go."""

    def __init__(self, cache: aio.Cache[Any]) -> None:
        self.opened = asyncio.Event()
        self.failure: BaseException | None = None

        @cache.memoize
        async def function() -> dict[str, int]:
            calls.append(1)
            await self.opened.wait()
            if self.failure:
                raise self.failure
            return {"n": 1}

        self.function = function

    async def asked_by(self, count: int) -> list[asyncio.Task[dict[str, int]]]:
        """So many tasks, all of which wait."""
        tasks = [asyncio.ensure_future(self.function()) for _ in range(count)]
        for _ in range(3):
            await asyncio.sleep(0)
        return tasks


async def add(a: int, b: int = 2) -> int:
    calls.append((a, b))
    return a + b


async def test_result_is_computed_once_for_a_call_however_it_is_said(cache: aio.Cache[Any]) -> None:
    memoized: Memoized[Any, int] = cache.memoize(ttl=60)(add)
    assert [await memoized(1), await memoized(1, 2), await memoized(b=2, a=1), await memoized(2)] == [3, 3, 3, 4]
    assert calls == [(1, 2), (2, 2)]
    assert memoized.cache_key(1) == f'{__name__}.add:{{"a":1,"b":2}}'
    assert 59 < (await cache.ttl(memoized.cache_key(1)) or 0) <= 60
    assert (await memoized.forget(1), await memoized.forget(1)) == (True, False)
    assert memoized.__wrapped__ is add
    assert asyncio.iscoroutinefunction(memoized)


async def test_many_tasks_share_one_computation_and_each_has_a_copy(cache: aio.Cache[Any]) -> None:
    gate = Gate(cache)
    tasks = await gate.asked_by(50)
    gate.opened.set()
    results = await asyncio.gather(*tasks)
    assert results == [{"n": 1}] * 50
    assert len(set(map(id, results))) == 50
    assert calls == [1]


async def test_tasks_that_wait_for_a_call_that_fails_get_its_exception(cache: aio.Cache[Any]) -> None:
    gate = Gate(cache)
    gate.failure = LookupError("gone")
    tasks = await gate.asked_by(3)
    gate.opened.set()
    assert [type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)] == [LookupError] * 3
    gate.failure = None
    assert await gate.function() == {"n": 1}
    assert calls == [1, 1]


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_cancelled_task_leaves_the_others_their_result(cache: aio.Cache[Any], cancelled: int) -> None:
    """The one that computes, and one that waits."""
    gate = Gate(cache)
    tasks = await gate.asked_by(4)
    tasks[cancelled].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks.pop(cancelled)
    await asyncio.sleep(0)
    gate.opened.set()
    assert await asyncio.gather(*tasks) == [{"n": 1}] * 3
    assert len(calls) == (1 if cancelled else 2)


async def test_none_is_kept_and_an_exception_is_not(cache: aio.Cache[Any]) -> None:
    @cache.memoize
    async def nothing(fails: bool) -> None:
        calls.append(fails)
        if fails:
            raise LookupError

    await nothing(False)
    await nothing(False)
    for _ in range(2):
        with pytest.raises(LookupError):
            await nothing(True)
    assert calls == [False, True, True]


async def test_recursion_keeps_each_result_and_does_not_wait_for_itself(cache: aio.Cache[Any]) -> None:
    @cache.memoize
    async def fibonacci(number: int) -> int:
        calls.append(number)
        return number if number < 2 else await fibonacci(number - 1) + await fibonacci(number - 2)

    assert await fibonacci(50) == 12586269025
    assert len(calls) == 51

    @cache.memoize
    async def twice(number: int) -> int:
        calls.append(number)
        return await twice(number) if len(calls) < 54 else number

    assert await twice(1) == 1


async def test_method_is_memoized_by_what_its_key_takes_of_the_instance(cache: aio.Cache[Any]) -> None:
    class Users:
        team = "a"

        @cache.memoize(key=lambda self, number: [self.team, number])
        async def name(self, number: int) -> str:
            calls.append(number)
            return f"{self.team}{number}"

    users = Users()
    assert isinstance(users.name, BoundMemoized)
    assert [await users.name(1), await Users().name(number=1)] == ["a1", "a1"]
    assert calls == [1]
    assert users.name.cache_key(1) == Users.name.cache_key(users, 1)
    assert await users.name.forget(1) is True
    assert await users.name.__wrapped__(7) == "a7"
    assert asyncio.iscoroutinefunction(users.name)


def test_what_is_no_coroutine_function_is_told() -> None:
    cache: aio.Cache[Any] = aio.Cache()

    def plain() -> None: ...

    with pytest.raises(TypeError, match=r"no coroutine function: .*kvserver\.Cache"):
        cache.memoize(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="by their names"):
        aio.memoize(60)  # type: ignore[call-overload]


def test_function_with_a_cache_in_memory_is_called_in_any_loop() -> None:
    @aio.memoize
    async def slow(number: int) -> int:
        calls.append(number)
        await asyncio.sleep(0.001)
        return number

    def run() -> None:
        async def main() -> list[int]:
            return [*await asyncio.gather(slow(1), slow(1), slow(1))]

        assert asyncio.run(main()) == [1, 1, 1]

    run()
    run()
    assert calls == [1]
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


async def test_library_finds_the_result(tmp_path: Path) -> None:
    async with aio.Cache[Any](tmp_path, journal=True) as cache:
        memoized = cache.memoize(add)
        await memoized(1)
    with Cache[Any](tmp_path) as found:
        assert found[memoized.cache_key(1)] == 3


async def test_types_of_a_memoized_function_are_its_own(cache: aio.Cache[Any]) -> None:
    """The type checker says so: it has nothing to ignore where a call is right."""
    memoized = cache.memoize(add)
    assert_type(await memoized(1, b=3), int)
    assert_type(await aio.memoize(add)(1), int)
    assert_type(await memoized.forget(1), bool)
    with pytest.raises(TypeError):
        await memoized("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        memoized.cache_key(1, c=2)  # type: ignore[call-arg]


async def test_result_for_which_there_is_no_room_is_computed_once_for_all_who_wait() -> None:
    async with aio.Cache[Any](size_limit=100) as cache:
        may_end = asyncio.Event()

        @cache.memoize(name="other")
        async def slow(n: int) -> int:
            calls.append(n)
            await may_end.wait()
            return n

        waiting = [asyncio.create_task(slow(7)) for _ in range(3)]
        await asyncio.sleep(0)
        may_end.set()
        assert await asyncio.gather(*waiting) == [7] * 3
        assert calls == [7]
        assert await slow(7) == 7
        assert calls == [7, 7]
        assert slow.cache_key(7) == 'other:{"n":7}'


async def test_result_that_can_not_be_decoded_any_more_is_computed_anew() -> None:
    class Digits:
        def encode(self, value: int) -> bytes:
            return b"%d" % value

        def decode(self, data: bytes) -> int:
            return int(data)

    async with aio.Cache[Any](codec=Digits()) as cache:

        @cache.memoize
        async def same(n: int) -> int:
            calls.append(n)
            return n

        await same(1)
        cache._core.databases[0].set(same.cache_key(1).encode(), b"of another codec")
        assert [await same(1), await same(1)] == [1, 1]
        assert calls == [1, 1]
