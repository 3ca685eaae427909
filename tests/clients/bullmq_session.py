"""A program that adds jobs by BullMQ's Python package for a worker of the same.

`REDIS_URL=redis://127.0.0.1:PORT/0 python bullmq_session.py` prints the version last. With the argument `work` it is the
worker.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from typing import Any

from bullmq import Queue, Worker
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError

from clients import jobs


def connection() -> Any:
    """A connection that asks again soon where the server is away. BullMQ's own waits for seconds."""
    return Redis.from_url(jobs.URL, decode_responses=True, retry=Retry(ConstantBackoff(0.05), 100))


async def process(job: Any, _: str) -> int:
    return await asyncio.to_thread(jobs.work, job.data["number"])


async def work() -> None:
    Worker("session", process, {"connection": connection()})
    await asyncio.Event().wait()


async def result_of(queue: Any, job: Any) -> Any:
    async with asyncio.timeout(jobs.DEADLINE_S):
        while await queue.getJobState(job.id) != "completed":
            pass
    return (await queue.getJob(job.id)).returnvalue


def main() -> None:
    with jobs.event_loop() as run:

        async def make() -> Any:
            return Queue("session", {"connection": connection()})

        queue = run(make())

        def enqueue(number: int) -> Any:
            return run(queue.add("work", {"number": number}))

        def result(job: Any) -> Any:
            return run(result_of(queue, job))

        with jobs.producer() as producer, jobs.Worker(__file__, "work"):
            producer.play(enqueue, result, RedisError)
        run(queue.close())
    print(version("bullmq"))


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        asyncio.run(work())
    else:
        main()
