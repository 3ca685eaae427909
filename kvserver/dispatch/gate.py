"""What a command meets before it runs, or instead of it: the queue of MULTI, the lines of monitors, what HTTP says."""

from __future__ import annotations

from typing import Final

from kvserver.dispatch.command import Command
from kvserver.dispatch.effect import Close, Effect
from kvserver.errors import Refusal
from kvserver.resp.reply import Reply, Simple
from kvserver.state.session import Session
from kvserver.state.usage import NOT_COUNTED

QUEUED: Final = Simple("QUEUED")
# Of 7.2: which connection it was, 7.0 does not say.
ATTACK = (
    "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. This is likely due "
    "to an attacker attempting to use Cross Protocol Scripting to compromise your Redis instance. Connection from {} aborted."
)
ATTACK_TOLD_EVERY_MS = 60_000

_ESCAPES = {ord("\n"): b"\\n", ord("\r"): b"\\r", ord("\t"): b"\\t", ord("\a"): b"\\a", ord("\b"): b"\\b"}
_ESCAPES |= {byte: b"\\%c" % byte for byte in b'\\"'}
# Redis's sdscatrepr.
_PRINTED = [_ESCAPES.get(byte, b"%c" % byte if 32 <= byte < 127 else b"\\x%02x" % byte) for byte in range(256)]


def queue(session: Session, args: list[bytes]) -> Reply:
    """What every command that can run in a transaction does in MULTI."""
    assert session.transaction
    session.transaction.commands.append([*args])
    args[0] = NOT_COUNTED  # as a call: it will be one when it runs
    return QUEUED


def check_queueable(row: Command, args: list[bytes]) -> None:
    """Refusal of what can't run in a transaction: what replaces the data later, or would break its array of replies."""
    if "no_multi" in row.flags:
        raise Refusal("ERR Command not allowed inside a transaction")
    if row.check_queueable:
        row.check_queueable(args)


def monitor_line(session: Session, args: list[bytes]) -> bytes:
    """The line of a command, as a simple string: Unix time, database and address of the client, and the words."""
    now_us = session.server.now_us()
    address = "unix:" + session.address.removesuffix(":0") if session.is_on_unix_socket else session.address
    command = session.server.commands.get(args[0].lower())
    shown = command.redacted(args) if command else args
    words = b" ".join(b'"%b"' % b"".join([_PRINTED[byte] for byte in word]) for word in shown)
    return b"+%d.%06d [%d %b] %b\r\n" % (*divmod(now_us, 1_000_000), session.database, address.encode(), words)


def refuse_http(session: Session, args: list[bytes]) -> Effect:
    """What `POST` and `Host:` run: a web page that makes a browser talk to this server must not get to a command."""
    state = session.server
    now_ms = state.now_ms()
    if now_ms - state.attack_told_at_ms <= ATTACK_TOLD_EVERY_MS:
        return Close(())
    state.attack_told_at_ms = now_ms
    return Close((), ATTACK.format(session.address))
