"""A program that enqueues jobs by RQ and Sentinel for `rq worker`: `SENTINELS=PORT,PORT python rq_sentinel_session.py`.

It prints the version last.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from redis.exceptions import RedisError
from redis.sentinel import Sentinel
from rq import Queue

from clients import jobs
from clients.rq_sentinel_settings import SENTINEL


def main() -> None:
    # It has no types.
    sentinel: Any = Sentinel
    master = sentinel(SENTINEL["INSTANCES"], socket_timeout=5).master_for(SENTINEL["MASTER_NAME"])
    queue = Queue("session", connection=master)

    def enqueue(number: int) -> Any:
        return queue.enqueue(jobs.work, number)

    def result(job: Any) -> Any:
        return job.latest_result(timeout=int(jobs.DEADLINE_S)).return_value

    worker = jobs.Worker("-m", "rq.cli", "worker", "--quiet", "--config", "clients.rq_sentinel_settings", "session")
    with jobs.producer() as producer, worker:
        producer.play(enqueue, result, RedisError)
    print(version("rq"))


if __name__ == "__main__":
    main()
