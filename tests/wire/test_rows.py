"""Every declared command is what redis-server's COMMAND INFO and COMMAND DOCS say of that command."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.servers import ServerProcess, parse
from helpers.sessions import Server, run
from kvserver.commands.catalogue import COMMANDS
from kvserver.dispatch.command import Command
from kvserver.resp.reply import encode
from kvserver.state.description import CATEGORIES

EVERY_COMMAND = {each.name: each for whole in COMMANDS.values() for each in (whole, *whole.subcommands.values())}
INFO_FIELDS = ("name", "arity", "flags", "first key", "last key", "step", "categories", "tips", "key specifications")

OURS_ALONE = {
    "json.": "Redis 7.0 has its JSON commands in a module",
    "kvs.": "Redis goes back in time offline alone",
    **dict.fromkeys(("hexpire", "hpexpire", "httl", "hpttl", "hpersist"), "fields expire since 7.4"),
    "client|setinfo": "newer than 7.0; clients send it at each connect",
    "client|no-touch": "Redis has it since 7.2",
    "delifeq": "Valkey 9.0 has it",
    **dict.fromkeys(("delex", "msetex", "increx"), "Redis has them since 8.4 and 8.8"),
}
DIFFERENCES = {
    ("set", "arguments"): "IFEQ and IFNE came with Redis 8.4",
    ("save", "summary"): "nobody but its client waits for it",
    ("shutdown", "summary"): "the same",
    ("flushall", "complexity"): "the data is let go of at once and freed bit by bit",
    ("flushdb", "complexity"): "the same",
    ("del", "complexity"): "large values are let go of at once and freed bit by bit",
    ("unlink", "complexity"): "the same",
    ("lolwut", "complexity"): "Redis tells none",
    ("append", "complexity"): "strings are never changed, only replaced",
    ("setrange", "complexity"): "the same",
    ("setbit", "complexity"): "the same",
    ("migrate", "key specifications"): "KEYS is the first such word from the front, where the command looks for it",
    ("client|kill", "arguments"): "since when the old form is deprecated is not told",
    ("monitor", "complexity"): "Redis tells none",
    ("debug", "doc_flags"): "only Redis's own tools care",
    ("pfdebug", "doc_flags"): "the same",
    ("pfselftest", "doc_flags"): "the same",
}


def replied(reply: Any) -> Any:
    """A reply as a RESP2 client sees it."""
    return parse(encode(reply, 2))


def pairs(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def subcommands_of(info: list[Any]) -> dict[bytes, list[Any]]:
    return {subcommand[0]: subcommand for subcommand in info[9]}


@pytest.fixture(scope="module")
def theirs(running_redis: ServerProcess) -> dict[str, dict[str, Any]]:
    """redis-server's description of each command and subcommand, by field."""
    found: dict[str, dict[str, Any]] = {}

    def add_info(info: list[Any]) -> None:
        found[info[0].decode()] = dict(zip(INFO_FIELDS, info, strict=False))
        for subcommand in info[9]:
            add_info(subcommand)

    def add_docs(docs: list[Any]) -> None:
        for name, flat in pairs(docs).items():
            fields = pairs(flat)
            add_docs(fields.pop(b"subcommands", []))
            # The history of a command in the versions of Redis is not told here.
            fields.pop(b"history", None)
            found[name.decode()] |= {field.decode(): value for field, value in fields.items()}

    for info in parse(running_redis.once("COMMAND")):
        add_info(info)
    add_docs(parse(running_redis.once("COMMAND", "DOCS")))
    return found


def ours(command: Command) -> dict[str, Any]:
    session = Server().session()
    (info,) = replied(run(session, "COMMAND", "INFO", command.name))
    fields = dict(zip(INFO_FIELDS, info, strict=False))
    for name, value in pairs(replied(run(session, "COMMAND", "DOCS", command.name))[1]).items():
        if name != b"subcommands":
            fields[name.decode()] = value
    return fields


@pytest.mark.parametrize("name", sorted(EVERY_COMMAND))
def test_command_is_that_of_redis(theirs: dict[str, dict[str, Any]], name: str) -> None:
    if any(name.startswith(prefix) for prefix in OURS_ALONE):
        assert name not in theirs, "it is no longer ours alone"
        return
    ours_now = ours(EVERY_COMMAND[name])
    differing = {
        field: {"ours": ours_now.get(field), "theirs": theirs[name].get(field)}
        for field in ours_now.keys() | theirs[name].keys()
        if ours_now.get(field) != theirs[name].get(field)
    }
    expected = {field for command, field in DIFFERENCES if command == name}
    assert {field: both for field, both in differing.items() if field not in expected} == {}
    assert differing.keys() >= expected, "a difference that is not there any more"


def test_container_has_the_subcommands_of_redis(theirs: dict[str, dict[str, Any]]) -> None:
    missing = {name for name in theirs if name.partition("|")[0] in EVERY_COMMAND and name not in EVERY_COMMAND}
    assert missing == set()


@pytest.mark.parametrize(
    "filters",
    [
        (),
        ("FILTERBY", "PATTERN", "c*"),
        ("FILTERBY", "PATTERN", "*|GET"),
        ("FILTERBY", "MODULE", "nosuch"),
        *(("FILTERBY", "ACLCAT", category.removeprefix("@")) for category in CATEGORIES if category != "@json"),
        ("FILTERBY", "ACLCAT", "@read"),
    ],
    ids=" ".join,
)
def test_list_names_what_redis_names_of_the_commands_that_are_here(
    running_redis: ServerProcess, theirs: dict[str, dict[str, Any]], filters: tuple[str, ...]
) -> None:
    ours = [name.decode() for name in replied(run(Server().session(), "COMMAND", "LIST", *filters))]
    assert len(ours) == len(set(ours))
    expected = {name.decode() for name in parse(running_redis.once("COMMAND", "LIST", *filters))} & EVERY_COMMAND.keys()
    assert set(ours) & theirs.keys() == expected
    if not filters:
        assert set(ours) == EVERY_COMMAND.keys()
