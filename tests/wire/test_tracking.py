"""Client-side caching: what each client hears, byte for byte and in order, is what redis-server lets it hear.

KVSERVER_TRACKING_COUNT is the number of random conversations, KVSERVER_TRACKING_SEED the first seed.
"""

from __future__ import annotations

import os
import random
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress

import pytest

from helpers.servers import COMMON_OPTIONS, ServerProcess, Wire, encode
from wire.tracking_conversations import OF_REDIS, OTHERS, SUBSCRIBED

COUNT = int(os.environ.get("KVSERVER_TRACKING_COUNT", "12"))
SEED = int(os.environ.get("KVSERVER_TRACKING_SEED", "1"))
# The ids of clients are above this, and all other numbers below, so that the ids can be told.
FIRST_ID = 100

Pair = tuple[ServerProcess, ServerProcess]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with (
        ServerProcess("kvserver", tmp_path_factory.mktemp("kvserver"), *COMMON_OPTIONS) as ours,
        ServerProcess("redis-server", tmp_path_factory.mktemp("redis"), *COMMON_OPTIONS) as theirs,
    ):
        for server in ours, theirs:
            for _ in range(FIRST_ID):
                server.once("PING")
        yield ours, theirs


class Talk:
    """A conversation with a server: its clients, and all that each of them has heard."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._observer = server.connect()
        self._clients: dict[str, Wire] = {}
        self._ids: dict[str, int] = {}
        self.heard: dict[str, bytes] = {"*": b""}

    def __enter__(self) -> Talk:
        assert self._observer.command("FLUSHALL") == b"+OK\r\n"
        return self

    def __exit__(self, *_: object) -> None:
        for wire in (self._observer, *self._clients.values()):
            wire.close()

    def client(self, name: str) -> Wire:
        if name not in self._clients:
            wire = self._clients[name] = self._server.connect()
            wire.command("HELLO", name[-1])
            self._ids[name] = int(wire.command("CLIENT", "ID")[1:])
        return self._clients[name]

    def take(self, line: str) -> None:
        """Do what a line of a conversation says, and wait until the server has done it."""
        if line == "* info":
            self._info()
        elif line.startswith("* "):
            words, _, expected = line[2:].partition(" => ")
            while self._observer.command(*words.split()) != expected.encode() + b"\r\n":
                pass
        elif line.startswith("- "):
            self._end(line[2:])
        else:
            name, _, said = line.partition(": ")
            self.client(name)
            self.say(name, [[self._word(word) for word in shlex.split(part)] for part in said.split("; ")])

    def _word(self, word: str) -> str:
        if not word.startswith("@"):
            return word.replace("\\n", "\n")
        self.client(word[1:])
        return str(self._ids[word[1:]])

    def say(self, name: str, commands: list[list[str]]) -> None:
        self.client(name).send(b"".join(encode(*words) for words in commands))
        # Each has been read and run when the second of these is answered, and what follows from it was sent.
        for _ in range(2):
            self._observer.command("PING")

    def _info(self) -> None:
        told = self._observer.value("INFO", "everything")
        self.heard["*"] += b"".join(line + b"\n" for line in told.split(b"\r\n") if line.startswith(b"tracking_"))
        listed = self._observer.value("CLIENT", "LIST")
        names = {number: name for name, number in self._ids.items()}
        # Redis's list turns round with time.
        found = re.findall(rb"id=(\d+) .* flags=(\w+) .* redir=(-?\d+)", listed)
        for number, flags, redirect in sorted(found, key=lambda each: int(each[0])):
            if int(number) in names:
                self.heard["*"] += b"%b %b %b\n" % (names[int(number)].encode(), flags, self._named(b":%b\r\n" % redirect))

    def _end(self, name: str) -> None:
        wire = self._clients.pop(name)
        with suppress(OSError):
            wire.half_close()
            self.heard[name] = self.heard.get(name, b"") + wire.read_until_eof()
        wire.close()
        number = self._ids[name]
        while b"id=%d " % number in self._observer.value("CLIENT", "LIST"):
            pass

    def end(self) -> dict[str, bytes]:
        """What each client has heard, with the names of clients for their ids."""
        for name in list(self._clients):
            self._end(name)
        return {name: self._named(heard) for name, heard in self.heard.items()}

    def _named(self, heard: bytes) -> bytes:
        for name, number in self._ids.items():
            heard = heard.replace(b":%d\r\n" % number, b":<%b>\r\n" % name.encode())
        return heard


def heard(server: ServerProcess, conversation: str) -> dict[str, bytes]:
    with Talk(server) as talk:
        for line in filter(None, map(str.strip, conversation.splitlines())):
            talk.take(line)
        return talk.end()


def compare(pair: Pair, conversation: str) -> None:
    ours, theirs = (heard(server, conversation) for server in pair)
    for name in theirs:
        one, other = ours[name], theirs[name]
        if name.endswith("2"):
            # To a client of RESP2, Redis sends RESP3's null if that is what the one that tracks speaks.
            one, other = (heard.replace(b"\r\n_\r\n", b"\r\n$-1\r\n") for heard in (one, other))
        assert one.split(b"\r\n") == other.split(b"\r\n"), name


@pytest.mark.parametrize("name", OF_REDIS)
def test_conversation_of_the_suite_of_redis_is_heard_alike(pair: Pair, name: str) -> None:
    compare(pair, f"{SUBSCRIBED}\n{OF_REDIS[name]}")


@pytest.mark.parametrize("name", OTHERS)
def test_conversation_is_heard_alike(pair: Pair, name: str) -> None:
    compare(pair, f"{SUBSCRIBED}\n{OTHERS[name]}")


# The words of random conversations. With BCAST NOLOOP, Redis tells a client of what its own scripts have written, though
# with NOLOOP alone it does not: here, no client is told so.
KEYS = ["k1", "k2", "k3", "l1", "l2"]
READS = ["GET $", "MGET $ $", "EXISTS $", "LRANGE $ 0 -1", "TYPE $", "EVAL \"return redis.call('get', KEYS[1])\" 1 $"]
WRITES = [
    "SET $ 1", "SET $ 2", "DEL $", "DEL $ $", "INCR $", "APPEND $ 3", "RPUSH $ 4", "LPOP $", "MSET $ 5 $ 6", "GETDEL $",
    "SETNX $ 7", "EXPIRE $ 1000", "PERSIST $", "RENAME $ $", "COPY $ $ REPLACE", "EVAL \"redis.call('set', KEYS[1], 9)\" 1 $",
    "EVAL \"redis.call('get', KEYS[1]) redis.call('append', KEYS[2], 9)\" 2 $ $",
]  # fmt: skip
RARE = ["FLUSHDB", "FLUSHALL", "SELECT 1", "SELECT 0", "MULTI", "MULTI", "EXEC", "EXEC", "DISCARD", "WATCH $", "NOSUCH", "GET"]
OPTIONS = [
    "",
    "",
    "NOLOOP",
    "OPTIN",
    "OPTOUT",
    "BCAST",
    "BCAST PREFIX k",
    "BCAST PREFIX k1 PREFIX l",
    "REDIRECT @i2",
]
OF_TRACKING = ["CLIENT TRACKING on ^", "CLIENT TRACKING off", "CLIENT CACHING yes", "CLIENT CACHING no", "CLIENT TRACKINGINFO"]


def random_conversation(rng: random.Random) -> str:
    """A conversation of three clients, and of one more that keeps a server from forgetting who has tracked before."""

    def line(name: str, kinds: list[list[str]]) -> str:
        said = "; ".join(rng.choice(rng.choice(kinds)) for _ in range(rng.choice((1, 1, 1, 2, 5))))
        filled = re.sub(r"[$^]", lambda mark: rng.choice(KEYS if mark[0] == "$" else OPTIONS), said)
        return f"{name}: {filled}"

    of_one_that_tracks = [READS, READS, READS, WRITES, RARE, OF_TRACKING]
    lines = [f"s3: {words}" for words in ("SET k1 a", "RPUSH l1 a b")]
    lines += [f"{name}: CLIENT TRACKING on {rng.choice(OPTIONS)}" for name in ("r3", "d3") if rng.random() < 0.9]
    for _ in range(30):
        name = rng.choice(("r3", "r3", "d3", "s3"))
        lines.append(line(name, [READS, WRITES, WRITES] if name == "s3" else of_one_that_tracks))
    return "\n".join(["k3: CLIENT TRACKING on", SUBSCRIBED, *lines, "* info"])


@pytest.mark.parametrize("number", range(COUNT))
def test_random_conversation_is_heard_alike(pair: Pair, number: int) -> None:
    conversation = random_conversation(random.Random(SEED + number))
    print(f"seed {SEED + number}\n{conversation}")
    compare(pair, conversation)
