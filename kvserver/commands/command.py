"""COMMAND: the descriptions of all commands, as clients and redis-cli ask for them, and the keys of a call.

All that is told is read from the `Description` of a command; nothing must be known of a single command here.
"""

from __future__ import annotations

from kvserver.dispatch.command import command, container, help_lines
from kvserver.errors import CommandError
from kvserver.patterns import matcher
from kvserver.resp.reply import Reply, SetOf, Simple
from kvserver.resp.request import Request
from kvserver.state.description import Description
from kvserver.state.session import Session

command_ = container("command",
                     since="2.8.13", group="server", complexity="O(N) where N is the total number of Redis commands",
                     flags="loading stale", arity=-1, tips="nondeterministic_output_order", categories="connection",
                     summary="Get array of Redis command details")  # fmt: skip


def _find(session: Session, name: bytes) -> Description | None:
    """The command of this name, or a subcommand: `config|get`."""
    first, _, second = name.lower().partition(b"|")
    found = session.server.commands.get(first)
    return found.subcommands.get(second) if found and second else found


def _every(session: Session) -> list[Description]:
    """All commands, each followed by its subcommands."""
    return [each for found in session.server.commands.values() for each in (found, *found.subcommands.values())]


# --- Keys ---


def _keys(session: Session, words: list[bytes]) -> list[tuple[bytes, tuple[str, ...]]]:
    """The keys in the words of a call, each with the flags of its access. CommandError if the words can't be a call."""
    found = session.server.commands.get(words[0].lower())
    meant = found.meant_by(words) if found else None
    if meant is None:
        raise CommandError("ERR Invalid command specified")
    return meant.keys_of(words)


@command("command|getkeys", "", "loading stale",
         since="2.8.13", group="server", complexity="O(N) where N is the number of arguments to the command", arity=-4,
         categories="connection",
         summary="Extract keys given a full Redis command")  # fmt: skip
def command_getkeys(session: Session, request: Request) -> Reply:
    return [key for key, _ in _keys(session, request[2:])]


@command("command|getkeysandflags", "", "loading stale",
         since="7.0.0", group="server", complexity="O(N) where N is the number of arguments to the command", arity=-4,
         categories="connection",
         summary="Extract keys and access flags given a full Redis command")  # fmt: skip
def command_getkeysandflags(session: Session, request: Request) -> Reply:
    return [[key, SetOf(map(Simple, flags))] for key, flags in _keys(session, request[2:])]


# --- Descriptions ---


def _info(of: Description) -> Reply:
    return [
        of.name.encode(),
        of.arity,
        SetOf(map(Simple, of.all_flags)),
        *of.keys,
        SetOf(map(Simple, of.categories)),
        SetOf(tip.encode() for tip in of.tips.split()),
        SetOf(of.describe_keys()),
        SetOf(_info(subcommand) for subcommand in of.subcommands.values()),
    ]


def _docs(of: Description) -> Reply:
    found: dict[Reply, Reply] = {
        b"summary": of.summary.encode(),
        b"since": of.since.encode(),
        b"group": of.group.encode(),
        b"complexity": of.complexity.encode(),
    }
    if of.deprecated:
        since, replaced_by = of.deprecated
        found |= {
            b"doc_flags": SetOf([Simple("deprecated")]),
            b"deprecated_since": since.encode(),
            b"replaced_by": replaced_by.encode(),
        }
    if arguments := of.describe_arguments():
        found[b"arguments"] = arguments
    if of.subcommands:
        found[b"subcommands"] = {each.name.encode(): _docs(each) for each in of.subcommands.values()}
    return found


@command("command", "", "loading stale",
         since="2.8.13", group="server", complexity="O(N) where N is the total number of Redis commands",
         categories="connection",
         summary="Get array of Redis command details",
         is_alone=True)  # fmt: skip
def command_alone(session: Session, request: Request) -> Reply:
    return _info_of_all(session)


def _info_of_all(session: Session) -> Reply:
    return [_info(each) for each in session.server.commands.values()]


@command("command|count", "", "loading stale",
         since="2.8.13", group="server", complexity="O(1)", categories="connection",
         summary="Get total number of Redis commands")  # fmt: skip
def command_count(session: Session, request: Request) -> Reply:
    return len(session.server.commands)


@command("command|info", "command-name?+", "loading stale",
         since="2.8.13", group="server", complexity="O(N) where N is the number of commands to look up",
         tips="nondeterministic_output_order", categories="connection",
         summary="Get array of specific Redis command details, or all when no argument is given.")  # fmt: skip
def command_info(session: Session, request: Request) -> Reply:
    if len(request) == 2:
        return _info_of_all(session)
    return [_info(found) if (found := _find(session, name)) else None for name in request[2:]]


@command("command|docs", "command-name?+", "loading stale",
         since="7.0.0", group="server", complexity="O(N) where N is the number of commands to look up",
         tips="nondeterministic_output_order", categories="connection",
         summary="Get array of specific Redis command documentation")  # fmt: skip
def command_docs(session: Session, request: Request) -> Reply:
    names = request[2:] or list(session.server.commands)
    return {found.name.encode(): _docs(found) for name in names if (found := _find(session, name))}


@command("command|list", "FILTERBY=filterby<MODULE=module-name|ACLCAT=category|PATTERN=pattern:pattern>?!", "loading stale",
         since="7.0.0", group="server", complexity="O(N) where N is the total number of Redis commands",
         tips="nondeterministic_output_order", categories="connection",
         summary="Get an array of Redis command names")  # fmt: skip
def command_list(session: Session, request: Request) -> Reply:
    options = command_list.options(request)
    every, category = _every(session), options.get("ACLCAT")
    if "MODULE" in options:
        return []
    if category is not None:
        wanted = "@" + category.decode("utf-8", "replace").lower()
        every = [each for each in every if wanted in each.categories]
    matches = matcher(options["PATTERN"], ignore_case=True) if "PATTERN" in options else lambda name: True
    return [name for each in every if matches(name := each.name.encode())]


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


@command("command|help", "", "loading stale",
         since="5.0.0", group="server", complexity="O(1)", categories="connection",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def command_help(session: Session, request: Request) -> Reply:
    return help_lines("COMMAND", HELP)
