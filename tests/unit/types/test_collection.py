"""collection: what the kinds of all collections share, shown by hashes."""

from __future__ import annotations

import sys

import pytest

from helpers.sessions import START_MS, Server, run
from kvserver.data.kinds import kind_of
from kvserver.types.hash.value import HASH


def test_size_of_a_packed_one_is_that_of_its_object() -> None:
    for length in (1, 15, 40):
        value = "h\0" + "f" * length + "\1v\0"
        assert kind_of(value) is HASH
        assert 0 <= HASH.size_bytes(value) - sys.getsizeof(value) < 16


@pytest.mark.parametrize("expires_at_ms", [None, START_MS + 10_000])
def test_it_is_stored_again_by_restore(expires_at_ms: int | None) -> None:
    server, again = Server(), Server()
    run(server.session(), "HSET", "h", "a", "1", "b", "\xff")
    value = server.keyspace.live(b"h")
    assert value is not None
    ((*request,),) = HASH.recreation(b"h", value, expires_at_ms)
    run(again.session(), *request)
    assert again.keyspace.live(b"h") == value
    assert again.keyspace.expires_at_ms(b"h") == expires_at_ms
