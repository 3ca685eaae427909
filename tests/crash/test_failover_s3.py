"""Real servers over an object store, with a proxy before each: nodes fail, answers are lost, and nothing acknowledged is lost.

KVSERVER_FAILOVER_ROUNDS is the count of rounds of each fault.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from helpers.load import Load
from helpers.nodes import Nodes
from helpers.proxy import Proxy
from helpers.s3_servers import S3Server

ROUNDS = int(os.environ.get("KVSERVER_FAILOVER_ROUNDS", "1"))
# Each append takes some ms there, and more on a busy machine.
LEASE_MS = 1500
PATIENCE_S = 60.0

pytestmark = pytest.mark.timeout(100 + 40 * ROUNDS)


@contextmanager
def loaded(folder: Path, server: S3Server) -> Iterator[tuple[Nodes, Load, list[Proxy]]]:
    """Two nodes over the store under load, each by a proxy of its own, whose clients are told nothing wrong."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    path = f"kvserver/{secrets.token_hex(8)}"
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(server.port)) for _ in range(2)]
        nodes = Nodes(folder, "", 2, LEASE_MS)
        for number, proxy in enumerate(proxies):
            nodes.reach(number, S3Server(proxy.port).url(path))
        stack.enter_context(nodes)
        with Load(nodes, seed) as load:
            load.wait_for(30, PATIENCE_S)
            yield nodes, load, proxies
            load.wait_for(30, PATIENCE_S)
        verdict = load.verdict()
        print(verdict)
        assert verdict.is_right, f"{verdict}\n{nodes.logs()}"


def test_primary_that_is_killed_or_cut_off_loses_nothing(tmp_path: Path, s3_server: S3Server) -> None:
    with loaded(tmp_path, s3_server) as (nodes, load, proxies):
        for _ in range(ROUNDS):
            primary = nodes.primary()
            primary.kill()
            killed_at = time.monotonic()
            load.wait_for(20, PATIENCE_S)
            print(f"{load.gap_since(killed_at):.3f} s without a write behind a kill")
            assert nodes.primary() is not primary
            primary.restart()
            # Its next append is refused, since the other one leads meanwhile.
            primary = nodes.primary()
            proxy = proxies[nodes.nodes.index(primary)]
            proxy.stall()
            nodes.primary(other_than=primary)
            proxy.flow()
            load.wait_for(20, PATIENCE_S)


def test_answers_that_are_lost_are_settled(tmp_path: Path, s3_server: S3Server) -> None:
    with loaded(tmp_path, s3_server) as (nodes, load, proxies):
        for number in range(6 * ROUNDS):
            proxy = proxies[nodes.nodes.index(nodes.primary())]
            if number % 3 == 2:
                proxy.cut()
            else:
                # Every append asks for this.
                lost = proxy.lose_answer(of=b"if-none-match")
                assert lost.wait(PATIENCE_S)
                proxy.forget_losses()
            load.wait_for(10, PATIENCE_S)
