"""SLOWLOG."""

from __future__ import annotations

from kvserver.dispatch.arguments import integer
from kvserver.dispatch.row import NO_KEYS, Command, container, help_lines, wrong_subcommand
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply
from kvserver.state.session import Session

SHOWN = 10
WRONG_COUNT = "ERR count should be greater than or equal to -1"


def slowlog_get(session: Session, args: list[bytes]) -> Reply:
    if len(args) > 3:
        raise wrong_subcommand(args)
    count = integer(args[2], WRONG_COUNT) if len(args) == 3 else SHOWN
    if count < -1:
        raise CommandError(WRONG_COUNT)
    entries = session.server.slowlog.newest(None if count == -1 else count)
    return [
        [entry.id, entry.at_s, entry.duration_us, list(entry.words), entry.address.encode(), entry.name] for entry in entries
    ]


def slowlog_len(session: Session, args: list[bytes]) -> Reply:
    return len(session.server.slowlog)


def slowlog_reset(session: Session, args: list[bytes]) -> Reply:
    session.server.slowlog.reset()
    return OK


HELP = """GET [<count>]
    Return top <count> entries from the slowlog (default: 10, -1 mean all).
    Entries are made of:
    id, timestamp, time in microseconds, arguments array, client IP and port,
    client name
LEN
    Return the length of the slowlog.
RESET
    Reset the slowlog."""


def slowlog_help(session: Session, args: list[bytes]) -> Reply:
    return help_lines("SLOWLOG", HELP)


_FLAGS = ("admin", "loading", "stale")

SUBCOMMANDS = (
    Command("slowlog|get", -2, _FLAGS, NO_KEYS, slowlog_get, "Get the slow log's entries", "2.2.12", "server",
            "O(N) where N is the number of entries returned"),
    Command("slowlog|help", 2, ("loading", "stale"), NO_KEYS, slowlog_help,
            "Show helpful text about the different subcommands", "6.2.0", "server", "O(1)"),
    Command("slowlog|len", 2, _FLAGS, NO_KEYS, slowlog_len, "Get the slow log's length", "2.2.12", "server", "O(1)"),
    Command("slowlog|reset", 2, _FLAGS, NO_KEYS, slowlog_reset, "Clear all entries from the slow log", "2.2.12", "server",
            "O(N) where N is the number of entries in the slowlog"),
)  # fmt: skip

COMMANDS = (
    Command("slowlog", -2, (), NO_KEYS, container(SUBCOMMANDS), "A container for slow log commands", "2.2.12", "server",
            "Depends on subcommand.", SUBCOMMANDS),
)  # fmt: skip
