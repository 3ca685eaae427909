"""Types, replies of the protocol, and memory."""

from __future__ import annotations

from typing import Any, cast

from helpers.sessions import run, text
from kvserver.resp.reply import BigNumber, Simple, encode
from kvserver.state.session import Session

DOCUMENT = '{"a":null,"b":true,"c":1,"d":1.5,"e":"x","f":[2,{}],"g":1180591620717411303424}'


def test_types_at_paths(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", DOCUMENT)
    types = [b"null", b"boolean", b"integer", b"number", b"string", b"array", b"integer"]
    assert run(session, "JSON.TYPE", "k", "$.*") == types
    assert run(session, "JSON.TYPE", "k", ".f[1]") == b"object"
    assert run(session, "JSON.TYPE", "k", ".none") is None
    assert run(session, "JSON.TYPE", "k", "$.none") == []
    assert run(session, "JSON.TYPE", "none", "$") is None
    session.protocol = 3
    assert run(session, "JSON.TYPE", "k", "$.*") == [types]
    assert run(session, "JSON.TYPE", "none", "$") == [None]


def test_document_as_a_reply(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", DOCUMENT)
    reply = run(session, "JSON.RESP", "k")
    members = (
        b"$1\r\na\r\n%b$1\r\nb\r\n+true\r\n$1\r\nc\r\n:1\r\n$1\r\nd\r\n%b$1\r\ne\r\n$1\r\nx\r\n"
        b"$1\r\nf\r\n*3\r\n+[\r\n:2\r\n*1\r\n+{\r\n$1\r\ng\r\n%b%d\r\n"
    )
    assert encode(reply, 2) == b"*15\r\n+{\r\n" + members % (b"$-1\r\n", b"$3\r\n1.5\r\n", b"$22\r\n", 2**70)  # type: ignore[arg-type]
    assert encode(reply, 3) == b"*15\r\n+{\r\n" + members % (b"_\r\n", b",1.5\r\n", b"(", 2**70)  # type: ignore[arg-type]
    assert run(session, "JSON.RESP", "k", "$.c") == [1]
    assert run(session, "JSON.RESP", "k", "$.none") == []
    assert run(session, "JSON.RESP", "none", "$") is None
    assert text(run(session, "JSON.RESP", "k", ".none")) == "ERR Path does not exist"


def test_memory_is_told(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":[1,2,3],"b":"%s"}' % ("x" * 1000))
    whole: Any = run(session, "JSON.DEBUG", "MEMORY", "k")
    array, string = cast(list[int], run(session, "JSON.DEBUG", "MEMORY", "k", "$.*"))
    assert whole > array + string > 1000
    assert run(session, "JSON.DEBUG", "MEMORY", "k", ".a") == array
    assert run(session, "JSON.DEBUG", "MEMORY", "none") == 0
    assert run(session, "JSON.DEBUG", "MEMORY", "none", "$") == []
    assert text(run(session, "JSON.DEBUG", "MEMORY", "k", ".none")) == "ERR Path does not exist"
    assert len(run(session, "JSON.DEBUG", "HELP")) == 2  # type: ignore[arg-type]
    assert text(run(session, "JSON.DEBUG", "NOPE")).startswith("ERR unknown subcommand")


def test_long_integers_are_replies_as_well(session: Session) -> None:
    number = int("7" * 1300)
    run(session, "JSON.SET", "k", "$", f"[{number}]")
    reply: Any = run(session, "JSON.RESP", "k")
    assert encode(reply, 3) == encode([Simple("["), BigNumber(b"%d" % number)], 3)
