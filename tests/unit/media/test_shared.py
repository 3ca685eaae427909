"""The marks of a shared log."""

from __future__ import annotations

import json

import pytest

from kvserver.media.shared import MARK_DIGEST_HEX, Mark, Node, decode_node, digest_of

NODE = Node("ab", "10.0.0.1", 6379, True, 7, 1)


def test_digest_depends_on_the_whole_chain_and_on_the_data() -> None:
    mark = Mark(1, 2, "")
    digests = {
        digest_of(mark, b"data"),
        digest_of(mark, b"datb"),
        digest_of(mark._replace(epoch=2), b"data"),
        digest_of(mark._replace(number=3), b"data"),
        digest_of(mark._replace(digest="00"), b"data"),
    }
    assert len(digests) == 5
    assert {len(digest) for digest in digests} == {MARK_DIGEST_HEX}


def test_node_of_a_later_version_is_read() -> None:
    told = json.dumps(NODE._asdict() | {"lease_ms": 3000, "told_at": 1.5}).encode()
    assert decode_node(told) == NODE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"id": "x"}',
        json.dumps(NODE._asdict() | {"port": "6379"}).encode(),
        json.dumps(NODE._asdict() | {"applied": None}).encode(),
        json.dumps(NODE._asdict() | {"is_primary": 1}).encode(),
    ],
    ids=["nothing", "bytes", "list", "deep", "part", "port", "applied", "primary"],
)
def test_what_is_no_node_is_left_out(data: bytes) -> None:
    assert decode_node(data) is None
