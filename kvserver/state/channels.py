"""Who listens to which channels and patterns, and whom a message concerns. Pure: delivering is the writer's.

Channels and shard channels are two spaces of names that have nothing to do with each other, as in Redis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kvserver.glob import Matcher, matcher
from kvserver.resp.reply import Push, encode

if TYPE_CHECKING:
    from kvserver.state.session import Session


class Message:
    """What subscribers are sent: encoded once for each protocol that one of them speaks, not for each of them."""

    __slots__ = ("_push", "_wires")

    def __init__(self, push: Push) -> None:
        self._push = push
        self._wires: dict[int, bytes] = {}

    def wire(self, protocol: int) -> bytes:
        wire = self._wires.get(protocol)
        if wire is None:
            wire = self._wires[protocol] = encode(self._push, protocol)
        return wire


class Subscriptions:
    """One kind of names (channels, patterns, or shard channels) and their subscribers, in the order in which they came."""

    def __init__(self) -> None:
        self._subscribers: dict[bytes, dict[Session, None]] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[bytes]:
        """The names that have a subscriber."""
        return iter(self._subscribers)

    def of(self, name: bytes) -> Iterable[Session]:
        return self._subscribers.get(name, ())

    def count(self, name: bytes) -> int:
        return len(self._subscribers.get(name, ()))

    def add(self, name: bytes, session: Session) -> None:
        self._subscribers.setdefault(name, {})[session] = None

    def remove(self, name: bytes, session: Session) -> None:
        """Remove one that is there."""
        subscribers = self._subscribers[name]
        del subscribers[session]
        if not subscribers:
            del self._subscribers[name]


class Patterns(Subscriptions):
    """Patterns and their subscribers, and for each pattern what tells which channels it matches."""

    def __init__(self) -> None:
        super().__init__()
        self.matchers: dict[bytes, Matcher] = {}

    def add(self, name: bytes, session: Session) -> None:
        super().add(name, session)
        if name not in self.matchers:
            self.matchers[name] = matcher(name)

    def remove(self, name: bytes, session: Session) -> None:
        super().remove(name, session)
        if not self.count(name):
            del self.matchers[name]


class Channels:
    """All subscriptions of a server."""

    def __init__(self) -> None:
        self.channels = Subscriptions()
        self.patterns = Patterns()
        self.shard_channels = Subscriptions()

    def deliveries(self, channel: bytes, payload: bytes) -> list[tuple[Session, Message]]:
        """Who gets what when this is published; whoever listens by several names gets several messages."""
        found: list[tuple[Session, Message]] = []
        receivers = self.channels.of(channel)
        if receivers:
            message = Message(Push([b"message", channel, payload]))
            found += [(session, message) for session in receivers]
        for pattern, matches in self.patterns.matchers.items():
            if matches(channel):
                message = Message(Push([b"pmessage", pattern, channel, payload]))
                found += [(session, message) for session in self.patterns.of(pattern)]
        return found

    def shard_deliveries(self, channel: bytes, payload: bytes) -> list[tuple[Session, Message]]:
        """The same for a shard channel, which patterns don't match."""
        receivers = self.shard_channels.of(channel)
        message = Message(Push([b"smessage", channel, payload]))
        return [(session, message) for session in receivers]
