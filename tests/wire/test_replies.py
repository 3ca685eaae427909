"""Every conversation of the case files, in RESP2 and in RESP3: the exact bytes on a raw socket, compared with redis-server's.

Where there is nothing to compare with, the case file has the reply that is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from helpers.casefiles import Conversation, conversations, families, is_expected, show
from helpers.conversations import MARK_REPLY, PROTOCOLS, converse, say
from helpers.servers import COMMON_OPTIONS, ServerProcess, encode, split_replies
from kvserver.commands.catalogue import COMMANDS
from kvserver.engine.writer import COMMANDS_PER_RUN

COMPARED = [each for each in conversations() if not each.ours_because]
OURS_ALONE = [each for each in conversations() if each.ours_because]

Pair = tuple[ServerProcess, ServerProcess]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[tuple[str, ...]], Pair]]:
    """kvserver and redis-server for a case file's options; they are started when they are first asked for."""
    running: dict[tuple[str, ...], Pair] = {}
    with ExitStack() as stack:

        def of(options: tuple[str, ...]) -> Pair:
            if options not in running:
                ours = ServerProcess("kvserver", tmp_path_factory.mktemp("kvserver"), *COMMON_OPTIONS, *options)
                redis_options = (*COMMON_OPTIONS, *options)
                theirs = ServerProcess("redis-server", tmp_path_factory.mktemp("redis"), *redis_options)
                running[options] = stack.enter_context(ours), stack.enter_context(theirs)
            return running[options]

        yield of


@pytest.fixture
def pair(started: Callable[[tuple[str, ...]], Pair], conversation: Conversation) -> Pair:
    """The servers of a conversation, without data."""
    servers = started(families()[conversation.family].options)
    for server in servers:
        with server.connect() as wire:
            wire.send(encode("AUTH", "secret") + encode("FLUSHALL"))
            wire.read_reply()
            assert wire.read_reply() == b"+OK\r\n"
    return servers


def named(family: str, name: str) -> Conversation:
    return next(each for each in families()[family].conversations if each.name == name)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("conversation", COMPARED, ids=str)
def test_replies_are_those_of_redis(pair: Pair, conversation: Conversation, protocol: int) -> None:
    if conversation.is_of_one_client:
        one, other = (say(server, conversation.payload, protocol) for server in pair)
        assert one == other
        return
    ours, theirs = (converse(server, conversation.said, protocol) for server in pair)
    for client, heard in theirs.items():
        assert ours[client].split(b"\r\n") == heard.split(b"\r\n")
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("conversation", OURS_ALONE, ids=str)
def test_replies_of_what_is_ours_alone_are_those_in_the_case_file(
    pair: Pair, conversation: Conversation, protocol: int
) -> None:
    *replies, _of_the_mark = split_replies(say(pair[0], conversation.payload, protocol))
    for said, reply in zip(conversation.said, replies, strict=True):
        assert said.expected
        assert is_expected(reply, said.expected[protocol - 2]), f"{said.requests[0]}: {show(reply)}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_connection_is_left_open_or_closed_as_the_cases_say(kvserver: ServerProcess, protocol: int) -> None:
    """Guards the comparison above against a harness that always, or never, sees the mark."""
    cases = (named("protocol", "unknown command"), named("connection", "quit"))
    open_case, closed_case = (say(kvserver, case.payload, protocol) for case in cases)
    assert open_case.endswith(MARK_REPLY)
    assert closed_case == b"+OK\r\n"


CLOSING = [
    each
    for family in ("connection", "protocol", "inline")
    for each in families()[family].conversations
    if each.name.startswith(("quit", "good commands"))
    or each.name
    in (
        "inline of a wrong quit",
        "inline over the limit",
        "inline with an open double quote",
        "array count is no number",
        "bulk length over the limit",
    )
]


@pytest.fixture(scope="module")
def always(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess("kvserver", tmp_path_factory.mktemp("always"), "--save", "", "--appendfsync", "always") as server:
        yield server


@pytest.mark.parametrize("case", CLOSING, ids=str)
def test_end_of_a_connection_is_that_of_redis_behind_a_write_that_is_to_be_synced(
    always: ServerProcess, redis_oracle: ServerProcess, case: Conversation
) -> None:
    payload = encode("SET", "before", "1") + case.payload
    for server in (always, redis_oracle):
        server.once("FLUSHALL")
    assert say(always, payload) == say(redis_oracle, payload)
    assert always.once("GET", "k") == redis_oracle.once("GET", "k"), "what stands behind the end has run"


# --- what is in the case files

# Commands that stand in no case file, and why.
IN_NO_CASE_FILE: dict[str, str] = {}


def names_of(words: tuple[bytes, ...]) -> set[str]:
    """The names that a request may call: a command, and its subcommand if the second word is one."""
    first, *rest = (word.decode("utf-8", "replace").lower() for word in words[:2])
    return {first, *(f"{first}|{word}" for word in rest)}


def test_every_command_stands_in_a_case_file() -> None:
    said = {name for each in conversations() for words in each.requests for name in names_of(words)}
    known = {each.name for row in COMMANDS.values() for each in (row, *row.subcommands.values())}
    missing = known - said
    assert missing == IN_NO_CASE_FILE.keys(), "enter it in tests/wire/cases, in the file of its family"


def test_pipelines_of_commands_that_are_alike_are_as_long_as_what_the_writer_takes_in_one_go() -> None:
    assert COMMANDS_PER_RUN == 64
    for case in families()["alike"].conversations:
        assert case.requests.count((b"PING",)) % COMMANDS_PER_RUN == 0
