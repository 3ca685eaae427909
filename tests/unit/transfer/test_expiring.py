"""Calls that say until when something lives are known by their notation, and see a clock that has not begun."""

from __future__ import annotations

import pytest

from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.transfer.expiring import says_until, stopped


@pytest.mark.parametrize(
    ("call", "is_so"),
    [
        ("PEXPIREAT a 1", True),
        ("expireat a 1", True),
        ("HPEXPIREAT h 1 FIELDS 1 f", True),
        ("SET a b PXAT 1", True),
        ("SET a b pxat 1", True),
        ("SET a b PX 1", False),
        ("SET a b", False),
        ("GETEX a EXAT 1", True),
        ("GETEX a PERSIST", False),
        ("RESTORE a 1 payload ABSTTL", True),
        ("RESTORE a 1 payload", False),
        ("EXPIRE a 1", False),
        ("XCLAIM s g c 0 1-1 TIME 5", False),
        ("XADD s * a b", False),
        ("EVAL x 0", False),
    ],
)
def test_call_says_until_when(call: str, is_so: bool) -> None:
    request = call.encode().split()
    assert says_until(COMMANDS[request[0].lower()], request) is is_so


def test_clock_is_stopped_for_a_call_and_what_is_due_is_kept_again_behind_it() -> None:
    databases = Databases(lambda: 500)
    databases.keep_due(700)
    keyspace = databases[0]
    keyspace.set_expiring(b"a", b"1", 600)
    with stopped(keyspace):
        assert keyspace.now_ms() == 0
        assert keyspace.live(b"a") == b"1"
    assert keyspace.now_ms() == 700
    assert keyspace.live(b"a") == b"1"
    assert databases[3].now_ms() == 700
    assert databases[3].keeps_due
    databases.start_clock()
    assert keyspace.now_ms() == 500
    databases[3].set_expiring(b"b", b"1", 400)
    assert databases[3].live(b"b") is None
