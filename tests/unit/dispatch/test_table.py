"""table: the commands are sound, and the tables of plain sessions lead to every handler, past the gate."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, measured, run, text
from kvserver.dispatch.command import Command
from kvserver.dispatch.effect import Load
from kvserver.dispatch.gate import OOM
from kvserver.dispatch.table import ALL_GATED
from kvserver.errors import Refusal
from kvserver.resp.reply import OK
from kvserver.state.session import Pause, Transaction

TABLE = Server().table
COMMANDS = list(TABLE.commands.values())
EVERY_COMMAND = [*COMMANDS, *(subcommand for command in COMMANDS for subcommand in command.subcommands.values())]


def test_commands_are_sorted_and_no_name_is_given_twice() -> None:
    assert [command.name for command in COMMANDS] == sorted({command.name for command in COMMANDS})
    assert all(command.name == command.name.lower() for command in EVERY_COMMAND)


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command.name)
def test_command_is_complete(command: Command) -> None:
    assert command.summary
    assert command.complexity
    assert command.group in {"string", "bitmap", "generic", "connection", "server", "json", "transactions", "pubsub"} | {
        "cluster",
        "hash",
        "list",
        "set",
        "sorted-set",
        "geo",
        "hyperloglog",
        "scripting",
        "stream",
    }
    assert all(part.isdigit() for part in command.since.split("."))
    assert not {"write", "readonly"} <= set(command.flags)
    first, last, step = command.keys
    assert (first == last == step == 0) or (first >= 1 and step >= 1 and (last >= first or last < 0))
    assert first < abs(command.arity) or command.name == "sunsubscribe"
    assert len(command.key_notes) <= len(command.key_specifications)
    assert command.deprecated is None or all(command.deprecated)
    assert bool(command.notation.arguments) == bool(command.notation.text)
    assert command.notation.options
    assert ("@fast" in command.categories) != ("@slow" in command.categories)
    assert all(part.name == f"{command.name}|{word.decode()}" for word, part in command.subcommands.items())


def test_names_are_found_in_lower_and_upper_case_without_another_look() -> None:
    for runners in (TABLE.open, TABLE.limited, TABLE.replayed):
        assert all(runners[command.name.encode()] is runners[command.name.upper().encode()] for command in COMMANDS)
        assert len(runners) == 2 * len(COMMANDS)


def test_limit_of_memory_has_a_table_of_its_own() -> None:
    server = Server()
    session, table = server.session(), server.table
    assert table.plain(session) is table.open
    server.state.config.maxmemory = 1
    server.state.memory.configure()
    while server.state.memory.is_unmeasured:
        server.state.memory.measure()
    assert table.plain(session) is table.limited
    for name, command in table.commands.items():
        is_limited = table.limited[name][0] is not table.open[name][0]
        assert is_limited is any("denyoom" in each.flags for each in (command, *command.subcommands.values()))
    with pytest.raises(Refusal, match=OOM):
        table.limited[b"SET"][0](session, [b"SET", b"k", b"v"])
    assert table.limited[b"restore"][0](session, [b"restore"]) == Load()
    assert text(run(session, "SET", "k", "v")) == OOM
    assert run(session, "RESTORE") == Load()
    server.state.config.maxmemory = 0
    server.state.memory.configure()
    assert table.plain(session)[b"SET"][0](session, [b"SET", b"k", b"v"]) == OK


def test_standby_has_a_table_of_its_own_without_writes() -> None:
    server = measured(Server())
    session, table = server.session(), server.table
    server.state.replication.is_primary = False
    assert table.plain(session) is table.reading
    assert {name for name in table.open if name not in table.reading} == {
        name
        for command in COMMANDS
        if any("write" in each.flags for each in (command, *command.subcommands.values()))
        for name in (command.name.encode(), command.name.upper().encode())
    }
    output: list[bytes] = []
    calls = [[b"GET", b"k"], [b"SET", b"k", b"v"], [b"GET", b"k"], [b"GET", b"k"]]
    assert table.run_alike(session, calls, table.plain(session), output) == 1
    session.transaction = Transaction()
    assert table.plain(session) is ALL_GATED
    session.transaction = None
    server.state.pause = Pause.ALL
    assert table.plain(session) is ALL_GATED
    server.state.pause, server.state.replication.is_primary = Pause.NONE, True
    assert table.plain(session) is table.open


def test_calls_of_a_user_with_few_rights_are_guarded_and_no_run() -> None:
    server = Server()
    session, users = server.session(), server.state.users
    session.be(users.put(users.staged(b"u", [b"on", b"~a*", b"+get", b"+config|get"])))
    runners = server.table.plain(session)
    assert runners is server.table.guarded[0]
    assert runners[b"GET"][0](session, [b"GET", b"a"]) is None
    for words in ([b"GET", b"b"], [b"SET", b"a", b"x"], [b"CONFIG", b"SET", b"a", b"b"], [b"CONFIG", b"NOSUCH"]):
        with pytest.raises(Refusal):
            runners[words[0]][0](session, words)
    output: list[bytes] = []
    assert server.table.run_alike(session, [[b"GET", b"b"]] * 10, runners, output) == 0
    assert output == []
    assert [entry.thing for entry in server.state.denials.newest(9)] == [b"config|set", b"set", b"b"]
    session.transaction = Transaction()
    assert server.table.plain(session) is ALL_GATED
