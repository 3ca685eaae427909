"""MIGRATE: keys go to another server that speaks Redis's protocol, by way of DUMP's payloads and RESTORE there.

Here is what is sent and what the answers mean; the connection is the engine's (`engine.migrations`). A key is removed only
when the other server has acknowledged it, and only while it is as it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Effect, Migrate, Transfer
from kvserver.dispatch.gate import write_error
from kvserver.errors import CommandError, Refusal
from kvserver.formats.rdb import dump
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.description import INVALID_ARGUMENTS
from kvserver.state.session import Session
from kvserver.state.watches import Watch

NO_KEY: Final = Simple("NOKEY")
KEY_AND_KEYS: Final = "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
FROM_TARGET: Final = "ERR Target instance replied with error: "
# Redis says "the client" of the other server, which it is to connect to.
FAILED: Final = {
    "connecting": "IOERR error or timeout connecting to the client",
    "writing": "IOERR error or timeout writing to target instance",
    "reading": "IOERR error or timeout reading to target instance",
}
CHANGED: Final = "ERR a key has changed while it was on its way: it has stayed here, and is on the target instance as it was"
NO_MULTI: Final = "ERR MIGRATE is not allowed inside a transaction"
DEFAULT_TIMEOUT_MS: Final = 1000
# Redis takes this for the database of a new connection, and does not select it.
_NOT_SELECTED: Final = -1
_OPTIONS_FROM: Final = 6
_WORDS_BEHIND: Final = {b"COPY": 0, b"REPLACE": 0, b"AUTH": 1, b"AUTH2": 2}


def _keys_from(request: Request) -> int:
    """The position of the word KEYS, or the end of the call."""
    place = _OPTIONS_FROM
    while place < len(request) and request[place].upper() != b"KEYS":
        place += 1 + _WORDS_BEHIND.get(request[place].upper(), 0)
    return min(place, len(request))


def _key_places(request: Request) -> range:
    place = _keys_from(request)
    if place == len(request):
        return range(3, 4)
    if request[3]:
        raise CommandError(INVALID_ARGUMENTS)
    return range(place + 1, len(request))


def _secrets(request: Request) -> list[int]:
    places = range(_OPTIONS_FROM, _keys_from(request))
    return [
        place + step
        for place in places
        if request[place].upper() in (b"AUTH", b"AUTH2")
        for step in range(1, 1 + _WORDS_BEHIND[request[place].upper()])
    ]


def _check_queueable(request: Request) -> None:
    """Refuse it: what is behind it in the transaction would run before the answers are there."""
    raise Refusal(NO_MULTI)


class _Options:
    """The options of a call, read by hand: Redis's errors come in the order of the words. CommandError for wrong ones."""

    def __init__(self, request: Request) -> None:
        self.copies = self.replaces = False
        # The words of AUTH at the other server, if any.
        self.credentials: list[bytes] = []
        self.keys = [request[3]]
        words = request[: _OPTIONS_FROM - 1 : -1]
        while words:
            match words.pop().upper():
                case b"COPY":
                    self.copies = True
                case b"REPLACE":
                    self.replaces = True
                case b"AUTH" if words:
                    self.credentials = [words.pop()]
                case b"AUTH2" if len(words) >= 2:
                    self.credentials = [words.pop(), words.pop()]
                case b"KEYS":
                    if request[3]:
                        raise CommandError(KEY_AND_KEYS)
                    self.keys = words[::-1]
                    break
                case _:
                    raise CommandError(SYNTAX_ERROR)


def _port(text: bytes) -> int:
    """The port that Redis takes a text for: 0, which nobody listens on, if it does not begin with a number."""
    number = re.match(rb"[0-9]{1,5}", text)
    return int(number[0]) if number else 0


