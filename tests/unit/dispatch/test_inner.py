"""The gate of scripts' calls refuses what Redis refuses, in its order, and lets a script go on that has written."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run
from kvserver.dispatch import inner
from kvserver.dispatch.gate import MASTERDOWN, MISCONF, MISCONF_JOURNAL, OOM, READONLY
from kvserver.dispatch.inner import InnerGate
from kvserver.errors import CommandError, Refusal

NO_WRITES = frozenset({b"no-writes"})


def refusal(gate: InnerGate, line: str) -> str:
    """The error by which a call is refused, or an empty text."""
    try:
        gate.admit(line.encode().split())
    except Refusal as error:
        return str(error)
    return ""


def begun(server: Server, flags: frozenset[bytes] | None = None, *, is_read_only: bool = False) -> InnerGate:
    gate = InnerGate(server.state, server.table)
    gate.begin(server.session(), flags, is_read_only=is_read_only)
    return gate


def test_calls_are_refused_in_redis_order(server: Server) -> None:
    gate = begun(server, is_read_only=True)
    assert refusal(gate, "nope") == refusal(gate, "config nope") == inner.UNKNOWN
    assert refusal(gate, "get") == refusal(gate, "config get") == inner.WRONG_ARITY
    assert refusal(gate, "multi") == refusal(gate, "save") == inner.NOT_ALLOWED
    assert refusal(gate, "SET k v") == refusal(gate, "publish c m") == inner.READ_ONLY
    assert refusal(gate, "GET k") == ""
    assert not gate.has_written


def test_flags_of_the_head_make_a_script_read_only(server: Server) -> None:
    assert refusal(begun(server, NO_WRITES), "set k v") == inner.READ_ONLY
    assert refusal(begun(server, frozenset()), "set k v") == ""
    with pytest.raises(CommandError, match=r"write flag using \*_ro command"):
        begun(server, frozenset(), is_read_only=True)


def test_failing_disk_refuses_the_first_write_only(server: Server) -> None:
    server.state.persistence.last_save_ok = False
    gate = begun(server)
    assert refusal(gate, "get k") == ""
    assert refusal(gate, "set k v") == MISCONF
    server.state.persistence.last_save_ok = True
    gate = begun(server)
    assert refusal(gate, "set k v") == ""
    server.state.persistence.last_save_ok = False
    assert refusal(gate, "set k v") == ""


def test_script_whose_head_has_flags_is_refused_as_a_whole(server: Server) -> None:
    server.state.journal.error = "No space left on device"
    with pytest.raises(Refusal, match=MISCONF_JOURNAL):
        begun(server, frozenset())
    assert refusal(begun(server, NO_WRITES), "get k") == ""
    session = server.session()
    session.is_executing = True
    with pytest.raises(CommandError, match=r"Writable scripts are blocked.*AOF error: No space left"):
        InnerGate(server.state, server.table).begin(session, frozenset(), is_read_only=False)


def test_short_memory_refuses_what_needs_some(server: Server) -> None:
    run(server.session(), "SET", "k", "v" * 1000)
    server.state.config.maxmemory = 1
    server.state.memory.configure()
    while server.state.memory.is_unmeasured:
        server.state.memory.measure()
    gate = begun(server)
    assert refusal(gate, "set k v") == OOM
    assert refusal(gate, "del k") == ""
    # It has written now, and goes on.
    assert refusal(gate, "set k v") == ""
    with pytest.raises(Refusal, match="OOM command not allowed"):
        begun(server, frozenset())
    assert refusal(begun(server, frozenset({b"allow-oom"})), "set k v") == ""


def test_standby_lets_scripts_read_and_refuses_their_writes(server: Server) -> None:
    begun(server)
    server.state.replication.is_primary = False
    gate = begun(server)
    assert refusal(gate, "get k") == ""
    assert refusal(gate, "set k v") == READONLY
    assert refusal(begun(server, NO_WRITES), "get k") == ""
    with pytest.raises(Refusal, match=READONLY):
        begun(server, frozenset())
    session = server.session()
    session.is_executing = True
    with pytest.raises(CommandError, match="write flag on readonly replica"):
        InnerGate(server.state, server.table).begin(session, frozenset(), is_read_only=False)


def test_stale_data_is_for_scripts_that_say_so(server: Server) -> None:
    server.state.replication.is_primary = False
    server.state.replication.tail_age_s = lambda: 1e9
    allowed = NO_WRITES | {b"allow-stale"}
    assert refusal(begun(server), "get k") == ""
    server.state.config.replica_serve_stale_data = False
    for flags, error in ((None, MASTERDOWN), (NO_WRITES, MASTERDOWN), (frozenset(), READONLY)):
        with pytest.raises(CommandError, match=error):
            begun(server, flags)
    gate = begun(server, allowed)
    assert refusal(gate, "get k") == inner.STALE
    assert refusal(gate, "echo k") == ""
    # What one script was refused, the next one of a primary is not.
    server.state.replication.is_primary = True
    gate.begin(server.session(), None, is_read_only=False)
    assert refusal(gate, "get k") == ""
