"""MONITOR: every command that runs, as a line to those who asked for it. Secrets never are in such a line."""

from __future__ import annotations

from kvserver.dispatch.effect import Switch
from kvserver.dispatch.redaction import redacted
from kvserver.dispatch.row import NO_KEYS, Command
from kvserver.errors import CommandError
from kvserver.resp.reply import NO_REPLY, OK, Reply
from kvserver.state.session import Session

_ESCAPES = {ord("\n"): b"\\n", ord("\r"): b"\\r", ord("\t"): b"\\t", ord("\a"): b"\\a", ord("\b"): b"\\b"}
_ESCAPES |= {byte: b"\\%c" % byte for byte in b'\\"'}
# Redis's sdscatrepr.
_PRINTED = [_ESCAPES.get(byte, b"%c" % byte if 32 <= byte < 127 else b"\\x%02x" % byte) for byte in range(256)]


def monitor(session: Session, args: list[bytes]) -> Switch:
    if session.is_executing:
        raise CommandError("ERR MONITOR isn't allowed for DENY BLOCKING client")
    monitors = session.server.monitors
    reply: Reply = NO_REPLY if session.id in monitors else OK  # Redis does not answer a second one
    monitors[session.id] = session
    return Switch(reply)


def monitor_line(session: Session, args: list[bytes]) -> bytes:
    """The line of a command, as a simple string: Unix time, database and address of the client, and the words."""
    now_us = session.server.now_us()
    address = "unix:" + session.address.removesuffix(":0") if session.is_on_unix_socket else session.address
    words = b" ".join(b'"%b"' % b"".join([_PRINTED[byte] for byte in word]) for word in redacted(args))
    return b"+%d.%06d [%d %b] %b\r\n" % (*divmod(now_us, 1_000_000), session.database, address.encode(), words)


COMMANDS = (
    Command("monitor", 1, ("admin", "noscript", "loading", "stale"), NO_KEYS, monitor,
            "Listen for all requests received by the server in real time", "1.0.0", "server",
            "O(N) for every command that runs, where N is the number of clients that listen"),
)  # fmt: skip
