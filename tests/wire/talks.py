"""Conversations of several clients with two servers, which are compared by what each client hears, byte for byte and in order.

This module uses sockets, and nothing of kvserver. (tracking_conversations tells how a conversation is written.)
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from helpers.servers import COMMON_OPTIONS, ServerProcess, Wire, encode, parse

# The ids of clients are above this, and all other numbers below, so that the ids can be told.
FIRST_ID = 100

Pair = tuple[ServerProcess, ServerProcess]


@contextmanager
def pair_of_servers(folders: pytest.TempPathFactory) -> Iterator[Pair]:
    """kvserver and redis-server, which are asked the same."""
    with (
        ServerProcess("kvserver", folders.mktemp("kvserver"), *COMMON_OPTIONS) as ours,
        ServerProcess("redis-server", folders.mktemp("redis"), *COMMON_OPTIONS) as theirs,
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
        # Those of clients that have left, too.
        self._names: dict[int, str] = {}
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
            self._names[self._ids[name]] = name
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
        # The server may have closed the connection.
        with suppress(ConnectionError):
            self.client(name).send(b"".join(encode(*words) for words in commands))
        # Each has been read and run when the second of these is answered, and what follows from it was sent.
        for _ in range(2):
            self._observer.command("PING")

    def _info(self) -> None:
        told = self._observer.value("INFO", "everything")
        self.heard["*"] += b"".join(line + b"\n" for line in told.split(b"\r\n") if line.startswith(b"tracking_"))
        listed = self._observer.value("CLIENT", "LIST")
        # Redis's list turns round with time.
        found = re.findall(rb"id=(\d+) .* flags=(\w+) .* redir=(-?\d+)", listed)
        for number, flags, redirect in sorted(found, key=lambda each: int(each[0])):
            if int(number) in self._names:
                self.heard["*"] += b"%b %b %b\n" % (
                    self._names[int(number)].encode(),
                    flags,
                    self._named(b":%b\r\n" % redirect),
                )

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
        for number, name in self._names.items():
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


def logged(raw: bytes) -> Any:
    """The reply to ACL LOG: of entries, what does not depend on the time and on buffers; else as it came."""
    reply = parse(raw)
    if not isinstance(reply, list) or not reply:
        return raw
    entries = [each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=True)) for each in reply]
    for entry in entries:
        assert 0 <= float(entry.pop(b"age-seconds")) < 60
        line = dict(word.split(b"=", 1) for word in entry.pop(b"client-info").split())
        entry |= {name: line[name] for name in (b"name", b"flags", b"db", b"multi", b"cmd", b"user", b"resp")}
    return entries
