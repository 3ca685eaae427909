"""The connection to nats-servers: what fails, how soon, and how it comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers.nats_servers import NatsServers, until
from kvserver.errors import Denied, MediumError, Unknown
from kvserver.media.nats_client import NatsClient
from kvserver.media.nats_url import Login

LONG_S = 60.0


@pytest.fixture
def own_node(tmp_path: Path) -> Iterator[NatsServers]:
    """A node that the test may kill."""
    with NatsServers(tmp_path) as servers:
        yield servers


@pytest.fixture
def connect() -> Iterator[Callable[[str], NatsClient]]:
    """A function that connects to hosts, and is undone behind the test."""
    clients: list[NatsClient] = []

    def connect_to(hosts: str) -> NatsClient:
        clients.append(NatsClient(hosts.split(","), Login()))
        clients[-1].open()
        return clients[-1]

    yield connect_to
    for client in clients:
        client.close()


def works(client: NatsClient) -> bool:
    try:
        return "streams" in client.ask("$JS.API.INFO", {}, LONG_S)
    except MediumError:
        return False


def listener(client: NatsClient, subject: str) -> None:
    """Let somebody hear of a subject who never answers."""
    client._loop.call_soon_threadsafe(client._keep, client._client.subscribe(subject))  # type: ignore[union-attr, arg-type]
    # An answer to a later request shows that the server has heard of it.
    assert works(client)


def test_nobody_hears_of_a_subject(nats_node: NatsServers, connect: Callable[[str], NatsClient]) -> None:
    client = connect(nats_node.hosts())
    with pytest.raises(MediumError, match="nobody answers in NATS now") as failure:
        client.ask("nobody.is.there", {}, LONG_S)
    assert not isinstance(failure.value, Unknown)


def test_silence_leaves_it_open(nats_node: NatsServers, connect: Callable[[str], NatsClient]) -> None:
    client = connect(nats_node.hosts())
    listener(client, "silent")
    with pytest.raises(Unknown, match=r"no answer from NATS within 0.05 s"):
        client.request("silent", b"x", None, 0.05)
    # The answer to a question tells of nothing that might have been done.
    with pytest.raises(MediumError) as failure:
        client.ask("silent", {}, 0.05)
    assert not isinstance(failure.value, Unknown)
    until("nobody waits for an answer", lambda: not client._calls)


def test_what_is_too_long_is_not_sent(nats_node: NatsServers, connect: Callable[[str], NatsClient]) -> None:
    client = connect(nats_node.hosts())
    listener(client, "long")
    with pytest.raises(MediumError, match=r"NATS does not take \d+ bytes at once: its max_payload is \d+") as failure:
        client.request("long", b"x" * (client.info["max_payload"] + 1), None, LONG_S)
    assert not isinstance(failure.value, Unknown)
    assert works(client)


def test_call_on_its_way_fails_when_the_server_is_killed_and_later_ones_succeed_when_it_is_back(
    own_node: NatsServers, connect: Callable[[str], NatsClient]
) -> None:
    client = connect(own_node.hosts())
    listener(client, "silent")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.request, "silent", b"x", None, 10 * LONG_S)
        until("it is on its way", lambda: bool(client._calls))
        own_node.nodes[0].kill()
        with pytest.raises(Unknown, match="the connection to NATS was lost"):
            call.result(LONG_S)
    with pytest.raises(MediumError, match=f"no connection to NATS at {own_node.hosts()}") as failure:
        client.request("silent", b"x", None, LONG_S)
    assert not isinstance(failure.value, Unknown)
    with pytest.raises(MediumError):
        client.wait_until_ready(0.01)
    own_node.start()
    client.wait_until_ready(LONG_S)
    assert works(client)


def test_halted_server_is_parted_with(own_node: NatsServers, connect: Callable[[str], NatsClient]) -> None:
    client = connect(own_node.hosts())
    own_node.nodes[0].halt()
    # More than the system keeps for a reader who does not read: the library itself would wait for it without an end.
    data = b"x" * (7 << 20)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(client.request, "silent", data, None, 10 * LONG_S) for _ in range(3)]
        for call in calls:
            assert isinstance(call.exception(LONG_S), Unknown)
    own_node.nodes[0].go_on()
    client.wait_until_ready(LONG_S)
    until("it works again", lambda: works(client))


def test_time_out_tells_what_the_server_has_complained_of(tmp_path: Path, connect: Callable[[str], NatsClient]) -> None:
    settings = 'authorization { default_permissions: { publish: { deny: "denied" } }, users: [{ user: me, password: pw }] }'
    with NatsServers(tmp_path, settings=settings) as servers:
        client = NatsClient(servers.hosts().split(","), Login("me", "pw"))
        client.open()
        listener(client, "silent")
        with pytest.raises(Denied, match='not let this user do that: permissions violation for publish to "denied"'):
            client.request("denied", b"", None, LONG_S)
        # What has no answer is not missed, but may be the reason of another failure.
        client.tell("denied")
        with pytest.raises(Unknown, match=r'no answer .* 0\.05 s, and it says: permissions violation for publish to "denied"'):
            client.request("silent", b"", None, 0.05)
        client.close()


def test_client_goes_to_another_server(nats_cluster: NatsServers, connect: Callable[[str], NatsClient]) -> None:
    # A host that is not there does no harm.
    client = connect(f"127.0.0.1:1,{nats_cluster.hosts(nats_cluster.nodes[1])}")
    assert works(client)
    assert client.info["server_name"] == "n1"


def test_client_goes_to_servers_that_the_url_does_not_name(tmp_path: Path, connect: Callable[[str], NatsClient]) -> None:
    # One host is enough: the servers tell of each other.
    with NatsServers(tmp_path, 2, has_jetstream=False, tell_of_others=True) as servers:
        named, other = servers.nodes
        client = connect(servers.hosts(named))
        # They may hear of each other later than they are up.
        until("all are known", lambda: other.port in {server.port for server in client._client.servers})  # type: ignore[union-attr]
        named.kill()
        until("it is at the other one", lambda: client.info["server_name"] == other.name)
        client.wait_until_ready(LONG_S)


def test_connection_that_a_server_ends_for_good_comes_back(
    own_node: NatsServers, connect: Callable[[str], NatsClient]
) -> None:
    client = connect(own_node.hosts())
    assert works(client)
    first = client._client
    assert first is not None
    assert first._transport is not None
    # Behind an error that the server tells of, the library does not connect again.
    client._loop.call_soon_threadsafe(first._transport.write, b"NONSENSE\r\n")
    until("there is another connection", lambda: client._client not in (None, first))
    client.wait_until_ready(LONG_S)
    assert works(client)


def test_close_ends_what_waits_and_what_comes_later(nats_node: NatsServers, connect: Callable[[str], NatsClient]) -> None:
    client = connect(nats_node.hosts())
    listener(client, "silent")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.request, "silent", b"x", None, 10 * LONG_S)
        until("it is on its way", lambda: bool(client._calls))
        client.close()
        with pytest.raises(MediumError, match="the engine is closed"):
            call.result(LONG_S)
    client.close()
    for late in (lambda: client.request("x", b"", None, LONG_S), lambda: client.wait_until_ready(LONG_S)):
        with pytest.raises(MediumError, match="the engine is closed"):
            late()
    client.tell("x")
    assert "kvserver-nats" not in {thread.name for thread in threading.enumerate() if thread is client._thread}


def test_close_does_not_wait_for_a_halted_server(own_node: NatsServers, connect: Callable[[str], NatsClient]) -> None:
    client = connect(own_node.hosts())
    own_node.nodes[0].halt()
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < LONG_S
    own_node.nodes[0].go_on()
