"""The commands of the server as texts for people at a terminal of 80 columns: all of them by group, or one with its words.

All of it follows from what is declared over each command's handler.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from kvserver.commands.catalogue import COMMANDS, COMMANDS_WITH_ENGINE
from kvserver.dispatch.command import Command
from kvserver.dispatch.notation import Argument
from kvserver.options.overview import WIDTH

HEAD = "# Commands: all that the server takes, by group"
ABOUT = (
    "Replies and errors are those of Redis 7.0, byte for byte: the tests send the same bytes to redis-server 7.0.15 and "
    "compare. `kvserver help GETEX` tells what one command takes, as does COMMAND DOCS. JSON documents have their root path; "
    "fields of hashes expire as in Redis 7.4. EVAL, FCALL and their kin take the extra `lua`. RESTORE without arguments goes "
    "back to the last snapshot, and DEBUG CLOCK moves the time, for tests."
)
ONLY_WITH_ENGINE = "Only a node with --medium has it (`kvserver help engines`)."


def all_commands() -> str:
    """The names of all commands in Markdown, by the groups that COMMAND DOCS tells; subcommands in parentheses."""
    groups: dict[str, list[str]] = {}
    for command in COMMANDS.values():
        subcommands = " ".join(name.decode().upper() for name in command.subcommands if name != b"help")
        groups.setdefault(command.group, []).append(command.name.upper() + (f" ({subcommands})" if subcommands else ""))
    lines = [HEAD, "", *_wrapped(ABOUT)]
    for group, names in sorted(groups.items()):
        lines += ["", f"## {group}", "", *_wrapped(", ".join(names))]
    return "\n".join(lines)


def one_command(name: str) -> str:
    """The words of a command, or of its subcommands, and what they do, in Markdown. An empty text if there is none.

    One that only servers with an engine have is told, too.
    """
    command = COMMANDS_WITH_ENGINE.get(name.lower().encode("utf-8", "surrogateescape"))
    if command is None:
        return ""
    members = [each for name, each in command.subcommands.items() if name != b"help"] or [command]
    where = [ONLY_WITH_ENGINE] if command.needs_engine else []
    return "\n\n".join([*where, *("\n".join(_lines(each)) for each in members)])


def _lines(command: Command) -> Iterator[str]:
    words = " ".join([command.name.upper().replace("|", " "), *map(_words, command.notation.arguments)])
    yield from _wrapped(words, "    ", " " * 8)
    yield ""
    since = f" Since Redis {command.since}." if command.group != "json" else ""
    complexity = f" {command.complexity.rstrip('.')}." if command.complexity else ""
    yield from _wrapped(f"{command.summary.rstrip('.')}.{since}{complexity}")


def _words(argument: Argument) -> str:
    """The words of an argument as Redis's documentation writes them: [EX seconds | KEEPTTL], member [member ...]."""
    if argument.type == "pure-token":
        words = argument.token or ""
    elif argument.type in ("oneof", "block"):
        words = (" | " if argument.type == "oneof" else " ").join(map(_words, argument.inner))
    else:
        words = argument.name
    if argument.token and argument.type != "pure-token":
        words = f"{argument.token} {words}"
    if argument.is_multiple:
        words = f"{words} [{words} ...]"
    if argument.is_optional:
        return f"[{words}]"
    return f"<{words}>" if argument.type == "oneof" else words


def _wrapped(text: str, first: str = "", others: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False, break_long_words=False
    )