class _Sending:
    """The keys of one call: what restores each at the other server, and what is done here in the end."""

    def __init__(self, session: Session, keys: list[bytes], *, copies: bool, replaces: bool) -> None:
        self._session = session
        self._keys = keys
        self._copies = copies
        self._replaces = replaces
        # Others must not write the keys meanwhile. What happens all the same, as by a script that did not declare a key,
        # shows here.
        self._watches: dict[bytes, Watch] = {}

    def restores(self) -> Iterator[tuple[bytes, Request]]:
        """Each key, with what restores it, made when it is asked for. A key whose time has come meanwhile is left out."""
        keyspace = self._session.keyspace
        for key in self._keys:
            value = keyspace.peek_live(key)
            if value is None:
                continue
            # A key may be named twice.
            watch = self._watches.setdefault(key, Watch())
            self._session.server.watches.add(watch, keyspace, key)
            expires_at_ms = keyspace.expires_at_ms(key)
            ttl_ms = 0 if expires_at_ms is None else max(expires_at_ms - keyspace.now_ms(), 1)
            options = [b"REPLACE"] if self._replaces else []
            yield key, [b"RESTORE", key, b"%d" % ttl_ms, dump(value), *options]

    def finish(self, transfer: Transfer) -> Reply:
        """Remove what the other server has taken, and reply. CommandError if anything has failed."""
        watches = self._session.server.watches
        changed = {key for key, watch in self._watches.items() if watches.is_touched(watch)}
        for watch in self._watches.values():
            watches.remove(watch)
        refusals = [line for line in transfer.greeted if line.startswith(b"-")]
        taken = {key for key, line in transfer.restored if not (refusals or line.startswith(b"-"))}
        refusals += [line for _, line in transfer.restored if line.startswith(b"-")]
        if taken and not self._copies:
            # This server may have been told to follow another one meanwhile.
            if error := write_error(self._session.server):
                raise CommandError(error)
            keyspace = self._session.keyspace
            keyspace.remove(*(key for key in taken - changed if keyspace.live(key) is not None))
        if refusals:
            raise CommandError(FROM_TARGET + refusals[0][1:].decode("utf-8", "surrogateescape"))
        if transfer.failed_at:
            raise CommandError(FAILED[transfer.failed_at])
        if taken & changed and not self._copies:
            raise CommandError(CHANGED)
        return OK


@command("migrate",
         "host port:integer key_or_empty_string<key:key|=empty_string:pure-token> destination-db:integer timeout:integer "
         "COPY?@3.0.0 REPLACE?@3.0.0 authentication<AUTH=password?@4.0.7|AUTH2=username_password{username password}?@6.0.0>? "
         "KEYS=key:key#1?+@3.0.6",
         "write", access="RW access delete;RW access delete incomplete",
         events="del", since="2.6.0", group="generic",
         complexity="This command actually executes a DUMP+DEL in the source instance, and a RESTORE in the target instance. "
         "See the pages of these commands for time complexity. Also an O(N) data transfer between the two instances is "
         "performed.",
         categories="keyspace dangerous", tips="nondeterministic_output",
         summary="Atomically transfer a key from a Redis instance to another one.",
         key_places=_key_places, check_queueable=_check_queueable, secrets=_secrets)  # fmt: skip
def migrate(session: Session, request: Request) -> Reply | Effect:
    options = _Options(request)
    timeout_ms, number = integer(request[5]), integer(request[4])
    keys = [key for key in options.keys if session.keyspace.read(key) is not None]
    if not keys:
        return NO_KEY
    greeting = [[b"AUTH", *options.credentials]] if options.credentials else []
    if number != _NOT_SELECTED:
        greeting.append([b"SELECT", b"%d" % number])
    sending = _Sending(session, keys, copies=options.copies, replaces=options.replaces)
    host, port = request[1].decode("utf-8", "surrogateescape"), _port(request[2])
    timeout_ms = timeout_ms if timeout_ms > 0 else DEFAULT_TIMEOUT_MS
    return Migrate(host, port, timeout_ms, keys, greeting, sending.restores(), sending.finish)
