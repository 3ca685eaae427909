"""Subscribing is replied to, a message reaches whom it should, and a session leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import Server, run, text
from kvserver.dispatch.effect import Publish, Switch
from kvserver.dispatch.gate import is_plain
from kvserver.resp.reply import Push, Replies
from kvserver.state.session import Session


def pushes(result: Any) -> list[tuple[Any, ...]]:
    assert isinstance(result, Switch)
    assert isinstance(result.reply, Replies)
    assert all(type(push) is Push for push in result.reply)
    return [tuple(push) for push in result.reply]  # type: ignore[arg-type]


def receivers(result: Any) -> list[Session]:
    assert isinstance(result, Publish)
    assert result.reply == len(result.deliveries)
    return [session for session, _ in result.deliveries]


def test_subscribing_counts_channels_and_patterns_together_and_shards_apart() -> None:
    session = Server().session()
    assert pushes(run(session, "SUBSCRIBE", "a", "b", "a")) == [
        (b"subscribe", b"a", 1), (b"subscribe", b"b", 2), (b"subscribe", b"a", 2),
    ]  # fmt: skip
    assert pushes(run(session, "PSUBSCRIBE", "a*")) == [(b"psubscribe", b"a*", 3)]
    assert pushes(run(session, "SSUBSCRIBE", "a")) == [(b"ssubscribe", b"a", 1)]
    assert pushes(run(session, "UNSUBSCRIBE", "b", "x")) == [(b"unsubscribe", b"b", 2), (b"unsubscribe", b"x", 2)]
    assert pushes(run(session, "UNSUBSCRIBE")) == [(b"unsubscribe", b"a", 1)]
    assert pushes(run(session, "UNSUBSCRIBE")) == [(b"unsubscribe", None, 1)]
    assert pushes(run(session, "PUNSUBSCRIBE")) == [(b"punsubscribe", b"a*", 0)]
    assert pushes(run(session, "SUNSUBSCRIBE", "a", "a")) == [(b"sunsubscribe", b"a", 0), (b"sunsubscribe", b"a", 0)]
    assert is_plain(session)


def test_message_goes_to_its_subscribers_until_they_leave() -> None:
    server = Server()
    one, other, publisher = (server.session() for _ in range(3))
    run(one, "SUBSCRIBE", "c")
    run(other, "PSUBSCRIBE", "*")
    assert receivers(run(publisher, "PUBLISH", "c", "x")) == [one, other]
    assert receivers(run(publisher, "PUBLISH", "d", "x")) == [other]
    assert run(publisher, "SPUBLISH", "c", "x") == 0
    one.leave()
    run(other, "RESET")
    assert run(publisher, "PUBLISH", "c", "x") == 0
    assert len(server.state.channels.channels) == len(server.state.channels.patterns) == 0


def test_shard_message_goes_to_shard_subscribers() -> None:
    server = Server()
    session = server.session()
    run(session, "SSUBSCRIBE", "c")
    assert receivers(run(server.session(), "SPUBLISH", "c", "x")) == [session]
    session.leave()
    assert run(server.session(), "SPUBLISH", "c", "x") == 0


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (("CHANNELS",), [b"a", b"ab", b""]),
        (("channels", "a?"), [b"ab"]),
        (("CHANNELS", "*"), [b"a", b"ab"]),
        (("CHANNELS", ""), [b""]),
        (("NUMSUB",), []),
        (("NUMSUB", "a", "x", "a"), [b"a", 2, b"x", 0, b"a", 2]),
        (("NUMPAT",), 2),
        (("SHARDCHANNELS",), [b"s"]),
        (("SHARDCHANNELS", "x"), []),
        (("SHARDNUMSUB", "s", "a"), [b"s", 1, b"a", 0]),
    ],
    ids=str,
)
def test_pubsub_tells_who_listens(words: tuple[str, ...], reply: Any) -> None:
    server = Server()
    one, other = server.session(), server.session()
    run(one, "SUBSCRIBE", "a", "ab", "")
    run(other, "SUBSCRIBE", "a")
    run(one, "PSUBSCRIBE", "p1", "p2")
    run(other, "PSUBSCRIBE", "p1")
    run(one, "SSUBSCRIBE", "s")
    assert run(server.session(), "PUBSUB", *words) == reply


def test_pubsub_help_and_errors() -> None:
    session = Server().session()
    lines = run(session, "PUBSUB", "HELP")
    assert isinstance(lines, list)
    assert text(lines[0]).startswith("PUBSUB <subcommand>")
    assert text(run(session, "PUBSUB", "CHANNELS", "a", "b")) == (
        "ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP."
    )
    assert text(run(session, "PUBSUB", "NUMPAT", "x")) == "ERR wrong number of arguments for 'pubsub|numpat' command"


def test_only_resp2_has_the_context_of_a_subscriber() -> None:
    session = Server().session()
    run(session, "HELLO", 3)
    run(session, "SUBSCRIBE", "c")
    assert is_plain(session)
    assert run(session, "GET", "k") is None
    run(session, "HELLO", 2)
    assert session.is_resp2_subscriber
    assert text(run(session, "GET", "k")) == (
        "ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    )
    assert text(run(session, "CLIENT", "INFO")).startswith("ERR Can't execute 'client|info': ")
    assert text(run(session, "CLIENT", "NOSUCH")) == "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."
    assert run(session, "PING") == [b"pong", b""]
    assert run(session, "PING", "hi") == [b"pong", b"hi"]
    assert text(run(session, "PING", "a", "b")) == "ERR wrong number of arguments for 'ping' command"
