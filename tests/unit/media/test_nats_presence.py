"""The nodes that are there, in NATS. What every engine does is in test_engines."""

from __future__ import annotations

import json
import secrets

import pytest

from helpers.nats_servers import NatsServers, until
from kvserver.media.nats import open_nats
from kvserver.media.shared import Node

NODE = Node("a" * 40, "10.0.0.1", 6379, True, 7, 1)


def test_node_that_falls_silent_is_forgotten(nats_node: NatsServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvserver.media.nats.AGE_S", 1)
    engine = open_nats(nats_node.url(f"silent-{secrets.token_hex(4)}"))
    engine.presence.tell(NODE)
    assert engine.presence.nodes() == [NODE]
    until("it is forgotten", lambda: engine.presence.nodes() == [])
    engine.close()


def test_what_is_no_node_is_left_out_and_fields_of_later_versions_are(nats_node: NatsServers) -> None:
    name = f"strange-{secrets.token_hex(4)}"
    engine = open_nats(nats_node.url(name))
    client = engine.presence._client  # type: ignore[attr-defined]
    later = json.dumps(NODE._asdict() | {"lease_ms": 3000}).encode()
    for place, data in enumerate((b"\xff", b"[]", b'{"id": "x"}', later)):
        client.request(f"$KV.KVSERVER-NODES_{name}.node.x{place}", data, None, 5)
    assert engine.presence.nodes() == [NODE]
    engine.close()
