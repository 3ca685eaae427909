"""The conversations of case files, held with a server, so that the replies of two servers can be compared.

This module uses sockets, and nothing of kvserver.
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

# Parts of replies that differ from server to server and from run to run, and the marks that replace them.
_VARIABLE = (
    (re.compile(rb"\+\d{10}\.\d{6} "), b"+<time> "),
    (re.compile(rb"127\.0\.0\.1:\d+"), b"<address>"),
    (re.compile(rb"\$2\r\nid\r\n:\d+"), b"<id>"),
)


def say(server: ServerProcess, payload: bytes, protocol: int = 2) -> bytes:
    """All bytes that the server sends for `payload` and for an ECHO behind it, which shows if the connection was left open."""
    with server.connect() as wire:
        if protocol == 3:
            wire.command("HELLO", 3)
        # A connection that the server has closed shows in the replies.
        with suppress(ConnectionError):
            wire.send(payload + encode("ECHO", MARK))
        wire.half_close()
        return wire.read_until_eof()


def send_in_parts(wire: Wire, other: Wire, parts: list[bytes]) -> None:
    """Send parts so that the server reads each before the next: there is a round trip on another connection behind each."""
    for part in parts:
        # The server closes the connection behind an error, though parts may still be to come.
        with suppress(ConnectionError):
            wire.send(part)
        assert other.command("PING") == b"+PONG\r\n"


def converse(server: ServerProcess, conversation: Iterable[Said], protocol: int = 2) -> dict[str, bytes]:
    """All bytes that each client got until the end, which a half-close tells the server.

    A client connects when its name is new. The times at which clients got something are not compared.
    """
    clients: dict[str, Wire] = {}
    heard: dict[str, bytes] = {}
    with server.connect() as observer:
        for said in conversation:
            name = said.client
            if name not in clients:
                clients[name] = server.connect()
                # The round trip makes sure that the server accepts the connection before another client's command runs.
                clients[name].command("HELLO", protocol)
            if said.data:
                clients[name].send(said.data)
            else:
                heard[name] = _rest_of(clients.pop(name))
            # The reply shows that the server has looked at both connections, so that the step is taken. Monitors don't see it.
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
