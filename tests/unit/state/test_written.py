"""What is written while somebody works is gathered, by key, of one database."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run
from kvserver.patterns import matcher
from kvserver.state import written
from kvserver.state.written import Written

Words = tuple[str | int, ...]


def begun(server: Server, number: int = 0, pattern: bytes = b"k*") -> Written:
    return Written(server.state.databases, number, matcher(pattern), server.state.commands)


@pytest.mark.parametrize(
    ("calls", "keys"),
    [
        ([("SET", "k1", 1), ("MSET", "k2", 1, "other", 2), ("GET", "k3")], {b"k1", b"k2"}),
        ([("DEL", "k0"), ("DEL", "k1"), ("GETDEL", "k2")], {b"k0"}),
        ([("EXPIRE", "k0", 100), ("EXPIRE", "k1", 100)], {b"k0"}),
        ([("RENAME", "k0", "k9")], {b"k0", b"k9"}),
        ([("SELECT", 1), ("SET", "k1", 1), ("SET", "k7", 1), ("COPY", "k7", "k8", "DB", 0)], {b"k8"}),
    ],
)
def test_keys_that_are_written_are_gathered(calls: list[Words], keys: set[bytes]) -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k0", 1)
    gathered = begun(server)
    for words in calls[:1]:
        run(session, *words)
    # A tick has ended.
    server.state.databases.records.take()
    for words in calls[1:]:
        run(session, *words)
    assert gathered.end() == keys
    run(session, "SET", "k6", 1)
    assert gathered.end() == keys
    assert not server.state.databases.records.observers


@pytest.mark.parametrize("words", [("FLUSHDB",), ("FLUSHALL",), ("SWAPDB", 0, 1)])
def test_keys_of_other_data_are_not_known(words: Words) -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k0", 1)
    lost, of_another = begun(server), begun(server, 5)
    run(session, *words)
    run(session, "SET", "k1", 1)
    assert lost.end() is None
    assert not lost.has_too_many
    assert of_another.end() in (set(), None)
    assert not server.state.databases.records.observers


def test_no_more_keys_are_gathered_than_are_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "MOST_KEYS", 3)
    server = Server()
    session = server.session()
    gathered = begun(server)
    for number in range(4):
        assert not gathered.has_too_many
        run(session, "SET", f"k{number}", 1)
        server.state.databases.records.take()
    assert gathered.has_too_many
    assert not server.state.databases.records.observers, "nobody may ever ask for them"
    assert gathered.end() is None
