"""row: arities, containers and the texts for what does not exist."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.dispatch.row import NO_KEYS, Command, unknown_command


def row(arity: int) -> Command:
    return Command("x", arity, (), NO_KEYS, lambda session, args: None, "", "", "", "")


@pytest.mark.parametrize(
    ("arity", "allowed", "refused"), [(2, [2], [1, 3]), (-2, [2, 3, 1_000_000], [0, 1]), (-1, [1, 2], [0])]
)
def test_arity_counts_the_name_and_a_negative_one_is_the_least(arity: int, allowed: list[int], refused: list[int]) -> None:
    assert all(count in row(arity).arities for count in allowed)
    assert not any(count in row(arity).arities for count in refused)


def test_subcommand_is_found_in_any_case_and_its_arity_checked() -> None:
    session = Server().session()
    assert run(session, "Client", "iD") == session.id
    assert text(run(session, "CLIENT")) == "ERR wrong number of arguments for 'client' command"
    assert text(run(session, "CLIENT", "ID", "x")) == "ERR wrong number of arguments for 'client|id' command"
    assert text(run(session, "CLIENT", "SETNAME")) == "ERR wrong number of arguments for 'client|setname' command"


@pytest.mark.parametrize(("word", "shown"), [(b"NOPE", "NOPE"), (b"a\0b", "a"), (b"x" * 200, "x" * 128), (b"\xff", "\udcff")])
def test_unknown_subcommand_is_named_as_redis_names_it(word: bytes, shown: str) -> None:
    assert text(run(Server().session(), "CONFIG", word)) == f"ERR unknown subcommand '{shown}'. Try CONFIG HELP."


def test_unknown_command_shows_the_start_of_its_arguments() -> None:
    error = unknown_command([b"nope", b"a", b"b\0c", b"x" * 300, b"never"])
    assert str(error) == "ERR unknown command 'nope', with args beginning with: 'a' 'b' '" + "x" * (128 - 8) + "' "
    assert str(unknown_command([b"y" * 300])) == f"ERR unknown command '{'y' * 128}', with args beginning with: "


def test_every_container_has_help() -> None:
    session = Server().session()
    for name in ("CLIENT", "CONFIG", "COMMAND", "DEBUG"):
        lines = run(session, name, "HELP")
        assert isinstance(lines, list)
        assert text(lines[0]).startswith(f"{name} <subcommand>")
