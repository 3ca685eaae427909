"""`kvserver completion`: a script by which a shell completes subcommands, their options, and the options of a server.

It is made by shtab, which the extra `completion` brings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

from kvserver.errors import ExtraMissing
from kvserver.options.config import SHORT
from kvserver.options.table import CONFIG_FILE, OPTIONS, Option

# The name of a subcommand, a line about it, and what tells a parser of its words.
Row = tuple[str, str, Callable[[argparse.ArgumentParser], None]]


def script(shell: str, subcommands: Iterable[Row], topics: Iterable[str]) -> str:
    """The script for a shell: bash, zsh or tcsh. `topics` are those of `help`. ExtraMissing if shtab is not installed."""
    try:
        import shtab
    except ImportError:
        raise ExtraMissing("completion needs shtab: pip install 'kvserver[completion]'") from None

    parser = argparse.ArgumentParser("kvserver")
    parser.add_argument("-v", "--version", action="store_true", help="print the version")
    for option in (*OPTIONS, CONFIG_FILE):
        _add(parser, option, shtab.FILE, shtab.DIRECTORY)
    subparsers = parser.add_subparsers()
    for name, summary, add_arguments in subcommands:
        of_subcommand = subparsers.add_parser(name, help=summary, description=summary)
        add_arguments(of_subcommand)
        for action in of_subcommand._actions:
            if action.dest == "path":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.dest == "topic":
                action.choices = topics
    return str(shtab.complete(parser, shell=shell))


def _add(parser: argparse.ArgumentParser, option: Option, files: object, folders: object) -> None:
    """Tell the parser of a server's option, with the words or the files that its value may be."""
    short = [letter for letter, name in SHORT.items() if name == option.name]
    action = parser.add_argument(
        *short,
        f"--{option.name}",
        metavar=option.name.upper(),
        help=option.help.replace("%", "%%"),
        choices=option.kind.choices or None,
    )
    if option.kind.placeholder == "PATH" and option.name != "tls-ciphers":
        action.complete = folders if option.name.endswith("dir") else files  # type: ignore[attr-defined]
