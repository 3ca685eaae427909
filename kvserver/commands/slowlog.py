"""SLOWLOG: the commands that took long are told and forgotten. `dispatch.timing` makes the entries."""

from __future__ import annotations

from kvserver.dispatch.arguments import at_least
from kvserver.dispatch.command import command, container, help_lines, wrong_subcommand
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

SHOWN = 10
WRONG_COUNT = "ERR count should be greater than or equal to -1"


slowlog = container("slowlog",
                    since="2.2.12", group="server",
                    summary="A container for slow log commands")  # fmt: skip


@command("slowlog|get", "count:integer?", "admin loading stale",
         since="2.2.12", group="server", complexity="O(N) where N is the number of entries returned",
         tips="request_policy:all_nodes nondeterministic_output",
         summary="Get the slow log's entries")  # fmt: skip
def slowlog_get(session: Session, request: Request) -> Reply:
    if len(request) > 3:
        raise wrong_subcommand(request)
    count = at_least(-1, request[2], WRONG_COUNT) if len(request) == 3 else SHOWN
    entries = session.server.slowlog.newest(None if count == -1 else count)
    return [
        [entry.id, entry.at_s, entry.duration_us, list(entry.words), entry.address.encode(), entry.name] for entry in entries
    ]


@command("slowlog|len", "", "admin loading stale",
         since="2.2.12", group="server", complexity="O(1)",
         tips="request_policy:all_nodes response_policy:agg_sum nondeterministic_output",
         summary="Get the slow log's length")  # fmt: skip
def slowlog_len(session: Session, request: Request) -> Reply:
    return len(session.server.slowlog)


@command("slowlog|reset", "", "admin loading stale",
         since="2.2.12", group="server", complexity="O(N) where N is the number of entries in the slowlog",
         tips="request_policy:all_nodes response_policy:all_succeeded",
         summary="Clear all entries from the slow log")  # fmt: skip
def slowlog_reset(session: Session, request: Request) -> Reply:
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


@command("slowlog|help", "", "loading stale",
         since="6.2.0", group="server", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def slowlog_help(session: Session, request: Request) -> Reply:
    return help_lines("SLOWLOG", HELP)
