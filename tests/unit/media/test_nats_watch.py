"""A slow line is told from a server that is dead."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.certificates import Certificates
from helpers.nats_servers import NatsServers, until
from helpers.proxy import Proxy
from kvserver.formats.manifest import BEGINNING
from kvserver.media.nats import open_nats
from kvserver.media.nats_client import NatsClient
from kvserver.media.nats_log import NatsLog
from kvserver.media.nats_url import Login
from kvserver.media.settling import Counted, settled, wait_for
from kvserver.media.shared import Engine, Entry, Mark

LONG_S = 60.0
SLOW = 500_000
LONG_ENTRY = b"x" * 1_000_000


def own_name() -> str:
    return f"watch-{secrets.token_hex(4)}"


@pytest.fixture
def slow_line(nats_node: NatsServers) -> Iterator[Proxy]:
    with Proxy(nats_node.nodes[0].port, SLOW) as proxy:
        yield proxy


def log_of(engine: Engine) -> NatsLog:
    assert isinstance(engine.log, NatsLog)
    return engine.log


def reconnects_of(engine: Engine) -> int:
    """How often the connection was made anew."""
    client = log_of(engine)._client._client
    assert client is not None
    return client.stats["reconnects"]


def all_of(engine: Engine, count: int) -> list[Entry]:
    """So many entries, as one who waits for them reads them."""
    seen: list[Entry] = []
    while len(seen) < count:
        seen += engine.log.read(seen[-1].position if seen else BEGINNING, 0.2)
    return seen


def test_what_is_long_arrives_on_a_slow_line(slow_line: Proxy, nats_node: NatsServers) -> None:
    name = own_name()
    engine, outcomes = open_nats(f"nats://127.0.0.1:{slow_line.port}/{name}"), Counted()
    end = time.monotonic() + LONG_S
    steps = settled(engine.log, LONG_ENTRY, Mark(1, 1, ""), BEGINNING, outcomes)
    assert wait_for(steps, lambda: time.monotonic() > end).number == 1
    writer = engine.vault.begin()
    writer.write(LONG_ENTRY * 2)
    writer.commit()
    assert engine.vault.read(writer.name, 0, 3_000_000) == LONG_ENTRY * 2
    # Nothing was open at any time, and nobody has parted with the server.
    assert (outcomes.unknown, outcomes.failed, reconnects_of(engine)) == (0, 0, 0)
    engine.close()


def test_reader_on_a_slow_line_gets_all_and_is_told_of_no_failure(slow_line: Proxy, nats_node: NatsServers) -> None:
    name = own_name()
    engine = open_nats(nats_node.url(name))
    last = BEGINNING
    for number in range(1, 4):
        last = engine.log.append(LONG_ENTRY, Mark(1, number, ""), last)
    reader = open_nats(f"nats://127.0.0.1:{slow_line.port}/{name}")
    seen = all_of(reader, 3)
    assert [entry.data for entry in seen] == [LONG_ENTRY] * 3
    # The feed, too: its words stand behind an entry for longer than a feed may be silent.
    assert reader.log.read(last, 0.05) == []
    feed = log_of(reader)._feed
    assert feed is not None
    last = engine.log.append(LONG_ENTRY, Mark(1, 4, ""), last)
    following: list[Entry] = []
    while not following:
        following = reader.log.read(seen[-1].position, 0.2)
    assert [entry.position for entry in following] == [last]
    assert log_of(reader)._feed is feed
    assert reconnects_of(reader) == 0
    reader.close()
    engine.close()


def test_short_request_behind_a_long_one_has_time(slow_line: Proxy, nats_node: NatsServers) -> None:
    engine = open_nats(f"nats://127.0.0.1:{slow_line.port}/{own_name()}")
    client = log_of(engine)._client
    client.tell("nobody.is.there", LONG_ENTRY)
    # It stands behind what takes two seconds, and its own time is shorter.
    assert "streams" in client.ask("$JS.API.INFO", {}, 0.1)
    engine.close()


@pytest.mark.parametrize("has_tls", [False, True], ids=["plain", "TLS"])
def test_server_behind_a_line_that_swallows_all_is_parted_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_tls: bool
) -> None:
    certificates = Certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", certificates.path("authority.crt"))
    settings = f'tls {{ cert_file: "{certificates.path("server.crt")}", key_file: "{certificates.path("server.key")}" }}'
    with (
        NatsServers(tmp_path / "server", settings=settings if has_tls else "") as servers,
        Proxy(servers.nodes[0].port) as proxy,
    ):
        client = NatsClient([f"127.0.0.1:{proxy.port}"], Login(is_tls=has_tls))
        client.open()
        connection = client._client
        assert connection is not None
        proxy.stall()
        # It takes all of this, and goes on taking: that is no sign of life.
        for _ in range(3):
            client.tell("nobody.is.there", LONG_ENTRY)

        def is_parted_with() -> bool:
            client.tell("nobody.is.there", b"more")
            return not connection.is_connected

        until("the server is parted with", is_parted_with)
        proxy.flow()
        client.wait_until_ready(LONG_S)
        client.close()
