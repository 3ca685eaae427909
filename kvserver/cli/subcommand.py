"""A subcommand: the words that it takes, its help, and what runs it. The table of all is in `subcommands`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, NoReturn

from kvserver.errors import UsageError
from kvserver.options.overview import WIDTH
from kvserver.options.suggestions import nearest
from kvserver.options.table import BY_NAME

DBFILENAME = BY_NAME["dbfilename"].default
EXIT_DAMAGED = 1
USAGE_IS_WRONG = "2 the words on the command line are wrong"
Add = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], int]


class Subcommand(NamedTuple):
    """A subcommand. `add_arguments` tells a parser of its words, `exit_codes` has a line for each code."""

    name: str
    summary: str
    description: str
    exit_codes: tuple[str, ...]
    example: str
    add_arguments: Add
    run: Run


class Parser(argparse.ArgumentParser):
    """A parser whose errors are UsageErrors of one line, with the option that may be meant."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog.removeprefix('kvserver ')}: {message} ({self.prog} --help tells more)")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The values of the words of a command line. UsageError if there are others among them."""
        parsed, rest = self.parse_known_args(list(words))
        if rest:
            # argparse puts the option that it does not know first.
            options = [option for action in self._actions for option in action.option_strings]
            guess = nearest(rest[0].partition("=")[0], options, {}) if rest[0].startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(rest)}{f'; did you mean {guess}?' if guess else ''}")
        return parsed


def parser_of(subcommand: Subcommand) -> Parser:
    """The parser of a subcommand's words."""
    codes = "\n".join(f"  {line}" for line in subcommand.exit_codes)
    example = re.sub("^", "  ", subcommand.example, flags=re.MULTILINE)
    parser = Parser(
        prog=f"kvserver {subcommand.name}",
        description=subcommand.description,
        epilog=f"exit codes:\n{codes}\n\nexample:\n{example}",
        # Longer lines are no lines of a terminal's usual width.
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=WIDTH - 1),
        allow_abbrev=False,
    )
    subcommand.add_arguments(parser)
    return parser


def add_dbfilename(parser: argparse.ArgumentParser) -> None:
    """Let a subcommand take the name of the file of the snapshots."""
    parser.add_argument(
        "--dbfilename",
        metavar="NAME",
        default=DBFILENAME,
        help="the file of the snapshots in the folder (default: %(default)s)",
    )
