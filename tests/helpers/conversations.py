"""Conversations of several clients with one server, step by step, so that two servers can be compared.

A step is `name: COMMAND words`, the words as in a shell; `;` stands between commands that are sent at once. A client of a
new name connects. `name: <close>` ends it from its side. What all clients got is compared, not when.
Knows sockets, but nothing of ours.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from helpers.servers import ServerProcess, Wire, encode

# What differs from server to server and run to run.
_VARIABLE = (
    (re.compile(rb"\+\d{10}\.\d{6} "), b"+<time> "),
    (re.compile(rb"127\.0\.0\.1:\d+"), b"<address>"),
    (re.compile(rb"\$2\r\nid\r\n:\d+"), b"<id>"),
)


def parse_step(line: str) -> tuple[str, bytes]:
    """Who speaks, and the bytes; none for an end."""
    name, _, said = line.strip().partition(": ")
    if said == "<close>":
        return name, b""
    return name, b"".join(encode(*shlex.split(command)) for command in said.split(";"))


def converse(server: ServerProcess, steps: Iterable[str], protocol: int = 2) -> dict[str, bytes]:
    """What each client got until the end, of which the server learns by a half-close."""
    clients: dict[str, Wire] = {}
    heard: dict[str, bytes] = {}
    with server.connect() as observer:
        for name, data in map(parse_step, steps):
            if name not in clients:
                clients[name] = server.connect()
                # A round trip: a connection is accepted later than another one's command may run.
                clients[name].command("HELLO", protocol)
            if data:
                clients[name].send(data)
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
