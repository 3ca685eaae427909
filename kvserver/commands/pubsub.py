"""SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE and their opposites, PUBLISH, SPUBLISH, PUBSUB: messages and who gets them.

A message is sent by the effect `Publish`, never from here. It leaves by the same way as replies, so its order with them is
that of the commands; with `appendfsync always` it waits like them until what was written before it is synced.
"""

from __future__ import annotations

from collections.abc import Callable

from kvserver.dispatch.command import command, container, help_lines, wrong_subcommand
from kvserver.dispatch.effect import Effect, Publish, Switch
from kvserver.errors import CommandError
from kvserver.patterns import matcher
from kvserver.resp.reply import Push, Replies, Reply
from kvserver.resp.request import Request
from kvserver.state.channels import Channels, Subscriptions
from kvserver.state.description import ChannelSpecification
from kvserver.state.session import Session

Names = dict[bytes, None]


class Kind:
    """One kind of names to subscribe to: channels, patterns or shard channels.

    `prefix` is that of its commands. `names` gives the names that a session has subscribed to, `subscriptions` those of all
    sessions of a server. `count` is the number of its subscriptions that a session is told.
    """

    def __init__(
        self,
        prefix: bytes,
        names: Callable[[Session], Names],
        subscriptions: Callable[[Channels[Session]], Subscriptions[Session]],
        count: Callable[[Session], int],
    ) -> None:
        self._subscribe, self._unsubscribe = prefix + b"subscribe", prefix + b"unsubscribe"
        self._names = names
        self._subscriptions = subscriptions
        self._count = count

    def subscribe(self, session: Session, asked: list[bytes]) -> Effect:
        names, subscriptions = self._names(session), self._subscriptions(session.server.channels)
        replies = []
        for name in asked:
            if name not in names:
                names[name] = None
                subscriptions.add(name, session)
            replies.append(Push([self._subscribe, name, self._count(session)]))
        return Switch(Replies(replies))

    def unsubscribe(self, session: Session, asked: list[bytes]) -> Effect:
        names, subscriptions = self._names(session), self._subscriptions(session.server.channels)
        replies = []
        for name in asked or list(names):
            if name in names:
                del names[name]
                subscriptions.remove(name, session)
            replies.append(Push([self._unsubscribe, name, self._count(session)]))
        return Switch(Replies(replies or [Push([self._unsubscribe, None, self._count(session)])]))


def _count(session: Session) -> int:
    return len(session.channels) + len(session.patterns)


CHANNELS = Kind(b"", lambda session: session.channels, lambda channels: channels.channels, _count)
PATTERNS = Kind(b"p", lambda session: session.patterns, lambda channels: channels.patterns, _count)
SHARD_CHANNELS = Kind(
    b"s",
    lambda session: session.shard_channels,
    lambda channels: channels.shard_channels,
    lambda session: len(session.shard_channels),
)


@command("subscribe", "channel+", "pubsub noscript loading stale", channels=ChannelSpecification(-1),
         since="2.0.0", group="pubsub", complexity="O(N) where N is the number of channels to subscribe to.",
         summary="Listen for messages published to the given channels",
         is_for_subscribers=True)  # fmt: skip
def subscribe(session: Session, request: Request) -> Effect:
    return CHANNELS.subscribe(session, request[1:])


@command("unsubscribe", "channel?+", "pubsub noscript loading stale",
         since="2.0.0", group="pubsub",
         complexity="O(N) where N is the number of clients already subscribed to a channel.",
         summary="Stop listening for messages posted to the given channels",
         is_for_subscribers=True)  # fmt: skip
def unsubscribe(session: Session, request: Request) -> Effect:
    return CHANNELS.unsubscribe(session, request[1:])


@command("psubscribe", "pattern{pattern:pattern}+", "pubsub noscript loading stale",
         channels=ChannelSpecification(-1, are_patterns=True),
         since="2.0.0", group="pubsub",
         complexity="O(N) where N is the number of patterns the client is already subscribed to.",
         summary="Listen for messages published to channels matching the given patterns",
         is_for_subscribers=True)  # fmt: skip
def psubscribe(session: Session, request: Request) -> Effect:
    return PATTERNS.subscribe(session, request[1:])


@command("punsubscribe", "pattern:pattern?+", "pubsub noscript loading stale",
         since="2.0.0", group="pubsub",
         complexity="O(N+M) where N is the number of patterns the client is already subscribed and M is the "
         "number of total patterns subscribed in the system (by any client).",
         summary="Stop listening for messages posted to channels matching the given patterns",
         is_for_subscribers=True)  # fmt: skip
def punsubscribe(session: Session, request: Request) -> Effect:
    return PATTERNS.unsubscribe(session, request[1:])


@command("ssubscribe", "shardchannel:not-key+", "pubsub noscript loading stale", access="not_key",
         channels=ChannelSpecification(-1),
         since="7.0.0", group="pubsub", complexity="O(N) where N is the number of shard channels to subscribe to.",
         summary="Listen for messages published to the given shard channels",
         is_for_subscribers=True)  # fmt: skip
