"""Entries that are pushed as they come."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from helpers.nats_servers import NatsServers, until
from kvserver.formats.manifest import BEGINNING
from kvserver.media.nats import open_nats, stream_of
from kvserver.media.nats_feed import Feed
from kvserver.media.nats_log import NatsLog
from kvserver.media.shared import Mark

LONG_S = 60.0


@pytest.fixture
def log(nats_node: NatsServers) -> Iterator[NatsLog]:
    """A log that has no entry yet."""
    log = open_nats(nats_node.url(f"feed-{secrets.token_hex(4)}")).log
    assert isinstance(log, NatsLog)
    yield log
    log.close()


def feed_of(log: NatsLog, after: int = 0) -> Feed:
    return Feed(log._client, log._stream, after)


def appended(log: NatsLog, count: int) -> None:
    last = BEGINNING
    for number in range(1, count + 1):
        last = log.append(b"%d" % number, Mark(1, number, ""), last)


def test_entries_come_in_their_order_from_the_place_on(log: NatsLog) -> None:
    assert log._stream.startswith(stream_of("feed-"))
    feed = feed_of(log, 2)
    appended(log, 5)
    seen: list[bytes] = []
    while len(seen) < 3:
        seen += [entry.data for entry in feed.read(LONG_S)]
    assert seen == [b"3", b"4", b"5"]
    assert feed.last == 5
    assert feed.read(0) == []
    feed.close()


def test_feed_whose_consumer_is_gone_is_given_up(log: NatsLog) -> None:
    feed = feed_of(log)
    assert not feed.is_over
    assert log._client.ask(f"$JS.API.CONSUMER.DELETE.{log._stream}.{feed._consumer}", {}, LONG_S)["success"]
    until("it is given up", lambda: feed.is_over)
    assert feed.error == "NATS pushes no more entries"
    # Who waits is told, and does not wait for all of its time.
    assert feed.read(10 * LONG_S) == []
    feed.close()
