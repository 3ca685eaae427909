"""The subscriptions to channels and patterns, and the receivers of a message. Pure: the engine delivers.

Channels and shard channels are two spaces of names that have nothing to do with each other, as in Redis. A listener is
anything that can be the key of a dict: nothing here looks into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from kvserver.patterns import Matcher, matcher
from kvserver.resp.reply import Push, encode

Listener = TypeVar("Listener")


class Message:
    """A push for subscribers: encoded once for each protocol that one of them speaks, not for each subscriber."""

    __slots__ = ("_push", "_wires")

    def __init__(self, push: Push) -> None:
        self._push = push
        self._wires: dict[int, bytes] = {}

    def wire(self, protocol: int) -> bytes:
        """The bytes of the message in RESP2 or RESP3."""
        wire = self._wires.get(protocol)
        if wire is None:
            wire = self._wires[protocol] = encode(self._push, protocol)
        return wire


class MonitorLine(Message):
    """A line for monitors, in the form of a message."""

    __slots__ = ("_line",)

    def __init__(self, line: bytes) -> None:
        self._line = line

    def wire(self, protocol: int) -> bytes:
        return self._line


class Subscriptions(Generic[Listener]):
    """One kind of names (channels, patterns, or shard channels) and their subscribers, in the order in which they came."""

    def __init__(self) -> None:
        self._subscribers: dict[bytes, dict[Listener, None]] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[bytes]:
        """The names that have a subscriber."""
        return iter(self._subscribers)

    def of(self, name: bytes) -> Iterable[Listener]:
        """The subscribers of a name."""
        return self._subscribers.get(name, ())

    def count(self, name: bytes) -> int:
        """The number of subscribers of a name."""
        return len(self._subscribers.get(name, ()))

    def add(self, name: bytes, listener: Listener) -> None:
        """Add a subscriber of a name, if it is none yet."""
        self._subscribers.setdefault(name, {})[listener] = None

    def remove(self, name: bytes, listener: Listener) -> None:
        """Remove a subscriber that the name has."""
        subscribers = self._subscribers[name]
        del subscribers[listener]
        if not subscribers:
            del self._subscribers[name]


class Patterns(Subscriptions[Listener]):
    """Patterns and their subscribers, and for each pattern a function that tells if a channel matches it."""

    def __init__(self) -> None:
        super().__init__()
        self.matchers: dict[bytes, Matcher] = {}

    def add(self, name: bytes, listener: Listener) -> None:
        super().add(name, listener)
        if name not in self.matchers:
            self.matchers[name] = matcher(name)

    def remove(self, name: bytes, listener: Listener) -> None:
        super().remove(name, listener)
        if not self.count(name):
            del self.matchers[name]


class Channels(Generic[Listener]):
    """All subscriptions of a server."""

    def __init__(self) -> None:
        self.channels = Subscriptions[Listener]()
        self.patterns = Patterns[Listener]()
        self.shard_channels = Subscriptions[Listener]()

    def deliveries(self, channel: bytes, payload: bytes) -> list[tuple[Listener, Message]]:
        """The receivers of a published payload with their messages. A listener of several names gets several messages."""
        found: list[tuple[Listener, Message]] = []
        receivers = self.channels.of(channel)
        if receivers:
            message = Message(Push([b"message", channel, payload]))
            found += [(listener, message) for listener in receivers]
        for pattern, matches in self.patterns.matchers.items():
            if matches(channel):
                message = Message(Push([b"pmessage", pattern, channel, payload]))
                found += [(listener, message) for listener in self.patterns.of(pattern)]
        return found

    def shard_deliveries(self, channel: bytes, payload: bytes) -> list[tuple[Listener, Message]]:
        """`deliveries` for a shard channel, which patterns don't match."""
        receivers = self.shard_channels.of(channel)
        message = Message(Push([b"smessage", channel, payload]))
        return [(listener, message) for listener in receivers]
