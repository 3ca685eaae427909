"""COMMAND: the rows of all commands, in the shapes that clients and redis-cli ask for."""

from __future__ import annotations

from kvserver.commands.row import NO_KEYS, Command, container
from kvserver.errors import CommandError
from kvserver.glob import matcher
from kvserver.resp.reply import Reply, Simple
from kvserver.session import Session


def _key_specifications(row: Command) -> list[Reply]:
    first, last, step = row.keys
    if not first:
        return []
    access = [Simple("RO"), Simple("access")] if "readonly" in row.flags else [Simple("RW"), Simple("update")]
    return [
        {
            b"flags": list(access),
            b"begin_search": {b"type": b"index", b"spec": {b"index": first}},
            b"find_keys": {
                b"type": b"range",
                b"spec": {b"lastkey": last - first if last >= 0 else last, b"keystep": step, b"limit": 0},
            },
        }
    ]


def _info(row: Command) -> Reply:
    return [
        row.name.encode(),
        row.arity,
        [Simple(flag) for flag in row.flags],
        *row.keys,
        [Simple(category) for category in row.categories],
        [],
        _key_specifications(row),
        [_info(subcommand) for subcommand in row.subcommands],
    ]


def _docs(row: Command) -> Reply:
    found: dict[Reply, Reply] = {
        b"summary": row.summary.encode(),
        b"since": row.since.encode(),
        b"group": row.group.encode(),
        b"complexity": row.complexity.encode(),
    }
    if row.subcommands:
        found[b"subcommands"] = {subcommand.name.encode(): _docs(subcommand) for subcommand in row.subcommands}
    return found


def _row(session: Session, name: bytes) -> Command | None:
    """The row of a command or, as in `config|get`, of a subcommand."""
    rows = session.server.table.rows
    first, _, second = name.lower().partition(b"|")
    row = rows.get(first)
    if row is None or not second:
        return row
    return next((subcommand for subcommand in row.subcommands if subcommand.name.encode() == first + b"|" + second), None)


def command(session: Session, args: list[bytes]) -> Reply:
    return [_info(row) for row in session.server.table.rows.values()]


def command_count(session: Session, args: list[bytes]) -> Reply:
    return len(session.server.table.rows)


def command_info(session: Session, args: list[bytes]) -> Reply:
    if len(args) == 2:
        return command(session, args)
    rows = [_row(session, name) for name in args[2:]]
    return [None if row is None else _info(row) for row in rows]


def command_docs(session: Session, args: list[bytes]) -> Reply:
    names = args[2:] or list(session.server.table.rows)
    found = [row for name in names if (row := _row(session, name))]
    return {row.name.encode(): _docs(row) for row in found}


def command_list(session: Session, args: list[bytes]) -> Reply:
    rows = session.server.table.rows.values()
    match [word.upper() for word in args[2:4]]:
        case []:
            return [row.name.encode() for row in rows]
        case [b"FILTERBY", b"MODULE"] if len(args) == 5:
            return []
        case [b"FILTERBY", b"ACLCAT"] if len(args) == 5:
            category = "@" + args[4].decode("utf-8", "replace").lower()
            return [row.name.encode() for row in rows if category in row.categories]
        case [b"FILTERBY", b"PATTERN"] if len(args) == 5:
            matches = matcher(args[4], ignore_case=True)
            return [row.name.encode() for row in rows if matches(row.name.encode())]
    raise CommandError("ERR syntax error")


HELP = """COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
(no subcommand)
    Return details about all commands.
COUNT
    Return the total number of commands in this server.
LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]
    Return a list of all commands in this server.
INFO [<command-name> ...]
    Return details about multiple commands.
DOCS [<command-name> ...]
    Return documentation details about multiple commands.
HELP
    Print this help."""


def command_help(session: Session, args: list[bytes]) -> Reply:
    return [Simple(line) for line in HELP.splitlines()]


_FLAGS = ("loading", "stale")
_EACH = "O(N) where N is the number of commands to look up"

SUBCOMMANDS = (
    Command("command|count", 2, _FLAGS, NO_KEYS, command_count, "Get total number of commands", "2.8.13", "server", "O(1)"),
    Command("command|docs", -2, _FLAGS, NO_KEYS, command_docs, "Get command documentation", "7.0.0", "server", _EACH),
    Command("command|info", -2, _FLAGS, NO_KEYS, command_info,
            "Get command details, or all when no argument is given.", "2.8.13", "server", _EACH),
    Command("command|list", -2, _FLAGS, NO_KEYS, command_list, "Get an array of command names", "7.0.0", "server",
            "O(N) where N is the total number of commands"),
    Command("command|help", 2, _FLAGS, NO_KEYS, command_help, "Show helpful text about the different subcommands",
            "5.0.0", "server", "O(1)"),
)  # fmt: skip

COMMANDS = (
    Command("command", -1, _FLAGS, NO_KEYS, container(SUBCOMMANDS, command), "Get array of command details", "2.8.13",
            "server", "O(N) where N is the total number of commands", SUBCOMMANDS),
)  # fmt: skip
