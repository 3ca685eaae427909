"""A program that sends messages by dramatiq for its workers, with results in the server.

`REDIS_URL=redis://127.0.0.1:PORT/0 python dramatiq_session.py` prints the version last.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from redis.exceptions import RedisError

from clients import jobs

# The worker fetches nothing ahead, since it would be lost if the server left meanwhile, and comes back soon.
SETTINGS = {"dramatiq_queue_prefetch": "1", "dramatiq_restart_delay": "100"}

broker = RedisBroker(url=jobs.URL)
broker.add_middleware(Results(backend=RedisBackend(url=jobs.URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name="work", store_results=True)
def work(number: int) -> int:
    return jobs.work(number)


def main() -> None:
    def result(message: Any) -> Any:
        return message.get_result(block=True, timeout=int(jobs.DEADLINE_S * 1000))

    os.environ.update(SETTINGS)
    command = ("-m", "dramatiq", "clients.dramatiq_session", "--processes", "1", "--threads", "1")
    with jobs.producer() as producer, jobs.Worker(*command):
        producer.play(work.send, result, RedisError)
    print(version("dramatiq"))


if __name__ == "__main__":
    main()
