"""A program that enqueues tasks by huey for `huey_consumer`, whose workers block.

`REDIS_URL=redis://127.0.0.1:PORT/0 python huey_worker_session.py` prints the version last.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from huey import PriorityRedisExpireHuey
from redis.exceptions import RedisError

from clients import jobs

huey: Any = PriorityRedisExpireHuey("session", url=jobs.URL)


work = huey.task()(jobs.work)


def main() -> None:
    def result(handle: Any) -> Any:
        return handle.get(blocking=True, timeout=jobs.DEADLINE_S)

    command = ("-m", "huey.bin.huey_consumer", "clients.huey_worker_session.huey", "--workers", "1", "--quiet")
    with jobs.producer() as producer, jobs.Worker(*command):
        producer.play(work, result, RedisError)
    print(version("huey"))


if __name__ == "__main__":
    main()
