"""COMMAND: the rows of all commands, in the shapes that clients and redis-cli ask for, and where a call has its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvserver.dispatch.arguments import SYNTAX_ERROR
from kvserver.dispatch.row import NO_KEYS, Command, container, help_lines
from kvserver.errors import CommandError
from kvserver.patterns import matcher
from kvserver.resp.reply import Reply, SetOf, Simple
from kvserver.state.description import Description
from kvserver.state.session import Session

if TYPE_CHECKING:
    from kvserver.dispatch.documentation import Documentation

_arguments: dict[str, list[Reply]] = {}  # of commands that were asked for: redis-cli asks for all of them at each start


def _documentation(row: Description) -> Documentation:
    from kvserver.dispatch.documentation import DOCUMENTATION, Documentation  # which nobody needs who does not ask for it

    return DOCUMENTATION.get(row.name, Documentation())


# --- Keys ---

KeyRange = tuple[int, int, int]  # where the first one is; the last one, from there or (negative) from the end; the step


def key_specifications(row: Description) -> list[tuple[KeyRange, list[str]]]:
    """Where a command has its keys, and what it does with them."""
    first, last, step = row.keys
    of_row = (first, last - first if last >= 0 else last, step)
    found = []
    for specification in filter(None, _documentation(row).keys.split("; ")):
        where, *flags = specification.split()
        if where[0].isdigit():
            index, last_key, key_step = map(int, where.split(":"))
            found.append(((index, last_key, key_step), flags))
        else:
            found.append((of_row, [where, *flags]))
    if not found and first:
        found.append((of_row, ["RO", "access"] if "readonly" in row.flags else ["RW", "access", "update"]))
    return found


def _describe_keys(row: Description) -> list[Reply]:
    described: list[Reply] = []
    notes = _documentation(row).key_notes
    for (first, last, step), flags in key_specifications(row):
        specification: dict[Reply, Reply] = {b"notes": notes.encode()} if notes and not described else {}
        specification |= {
            b"flags": SetOf(map(Simple, flags)),
            b"begin_search": {b"type": b"index", b"spec": {b"index": first}},
            b"find_keys": {b"type": b"range", b"spec": {b"lastkey": last, b"keystep": step, b"limit": 0}},
        }
        described.append(specification)
    return described


def _flags_of_call(row: Description, flags: list[str], options: list[bytes]) -> list[str]:
    """What a call does with its key, where that depends on its options."""
    words = {word.upper() for word in options}
    if row.name == "set" and b"GET" not in words:
        return ["OW", "update"]
    if row.name == "bitfield" and not words & {b"SET", b"INCRBY"}:
        return ["RO", "access"]
    return [flag for flag in flags if flag != "variable_flags"]


def _keys(session: Session, words: list[bytes]) -> list[tuple[bytes, list[str]]]:
    """The keys in the words of a call, and what it does with them. CommandError where it can't be a call."""
    row = _row_called(session, words)
    if row is None:
        raise CommandError("ERR Invalid command specified")
    specifications = key_specifications(row)
    if not specifications:
        raise CommandError("ERR The command has no key arguments")
    if len(words) not in row.arities:
        raise CommandError("ERR Invalid number of arguments specified for command")
    found = []
    for (first, last, step), flags in specifications:
        end = first + last + 1 if last >= 0 else len(words) + last + 1
        of_call = _flags_of_call(row, flags, words[2:])
        found += [(words[index], of_call) for index in range(first, min(end, len(words)), step)]
    return found


def command_getkeys(session: Session, args: list[bytes]) -> Reply:
    return [key for key, _ in _keys(session, args[2:])]


def command_getkeysandflags(session: Session, args: list[bytes]) -> Reply:
    return [[key, SetOf(map(Simple, flags))] for key, flags in _keys(session, args[2:])]


# --- Rows ---


def _info(row: Description) -> Reply:
    return [
        row.name.encode(),
        row.arity,
        SetOf(map(Simple, row.all_flags)),
        *row.keys,
        SetOf(map(Simple, row.categories)),
        SetOf(tip.encode() for tip in _documentation(row).tips.split()),
        SetOf(_describe_keys(row)),
        SetOf(_info(subcommand) for subcommand in row.subcommands),
    ]


def _docs(row: Description) -> Reply:
    documentation = _documentation(row)
    found: dict[Reply, Reply] = {
        b"summary": row.summary.encode(),
        b"since": row.since.encode(),
        b"group": row.group.encode(),
        b"complexity": row.complexity.encode(),
    }
    since, replaced_by = documentation.deprecated
    if since:
        found |= {
            b"doc_flags": SetOf([Simple("deprecated")]),
            b"deprecated_since": since.encode(),
            b"replaced_by": replaced_by.encode(),
        }
    if documentation.arguments:
        if row.name not in _arguments:
            from kvserver.dispatch.syntax import arguments

            _arguments[row.name] = arguments(documentation.arguments)
        found[b"arguments"] = _arguments[row.name]
    if row.subcommands:
        found[b"subcommands"] = {subcommand.name.encode(): _docs(subcommand) for subcommand in row.subcommands}
    return found


