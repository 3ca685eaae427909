"""A program that uses python-redis-lock, where who waits for a lock blocks: `python python_redis_lock_session.py PORT`.

It prints the version last.
"""

from __future__ import annotations

import sys
import threading
from importlib.metadata import version
from typing import Any

import redis
import redis_lock
from redis_lock import AlreadyAcquired, Lock, NotAcquired

COUNT = 10


def use_lock(client: Any) -> None:
    lock, other = Lock(client, "lock", expire=10), Lock(client, "lock", expire=10)
    assert lock.acquire(blocking=False)
    assert lock.locked()
    assert not other.acquire(blocking=False)
    assert other.get_owner_id() == lock.id
    assert 9 < client.pttl("lock:lock") / 1000 <= 10
    lock.extend(20)
    assert 19 < client.pttl("lock:lock") / 1000 <= 20
    for call, error in ((lock.acquire, AlreadyAcquired), (other.release, NotAcquired), (other.extend, NotAcquired)):
        try:
            call()
        except error:
            continue
        raise AssertionError(f"no {error}")
    lock.release()
    assert not lock.locked()
    assert other.acquire(blocking=False)
    other.reset()
    assert not lock.locked()
    assert Lock(client, "first").acquire()
    assert Lock(client, "second").acquire()
    redis_lock.reset_all(client)
    assert client.keys("lock:*") == []


def use_lock_in_threads(client: Any) -> None:
    """Each reads a number and writes the next one, which is right only if no two do so at once. Who waits blocks."""

    def count() -> None:
        for _ in range(COUNT):
            with Lock(client, "lock", expire=30):
                client.set("count", int(client.get("count") or 0) + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(client.get("count")) == 4 * COUNT


def main(port: int) -> None:
    with redis.Redis(port=port) as client:
        for use in (use_lock, use_lock_in_threads):
            client.flushall()
            use(client)
    print(version("python-redis-lock"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
