"""A program that enqueues jobs by arq for its worker: `REDIS_URL=redis://127.0.0.1:PORT/0 python arq_session.py`.

It prints the version last.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

from arq import create_pool, func
from arq.connections import RedisSettings
from redis.exceptions import RedisError

from clients import jobs


async def work(_: Any, number: int) -> int:
    return await asyncio.to_thread(jobs.work, number)


class Settings:
    """What arq's worker is told."""

    functions = (func(work, name="work"),)
    redis_settings = RedisSettings.from_dsn(jobs.URL)
    poll_delay = 0.02


def main() -> None:
    with jobs.event_loop() as run:
        pool = run(create_pool(Settings.redis_settings))

        def enqueue(number: int) -> Any:
            job = run(pool.enqueue_job("work", number))
            # Where the connection is lost between WATCH and EXEC, redis-py tells of a key that has changed.
            # arq takes that for a job that is there already, which it is not.
            if job is None:
                raise RedisError("nobody has acknowledged the job")
            return job

        def result(job: Any) -> Any:
            return run(job.result(timeout=jobs.DEADLINE_S))

        with jobs.producer() as producer, jobs.Worker("-m", "arq", "clients.arq_session.Settings") as worker:
            producer.play(enqueue, result, RedisError, stopped=worker)
        run(pool.aclose())
    print(version("arq"))


if __name__ == "__main__":
    main()
