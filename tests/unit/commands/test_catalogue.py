"""The catalogue has every module that declares commands, so that no command is forgotten."""

from __future__ import annotations

import ast
from pathlib import Path

import kvserver
from helpers.sessions import Server, run, text
from kvserver.commands.catalogue import COMMANDS, COMMANDS_WITH_ENGINE, FAMILIES
from kvserver.dispatch.command import Command

PACKAGE = Path(kvserver.__file__).parent


def declares(tree: ast.Module) -> bool:
    """True if the module makes a command."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(isinstance(called, ast.Name) and called.id in ("command", "container") for called in calls)


def test_every_module_that_declares_commands_is_a_family() -> None:
    paths = [*PACKAGE.glob("commands/*.py"), *PACKAGE.glob("types/*/*.py"), *PACKAGE.glob("scripting/*.py")]
    declaring = {path for path in paths if declares(ast.parse(path.read_text(encoding="utf-8")))}
    # A compiled module has another ending.
    files = [Path(str(family.__file__)) for family in FAMILIES]
    assert declaring == {file.with_name(file.name.partition(".")[0] + ".py") for file in files}


def test_every_command_is_found_by_its_name_alone() -> None:
    declared = {each.name for family in FAMILIES for each in vars(family).values() if isinstance(each, Command)}
    parts = {part.name for each in COMMANDS_WITH_ENGINE.values() for part in each.subcommands.values()}
    assert declared == {name.decode() for name in COMMANDS_WITH_ENGINE} | parts
    assert list(COMMANDS_WITH_ENGINE) == sorted(COMMANDS_WITH_ENGINE)


def test_servers_without_an_engine_do_not_know_what_needs_one() -> None:
    assert COMMANDS_WITH_ENGINE.keys() - COMMANDS.keys() == {b"sentinel", b"waitaof"}
    for line in ("SENTINEL", "SENTINEL MASTERS", "WAITAOF 1 0 0"):
        arguments = "".join(f"'{word}' " for word in line.split()[1:])
        told = f"ERR unknown command '{line.split()[0]}', with args beginning with: {arguments}"
        assert text(run(Server().session(), *line.split())) == told
    assert run(Server(COMMANDS_WITH_ENGINE).session(), "SENTINEL", "MASTERS") == []
