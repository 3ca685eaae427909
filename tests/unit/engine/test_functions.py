"""The interpreter of functions: its own, made when it is needed, with a time-out for loads; texts are kept without it, too."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from helpers.sessions import Server
from kvserver.engine import functions
from kvserver.engine.functions import FunctionRunner
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.scripting.interpreter import Host, Interpreter
from kvserver.state.scripts import FunctionFacts

TEXT = b"#!lua name=a\nredis.register_function('f', function(keys) return redis.call('get', keys[1]) end)"
MISSING = "ERR scripts need the package lupa"


class Scripts:
    """The host of scripts. It notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def call(self, request: Request) -> Reply:
        self.asked.append(request)
        return b"value"

    def set_protocol(self, protocol: int) -> None:
        self.asked.append(protocol)

    def look(self) -> bytes | None:
        self.asked.append("look")
        return None

    def log(self, level: int, text: bytes) -> None:
        self.asked.append((level, text))

    def may_call(self, request: Request) -> bool | None:
        self.asked.append(request)
        return True

    def note_error(self, text: bytes, is_counted: bool) -> None:
        self.asked.append((text, is_counted))


def make(host: Host) -> Interpreter:
    return Interpreter(host, 64 << 20, "7.0.15")


def fail(host: Host) -> Interpreter:
    raise CommandError(MISSING)


Setting = Callable[[Callable[[Host], Interpreter]], tuple[FunctionRunner, Scripts, Server]]


@pytest.fixture
def new_runner() -> Setting:
    def new(make: Callable[[Host], Interpreter]) -> tuple[FunctionRunner, Scripts, Server]:
        server, scripts = Server(), Scripts()
        return FunctionRunner(server.state, scripts, make), scripts, server

    return new


def test_function_asks_the_host_of_scripts(new_runner: Setting) -> None:
    runner, scripts, _ = new_runner(make)
    code = "redis.log(3, 'line') return {redis.call('get', 'k'), redis.acl_check_cmd('get', 'k'), redis.error_reply('x')}"
    runner.registry.load(f"#!lua name=a\nredis.register_function('f', function() {code} end)".encode(), replaces=False)
    function = runner.registry.find(b"f")
    assert function
    runner.interpreter().run(function.function, b"f", [], 0, 2, of_library=True)
    assert scripts.asked == [(3, b"line"), [b"get", b"k"], [b"get", b"k"], (b"ERR x", False)]


def test_load_that_takes_too_long_is_ended_and_the_next_one_runs(new_runner: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "LOAD_TIMEOUT_S", 0.01)
    runner, scripts, _ = new_runner(make)
    for code in (b"while true do end", b"while true do redis.log(3, 'x') end"):
        error = re.escape("ERR Error registering functions: ERR FUNCTION LOAD timeout")
        with pytest.raises(CommandError, match=f"^{error}$"):
            runner.registry.load(b"#!lua name=a\n" + code, replaces=False)
    assert runner.registry.load(TEXT, replaces=False) == b"a"
    assert "look" not in scripts.asked


def test_memory_of_a_load_is_limited(new_runner: Setting) -> None:
    runner, _, _ = new_runner(make)
    with pytest.raises(CommandError, match="not enough memory"):
        runner.registry.load(b"#!lua name=a\nlocal t = 'x' while true do t = t .. t end", replaces=False)
    assert runner.registry.load(TEXT, replaces=False) == b"a"


def test_figures(new_runner: Setting) -> None:
    runner, _, _ = new_runner(make)
    assert runner.facts == FunctionFacts()
    runner.registry.load(TEXT, replaces=False)
    facts = runner.facts
    assert (facts.libraries, facts.functions) == (1, 1)
    assert facts.interpreter_bytes > 100_000
    assert facts.library_bytes > len(TEXT)
    runner.flush()
    assert runner.facts == FunctionFacts()


def test_texts_are_kept_where_none_can_run(new_runner: Setting) -> None:
    runner, _, server = new_runner(fail)
    server.state.databases.libraries.replace({b"a": TEXT})
    assert runner.facts == FunctionFacts(libraries=1)
    assert set(server.state.databases.libraries) == {b"a"}
    with pytest.raises(CommandError, match=f"^{MISSING}$"):
        runner.interpreter()
    with pytest.raises(CommandError, match=MISSING):
        runner.registry.load(TEXT, replaces=False)
