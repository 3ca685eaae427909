"""A running server as a target: what comes in goes there by commands, beside its other clients.

Keys that are there already are found before anything is written. What another client writes meanwhile is not replaced, either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import hiredis

from kvserver.data.entries import Entry, Expiring
from kvserver.data.kinds import kind_of
from kvserver.errors import TransferError
from kvserver.resp.request import Request
from kvserver.system import Progress
from kvserver.transfer.connection import Connection
from kvserver.transfer.folder_target import TAKEN
from kvserver.transfer.staging import Staging, shown

_RESTORE: Final = b"RESTORE"
# The place behind the payload in its words.
_PAYLOAD_END: Final = 4


def put_into_server(staging: Staging, url: str, *, replaces: bool) -> None:
    """Send what has come in to the server at a URL.

    TransferError if a key is there already, unless it `replaces` such ones, or if the server fails. What was sent before that
    stays there, and the line tells how much it was, unless it was nothing.
    """
    with Connection(url) as connection:
        target = _Target(connection, staging, replaces=replaces)
        if not replaces:
            target.refuse_taken()
        target.send()


class _Target:
    def __init__(self, connection: Connection, staging: Staging, *, replaces: bool) -> None:
        self._connection = connection
        self._staging = staging
        self._replaces = replaces
        self._database = -1
        self._libraries = staging.databases.libraries.copy()
        # The keys that the server has taken.
        self._done = 0

    def refuse_taken(self) -> None:
        """TransferError for the first function library or key that is there. An equal library need not be sent."""
        present = self._present_libraries() if self._libraries else {}
        for name, text in list(self._libraries.items()):
            if present.get(name) == text:
                del self._libraries[name]
            elif name in present:
                raise TransferError(f"{self._connection.url} has a function library {shown(name)}: {TAKEN}")

        def check(number: int, key: bytes) -> Callable[[Any], None]:
            def take(reply: Any) -> None:
                self._check(reply, key)
                if reply:
                    raise TransferError(f"{self._connection.url} has a key {shown(key)} in the database {number}: {TAKEN}")

            return take

        for number, key, _ in self._staging.members():
            self._select(number)
            self._connection.send([b"EXISTS", key], check(number, key))
        self._connection.settle()

    def _present_libraries(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for library in self._connection.call(b"FUNCTION", b"LIST", b"WITHCODE"):
            facts = dict(zip(library[::2], library[1::2], strict=True))
            found[facts[b"library_name"]] = facts[b"library_code"]
        return found

    def send(self) -> None:
        """Send all."""
        databases = self._staging.databases
        try:
            for text in self._libraries.values():
                self._connection.call(b"FUNCTION", b"LOAD", *([b"REPLACE"] if self._replaces else []), text)
            with Progress(f"sending to {self._connection.url}", lambda: databases.key_count) as progress:
                for number, key, entry in self._staging.members():
                    self._select(number)
                    self._send_key(key, entry)
                    progress.update(self._done)
                self._connection.settle()
        except TransferError as error:
            if not self._done:
                raise
            raise TransferError(f"{error} ({self._told()})") from None
        except (KeyboardInterrupt, SystemExit):
            print(f"interrupted: {self._told()}", file=sys.stderr)
            raise

    def _told(self) -> str:
        return f"{self._done} of {self._staging.databases.key_count} keys are there by now"

    def _select(self, number: int) -> None:
        if number != self._database:
            self._database = number
            # A server may have fewer databases: what is meant for this one must not go to another.
            self._connection.call(b"SELECT", b"%d" % number)

    def _send_key(self, key: bytes, entry: Entry) -> None:
        first, *others = self._requests(key, entry)

        def take(reply: Any) -> None:
            self._check(reply, key)
            # NX has this reply where the key is there.
            if reply is None:
                raise TransferError(f"{self._connection.url} has a key {shown(key)} by now, which another client has written")
            self._done += 1

        if others:
            # These would change what another client has written, so that nobody sends them ahead of the reply.
            self._connection.send(first, take)
            self._connection.settle()
            for request in others:
                self._connection.send(request, lambda reply: self._check(reply, key))
        else:
            self._connection.send(first, take)

    def _requests(self, key: bytes, entry: Entry) -> list[Request]:
        """The commands that store an entry under a key where there is none, or in place of it."""
        value, expires_at_ms = (entry.value, entry.expires_at_ms) if isinstance(entry, Expiring) else (entry, None)
        first, *others = kind_of(value).recreation(key, value, expires_at_ms)
        if first[0] == _RESTORE:
            how = [b"REPLACE"] if self._replaces else []
            return [[*first[:_PAYLOAD_END], b"ABSTTL", *how], *others]
        return [first if self._replaces else [*first, b"NX"], *others]

    def _check(self, reply: Any, key: bytes) -> None:
        if isinstance(reply, hiredis.ReplyError):
            raise TransferError(f"{self._connection.url} answers for the key {shown(key)}: {reply}")
