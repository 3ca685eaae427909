"""A program that queues and runs tasks by huey, with and without blocking: `python huey_session.py PORT`.

It prints what it leaves out, with the reason, and then the version.
"""

from __future__ import annotations

import datetime
import itertools
import logging
import sys
from importlib.metadata import version
from typing import Any

from huey import PriorityRedisExpireHuey, PriorityRedisHuey, RedisExpireHuey, RedisHuey
from huey.exceptions import TaskLockedException

LEFT_OUT = ("locks with a time: they want Redis 7.4, by the version that INFO tells",)


def work(huey: Any) -> int:
    """Run all tasks that are queued, and return how many these were."""
    count = 0
    while (task := huey.dequeue()) is not None:
        huey.execute(task)
        count += 1
    return count


def use(huey: Any, *, has_priorities: bool) -> None:
    ran = []

    @huey.task()
    def add(a: int, b: int) -> int:
        ran.append((a, b))
        return a + b

    @huey.task()
    @huey.lock_task("alone")
    def alone() -> bool:
        return bool(huey.is_locked("alone"))

    @huey.task(retries=1)
    def fail() -> None:
        ran.append((0, 0))
        raise ValueError("on purpose")

    first, second = add(1, 2), add("é", "\0")
    assert len(huey) == 2
    assert first() is None
    assert work(huey) == 2
    assert (first(), second()) == (3, "é\0")
    chained = huey.enqueue(add.s(1, 1).then(add, 10).then(add, 100))
    assert work(huey) == 3
    assert chained.get() == [2, 12, 112]
    ran.clear()
    group = add.map([(number, 0) for number in range(20)])
    assert work(huey) == 20
    assert group() == list(range(20))
    assert ran == [(number, 0) for number in range(20)]

    revoked = add(5, 5)
    revoked.revoke()
    assert revoked.is_revoked()
    work(huey)
    assert revoked() is None
    assert alone() is not None
    assert work(huey) == 1
    with huey.lock_task("other"):
        try:
            with huey.lock_task("other"):
                raise AssertionError("a lock was taken twice")
        except TaskLockedException:
            pass
    ran.clear()
    fail()
    assert work(huey) == 2
    assert ran == [(0, 0)] * 2
    add.schedule((1, 2), delay=1000)
    work(huey)
    assert huey.scheduled_count() == 1
    assert huey.read_schedule() == []
    (due,) = huey.read_schedule(datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(days=1))
    assert (due.name, due.args) == ("add", (1, 2))
    assert huey.scheduled_count() == 0
    if has_priorities:
        ran.clear()
        add(1, 1, priority=1)
        add(9, 9, priority=9)
        add(2, 2, priority=1)
        assert work(huey) == 3
        assert ran == [(9, 9), (1, 1), (2, 2)]
    huey.flush()
    assert (len(huey), huey.scheduled_count(), huey.result_count()) == (0, 0, 0)


def main(port: int) -> None:
    # It logs the error of the task that fails on purpose.
    logging.getLogger("huey").setLevel(logging.CRITICAL)
    kinds = (RedisHuey, RedisExpireHuey, PriorityRedisHuey, PriorityRedisExpireHuey)
    for kind, blocking in itertools.product(kinds, (False, True)):
        huey: Any = kind("session", port=port, blocking=blocking, read_timeout=0.001)
        huey.storage.conn.flushall()
        use(huey, has_priorities=huey.storage.priority)
        huey.storage.pool.disconnect()
    for what in LEFT_OUT:
        print("left out:", what)
    print(version("huey"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