def ssubscribe(session: Session, request: Request) -> Effect:
    # Of SUBSCRIBE and PSUBSCRIBE, Redis allows this for old clients.
    if session.is_executing:
        raise CommandError("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client")
    return SHARD_CHANNELS.subscribe(session, request[1:])


@command("sunsubscribe", "shardchannel:not-key?+", "pubsub noscript loading stale", access="not_key",
         since="7.0.0", group="pubsub",
         complexity="O(N) where N is the number of clients already subscribed to a shard channel.",
         summary="Stop listening for messages posted to the given shard channels",
         is_for_subscribers=True)  # fmt: skip
def sunsubscribe(session: Session, request: Request) -> Effect:
    return SHARD_CHANNELS.unsubscribe(session, request[1:])


@command("publish", "channel message", "pubsub loading stale fast", channels=ChannelSpecification(1),
         since="2.0.0", group="pubsub",
         complexity="O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number "
         "of subscribed patterns (by any client).",
         summary="Post a message to a channel",
         may_replicate=True)  # fmt: skip
def publish(session: Session, request: Request) -> Reply | Effect:
    deliveries = session.server.channels.deliveries(request[1], request[2])
    return Publish(deliveries, len(deliveries)) if deliveries else 0


@command("spublish", "shardchannel:not-key message", "pubsub loading stale fast", access="not_key",
         channels=ChannelSpecification(1),
         since="7.0.0", group="pubsub",
         complexity="O(N) where N is the number of clients subscribed to the receiving shard channel.",
         summary="Post a message to a shard channel",
         may_replicate=True)  # fmt: skip
def spublish(session: Session, request: Request) -> Reply | Effect:
    deliveries = session.server.channels.shard_deliveries(request[1], request[2])
    return Publish(deliveries, len(deliveries)) if deliveries else 0


pubsub = container("pubsub",
                   since="2.8.0", group="pubsub",
                   summary="A container for Pub/Sub commands")  # fmt: skip


def _list(subscriptions: Subscriptions[Session], request: Request) -> Reply:
    if len(request) > 3:
        raise wrong_subcommand(request)
    if len(request) == 2:
        return list(subscriptions)
    matches = matcher(request[2])
    return [name for name in subscriptions if matches(name)]


def _counts(subscriptions: Subscriptions[Session], names: list[bytes]) -> Reply:
    found: list[Reply] = []
    for name in names:
        found += (name, subscriptions.count(name))
    return found


@command("pubsub|channels", "pattern:pattern?", "pubsub loading stale",
         since="2.8.0", group="pubsub",
         complexity="O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively "
         "short channels and patterns)",
         summary="List active channels")  # fmt: skip
def pubsub_channels(session: Session, request: Request) -> Reply:
    return _list(session.server.channels.channels, request)


@command("pubsub|numsub", "channel?+", "pubsub loading stale",
         since="2.8.0", group="pubsub",
         complexity="O(N) for the NUMSUB subcommand, where N is the number of requested channels",
         summary="Get the count of subscribers for channels")  # fmt: skip
def pubsub_numsub(session: Session, request: Request) -> Reply:
    return _counts(session.server.channels.channels, request[2:])


@command("pubsub|numpat", "", "pubsub loading stale",
         since="2.8.0", group="pubsub", complexity="O(1)",
         summary="Get the count of unique patterns pattern subscriptions")  # fmt: skip
def pubsub_numpat(session: Session, request: Request) -> Reply:
    return len(session.server.channels.patterns)


@command("pubsub|shardchannels", "pattern:pattern?", "pubsub loading stale",
         since="7.0.0", group="pubsub",
         complexity="O(N) where N is the number of active shard channels, and assuming constant time pattern matching "
         "(relatively short shard channels).",
         summary="List active shard channels")  # fmt: skip
def pubsub_shardchannels(session: Session, request: Request) -> Reply:
    return _list(session.server.channels.shard_channels, request)


@command("pubsub|shardnumsub", "shardchannel?+", "pubsub loading stale",
         since="7.0.0", group="pubsub",
         complexity="O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
         summary="Get the count of subscribers for shard channels")  # fmt: skip
def pubsub_shardnumsub(session: Session, request: Request) -> Reply:
    return _counts(session.server.channels.shard_channels, request[2:])


HELP = """CHANNELS [<pattern>]
    Return the currently active channels matching a <pattern> (default: '*').
NUMPAT
    Return number of subscriptions to patterns.
NUMSUB [<channel> ...]
    Return the number of subscribers for the specified channels, excluding
    pattern subscriptions(default: no channels).
SHARDCHANNELS [<pattern>]
    Return the currently active shard level channels matching a <pattern> (default: '*').
SHARDNUMSUB [<shardchannel> ...]
    Return the number of subscribers for the specified shard level channel(s)"""


@command("pubsub|help", "", "loading stale",
         since="6.2.0", group="pubsub", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def pubsub_help(session: Session, request: Request) -> Reply:
    return help_lines("PUBSUB", HELP)
