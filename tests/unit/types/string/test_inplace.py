"""inplace: limits are for clients, not for the journal, whose commands were accepted once."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText
from kvserver.state.session import REPLAY_ID, Session
from kvserver.types.string.inplace import changeable, check_length


def test_journal_of_a_server_that_allowed_more_is_replayed() -> None:
    server = Server()
    server.state.config.proto_max_bulk_len = 4
    journal = Session(server.state, REPLAY_ID, "journal", "journal", is_local=True)
    assert run(journal, "SETRANGE", "k", 9, "x") == 10
    assert run(journal, "APPEND", "k", "y") == 11
    assert run(journal, "SETBIT", "k", 8 * 20, 1) == 0
    assert run(journal, "BITFIELD", "k", "SET", "u8", 8 * 21, 1) == [0]
    assert run(journal, "STRLEN", "k") == 22


def test_length_up_to_the_limit_is_allowed() -> None:
    server = Server()
    server.state.config.proto_max_bulk_len = 4
    check_length(server.session(), 4)
    with pytest.raises(CommandError, match="exceeds maximum allowed size"):
        check_length(server.session(), 5)


def test_what_can_be_changed_is_a_string_that_is_alive() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "v", "PX", 10)
    assert changeable(session, b"k") == b"v"
    server.clock.now_ms += 10
    assert changeable(session, b"k") is None
    server.keyspace.set(b"k", JSONText(b"1"))
    with pytest.raises(CommandError, match="WRONGTYPE"):
        changeable(session, b"k")
