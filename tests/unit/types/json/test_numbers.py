"""Numbers keep their digits, and the shapes of replies are those of RedisJSON."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import run, text
from kvserver.resp.reply import BigNumber
from kvserver.state.session import Session


def test_shapes(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":"b","b":[{"a":2},{"a":5.0},{"a":"c"}]}')
    assert run(session, "JSON.NUMINCRBY", "k", "$..a", "2") == b"[null,4,7.0,null]"
    assert run(session, "JSON.NUMINCRBY", "k", "$.b[2].a", "2") == b"[null]"
    assert run(session, "JSON.NUMINCRBY", "k", "$.none", "2") == b"[]"
    assert run(session, "JSON.NUMMULTBY", "k", ".b[0].a", "2.5") == b"10.0"
    assert text(run(session, "JSON.NUMMULTBY", "k", ".a", "2")) == "ERR Path does not exist or does not contains a number"
    assert text(run(session, "JSON.NUMINCRBY", "none", "$", "2")).startswith("ERR could not perform this operation")
    assert text(run(session, "JSON.NUMINCRBY", "k", "$..a", '"2"')) == "ERR bad input number"
    assert text(run(session, "JSON.NUMINCRBY", "k", "$..a", "x")).startswith("ERR ")
    session.protocol = 3
    assert run(session, "JSON.NUMINCRBY", "k", "$..a", "1") == [None, 11.0, 8.0, None]
    assert run(session, "JSON.NUMINCRBY", "k", ".b[0].a", "1") == [12.0]


def test_reply_of_resp3_is_a_list_for_any_path(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":"b","b":[{"a":2},{"a":5},{"a":"c"}]}')
    session.protocol = 3
    for command in ("JSON.NUMINCRBY", "JSON.NUMMULTBY"):
        assert run(session, command, "k", ".none", "2") == []
        assert run(session, command, "k", ".a", "2") == [None]
    assert run(session, "JSON.NUMINCRBY", "k", "..a", "2") == [None, 4, 7, None]


@pytest.mark.parametrize(
    ("number", "command", "operand", "result"),
    [
        (1, "NUMINCRBY", "0.5", "1.5"),
        (2**63 - 1, "NUMINCRBY", "1", str(2**63)),
        (10**50, "NUMMULTBY", str(10**50), "1" + "0" * 100),
        (3, "NUMMULTBY", "0.1", "0.30000000000000004"),
        (1e15, "NUMMULTBY", "10", "1e+16"),
        (5, "NUMMULTBY", "-0", "0"),
    ],
)
def test_digits_are_kept(session: Session, number: Any, command: str, operand: str, result: str) -> None:
    run(session, "JSON.SET", "k", "$", repr(number))
    assert run(session, f"JSON.{command}", "k", ".", operand) == result.encode()
    assert run(session, "JSON.GET", "k") == result.encode()


def test_long_integer_is_a_big_number_in_resp3(session: Session) -> None:
    session.protocol = 3
    run(session, "JSON.SET", "k", "$", str(2**63 - 2))
    assert type((run(session, "JSON.NUMINCRBY", "k", "$", "1"))[0]) is int  # type: ignore[index]
    (reply,) = run(session, "JSON.NUMINCRBY", "k", "$", "1")  # type: ignore[misc]
    assert type(reply) is BigNumber
    assert reply == b"%d" % 2**63
    assert run(session, "JSON.NUMINCRBY", "k", "$", f"-{2**64}") == [-(2**63)]


@pytest.mark.parametrize(
    ("number", "command", "operand", "error"),
    [
        ("1.6350000000001313e308", "NUMINCRBY", "1.6350000000001313e308", "ERR result is not a number"),
        ("1.7e308", "NUMMULTBY", "2", "ERR result is not a number"),
        ("1" + "0" * 400, "NUMMULTBY", "0.5", "ERR result is not a number"),
        ("9" * 1000, "NUMMULTBY", "9" * 4000, "ERR numeric overflow"),
    ],
)
def test_what_is_no_number_any_more_changes_nothing(
    session: Session, number: str, command: str, operand: str, error: str
) -> None:
    run(session, "JSON.SET", "k", "$", number)
    before = run(session, "JSON.GET", "k")
    assert text(run(session, f"JSON.{command}", "k", "$", operand)) == error
    assert run(session, "JSON.GET", "k") == before