def _row(session: Session, name: bytes) -> Description | None:
    """The row of a command or, as in `config|get`, of a subcommand."""
    first, _, second = name.lower().partition(b"|")
    row = session.server.commands.get(first)
    if row is None or not second:
        return row
    return next((subcommand for subcommand in row.subcommands if subcommand.name.encode() == first + b"|" + second), None)


def _row_called(session: Session, words: list[bytes]) -> Description | None:
    """The row of what these words call."""
    row = _row(session, words[0])
    return _row(session, words[0] + b"|" + words[1]) if row and row.subcommands and len(words) > 1 else row


def _every_row(session: Session) -> list[Description]:
    """Commands and subcommands."""
    return [each for row in session.server.commands.values() for each in (row, *row.subcommands)]


def command(session: Session, args: list[bytes]) -> Reply:
    return [_info(row) for row in session.server.commands.values()]


def command_count(session: Session, args: list[bytes]) -> Reply:
    return len(session.server.commands)


def command_info(session: Session, args: list[bytes]) -> Reply:
    if len(args) == 2:
        return command(session, args)
    rows = [_row(session, name) for name in args[2:]]
    return [None if row is None else _info(row) for row in rows]


def command_docs(session: Session, args: list[bytes]) -> Reply:
    names = args[2:] or list(session.server.commands)
    found = [row for name in names if (row := _row(session, name))]
    return {row.name.encode(): _docs(row) for row in found}


def command_list(session: Session, args: list[bytes]) -> Reply:
    match [word.upper() for word in args[2:4]]:
        case []:
            return [row.name.encode() for row in _every_row(session)]
        case [b"FILTERBY", b"MODULE"] if len(args) == 5:
            return []
        case [b"FILTERBY", b"ACLCAT"] if len(args) == 5:
            category = "@" + args[4].decode("utf-8", "replace").lower()
            return [row.name.encode() for row in _every_row(session) if category in row.categories]
        case [b"FILTERBY", b"PATTERN"] if len(args) == 5:
            matches = matcher(args[4], ignore_case=True)
            return [name for row in _every_row(session) if matches(name := row.name.encode())]
    raise CommandError(SYNTAX_ERROR)


HELP = """(no subcommand)
    Return details about all Redis commands.
COUNT
    Return the total number of commands in this Redis server.
LIST
    Return a list of all commands in this Redis server.
INFO [<command-name> ...]
    Return details about multiple Redis commands.
    If no command names are given, documentation details for all
    commands are returned.
DOCS [<command-name> ...]
    Return documentation details about multiple Redis commands.
    If no command names are given, documentation details for all
    commands are returned.
GETKEYS <full-command>
    Return the keys from a full Redis command.
GETKEYSANDFLAGS <full-command>
    Return the keys and the access flags from a full Redis command."""


def command_help(session: Session, args: list[bytes]) -> Reply:
    return help_lines("COMMAND", HELP)


_FLAGS = ("loading", "stale")
_EACH = "O(N) where N is the number of commands to look up"
_ALL = "O(N) where N is the total number of Redis commands"
_KEYS = "O(N) where N is the number of arguments to the command"

SUBCOMMANDS = (
    Command("command|count", 2, _FLAGS, NO_KEYS, command_count, "Get total number of Redis commands", "2.8.13", "server",
            "O(1)"),
    Command("command|docs", -2, _FLAGS, NO_KEYS, command_docs, "Get array of specific Redis command documentation", "7.0.0",
            "server", _EACH),
    Command("command|getkeys", -4, _FLAGS, NO_KEYS, command_getkeys, "Extract keys given a full Redis command", "2.8.13",
            "server", _KEYS),
    Command("command|getkeysandflags", -4, _FLAGS, NO_KEYS, command_getkeysandflags,
            "Extract keys and access flags given a full Redis command", "7.0.0", "server", _KEYS),
    Command("command|help", 2, _FLAGS, NO_KEYS, command_help, "Show helpful text about the different subcommands",
            "5.0.0", "server", "O(1)"),
    Command("command|info", -2, _FLAGS, NO_KEYS, command_info,
            "Get array of specific Redis command details, or all when no argument is given.", "2.8.13", "server", _EACH),
    Command("command|list", -2, _FLAGS, NO_KEYS, command_list, "Get an array of Redis command names", "7.0.0", "server",
            _ALL),
)  # fmt: skip

COMMANDS = (
    Command("command", -1, _FLAGS, NO_KEYS, container(SUBCOMMANDS, command), "Get array of Redis command details", "2.8.13",
            "server", _ALL, SUBCOMMANDS),
)  # fmt: skip
