"""table: the rows are sound, and each variant of the table refuses what it should and nothing else."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.dispatch.command import Command
from kvserver.dispatch.contexts import NOAUTH
from kvserver.dispatch.effect import Load
from kvserver.dispatch.runner import Runners
from kvserver.dispatch.table import LOADING, MISCONF
from kvserver.state.session import UNAUTHENTICATED

TABLE = Server().table
ROWS = list(TABLE.rows.values())
EVERY_ROW = [*ROWS, *(subcommand for row in ROWS for subcommand in row.subcommands.values())]


def is_container(row: Command) -> bool:
    """Whether it does nothing without a subcommand."""
    return bool(row.subcommands) and row.arity == -2


def refused(runners: Runners, error: str) -> set[str]:
    """The commands that a variant of the table answers by this error."""
    session = Server().session()

    def is_refused(row: Command) -> bool:
        words = row.name.split("|")
        words += ["x"] * (abs(row.arity) - len(words))
        return getattr(run(session, *words, runners=runners), "text", "") == error

    return {row.name for row in EVERY_ROW if is_refused(row)}


def test_rows_are_sorted_and_no_name_is_given_twice() -> None:
    assert [row.name for row in ROWS] == sorted({row.name for row in ROWS})
    assert all(row.name == row.name.lower() for row in EVERY_ROW)


@pytest.mark.parametrize("row", EVERY_ROW, ids=lambda row: row.name)
def test_row_is_complete(row: Command) -> None:
    assert row.summary
    assert row.complexity
    assert row.group in {"string", "bitmap", "generic", "connection", "server", "json", "transactions", "pubsub"}
    assert all(part.isdigit() for part in row.since.split("."))
    assert not {"write", "readonly"} <= set(row.flags)
    first, last, step = row.keys
    assert (first == last == step == 0) or (first >= 1 and step >= 1 and (last >= first or last < 0))
    assert first < abs(row.arity) or row.name == "sunsubscribe"
    assert len(row.key_notes) <= len(row.key_specifications)
    assert row.deprecated is None or all(row.deprecated)
    assert bool(row.notation.arguments) == bool(row.notation.text)
    assert row.notation.options
    assert ("@fast" in row.categories) != ("@slow" in row.categories)
    assert all(part.name == f"{row.name}|{word.decode()}" for word, part in row.subcommands.items())


def test_names_are_found_in_lower_and_upper_case_without_another_look() -> None:
    for runners in (TABLE.open, TABLE.read_only, TABLE.loading):
        assert all(runners[row.name.encode()] is runners[row.name.upper().encode()] for row in ROWS)


def test_failing_medium_refuses_every_write_but_the_one_that_loads() -> None:
    assert refused(TABLE.read_only, MISCONF) == {row.name for row in EVERY_ROW if "write" in row.flags}
    assert {"set", "del", "flushall", "json.set", "json.del"} <= refused(TABLE.read_only, MISCONF)
    assert run(Server().session(), "RESTORE", runners=TABLE.read_only) == Load()
    assert text(run(Server().session(), "RESTORE", "k", 0, "x", runners=TABLE.read_only)) == MISCONF


def test_loading_refuses_what_needs_the_data() -> None:
    expected = {row.name for row in EVERY_ROW if "loading" not in row.flags and not is_container(row)}
    assert refused(TABLE.loading, LOADING) == expected
    assert {"get", "set", "dbsize", "save", "restore", "ping"} <= expected
    assert not {"info", "hello", "shutdown", "config|get"} & expected


def test_unauthenticated_client_may_do_no_more_than_shake_hands() -> None:
    assert refused(TABLE.lookups()[UNAUTHENTICATED], NOAUTH) == {row.name for row in EVERY_ROW if not is_container(row)} - {
        "auth",
        "hello",
        "quit",
        "reset",
        "exec",  # whose errors have another form
    }


def test_wrong_arity_is_told_before_a_refusal() -> None:
    session = Server().session()
    for runners in (TABLE.read_only, TABLE.loading):
        assert text(run(session, "SET", "k", runners=runners)) == "ERR wrong number of arguments for 'set' command"


def test_open_table_refuses_nothing() -> None:
    assert not any(refused(TABLE.open, error) for error in (MISCONF, LOADING))
