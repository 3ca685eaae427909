"""A program that sends tasks by Celery for `celery worker`, with broker and results in the server.

`REDIS_URL=redis://127.0.0.1:PORT/0 python celery_session.py` prints the version last.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from clients import jobs

app = Celery("session", broker=jobs.URL, backend=jobs.URL)
app.conf.update(
    # A task that was running when its worker lost the server is not lost.
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    # Where the server is away, the producer is told at once, and the worker asks again soon.
    task_publish_retry=False,
)


@app.task(name="work")
def work(number: int) -> int:
    return jobs.work(number)


def main() -> None:
    def result(task: Any) -> Any:
        return task.get(timeout=jobs.DEADLINE_S)

    command = ("-m", "celery", "-A", "clients.celery_session", "worker", "--concurrency", "1", "--loglevel", "WARNING")
    with jobs.producer() as producer, jobs.Worker(*command, "--without-gossip", "--without-mingle"):
        producer.play(work.delay, result, OperationalError)
    print(version("celery"))


if __name__ == "__main__":
    main()
