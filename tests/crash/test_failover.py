"""Real servers over one folder: whoever writes dies, stops or leaves, another takes over, and nothing acknowledged is lost.

KVSERVER_FAILOVER_ROUNDS is the count of rounds of each fault.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.load import Load
from helpers.nodes import Nodes
from helpers.servers import encode, wait_until

ROUNDS = int(os.environ.get("KVSERVER_FAILOVER_ROUNDS", "1"))
LEASE_MS = 500

pytestmark = pytest.mark.timeout(60 + 20 * ROUNDS)


@pytest.fixture
def seed() -> int:
    chosen = random.randrange(1 << 32)
    print(f"seed {chosen}")
    return chosen


@contextmanager
def loaded(folder: Path, seed: int, count: int = 2, lease_ms: int = LEASE_MS) -> Iterator[tuple[Nodes, Load]]:
    """Some nodes over a folder under load, whose clients are told nothing wrong."""
    with Nodes(folder, f"file:{folder}/engine", count, lease_ms) as nodes:
        with Load(nodes, seed) as load:
            load.wait_for(100)
            yield nodes, load
            load.wait_for(100)
        verdict = load.verdict()
        print(verdict)
        assert verdict.is_right, f"{verdict}\n{nodes.logs()}"


def test_a_kill_of_the_primary_loses_nothing(tmp_path: Path, seed: int) -> None:
    with loaded(tmp_path, seed) as (nodes, load):
        for _ in range(3 * ROUNDS):
            primary = nodes.primary()
            primary.kill()
            killed_at = time.monotonic()
            load.wait_for(50)
            print(f"{load.gap_since(killed_at):.3f} s without a write behind a kill")
            assert nodes.primary() is not primary
            primary.restart()


def test_a_primary_that_leaves_hands_over_at_once(tmp_path: Path, seed: int) -> None:
    # Who waits for such a lease would be seen.
    with loaded(tmp_path, seed, lease_ms=20_000) as (nodes, load):
        for number in range(3 * ROUNDS):
            primary, way = nodes.primary(), ("SIGTERM", "SHUTDOWN", "FAILOVER")[number % 3]
            began_at = time.monotonic()
            if way == "SIGTERM":
                primary.process.send_signal(signal.SIGTERM)
            elif way == "SHUTDOWN":
                with primary.connect() as wire:
                    wire.send(encode("SHUTDOWN"))
                    assert wire.read_until_eof() == b""
            else:
                # Before it has heard of the other node it refuses.
                wait_until(lambda: primary.once("FAILOVER") == b"+OK\r\n", "the primary gives up")  # noqa: B023
                nodes.primary(other_than=primary)
            if way != "FAILOVER":
                assert primary.wait() == 0
            load.wait_for(50)
            gap_s = load.gap_since(began_at)
            print(f"{gap_s:.3f} s without a write behind {way}")
            assert gap_s < 10
            if way != "FAILOVER":
                primary.restart()
