"""Messages: SUBSCRIBE and its kin, PUBLISH, PUBSUB.

A message leaves by the same way as replies, so its order with them is that of the commands; with `appendfsync always` it
waits like them until what was written before it is synced.
"""

from __future__ import annotations

from collections.abc import Callable

from kvserver.dispatch.effect import Effect, Publish, Switch
from kvserver.dispatch.row import ALL_KEYS, FIRST_KEY, NO_KEYS, Command, container, help_lines, wrong_subcommand
from kvserver.patterns import matcher
from kvserver.resp.reply import Push, Replies, Reply
from kvserver.state.channels import Channels, Subscriptions
from kvserver.state.session import Session

Names = dict[bytes, None]


class Kind:
    """One kind of names to subscribe to."""

    def __init__(
        self,
        prefix: bytes,  # of its commands
        names: Callable[[Session], Names],  # those that a session has subscribed to
        subscriptions: Callable[[Channels[Session]], Subscriptions[Session]],  # where the server has those of all sessions
        count: Callable[[Session], int],  # how many a session is told that it has
    ) -> None:
        self._subscribe, self._unsubscribe = prefix + b"subscribe", prefix + b"unsubscribe"
        self._names = names
        self._subscriptions = subscriptions
        self._count = count

    def subscribe(self, session: Session, args: list[bytes]) -> Effect:
        names, subscriptions = self._names(session), self._subscriptions(session.server.channels)
        replies = []
        for name in args[1:]:
            if name not in names:
                names[name] = None
                subscriptions.add(name, session)
            replies.append(Push([self._subscribe, name, self._count(session)]))
        return Switch(Replies(replies))

    def unsubscribe(self, session: Session, args: list[bytes]) -> Effect:
        names, subscriptions = self._names(session), self._subscriptions(session.server.channels)
        replies = []
        for name in args[1:] or list(names):
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


def publish(session: Session, args: list[bytes]) -> Reply | Effect:
    deliveries = session.server.channels.deliveries(args[1], args[2])
    return Publish(deliveries, len(deliveries)) if deliveries else 0


def spublish(session: Session, args: list[bytes]) -> Reply | Effect:
    deliveries = session.server.channels.shard_deliveries(args[1], args[2])
    return Publish(deliveries, len(deliveries)) if deliveries else 0


def _list(subscriptions: Subscriptions[Session], args: list[bytes]) -> Reply:
    if len(args) > 3:
        raise wrong_subcommand(args)
    if len(args) == 2:
        return list(subscriptions)
    matches = matcher(args[2])
    return [name for name in subscriptions if matches(name)]


def _counts(subscriptions: Subscriptions[Session], names: list[bytes]) -> Reply:
    found: list[Reply] = []
    for name in names:
        found += (name, subscriptions.count(name))
    return found


def pubsub_channels(session: Session, args: list[bytes]) -> Reply:
    return _list(session.server.channels.channels, args)


def pubsub_numsub(session: Session, args: list[bytes]) -> Reply:
    return _counts(session.server.channels.channels, args[2:])


def pubsub_numpat(session: Session, args: list[bytes]) -> Reply:
    return len(session.server.channels.patterns)


def pubsub_shardchannels(session: Session, args: list[bytes]) -> Reply:
    return _list(session.server.channels.shard_channels, args)


def pubsub_shardnumsub(session: Session, args: list[bytes]) -> Reply:
    return _counts(session.server.channels.shard_channels, args[2:])


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


def pubsub_help(session: Session, args: list[bytes]) -> Reply:
    return help_lines("PUBSUB", HELP)


_GROUP = "pubsub"
_ASKING = ("pubsub", "loading", "stale")
_LISTENING = ("pubsub", "noscript", "loading", "stale")
_PUBLISHING = ("pubsub", "loading", "stale", "fast")
_MATCHING = (
    "O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively short channels "
    "and patterns)"
)
_MATCHING_SHARDS = (
    "O(N) where N is the number of active shard channels, and assuming constant time pattern matching (relatively short "
    "shard channels)."
)

SUBCOMMANDS = (
    Command("pubsub|channels", -2, _ASKING, NO_KEYS, pubsub_channels, "List active channels", "2.8.0", _GROUP, _MATCHING),
    Command("pubsub|help", 2, ("loading", "stale"), NO_KEYS, pubsub_help,
            "Show helpful text about the different subcommands", "6.2.0", _GROUP, "O(1)"),
    Command("pubsub|numpat", 2, _ASKING, NO_KEYS, pubsub_numpat,
            "Get the count of unique patterns pattern subscriptions", "2.8.0", _GROUP, "O(1)"),
    Command("pubsub|numsub", -2, _ASKING, NO_KEYS, pubsub_numsub, "Get the count of subscribers for channels", "2.8.0",
            _GROUP, "O(N) for the NUMSUB subcommand, where N is the number of requested channels"),
    Command("pubsub|shardchannels", -2, _ASKING, NO_KEYS, pubsub_shardchannels, "List active shard channels", "7.0.0",
            _GROUP, _MATCHING_SHARDS),
    Command("pubsub|shardnumsub", -2, _ASKING, NO_KEYS, pubsub_shardnumsub,
            "Get the count of subscribers for shard channels", "7.0.0", _GROUP,
            "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels"),
)  # fmt: skip

COMMANDS = (
    Command("publish", 3, _PUBLISHING, NO_KEYS, publish, "Post a message to a channel", "2.0.0", _GROUP,
            "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of "
            "subscribed patterns (by any client)."),
    Command("subscribe", -2, _LISTENING, NO_KEYS, CHANNELS.subscribe, "Listen for messages published to the given channels",
            "2.0.0", _GROUP, "O(N) where N is the number of channels to subscribe to."),
    Command("unsubscribe", -1, _LISTENING, NO_KEYS, CHANNELS.unsubscribe,
            "Stop listening for messages posted to the given channels", "2.0.0", _GROUP,
            "O(N) where N is the number of clients already subscribed to a channel."),
    Command("psubscribe", -2, _LISTENING, NO_KEYS, PATTERNS.subscribe,
            "Listen for messages published to channels matching the given patterns", "2.0.0", _GROUP,
            "O(N) where N is the number of patterns the client is already subscribed to."),
    Command("punsubscribe", -1, _LISTENING, NO_KEYS, PATTERNS.unsubscribe,
            "Stop listening for messages posted to channels matching the given patterns", "2.0.0", _GROUP,
            "O(N+M) where N is the number of patterns the client is already subscribed and M is the number of total "
            "patterns subscribed in the system (by any client)."),
    Command("spublish", 3, _PUBLISHING, FIRST_KEY, spublish, "Post a message to a shard channel", "7.0.0", _GROUP,
            "O(N) where N is the number of clients subscribed to the receiving shard channel."),
    Command("ssubscribe", -2, _LISTENING, ALL_KEYS, SHARD_CHANNELS.subscribe,
            "Listen for messages published to the given shard channels", "7.0.0", _GROUP,
            "O(N) where N is the number of shard channels to subscribe to."),
    Command("sunsubscribe", -1, _LISTENING, ALL_KEYS, SHARD_CHANNELS.unsubscribe,
            "Stop listening for messages posted to the given shard channels", "7.0.0", _GROUP,
            "O(N) where N is the number of clients already subscribed to a shard channel."),
    Command("pubsub", -2, (), NO_KEYS, container(SUBCOMMANDS),
            "A container for Pub/Sub commands", "2.8.0", _GROUP, "Depends on subcommand.", SUBCOMMANDS),
)  # fmt: skip
