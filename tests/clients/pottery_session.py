"""A program that uses pottery, Python's containers and locks in a server: `python pottery_session.py PORT`.

It prints the version last.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from pottery import (
    BloomFilter,
    CachedOrderedDict,
    HyperLogLog,
    NextID,
    QuorumNotAchieved,
    RedisCounter,
    RedisDeque,
    RedisDict,
    RedisList,
    RedisSet,
    RedisSimpleQueue,
    Redlock,
    ReleaseUnlockedLock,
    redis_cache,
    synchronize,
)
from redis import Redis


def use_containers(client: Any) -> None:
    person = RedisDict({"name": "Ada", 1: [2, None]}, redis=client, key="person")
    person["tongue"] = "English"
    assert person == {"name": "Ada", 1: [2, None], "tongue": "English"}
    assert person.pop(1) == [2, None]
    assert sorted(person) == ["name", "tongue"]
    words = RedisList(["a", "b", "c", "d"], redis=client, key="words")
    words.append("e")
    words.insert(0, "first")
    words[1:3] = ["A", "B"]
    assert list(words) == ["first", "A", "B", "c", "d", "e"]
    del words[0]
    assert words.pop() == "e"
    assert words[::-1] == ["d", "c", "B", "A"]
    assert words.index("c") == 2
    numbers = RedisList([30, 4, 100], redis=client, key="numbers")
    numbers.sort(reverse=True)
    assert numbers == [100, 30, 4]
    odd = RedisSet({1, 3, 5}, redis=client, key="odd")
    odd.add(7)
    odd.discard(1)
    assert odd == {3, 5, 7}
    assert odd.intersection({3, 9}) == {3}
    odd.update({9})
    assert len(odd) == 4
    letters = RedisCounter("abracadabra", redis=client, key="letters")
    letters["a"] += 2
    assert (letters["a"], letters["b"], letters["z"]) == (7, 2, 0)
    assert letters + Counter("abc") == Counter("abracadabraaaabc")
    ends = RedisDeque([1, 2, 3], redis=client, key="ends", maxlen=3)
    ends.append(4)
    ends.appendleft(0)
    assert list(ends) == [0, 2, 3]
    ends.rotate(1)
    assert ends.popleft() == 3
    queue = RedisSimpleQueue(redis=client, key="queue")
    queue.put({"job": 1})
    queue.put("second")
    assert queue.qsize() == 2
    assert [queue.get(), queue.get()] == [{"job": 1}, "second"]
    assert queue.empty()


def use_estimates(client: Any) -> None:
    seen = BloomFilter(num_elements=100, false_positives=0.001, redis=client, key="seen")
    seen.update({"Ada", "Grace"})
    assert "Ada" in seen
    assert "Charles" not in seen
    count = HyperLogLog(range(100), redis=client, key="count")
    assert 95 <= len(count) <= 105


def use_caches(client: Any) -> None:
    calls = []

    @redis_cache(redis=client, key="double", timeout=60)
    def double(number: int) -> int:
        calls.append(number)
        return number * 2

    assert [double(2), double(2), double(3)] == [4, 4, 6]
    assert calls == [2, 3]
    ages: Any = CachedOrderedDict(redis_client=client, redis_key="ages", dict_keys=("Ada", "Grace"))
    assert sorted(ages.misses()) == ["Ada", "Grace"]
    ages["Ada"] = 36
    again: Any = CachedOrderedDict(redis_client=client, redis_key="ages", dict_keys=("Ada", "Grace"))
    assert (again["Ada"], list(again.misses())) == (36, ["Grace"])


def refuses(call: Callable[[], object], error: type[Exception]) -> bool:
    try:
        call()
    except error:
        return True
    return False


def use_locks(client: Any) -> None:
    lock = Redlock(key="printer", masters={client}, auto_release_time=10)
    other = Redlock(key="printer", masters={client}, auto_release_time=10)
    assert lock.acquire(blocking=False)
    assert 9 < lock.locked() <= 10
    assert not other.acquire(blocking=False)
    lock.extend()
    assert lock.locked() > 9
    lock.release()
    assert refuses(lock.release, ReleaseUnlockedLock)
    with other:
        assert not lock.acquire(blocking=False)
        assert other.locked()
    assert not lock.locked()

    @synchronize(key="synchronized", masters={client}, auto_release_time=10, blocking=True, timeout=-1)
    def alone() -> str:
        return "done"

    assert [alone(), alone()] == ["done"] * 2
    assert issubclass(QuorumNotAchieved, Exception)
    ids = NextID(key="ids", masters={client})
    assert [next(ids), next(ids), next(ids)] == [1, 2, 3]


def main(port: int) -> None:
    with Redis(port=port) as client:
        for use in (use_containers, use_estimates, use_caches, use_locks):
            client.flushall()
            use(client)
    print(version("pottery"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
