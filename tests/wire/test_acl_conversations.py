"""What Redis's own suite asks of users is answered as by redis-server, in both protocols.

acl_conversations has the table.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.servers import COMMON_OPTIONS, PROJECT, Kind, ServerProcess, Wire
from wire.acl_conversations import ELSEWHERE, FILE, OF_LATER, OF_REDIS, UNORDERED, WITH_FILE
from wire.talks import logged

KINDS: tuple[Kind, ...] = ("kvserver", "redis-server")
# Who has all rights, whatever a conversation has made of the default user.
KEEPER = "user keeper on nopass ~* &* +@all"
ANEW = (
    ("ACL", "SETUSER", "default", "reset", "on", "nopass", "~*", "&*", "+@all"), ("FLUSHALL",), ("ACL", "LOG", "RESET"),
    ("CONFIG", "SET", "acllog-max-len", 128, "acl-pubsub-default", "resetchannels"),
)  # fmt: skip

Pair = list[tuple[ServerProcess, Path]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folders = [tmp_path_factory.mktemp(kind) for kind in KINDS]
    first, second = (ServerProcess(kind, folder, *COMMON_OPTIONS) for kind, folder in zip(KINDS, folders, strict=True))
    with first, second:
        yield list(zip((first, second), folders, strict=True))


@pytest.fixture(scope="module")
def pair_with_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    files = [tmp_path_factory.mktemp(kind) / "users.acl" for kind in KINDS]
    for file in files:
        write(file)
    first, second = (
        ServerProcess(kind, file.parent, *COMMON_OPTIONS, "--aclfile", str(file))
        for kind, file in zip(KINDS, files, strict=True)
    )
    with first, second:
        yield list(zip((first, second), files, strict=True))


def write(file: Path) -> None:
    file.write_text("".join(f"{line}\n" for line in (*FILE, KEEPER, "user default on nopass ~* &* +@all")))


def clear(server: ServerProcess) -> None:
    with server.connect() as wire:
        wire.command("AUTH", "keeper", "x")
        for words in (("ACL", "SETUSER", *KEEPER.split()[1:]), *ANEW):
            assert wire.command(*words) == b"+OK\r\n"
        wire.command("ACL", "DELUSER", *(user for user in wire.value("ACL", "USERS") if user not in (b"default", b"keeper")))


def heard(server: ServerProcess, conversation: str, protocol: int) -> list[tuple[str, object]]:
    """Each command and its reply. Once the server has closed a connection, there is no reply."""
    wires: dict[str, Wire] = {}
    replies: list[tuple[str, object]] = []
    try:
        for line in filter(None, map(str.strip, conversation.splitlines())):
            name, _, said = line.partition(": ")
            if name not in wires:
                wires[name] = server.connect()
                wires[name].command("HELLO", protocol)
            for command in said.split("; "):
                words = [word.replace("\\0", "\0") for word in shlex.split(command)]
                try:
                    raw = wires[name].command(*words)
                    replies.append((f"{name}: {command}", without_chance(raw, command)))
                except (EOFError, ConnectionError):
                    replies.append((f"{name}: {command}", b"<closed>"))
    finally:
        for wire in wires.values():
            wire.close()
    return replies


def without_chance(raw: bytes, command: str) -> object:
    """A reply without ids; of entries of the log, what does not depend on the time and on buffers."""
    return logged(raw) if command.startswith("ACL LOG") else re.sub(rb"\$2\r\nid\r\n:\d+", b"<id>", raw)


def unordered(replies: list[tuple[str, object]]) -> list[tuple[str, object]]:
    return [(said, sorted(reply.split()) if isinstance(reply, bytes) else reply) for said, reply in replies]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", OF_REDIS)
def test_conversation_of_the_suite_of_redis_is_heard_alike(pair: Pair, name: str, protocol: int) -> None:
    for server, _ in pair:
        clear(server)
    ours, theirs = (heard(server, OF_REDIS[name], protocol) for server, _ in pair)
    if name in UNORDERED:
        ours, theirs = unordered(ours), unordered(theirs)
    assert ours == theirs


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", WITH_FILE)
def test_conversation_with_a_file_of_users_is_heard_alike(pair_with_file: Pair, name: str, protocol: int) -> None:
    replies = []
    for server, file in pair_with_file:
        clear(server)
        write(file)
        assert server.once("ACL", "LOAD") == b"+OK\r\n"
        replies.append(heard(server, WITH_FILE[name], protocol))
    assert replies[0] == replies[1]


@pytest.mark.parametrize("name", OF_LATER)
def test_conversation_of_the_suite_of_a_later_redis_is_heard(pair: Pair, name: str) -> None:
    clear(pair[0][0])
    said, expected = zip(*(line.split(" => ") for line in OF_LATER[name].strip().splitlines()), strict=True)
    for (command, reply), begin in zip(heard(pair[0][0], "\n".join(said), 2), expected, strict=True):
        assert isinstance(reply, bytes)
        assert reply.replace(b"\r\n", b" ").startswith(begin.encode()), command


@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_tests_of_the_suite_of_redis_are_where_the_table_says(name: str) -> None:
    path, line = ELSEWHERE[name]
    assert line in (PROJECT / path).read_text()
