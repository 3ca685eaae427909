"""The texts about commands follow from their declarations: names by group, words as Redis's documentation writes them."""

from __future__ import annotations

import re

import pytest

from kvserver.cli.command_list import ONLY_WITH_ENGINE, all_commands, one_command
from kvserver.commands.catalogue import COMMANDS, COMMANDS_WITH_ENGINE


def test_list_has_every_command_in_its_group() -> None:
    _, *parts = re.split(r"^## ", all_commands(), flags=re.MULTILINE)
    groups = {name: re.sub(r"\([^)]*\)", "", names) for name, _, names in (part.partition("\n") for part in parts)}
    for command in COMMANDS.values():
        assert command.name.upper() in re.findall(r"[A-Z][\w.]+", groups[command.group])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("get", "GET key"),
        ("DEL", "DEL key [key ...]"),
        ("ltrim", "LTRIM key start stop"),
        ("getex", "GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]"),
        ("mset", "MSET key value [key value ...]"),
        ("linsert", "LINSERT key <BEFORE | AFTER> pivot element"),
    ],
)
def test_words_are_written_as_in_the_documentation_of_redis(name: str, words: str) -> None:
    call, about = one_command(name).split("\n\n")
    assert " ".join(call.split()) == words
    assert "Since Redis " in about


def test_command_with_subcommands_is_told_by_these() -> None:
    calls = one_command("xgroup").split("\n\n")[::2]
    assert [call.split()[1] for call in calls] == ["CREATE", "CREATECONSUMER", "DELCONSUMER", "DESTROY", "SETID"]


@pytest.mark.parametrize("name", sorted(name.decode() for name in COMMANDS_WITH_ENGINE.keys() - COMMANDS.keys()))
def test_command_of_nodes_alone_is_told_with_that(name: str) -> None:
    assert one_command(name).startswith(f"{ONLY_WITH_ENGINE}\n\n    {name.upper()} ")


def test_unknown_command_has_no_text() -> None:
    assert one_command("nosuch") == one_command("\udcff") == ""


def test_all_texts_fit_a_terminal() -> None:
    texts = [all_commands(), *(one_command(name.decode()) for name in COMMANDS_WITH_ENGINE)]
    assert max(len(line) for text in texts for line in text.splitlines()) <= 80
