"""A message reaches its subscribers in order, and is encoded once."""

from __future__ import annotations

import pytest

from kvserver.resp.reply import Push
from kvserver.state.channels import Channels, Message


def test_message_is_encoded_once_for_each_protocol() -> None:
    message = Message(Push([b"message", b"c", b"x"]))
    assert message.wire(2) == b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"
    assert message.wire(3) == b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"
    assert message.wire(2) is message.wire(2)


def test_all_subscribers_of_a_channel_share_a_message_and_come_in_order() -> None:
    channels = Channels[str]()
    for listener in ("one", "two", "three"):
        channels.channels.add(b"c", listener)
    deliveries = channels.deliveries(b"c", b"x")
    assert [listener for listener, _ in deliveries] == ["one", "two", "three"]
    assert len({id(message) for _, message in deliveries}) == 1
    assert channels.deliveries(b"d", b"x") == []


def test_listener_by_several_names_gets_several_messages() -> None:
    channels, listener = Channels[str](), "one"
    channels.channels.add(b"abc", listener)
    channels.patterns.add(b"a*", listener)
    channels.patterns.add(b"*c", listener)
    channels.patterns.add(b"b*", listener)
    wires = [message.wire(2) for _, message in channels.deliveries(b"abc", b"x")]
    assert [wire.split(b"\r\n")[2] for wire in wires] == [b"message", b"pmessage", b"pmessage"]


@pytest.mark.parametrize(
    ("pattern", "channel", "matches"), [(b"*", b"", False), (b"", b"", True), (b"?[a-c]\\*", b"xb*", True)]
)
def test_patterns_are_those_of_redis(pattern: bytes, channel: bytes, matches: bool) -> None:
    channels, listener = Channels[str](), "one"
    channels.patterns.add(pattern, listener)
    assert bool(channels.deliveries(channel, b"x")) is matches


def test_shard_channels_are_a_space_of_their_own() -> None:
    channels, listener = Channels[str](), "one"
    channels.shard_channels.add(b"c", listener)
    channels.patterns.add(b"*", listener)
    assert [message.wire(2).split(b"\r\n")[2] for _, message in channels.deliveries(b"c", b"x")] == [b"pmessage"]
    assert [message.wire(2).split(b"\r\n")[2] for _, message in channels.shard_deliveries(b"c", b"x")] == [b"smessage"]


def test_names_without_subscribers_are_forgotten() -> None:
    channels, one, other = Channels[str](), "one", "other"
    for listener in (one, other):
        channels.channels.add(b"c", listener)
        channels.patterns.add(b"p", listener)
    channels.channels.remove(b"c", one)
    channels.patterns.remove(b"p", one)
    assert (list(channels.channels), channels.channels.count(b"c"), len(channels.patterns)) == ([b"c"], 1, 1)
    channels.channels.remove(b"c", other)
    channels.patterns.remove(b"p", other)
    assert (list(channels.channels), channels.channels.count(b"c"), len(channels.patterns)) == ([], 0, 0)
    assert channels.deliveries(b"p", b"x") == []
    assert not channels.patterns.matchers
