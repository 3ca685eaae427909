"""A program that uses the locks and scripts of redis-py, plain and in asyncio: `python redis_py_lock_session.py PORT`.

It prints the version last.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import LockError, LockNotOwnedError, NoScriptError, ResponseError

COUNT = 10


def use_lock(client: Any) -> None:
    lock = client.lock("lock", timeout=10, blocking=False)
    other = client.lock("lock", timeout=10, blocking=False)
    assert lock.acquire()
    assert lock.locked()
    assert lock.owned()
    assert not other.acquire()
    assert not other.owned()
    assert 9 < client.pttl("lock") / 1000 <= 10
    assert lock.extend(10)
    assert 19 < client.pttl("lock") / 1000 <= 20
    assert lock.extend(5, replace_ttl=True)
    assert 4 < client.pttl("lock") / 1000 <= 5
    assert lock.reacquire()
    assert 9 < client.pttl("lock") / 1000 <= 10
    lock.release()
    assert not lock.locked()
    # A lock whose time was up belongs to somebody else, and can be given back by nobody else.
    assert lock.acquire()
    client.delete("lock")
    assert other.acquire()
    for call in (lambda: lock.extend(1), lock.release):
        try:
            call()
        except LockNotOwnedError:
            continue
        raise AssertionError("a lock was changed by somebody who has it no more")
    assert other.owned()
    other.release()
    try:
        other.release()
    except LockError:
        pass
    else:
        raise AssertionError("a lock was given back twice")


def use_lock_in_threads(client: Any) -> None:
    """Each reads a number and writes the next one, which is right only if no two do so at once."""

    def count() -> None:
        for _ in range(COUNT):
            with client.lock("lock", timeout=30, sleep=0.001):
                client.set("count", int(client.get("count") or 0) + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(client.get("count")) == 4 * COUNT


def use_scripts(client: Any) -> None:
    add = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert add(keys=["sum"], args=[5]) == 5
    client.script_flush()
    # It loads the script again.
    assert add(keys=["sum"], args=[2]) == 7
    assert client.script_exists(add.sha, "0" * 40) == [True, False]
    with client.pipeline() as pipeline:
        pipeline.set("sum", 10)
        add(keys=["sum"], args=[1], client=pipeline)
        assert pipeline.execute() == [True, 11]
    assert client.eval("return {1, 'two', false, {KEYS[1], ARGV[1]}}", 1, "a", "b") == [1, b"two", None, [b"a", b"b"]]
    try:
        client.evalsha("0" * 40, 0)
    except NoScriptError:
        pass
    else:
        raise AssertionError("a script ran that is not there")
    client.set("text", "x")
    try:
        client.eval("return redis.call('INCR', KEYS[1])", 1, "text")
    except ResponseError as error:
        told = str(error)
    else:
        told = "nothing"
    assert "not an integer" in told, told


async def use_async_lock(client: Any) -> None:
    lock, other = client.lock("lock", timeout=10), client.lock("lock", timeout=10, blocking=False)
    assert await lock.acquire()
    assert not await other.acquire()
    assert await lock.extend(5, replace_ttl=True)
    assert 4 < await client.pttl("lock") / 1000 <= 5
    assert await lock.reacquire()
    assert await lock.owned()
    await lock.release()
    assert not await lock.locked()

    async def count() -> None:
        for _ in range(COUNT):
            async with client.lock("lock", timeout=30, sleep=0.001):
                await client.set("count", int(await client.get("count") or 0) + 1)

    await asyncio.gather(*(count() for _ in range(4)))
    assert int(await client.get("count")) == 4 * COUNT
    assert await client.register_script("return ARGV[1]")(args=["é"]) == "é".encode()


async def use_async(port: int) -> None:
    async with redis.asyncio.Redis(port=port) as client:
        await client.flushall()
        await use_async_lock(client)


def main(port: int) -> None:
    with redis.Redis(port=port) as client:
        for use in (use_lock, use_lock_in_threads, use_scripts):
            client.flushall()
            use(client)
    asyncio.run(use_async(port))
    print(redis.__version__)


if __name__ == "__main__":
    main(int(sys.argv[1]))
