"""The topics of `kvserver help`: Markdown files in the folder beside this module, and two that are made of what is declared.

A file is a topic by its name without `.md`; what it is about is said by its first heading.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from kvserver.cli.command_list import all_commands, one_command
from kvserver.errors import UsageError
from kvserver.options.file import read_text
from kvserver.options.overview import all_options, most_used, named, one_option
from kvserver.options.suggestions import OPTIONS_SAID, nearest
from kvserver.options.table import BY_NAME

TOPICS = os.path.join(os.path.dirname(__file__), "topics")
# The topics that are no files.
MADE = {"commands": all_commands, "options": all_options}
SUFFIX = ".md"

USAGE = """\
usage: kvserver [FILE] [-p PORT] [--OPTION VALUE ...]     run a server
       kvserver COMMAND ...                               see below

A persistent key-value server that any Redis client can use. It keeps its data
in ./kvserver-data. FILE has options, in TOML or as redis.conf.

commands (`kvserver COMMAND --help` tells more):"""
MORE = """\
`kvserver help options` tells of all options, `kvserver help` has more topics.
-h, --help shows this, -v, --version the version.
Exit codes: 0 it was told to leave, 1 it failed, 2 the words are wrong."""


def usage(commands: Iterable[tuple[str, str]]) -> str:
    """The text of `kvserver --help`: how to call it, the commands, the options that are most used."""
    return f"{USAGE}\n{_table(commands)}\n\n{most_used()}\n\n{MORE}"


def list_of_topics(folder: str, commands: Iterable[tuple[str, str]]) -> str:
    """A line for each topic and each command."""
    topics = ((name, _heading(text)) for name, text in _topics(folder).items())
    return (
        f"topics (`kvserver help TOPIC` shows one):\n{_table(topics)}\n\n"
        f"commands (`kvserver help COMMAND` shows its help):\n{_table(commands)}\n\n"
        "`kvserver help` also takes the name of an option, or of a command for clients."
    )


def list_topics(folder: str) -> list[str]:
    """The names of all topics, in order."""
    return list(_topics(folder))


def find_topic(name: str, folder: str, commands: Iterable[tuple[str, str]]) -> str:
    """The text of a topic, or what there is to tell of an option and of a command for clients, which may share a name.

    UsageError, with the topic that may be meant, for others.
    """
    topics = _topics(folder)
    if text := topics.get(name.lower()):
        return text
    option = named(name)
    about = ["\n".join(one_option(option)) if option else "", one_command(name)]
    if any(about):
        return "\n\n".join(filter(None, about))
    known = [*topics, *(command for command, _ in commands), *BY_NAME]
    said = {word: meant.partition(" ")[0] for word, meant in OPTIONS_SAID.items()}
    guess = nearest(name.lower().removeprefix("--"), known, said)
    raise UsageError(
        f"help: there is no topic {name!r}{f'; did you mean {guess}?' if guess else ''} (kvserver help lists the topics)"
    )


def _topics(folder: str) -> dict[str, str]:
    """The texts of all topics, by name."""
    files = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    texts = {
        file.removesuffix(SUFFIX): read_text(os.path.join(folder, file)).rstrip("\n")
        for file in files
        if file.endswith(SUFFIX)
    }
    return dict(sorted({**texts, **{name: make() for name, make in MADE.items()}}.items()))


def _heading(text: str) -> str:
    """The text of the first heading."""
    heading = re.search(r"^#+ +(.+?)[ #]*$", text, re.MULTILINE)
    return heading[1] if heading else ""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"  {name:<15}{about}".rstrip() for name, about in rows)
