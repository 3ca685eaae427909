"""XINFO tells of consumers when they were seen, and of large streams in a short step. The case file compares the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from helpers.sessions import START_MS, Server, run
from kvserver.types.stream import stream_info
from kvserver.types.stream.ids import Id
from kvserver.types.stream.radix import count_nodes


def told(reply: Any, *path: Any) -> Any:
    for step in path:
        reply = reply[step]
    return reply


def test_consumers_are_told_with_the_times_when_they_were_seen() -> None:
    server = Server()
    session = server.session()
    run(session, "XGROUP", "CREATE", "k", "g", 0, "MKSTREAM")
    run(session, "XADD", "k", 1, "f", "v")
    run(session, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">")
    server.clock.now_ms += 30
    # Nothing new is no sight of the consumer, as in Redis.
    run(session, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">")
    assert run(session, "XINFO", "CONSUMERS", "k", "g") == [{b"name": b"c", b"pending": 1, b"idle": 30}]
    group = told(run(session, "XINFO", "STREAM", "k", "FULL"), b"groups", 0)
    assert told(group, b"pending") == [[b"1-0", b"c", START_MS, 1]]
    assert told(group, b"consumers") == [
        {b"name": b"c", b"seen-time": START_MS, b"pel-count": 1, b"pending": [[b"1-0", START_MS, 1]]}
    ]
    server.clock.now_ms -= 100
    assert told(run(session, "XINFO", "CONSUMERS", "k", "g"), 0, b"idle") == 0


def test_nodes_of_many_keys_are_estimated_by_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Server().session()
    session.server.config.stream_node_max_entries = 1
    for number in range(1, 2561):
        run(session, "XADD", "k", number, "f", "v")
    looked: list[Id] = []

    def noted(keys: Iterable[Id]) -> int:
        looked.extend(keys)
        return count_nodes(looked)

    monkeypatch.setattr(stream_info, "count_nodes", noted)
    found = run(session, "XINFO", "STREAM", "k")
    assert len(looked) == 100
    assert told(found, b"radix-tree-keys") == 2560
    assert 5100 < told(found, b"radix-tree-nodes") < 5200
