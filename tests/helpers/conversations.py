"""Says to a server what a case file says, so that two servers can be compared.

Knows sockets, but nothing of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from helpers.casefiles import Said
from helpers.servers import ServerProcess, Wire, encode

MARK = b"<the connection was left open>"
MARK_REPLY = b"$%d\r\n%s\r\n" % (len(MARK), MARK)
PROTOCOLS = (2, 3)

# What differs from server to server and run to run.
_VARIABLE = (
    (re.compile(rb"\+\d{10}\.\d{6} "), b"+<time> "),
    (re.compile(rb"127\.0\.0\.1:\d+"), b"<address>"),
    (re.compile(rb"\$2\r\nid\r\n:\d+"), b"<id>"),
)


def say(server: ServerProcess, payload: bytes, protocol: int = 2) -> bytes:
    """All that the server says to payload and a marked ECHO behind it, which shows whether the connection was left open."""
    with server.connect() as wire:
        if protocol == 3:
            wire.command("HELLO", 3)
        with suppress(ConnectionError):  # a closed connection shows in the replies
            wire.send(payload + encode("ECHO", MARK))
        wire.half_close()
        return wire.read_until_eof()


def send_in_parts(wire: Wire, other: Wire, parts: list[bytes]) -> None:
    """A round trip on another connection behind each part lets the server read it before the next leaves."""
    for part in parts:
        with suppress(ConnectionError):  # it closes behind an error, whatever is still to come
            wire.send(part)
        assert other.command("PING") == b"+PONG\r\n"


def converse(server: ServerProcess, conversation: Iterable[Said], protocol: int = 2) -> dict[str, bytes]:
    """What each client got until the end, of which the server learns by a half-close.

    A client of a new name connects. What all clients got is to be compared, not when.
    """
    clients: dict[str, Wire] = {}
    heard: dict[str, bytes] = {}
    with server.connect() as observer:
        for said in conversation:
            name = said.client
            if name not in clients:
                clients[name] = server.connect()
                # A round trip: a connection is accepted later than another one's command may run.
                clients[name].command("HELLO", protocol)
            if said.data:
                clients[name].send(said.data)
            else:
                heard[name] = _rest_of(clients.pop(name))
            # Its reply shows that the step was taken: the server has looked at both connections. Monitors don't see it.
            observer.command("CLIENT", "NO-EVICT", "OFF")
        for name, wire in clients.items():
            heard[name] = heard.get(name, b"") + _rest_of(wire)
    for name in heard:
        for pattern, replacement in _VARIABLE:
            heard[name] = pattern.sub(replacement, heard[name])
    return heard


def _rest_of(wire: Wire) -> bytes:
    try:
        wire.half_close()
        return wire.read_until_eof()
    finally:
        wire.close()
