"""The commands of the history ask for their effects, with the moments that their words name, and are refused otherwise."""

from __future__ import annotations

import pytest

from helpers.sessions import START_MS as NOW_MS
from helpers.sessions import run, text
from kvserver.dispatch.effect import Compare, Effect, Fetch, GoBack, ListFrames, LookBack, TellChanges
from kvserver.formats.moment import AtFrame, AtRecord, AtTime
from kvserver.resp.reply import Error
from kvserver.state.session import Session


@pytest.mark.parametrize(
    ("words", "effect"),
    [
        (("KVS.FRAMES",), ListFrames()),
        (("KVS.AT", "5", "GET", "a"), LookBack(AtTime(5), [b"GET", b"a"])),
        (("KVS.AT", "1s", "DBSIZE"), LookBack(AtTime(NOW_MS - 1000), [b"DBSIZE"])),
        (("KVS.RESTORE", "(3:7"), GoBack(AtRecord(3, 6))),
        (("KVS.RESTORE", "0123456789abcdef", "keys", "a*"), Fetch(AtFrame("0123456789abcdef"), b"a*")),
        (("KVS.LOG", "a"), TellChanges(b"a", 10)),
        (("KVS.LOG", "a", "COUNT", "1000"), TellChanges(b"a", 1000)),
        (("KVS.DIFF", "1", "2"), Compare(AtTime(1), AtTime(2), b"*")),
        (("KVS.DIFF", "1", "2", "a?"), Compare(AtTime(1), AtTime(2), b"a?")),
    ],
)
def test_command_asks_for_its_effect(session: Session, words: tuple[str, ...], effect: Effect) -> None:
    assert run(session, *words) == effect


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("KVS.AT", "5"), "ERR wrong number of arguments for 'kvs.at' command"),
        (("KVS.AT", "then", "GET", "a"), "ERR 'then' names no moment: "),
        (("KVS.AT", b"\xff", "GET", "a"), "ERR '\N{REPLACEMENT CHARACTER}' names no moment: "),
        (("KVS.AT", str(NOW_MS + 1), "GET", "a"), f"ERR the time {NOW_MS + 1} is yet to come"),
        (("KVS.RESTORE", "5", "KEYS"), "ERR syntax error"),
        (("KVS.RESTORE", "5", "NOKEYS", "a"), "ERR syntax error"),
        (("KVS.LOG", "a", "COUNT", "0"), "ERR COUNT must be between 1 and 1000"),
        (("KVS.LOG", "a", "COUNT", "1001"), "ERR COUNT must be between 1 and 1000"),
        (("KVS.LOG", "a", "COUNT", "x"), "ERR value is not an integer or out of range"),
        (("KVS.LOG", "a", "1"), "ERR syntax error"),
        (("KVS.DIFF", "1", "2", "a", "b"), "ERR wrong number of arguments for 'kvs.diff' command"),
        (("KVS.DIFF", "1", "x"), "ERR 'x' names no moment: "),
    ],
)
def test_wrong_words_are_refused(session: Session, words: tuple[str | bytes, ...], error: str) -> None:
    reply = run(session, *words)
    assert isinstance(reply, Error)
    assert text(reply).startswith(error)
