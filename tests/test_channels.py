"""channels: who gets a message, in which order, and that it is encoded once."""

from __future__ import annotations

import pytest
from sessions import Server

from kvserver.resp.reply import Push
from kvserver.state.channels import Channels, Message


def test_message_is_encoded_once_for_each_protocol() -> None:
    message = Message(Push([b"message", b"c", b"x"]))
    assert message.wire(2) == b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"
    assert message.wire(3) == b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"
    assert message.wire(2) is message.wire(2)


def test_all_subscribers_of_a_channel_share_a_message_and_come_in_order() -> None:
    server, channels = Server(), Channels()
    sessions = [server.session() for _ in range(3)]
    for session in sessions:
        channels.channels.add(b"c", session)
    deliveries = channels.deliveries(b"c", b"x")
    assert [session for session, _ in deliveries] == sessions
    assert len({id(message) for _, message in deliveries}) == 1
    assert channels.deliveries(b"d", b"x") == []


def test_listener_by_several_names_gets_several_messages() -> None:
    channels, session = Channels(), Server().session()
    channels.channels.add(b"abc", session)
    channels.patterns.add(b"a*", session)
    channels.patterns.add(b"*c", session)
    channels.patterns.add(b"b*", session)
    wires = [message.wire(2) for _, message in channels.deliveries(b"abc", b"x")]
    assert [wire.split(b"\r\n")[2] for wire in wires] == [b"message", b"pmessage", b"pmessage"]


@pytest.mark.parametrize(
    ("pattern", "channel", "matches"), [(b"*", b"", False), (b"", b"", True), (b"?[a-c]\\*", b"xb*", True)]
)
def test_patterns_are_those_of_redis(pattern: bytes, channel: bytes, matches: bool) -> None:
    channels, session = Channels(), Server().session()
    channels.patterns.add(pattern, session)
    assert bool(channels.deliveries(channel, b"x")) is matches


def test_shard_channels_are_a_space_of_their_own() -> None:
    channels, session = Channels(), Server().session()
    channels.shard_channels.add(b"c", session)
    channels.patterns.add(b"*", session)
    assert [message.wire(2).split(b"\r\n")[2] for _, message in channels.deliveries(b"c", b"x")] == [b"pmessage"]
    assert [message.wire(2).split(b"\r\n")[2] for _, message in channels.shard_deliveries(b"c", b"x")] == [b"smessage"]


def test_names_without_subscribers_are_forgotten() -> None:
    channels, server = Channels(), Server()
    one, other = server.session(), server.session()
    for session in (one, other):
        channels.channels.add(b"c", session)
        channels.patterns.add(b"p", session)
    channels.channels.remove(b"c", one)
    channels.patterns.remove(b"p", one)
    assert (list(channels.channels), channels.channels.count(b"c"), len(channels.patterns)) == ([b"c"], 1, 1)
    channels.channels.remove(b"c", other)
    channels.patterns.remove(b"p", other)
    assert (list(channels.channels), channels.channels.count(b"c"), len(channels.patterns)) == ([], 0, 0)
    assert channels.deliveries(b"p", b"x") == []
    assert not channels.patterns.matchers
