"""A program that enqueues jobs by RQ for `rq worker`: `REDIS_URL=redis://127.0.0.1:PORT/0 python rq_session.py`.

It prints the version last.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue

from clients import jobs


def main() -> None:
    queue = Queue("session", connection=Redis.from_url(jobs.URL))

    def enqueue(number: int) -> Any:
        return queue.enqueue(jobs.work, number)

    def result(job: Any) -> Any:
        return job.latest_result(timeout=int(jobs.DEADLINE_S)).return_value

    with jobs.producer() as producer, jobs.Worker("-m", "rq.cli", "worker", "--quiet", "--url", jobs.URL, "session"):
        producer.play(enqueue, result, RedisError)
    print(version("rq"))


if __name__ == "__main__":
    main()
