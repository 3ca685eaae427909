"""A program that sends tasks by taskiq for its worker, through a stream, with results in the server.

`REDIS_URL=redis://127.0.0.1:PORT/0 python taskiq_session.py` prints the version last.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from taskiq.exceptions import SendTaskError
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from clients import jobs

# A connection that the server's end has cut is made again.
RETRY = Retry(ConstantBackoff(0.05), 100)
broker: Any = RedisStreamBroker(jobs.URL, retry=RETRY).with_result_backend(RedisAsyncResultBackend(jobs.URL, retry=RETRY))


@broker.task(task_name="work")
def work(number: int) -> int:
    return jobs.work(number)


def main() -> None:
    with jobs.event_loop() as run:
        run(broker.startup())

        def enqueue(number: int) -> Any:
            return run(work.kiq(number))

        def result(task: Any) -> Any:
            return run(task.wait_result(check_interval=0.01, timeout=jobs.DEADLINE_S)).return_value

        command = ("-m", "taskiq", "worker", "clients.taskiq_session:broker", "--workers", "1", "--log-level", "WARNING")
        with jobs.producer() as producer, jobs.Worker(*command, "--max-async-tasks", "1"):
            producer.play(enqueue, result, SendTaskError)
        run(broker.shutdown())
    print(version("taskiq"), version("taskiq-redis"))


if __name__ == "__main__":
    main()
