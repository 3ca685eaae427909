"""A program that uses redis-py by Sentinel over switches: `python sentinel_session.py PORT PORT`. Each port is a Sentinel.

It says `failover` or `kill` when another node is to lead. It prints the version last.
"""

from __future__ import annotations

import sys
import threading
from importlib.metadata import version
from typing import Any

from redis import ConnectionError, Redis
from redis.sentinel import Sentinel

NAME = "kv"
WRITES_BEHIND = 20
# So often at most does a write fail, of those that a switch has met on their way.
MOST_FAILURES = 5_000


class Program:
    def __init__(self, ports: list[int]) -> None:
        # It has no types.
        sentinel: Any = Sentinel
        self.sentinel = sentinel([("127.0.0.1", port) for port in ports], socket_timeout=5)
        self.client: Redis = self.sentinel.master_for(NAME, decode_responses=True)
        self.reader: Redis = self.sentinel.slave_for(NAME, decode_responses=True)
        self.written: list[str] = []

    def write(self) -> None:
        self.written.append(str(len(self.written)))
        self.client.rpush("log", self.written[-1])

    def write_in_the_end(self) -> None:
        """Write, and again if that fails since the connection has ended: redis-py by Sentinel leaves that to programs."""
        self.written.append(str(len(self.written)))
        for _ in range(MOST_FAILURES):
            try:
                self.client.rpush("log", self.written[-1])
            except ConnectionError:
                continue
            return
        raise AssertionError("nobody takes a write")

    def switch(self, how: str) -> None:
        """Let another node lead, and return when it does."""
        before = self.sentinel.discover_master(NAME)
        print(how, flush=True)
        assert sys.stdin.readline() == "ready\n"
        assert self.sentinel.discover_master(NAME) != before

    def check(self) -> None:
        """See that all is there in its order. What was written again may be there twice."""
        assert list(dict.fromkeys(self.client.lrange("log", 0, -1))) == self.written


def main() -> None:
    program = Program([int(port) for port in sys.argv[1:]])
    program.write()
    (replica,) = program.sentinel.discover_slaves(NAME)
    assert replica != program.sentinel.discover_master(NAME)
    program.reader.ping()
    # Who writes nothing just then notices nothing.
    for how in ("failover", "kill"):
        program.switch(how)
        for _ in range(WRITES_BEHIND):
            program.write()
    program.check()
    # Who does, meets the end of a connection.
    for how in ("kill", "failover"):
        switching = threading.Thread(target=program.switch, args=(how,))
        switching.start()
        while switching.is_alive():
            program.write_in_the_end()
        switching.join()
        for _ in range(WRITES_BEHIND):
            program.write()
    program.check()
    print(version("redis"))


if __name__ == "__main__":
    main()
