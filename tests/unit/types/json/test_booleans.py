"""JSON.TOGGLE turns booleans, and nothing else."""

from __future__ import annotations

from helpers.sessions import run, text
from kvserver.state.session import Session


def test_shapes(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":true,"b":[false,0,null]}')
    assert run(session, "JSON.TOGGLE", "k", "$.b[*]") == [1, None, None]
    assert run(session, "JSON.TOGGLE", "k", ".a") == b"false"
    assert run(session, "JSON.TOGGLE", "k", "a") == b"true"
    assert run(session, "JSON.TOGGLE", "k", "$.none") == []
    assert text(run(session, "JSON.TOGGLE", "k", ".b")) == "ERR Path does not exist or not a bool"
    assert text(run(session, "JSON.TOGGLE", "none", "$")).startswith("ERR could not perform this operation")
    assert run(session, "JSON.GET", "k") == b'{"a":true,"b":[true,0,null]}'
