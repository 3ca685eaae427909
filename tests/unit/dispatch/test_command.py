"""A command is declared over its handler; its arity, keys, flags and options follow from the declaration."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest

from helpers.sessions import Server, run, text
from kvserver.commands.catalogue import COMMANDS
from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import MANY_WORDS, REDACTED, Command, command, container, gather, unknown_command
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.description import ANY_NUMBER
from kvserver.state.session import Session

ABOUT: dict[str, Any] = {"since": "1.0.0", "group": "string", "summary": "A command"}


def module(*commands: Command) -> ModuleType:
    found = ModuleType("family")
    vars(found).update({f"command_{place}": each for place, each in enumerate(commands)})
    return found


def declared(name: str, *words: str, **fields: Any) -> Command:
    def handler(session: Session, request: Request) -> Reply:
        return name.encode()

    return command(name, *words, **{**ABOUT, **fields})(handler)


def calls(commands: dict[bytes, Command], *words: str) -> Any:
    request = [word.encode() for word in words]
    return commands[request[0].lower()].run(Server().session(), request)


# --- One command ---


def test_decorator_makes_a_command_of_its_handler() -> None:
    @command("getdel", "key:key", "write fast", access="RW access delete", **ABOUT)
    def getdel(session: Session, request: Request) -> Reply:
        return request[1]

    assert getdel.name == "getdel"
    assert getdel.flags == ("write", "fast")
    assert (getdel.arity, getdel.arities) == (2, range(2, 3))
    assert getdel.keys == (1, 1, 1)
    assert getdel.handler(Server().session(), [b"getdel", b"k"]) == b"k"
    assert getdel.written_keys([b"getdel", b"k"]) == [b"k"]


def test_handler_reads_options_by_the_name_of_its_command() -> None:
    @command("scan", "cursor COUNT=count:integer?", numbers={"COUNT": integer}, **ABOUT)
    def scan(session: Session, request: Request) -> Reply:
        return scan.options(request).number("COUNT", 10)

    session = Server().session()
    assert scan.handler(session, [b"scan", b"0", b"count", b"5"]) == 5
    assert scan.handler(session, [b"scan", b"0"]) == 10
    with pytest.raises(CommandError, match="not an integer"):
        scan.handler(session, [b"scan", b"0", b"count", b"x"])


def test_arity_may_be_another_than_the_notation_says() -> None:
    assert declared("quit", arity=-1).arities == range(1, 2**31)
    assert declared("quit").arities == range(1, 2)


@pytest.mark.parametrize(
    ("arity", "allowed", "refused"), [(2, [2], [1, 3]), (-2, [2, 3, 1_000_000], [0, 1]), (-1, [1, 2], [0])]
)
def test_arity_counts_the_name_and_a_negative_one_is_the_least(arity: int, allowed: list[int], refused: list[int]) -> None:
    arities = declared("x", arity=arity).arities
    assert all(count in arities for count in allowed)
    assert not any(count in arities for count in refused)


def test_keys_that_are_written_are_those_that_the_access_says_are() -> None:
    copy = declared("copy", "source:key destination:key#1 REPLACE?", "write", access="RO access; OW update")
    assert copy.written_keys([b"copy", b"a", b"b", b"REPLACE"]) == [b"b"]
    mset = declared("mset", "key_value{key:key value}+", "write", access="OW update")
    assert mset.written_keys([b"mset", b"a", b"1", b"b", b"2"]) == [b"a", b"b"]


def test_what_a_call_does_with_its_keys_may_depend_on_its_words() -> None:
    def of_call(request: Request) -> str:
        return "RW access update" if b"GET" in request else "OW update"

    set_ = declared("set", "key:key value GET?", access="RW access update variable_flags", access_of=of_call)
    assert set_.keys_of([b"set", b"k", b"v"]) == [(b"k", ("OW", "update"))]
    assert set_.keys_of([b"set", b"k", b"v", b"GET"]) == [(b"k", ("RW", "access", "update"))]


@pytest.mark.parametrize(
    ("made", "words", "error"),
    [
        (declared("get", "key:key", access="RO access"), ["get"], "Invalid number of arguments"),
        (declared("ping", "message?"), ["ping", "a"], "no key arguments"),
        (declared("ssubscribe", "shardchannel:not-key+", access="not_key"), ["ssubscribe", "a"], "no key arguments"),
    ],
    ids=["too few", "none", "no keys"],
)
def test_keys_of_what_has_none_are_an_error(made: Command, words: list[str], error: str) -> None:
    with pytest.raises(CommandError, match=error):
        made.keys_of([word.encode() for word in words])


def test_flags_and_categories_follow_from_what_is_declared() -> None:
    union = declared("zunion", "numkeys:integer key:key+", "readonly", access="RO access", group="sorted-set")
    assert union.all_flags == ["readonly", "movablekeys"]
    assert union.categories == ["@read", "@sortedset", "@slow"]
    assert declared("wait", "", "noscript fast", group="generic", categories="connection").categories == [
        "@fast",
        "@connection",
    ]
    assert declared("monitor", "", "admin", group="server").categories == ["@admin", "@slow", "@dangerous"]


@pytest.mark.parametrize(
    ("made", "bounded_below"),
    [
        (declared("get", "key:key", "fast", access="RO", complexity="O(1)"), ANY_NUMBER),
        (declared("get", "key:key", access="RO", complexity="O(1)"), 0),
        (declared("get", "key:key", access="RO", bounded_below=3), 3),
        (declared("mget", "key:key+", "fast", access="RO", complexity="O(N)"), MANY_WORDS),
        (declared("sadd", "key:key member+", "fast", access="RW", complexity="O(1) for each"), MANY_WORDS),
        (declared("zrank", "key:key member", "fast", access="RO", complexity="O(log(N))"), ANY_NUMBER),
        (declared("lpop", "key:key count:integer?", "fast", access="RW", complexity="O(N)"), 0),
    ],
)
def test_bounded_is_what_is_fast_but_for_the_number_of_its_arguments(made: Command, bounded_below: int) -> None:
    assert made.bounded_below == bounded_below


# --- Secrets ---


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("AUTH secret", "AUTH (redacted)"),
        ("auth me secret", "auth (redacted) (redacted)"),
        ("AUTH", "AUTH"),
        ("HELLO 3 AUTH me secret SETNAME x", "HELLO 3 AUTH (redacted) (redacted) SETNAME x"),
        ("hello 3 setname x auth me secret", "hello 3 setname x auth (redacted) (redacted)"),
        ("HELLO 3 AUTH me", "HELLO 3 AUTH (redacted)"),
        ("Config Set timeout 5 RequirePass secret", "Config Set timeout 5 RequirePass (redacted)"),
        ("CONFIG SET masterauth secret", "CONFIG SET masterauth (redacted)"),
        ("CONFIG SET tls-key-file-pass secret", "CONFIG SET tls-key-file-pass (redacted)"),
        ("CONFIG SET requirepass", "CONFIG SET requirepass"),
        ("CONFIG GET requirepass x", "CONFIG GET requirepass x"),
        ("CONFIG NOSUCH requirepass x", "CONFIG NOSUCH requirepass x"),
        ("SET requirepass auth", "SET requirepass auth"),
        ("CONFIG", "CONFIG"),
    ],
)  # fmt: skip
def test_secrets_are_replaced_and_nothing_else(call: str, shown: str) -> None:
    request = call.encode().split()
    assert COMMANDS[request[0].lower()].redacted(list(request)) == shown.encode().split()
    assert request == call.encode().split()
    assert REDACTED == b"(redacted)"


# --- Commands that consist of several ---


def client() -> dict[bytes, Command]:
    return gather([module(declared("client|id"), declared("client|kill", "filter+"), container("client", **ABOUT))])


def test_subcommands_run_by_their_second_word() -> None:
    assert calls(client(), "CLIENT", "Id") == b"client|id"
    assert list(client()) == [b"client"]
    assert list(client()[b"client"].subcommands) == [b"id", b"kill"]


def test_last_command_of_a_session_is_the_subcommand() -> None:
    session = Server().session()
    client()[b"client"].run(session, [b"client", b"id"])
    assert session.last_command == b"client|id"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["CLIENT"], "ERR wrong number of arguments for 'client' command"),
        (["CLIENT", "KILL"], "ERR wrong number of arguments for 'client|kill' command"),
        (["CLIENT", "NoSuch"], "ERR unknown subcommand 'NoSuch'. Try CLIENT HELP."),
        (["CLIENT", "a\0b"], "ERR unknown subcommand 'a'. Try CLIENT HELP."),
        (["CLIENT", "a" * 200], f"ERR unknown subcommand '{'a' * 128}'. Try CLIENT HELP."),
    ],
    ids=["too few", "too few for it", "unknown", "up to a NUL", "cut"],
)
def test_words_that_mean_no_subcommand_are_refused(words: list[str], error: str) -> None:
    with pytest.raises(Refusal, match=re.escape(error)):
        calls(client(), *words)


def test_form_without_arguments_is_a_command_of_its_own() -> None:
    key = declared("restore", "key:key ttl value", "write", access="OW update")
    alone = declared("restore", is_alone=True, summary="Load")
    commands = gather([module(alone, key)])
    assert commands == {b"restore": key}
    assert key.is_container
    assert key.resolve([b"RESTORE"]) is alone
    assert key.resolve([b"RESTORE", b"k", b"0", b"x"]) is key
    with pytest.raises(Refusal, match="wrong number of arguments for 'restore'"):
        key.resolve([b"RESTORE", b"k"])


def test_container_may_have_a_form_without_arguments() -> None:
    commands = gather([
        module(container("command", arity=-1, **ABOUT), declared("command", is_alone=True), declared("command|count"))
    ])  # fmt: skip
    assert calls(commands, "command") == b"command"
    assert calls(commands, "command", "count") == b"command|count"


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["CLIENT"], "client"), (["CLIENT", "Id", "x", "y"], "client|id"), (["CLIENT", "NoSuch"], None)],
    ids=["itself", "a part, whatever its arity", "no subcommand"],
)
def test_meaning_of_words_is_asked_without_an_error(words: list[str], meant: str | None) -> None:
    found = client()[b"client"].meant_by([word.encode() for word in words])
    assert (found and found.name) == meant


def test_entrance_of_a_command_is_its_handler_unless_there_is_something_to_find_out() -> None:
    get, alone = declared("get"), declared("restore", is_alone=True)
    restore = gather([module(declared("restore", "key:key"), alone)])[b"restore"]
    assert get.entrance is get.handler
    assert restore.entrance(Server().session(), [b"RESTORE"]) == b"restore"
    assert 1 not in restore.arities
    assert 1 in restore.arities_of_all
    assert get.arities_of_all == get.arities


@pytest.mark.parametrize("name", ["CLIENT", "CONFIG", "COMMAND", "DEBUG", "MEMORY", "OBJECT"])
def test_container_has_help(name: str) -> None:
    lines = run(Server().session(), name, "HELP")
    assert isinstance(lines, list)
    assert text(lines[0]).startswith(f"{name} <subcommand>")
    assert text(lines[-1]) == "    Prints this help."


@pytest.mark.parametrize(("word", "shown"), [(b"NOPE", "NOPE"), (b"a\0b", "a"), (b"x" * 200, "x" * 128), (b"\xff", "\udcff")])
def test_unknown_subcommand_is_named_as_redis_names_it(word: bytes, shown: str) -> None:
    assert text(run(Server().session(), "CONFIG", word)) == f"ERR unknown subcommand '{shown}'. Try CONFIG HELP."


def test_unknown_command_shows_the_start_of_its_arguments() -> None:
    error = unknown_command([b"nope", b"a", b"b\0c", b"x" * 300, b"never"])
    assert str(error) == "ERR unknown command 'nope', with args beginning with: 'a' 'b' '" + "x" * (128 - 8) + "' "
    assert str(unknown_command([b"y" * 300])) == f"ERR unknown command '{'y' * 128}', with args beginning with: "


# --- Families ---


def test_gathering_again_finds_the_same() -> None:
    family = module(container("client", **ABOUT), declared("client|id"))
    assert gather([family]) == gather([family, family])


@pytest.mark.parametrize(
    ("commands", "error"),
    [
        ([declared("get"), declared("get")], "two commands 'get'"),
        ([container("client", **ABOUT), declared("client|id"), declared("client|id")], r"two commands 'client\|id'"),
        ([declared("client|id")], "part of no command"),
    ],
    ids=["twice", "subcommand twice", "subcommand of nothing"],
)
def test_what_does_not_fit_together_is_an_error(commands: list[Command], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        gather([module(*commands)])
