"""Keyspace notifications: for every conversation of the case files, the messages in their order are those of redis-server.

KVSERVER_NOTIFICATIONS_COUNT is the number of random commands, KVSERVER_NOTIFICATIONS_SEED the first seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Self

import pytest

from helpers.casefiles import Conversation, conversations, families, random_rows
from helpers.conversations import converse
from helpers.random_commands import Words, show
from helpers.servers import COMMON_OPTIONS, ServerProcess, Wire, encode, parse
from kvserver.commands.catalogue import COMMANDS

# All classes, also those that A does not stand for.
ALL_CLASSES = "KEAnm"
MOST_WORDS = 5_000
COUNT = int(os.environ.get("KVSERVER_NOTIFICATIONS_COUNT", "2000"))
SEED = int(os.environ.get("KVSERVER_NOTIFICATIONS_SEED", "1"))
# The commands that are sent at once.
RUN = 250
# Conversations whose messages differ, and why.
DIFFERENT = {
    "alike: some have expired": "a SET whose time has passed leaves no key, so that what Redis tells later is told at once",
}


def is_worth_comparing(conversation: Conversation) -> bool:
    """True for a conversation about keys that takes no long time."""
    called = [command for words in conversation.requests if words and (command := COMMANDS.get(words[0].lower()))]
    is_short = sum(map(len, conversation.requests)) < MOST_WORDS and COMMANDS[b"pfselftest"] not in called
    return is_short and any(command.key_specifications for command in called)


def compared() -> list[Conversation]:
    alike = (each for each in conversations() if not each.ours_because and str(each) not in DIFFERENT)
    return list(filter(is_worth_comparing, alike))


COMPARED = compared()

Message = tuple[bytes, bytes]


class Listening:
    """A server, and a client of it that has subscribed to all notifications."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self._control = server.connect()
        self._control.command("AUTH", "secret")
        self._subscribe()

    def _subscribe(self) -> None:
        self._subscriber = self.server.connect()
        self._subscriber.send(encode("AUTH", "secret") + encode("PSUBSCRIBE", "__key*", "end"))
        for _ in range(3):
            self._subscriber.read_reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._subscriber.close()

    def empty(self) -> None:
        assert self._control.command("FLUSHALL") == b"+OK\r\n"

    def begin(self, payload: bytes) -> Wire:
        """Send what a client of its own says, to its end."""
        wire = self.server.connect()
        with suppress(ConnectionError):
            wire.send(payload)
        wire.half_close()
        return wire

    def heard(self) -> list[Message]:
        """The channels and texts of all messages up to now."""
        self._control.command("PUBLISH", "end", "")
        messages: list[Message] = []
        try:
            while (message := parse(self._subscriber.read_reply()))[2] != b"end":
                messages.append((message[2], message[3]))
        except EOFError:
            # A conversation has closed all connections, as it does with the other server.
            self._subscriber.close()
            self._subscribe()
        return messages

    def heard_of_each(self, sent: list[Words]) -> list[list[Message]]:
        """The messages of each of these commands, on an empty server."""
        self.empty()
        self._control.send(b"".join(encode(*words) + encode("PUBLISH", "end", "") for words in sent))
        for _ in range(2 * len(sent)):
            self._control.read_reply()
        told: list[list[Message]] = []
        messages: list[Message] = []
        while len(told) < len(sent):
            _, _, channel, text = parse(self._subscriber.read_reply())
            if channel == b"end":
                told.append(messages)
                messages = []
            else:
                messages.append((channel, text))
        return told


Pair = tuple[Listening, Listening]


@pytest.fixture(scope="module")
def pair_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[tuple[str, ...]], Pair]]:
    """kvserver and redis-server with notifications, for a case file's options."""
    running: dict[tuple[str, ...], Pair] = {}
    with ExitStack() as stack:

        def of(options: tuple[str, ...]) -> Pair:
            if options not in running:
                given = (*COMMON_OPTIONS, "--notify-keyspace-events", ALL_CLASSES, "--proto-max-bulk-len", "1mb", *options)
                ours = ServerProcess("kvserver", tmp_path_factory.mktemp("kvserver"), *given)
                theirs = ServerProcess("redis-server", tmp_path_factory.mktemp("redis"), *given)
                servers = stack.enter_context(ours), stack.enter_context(theirs)
                running[options] = tuple(stack.enter_context(Listening(server)) for server in servers)  # type: ignore[assignment]
            return running[options]

        yield of


def messages_of(pair: Pair, conversation: Conversation) -> list[list[Message]]:
    """What the subscribers of both servers hear of a conversation."""
    for listening in pair:
        listening.empty()
    if conversation.is_of_one_client:
        for wire in [listening.begin(conversation.payload) for listening in pair]:
            wire.read_until_eof()
            wire.close()
    else:
        for listening in pair:
            converse(listening.server, conversation.said)
    return [listening.heard() for listening in pair]


@pytest.mark.parametrize("family", sorted({each.family for each in COMPARED}))
def test_messages_of_every_conversation_are_those_of_redis(pair_of: Callable[[tuple[str, ...]], Pair], family: str) -> None:
    pair = pair_of(families()[family].options)
    for conversation in COMPARED:
        if conversation.family == family:
            ours, theirs = messages_of(pair, conversation)
            assert ours == theirs, conversation


def test_messages_of_random_commands_are_those_of_redis(pair_of: Callable[[tuple[str, ...]], Pair]) -> None:
    """Behind each command a message says which one it was, so that a failure shows the first that differs."""
    pair = pair_of(())
    rows = random_rows()
    for seed in range(SEED, SEED + -(-COUNT // RUN)):
        rng = random.Random(seed)
        sent = rows.some(rng).commands(rng, RUN)
        told = [without_expiries(listening.heard_of_each(sent)) for listening in pair]
        for words, ours, theirs in zip(sent, *told, strict=True):
            assert ours == theirs, f"KVSERVER_NOTIFICATIONS_SEED={seed}: {show(words)}"


def without_expiries(told: list[list[Message]]) -> list[list[Message]]:
    """The messages but for those of keys that have expired: of a SET whose time has passed, Redis tells that later."""
    return [
        [message for message in messages if b"__:expired" not in message[0] and message[1] != b"expired"] for messages in told
    ]
