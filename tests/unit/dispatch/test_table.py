"""table: the rows are sound, and the tables of plain sessions lead to every handler, past the gate."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.dispatch.command import Command
from kvserver.dispatch.effect import Load
from kvserver.dispatch.gate import OOM
from kvserver.errors import Refusal
from kvserver.resp.reply import OK

TABLE = Server().table
ROWS = list(TABLE.rows.values())
EVERY_ROW = [*ROWS, *(subcommand for row in ROWS for subcommand in row.subcommands.values())]


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
    for runners in (TABLE.open, TABLE.limited, TABLE.replayed):
        assert all(runners[row.name.encode()] is runners[row.name.upper().encode()] for row in ROWS)
        assert len(runners) == 2 * len(ROWS)


def test_limit_of_memory_has_a_table_of_its_own() -> None:
    server = Server()
    session, table = server.session(), server.table
    assert table.plain(session) is table.open
    server.state.config.maxmemory = 1
    server.state.memory.configure(server.state.config)
    while server.state.memory.is_unmeasured:
        server.state.memory.measure()
    assert table.plain(session) is table.limited
    for name, row in table.rows.items():
        is_limited = table.limited[name][0] is not table.open[name][0]
        assert is_limited is ("denyoom" in row.flags)
    with pytest.raises(Refusal, match=OOM):
        table.limited[b"SET"][0](session, [b"SET", b"k", b"v"])
    assert table.limited[b"restore"][0](session, [b"restore"]) == Load()
    assert text(run(session, "SET", "k", "v")) == OOM
    assert run(session, "RESTORE") == Load()
    server.state.config.maxmemory = 0
    server.state.memory.configure(server.state.config)
    assert table.plain(session)[b"SET"][0](session, [b"SET", b"k", b"v"]) == OK
