"""Time-outs are read as Redis reads them, and rounded up to milliseconds."""

from __future__ import annotations

import pytest

from helpers.sessions import Server
from kvserver.errors import CommandError
from kvserver.state.session import SCRIPT_ID, Session
from kvserver.types.timeouts import milliseconds, refuse_in_script, seconds


@pytest.mark.parametrize(
    ("word", "timeout_ms"),
    [
        (b"0", 0),
        (b"5", 5000),
        (b"0.1", 100),
        (b"0.0001", 1),
        (b"1.5e0", 1500),
        (b"0x1p-1", 500),
        (b"-0.0009", 0),
        (b"9999999999", 9_999_999_999_000),
        (b"9223372036854775", 9_223_372_036_854_775_000),
    ],
)
def test_seconds_become_milliseconds(word: bytes, timeout_ms: int) -> None:
    assert seconds(word) == timeout_ms


@pytest.mark.parametrize(
    ("word", "error"),
    [
        (b"x", "not a float"),
        (b"", "not a float"),
        (b"nan", "not a float"),
        (b"-1", "negative"),
        (b"-0.0011", "negative"),
        (b"inf", "negative"),
        (b"9223372036854776", "negative"),
    ],
)
def test_seconds_that_are_none_are_refused(word: bytes, error: str) -> None:
    with pytest.raises(CommandError, match=error):
        seconds(word)


def test_milliseconds_are_whole() -> None:
    assert (milliseconds(b"0"), milliseconds(b"9223372036854775807")) == (0, 2**63 - 1)
    for word, error in ((b"1.5", "not an integer"), (b"-1", "negative"), (b"9223372036854775808", "not an integer")):
        with pytest.raises(CommandError, match=error):
            milliseconds(word)


def test_block_is_refused_in_scripts_alone() -> None:
    server = Server()
    refuse_in_script(server.session(), [b"xread"])
    session = Session(server.state, SCRIPT_ID, "lua", "", True)
    with pytest.raises(CommandError, match=r"^ERR XREAD command is not allowed with BLOCK option from scripts$"):
        refuse_in_script(session, [b"XREAD"])
