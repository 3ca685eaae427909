"""Real servers over three nodes of NATS, with a proxy before each: nodes and engine fail, and nothing acknowledged is lost.

KVSERVER_FAILOVER_ROUNDS is the count of rounds of each fault.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from helpers.load import Load
from helpers.nats_servers import NatsServers
from helpers.nodes import Node, Nodes
from helpers.proxy import Proxy
from helpers.servers import encode, parse, wait_until
from kvserver.media.nats import stream_of
from kvserver.media.nats_client import NatsClient
from kvserver.media.nats_url import Login

ROUNDS = int(os.environ.get("KVSERVER_FAILOVER_ROUNDS", "1"))

pytestmark = pytest.mark.timeout(120 + 60 * ROUNDS)


@pytest.fixture
def seed() -> int:
    chosen = random.randrange(1 << 32)
    print(f"seed {chosen}")
    return chosen


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    """Three nats-servers that these tests may kill, and start again."""
    with NatsServers(tmp_path_factory.mktemp("nats"), 3) as servers:
        yield servers


@contextmanager
def loaded(
    folder: Path, servers: NatsServers, name: str, seed: int, lease_ms: int = 1000
) -> Iterator[tuple[Nodes, Load, list[list[Proxy]]]]:
    """Two nodes under load, each with proxies of its own before NATS, and clients who are told nothing wrong."""
    with ExitStack() as stack:
        proxies = [[stack.enter_context(Proxy(node.port)) for node in servers.nodes] for _ in range(2)]
        nodes = Nodes(folder, "", 2, lease_ms)
        for number, own in enumerate(proxies):
            nodes.reach(number, f"nats://{','.join(f'127.0.0.1:{proxy.port}' for proxy in own)}/{name}")
        stack.enter_context(nodes)
        with Load(nodes, seed) as load:
            load.wait_for(100)
            yield nodes, load, proxies
            load.wait_for(100, 60)
        verdict = load.verdict()
        print(verdict)
        assert verdict.is_right, f"{verdict}\n{nodes.logs()}"


def is_refused(node: Node) -> bool:
    """True if a node refuses to write. One that is being demoted answers nothing, or takes no connection."""
    with suppress(OSError, EOFError):
        return node.once("SET", "mine", "refused").startswith(b"-READONLY")
    return False


def test_kills_cuts_and_delays_lose_nothing(tmp_path: Path, servers: NatsServers, seed: int) -> None:
    rng = random.Random(seed)
    with loaded(tmp_path, servers, "cuts", seed) as (nodes, load, proxies):
        for _ in range(ROUNDS):
            # Answers of the engine that are lost: each leaves an append of unknown outcome, which has landed.
            for _ in range(3):
                own = proxies[nodes.nodes.index(nodes.primary())]
                lost = [proxy.lose_answer(of=b"KV-Epoch") for proxy in own]
                while not any(event.wait(0.05) for event in lost):
                    load.wait_for(1)
                for proxy in own:
                    proxy.forget_losses()
            # Connections that break at any moment, and delays that change.
            for _ in range(10):
                proxy = rng.choice([proxy for own in proxies for proxy in own])
                proxy.delay_s = rng.choice((0.0, 0.005, 0.03))
                proxy.cut()
                load.wait_for(10)
            primary = nodes.primary()
            primary.kill()
            killed_at = time.monotonic()
            load.wait_for(50)
            print(f"{load.gap_since(killed_at):.3f} s without a write behind a kill")
            primary.restart()


def test_a_primary_that_stood_still_answers_nobody_behind_its_lease(tmp_path: Path, servers: NatsServers, seed: int) -> None:
    with loaded(tmp_path, servers, "stood", seed) as (nodes, load, _):
        for _ in range(ROUNDS):
            primary = nodes.primary()
            with primary.connect() as reader, primary.connect() as writer:
                assert writer.value("SET", "mine", "old") == b"OK"
                primary.stop_still()
                # These wait in its sockets until it goes on.
                reader.send(encode("GET", "mine"))
                writer.send(encode("SET", "mine", "late"))
                other = nodes.primary(other_than=primary)
                assert parse(other.once("SET", "mine", "new")) == b"OK"
                load.wait_for(50)
                primary.go_on()
                # It learns that it leads no more, and resets all connections instead of answering.
                said = [reader.read_until_eof(), writer.read_until_eof()]
                assert all(not answer or answer.startswith(b"-READONLY") for answer in said), said
            assert parse(other.once("GET", "mine")) == b"new"
            wait_until(partial(is_refused, primary), "the old primary follows")
            assert nodes.primary() is other


def test_two_nodes_that_both_want_to_write_take_turns(tmp_path: Path, servers: NatsServers, seed: int) -> None:
    with loaded(tmp_path, servers, "turns", seed, lease_ms=100) as (nodes, load, proxies):
        for _ in range(4 * ROUNDS):
            # Whoever leads is cut off until the other one does, and knows nothing of that.
            primary = nodes.primary()
            own = proxies[nodes.nodes.index(primary)]
            for proxy in own:
                proxy.stall()
            nodes.primary(other_than=primary)
            for proxy in own:
                proxy.flow()
            load.wait_for(20)


def test_the_engine_may_stand_still_and_come_back(tmp_path: Path, servers: NatsServers, seed: int) -> None:
    with loaded(tmp_path, servers, "still", seed) as (nodes, load, _):
        for _ in range(ROUNDS):
            primary = nodes.primary()
            with primary.connect() as wire:
                for node in servers.nodes:
                    node.halt()
                stood_at = time.monotonic()
                try:
                    wire.send(encode("SET", "held", "1"))
                    wire.socket.settimeout(2.0 * (1 if ROUNDS == 1 else 2.5))
                    with pytest.raises(TimeoutError):
                        wire.read_reply()
                finally:
                    for node in servers.nodes:
                        node.go_on()
            load.wait_for(50, 60)
            print(f"{load.gap_since(stood_at):.3f} s without a write while the engine stood still")


def test_the_stream_may_change_its_leader(tmp_path: Path, servers: NatsServers, seed: int) -> None:
    # The lease is longer than an election of the engine: nobody takes over.
    with loaded(tmp_path, servers, "leader", seed, lease_ms=30_000) as (nodes, load, _):
        primary = nodes.primary()
        for _ in range(ROUNDS):
            leader = servers.leader_of(stream_of("leader"))
            leader.kill()
            killed_at = time.monotonic()
            load.wait_for(50, 60)
            print(f"{load.gap_since(killed_at):.3f} s without a write behind a kill of the stream's leader")
            servers.start(leader)
        assert nodes.primary() is primary


def test_the_whole_engine_may_be_killed(tmp_path: Path, servers: NatsServers, seed: int) -> None:
    with loaded(tmp_path, servers, "killed", seed) as (_, load, _):
        for _ in range(ROUNDS):
            for node in servers.nodes:
                node.kill()
            killed_at = time.monotonic()
            servers.start()
            load.wait_for(50, 60)
            print(f"{load.gap_since(killed_at):.3f} s without a write behind a kill of the whole engine")


def test_a_stream_that_is_deleted_is_told_of_and_nobody_leads_by_a_new_one(tmp_path: Path) -> None:
    with NatsServers(tmp_path / "nats") as one_server:
        nodes = Nodes(tmp_path, one_server.url("gone"), 2, 500)
        client = NatsClient(one_server.hosts().split(","), Login())
        client.open()
        stream = stream_of("gone")
        with nodes:
            primary = nodes.primary()
            (standby,) = nodes.standbys()
            assert parse(primary.once("SET", "mine", "kept")) == b"OK"
            settings = client.ask(f"$JS.API.STREAM.INFO.{stream}", {}, 10)["config"]
            assert client.ask(f"$JS.API.STREAM.DELETE.{stream}", {}, 10)["success"]
            told = f"the stream {stream} is gone: somebody has deleted it"
            wait_until(lambda: told in primary.log_text() and told in standby.log_text(), "both tell of it")
            # Nobody takes over, and the standby has what was there, and says why it gets no more.
            wait_until(lambda: told.encode() in standby.once("INFO", "medium"), "INFO tells")
            wait_until(lambda: b"master_link_status:down" in standby.once("INFO", "replication"), "it has no link")
            assert parse(standby.once("GET", "mine")) == b"kept"
            for node in nodes.nodes:
                assert node.log_text().count(told) == 1
            assert "error" not in client.ask(f"$JS.API.STREAM.CREATE.{stream}", settings, 10)
            told = "the log is broken"
            wait_until(lambda: all(told in node.log_text() for node in nodes.nodes), "both tell that it is another one")
            wait_until(lambda: "it was made anew" in primary.log_text(), "the old primary does not begin anew")
            assert not any(node.leads() for node in nodes.nodes)
        assert client.ask(f"$JS.API.STREAM.INFO.{stream}", {}, 10)["state"]["messages"] == 0
        client.close()
