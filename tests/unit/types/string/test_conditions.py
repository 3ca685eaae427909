"""Strings are deleted on a condition. (wire/cases/conditions.txt has the replies.)"""

from __future__ import annotations

from helpers.sessions import Server, run


def test_journal_has_the_key_that_went_and_nothing_where_none_did() -> None:
    session = Server().session()
    run(session, "SET", "k", "v")
    records = session.server.databases.records
    records.take()
    for words in (("DELIFEQ", "k", "x"), ("DELEX", "k", "IFNE", "v"), ("DELEX", "nosuch")):
        assert run(session, *words) == 0
    assert not records.has_any
    assert run(session, "DELEX", "k", "IFEQ", "v") == 1
    assert records.take() == [[b"DEL", b"k"]]
