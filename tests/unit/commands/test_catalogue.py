"""The catalogue has every module that declares commands, so that no command is forgotten."""

from __future__ import annotations

import ast
from pathlib import Path

import kvserver
from kvserver.commands.catalogue import COMMANDS, FAMILIES
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
    parts = {part.name for each in COMMANDS.values() for part in each.subcommands.values()}
    assert declared == {name.decode() for name in COMMANDS} | parts
    assert list(COMMANDS) == sorted(COMMANDS)
