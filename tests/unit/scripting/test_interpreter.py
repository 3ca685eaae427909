"""The interpreter runs scripts, gives their values as replies, and keeps to its memory. The rest is compared in tests/wire."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from kvserver.errors import CommandError
from kvserver.resp.reply import Encoded, Error, Reply
from kvserver.resp.request import Request
from kvserver.scripting.interpreter import FLAT_WORDS, Interpreter

MIB = 1 << 20


class Host:
    """A host that notes what scripts ask, and answers by a function."""

    def __init__(self, answer: Callable[[Request], Reply] = lambda request: None) -> None:
        self.answer = answer
        self.calls: list[Request] = []
        self.protocol = 2
        self.protocols: list[int] = []
        self.logged: list[tuple[int, bytes]] = []
        self.errors: list[tuple[bytes, bool]] = []
        self.looks = 0
        self.verdict: bytes | None = None

    def call(self, request: Request) -> Reply:
        self.calls.append(request)
        self.protocols.append(self.protocol)
        return self.answer(request)

    def set_protocol(self, protocol: int) -> None:
        self.protocol = protocol

    def look(self) -> bytes | None:
        self.looks += 1
        return self.verdict

    def log(self, level: int, text: bytes) -> None:
        self.logged.append((level, text))

    def may_call(self, request: Request) -> bool | None:
        return True if request[0] == b"GET" else None

    def note_error(self, text: bytes, is_counted: bool) -> None:
        self.errors.append((text, is_counted))


def run(
    text: str, keys: tuple[bytes, ...] = (), arguments: tuple[bytes, ...] = (), *, host: Host | None = None, protocol: int = 2
) -> Reply:
    interpreter = Interpreter(host or Host(), 64 * MIB, "7.0.15")
    return interpreter.run(interpreter.compile(text.encode()), b"name", [*keys, *arguments], len(keys), protocol)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("return 'a\\0b'", b"a\0b"),
        ("return 3.99", 3),
        ("return -3.99", -3),
        ("return 1e300", -(2**63)),
        ("return nil", None),
        ("", None),
        ("return true", Encoded(b":1\r\n")),
        ("return {1, 'x', {ok='fine'}, false}", Encoded(b"*4\r\n:1\r\n$1\r\nx\r\n+fine\r\n$-1\r\n")),
        ("return KEYS[1] .. #ARGV", b"k2"),
    ],
)
def test_value_of_a_script_is_its_reply(text: str, reply: Reply) -> None:
    found = run(text, (b"k",), (b"a", b"b"))
    assert (found, type(found)) == (reply, type(reply))


def test_many_keys_and_arguments_come_as_few_do() -> None:
    words = tuple(b"%d" % number for number in range(FLAT_WORDS))
    assert run("return #KEYS .. KEYS[200] .. #ARGV .. ARGV[200]", words, words) == b"200199200199"


def test_words_of_a_call_are_strings_and_numbers() -> None:
    host = Host(lambda request: 1)
    run("redis.call('set', 'k', 12, 1.5, 1e20, -7)", host=host)
    assert host.calls == [[b"set", b"k", b"12", b"1.5", b"1e+20", b"-7"]]
    for call in ("redis.call('get', {})", "redis.call('get', true)", "redis.call(nil)"):
        with pytest.raises(CommandError, match="arguments must be strings or integers"):
            run(call)
    with pytest.raises(CommandError, match="at least one argument"):
        run("redis.call()")


def test_call_may_have_very_many_words() -> None:
    host = Host(lambda request: len(request))
    assert run("local t = {} for i = 1, 7000 do t[i] = 'w' .. i end return redis.call(unpack(t))", host=host) == 7000
    assert host.calls[0][-1] == b"w7000"


def test_protocol_of_calls_is_the_scripts_own() -> None:
    host = Host(lambda request: None)
    assert run("redis.call('a') redis.setresp(3) redis.call('b')", host=host, protocol=3) is None
    assert host.protocols == [2, 3]


def test_defect_of_a_command_is_an_error_and_no_object(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Request) -> Reply:
        raise KeyError("secret")

    reply = run("local ok, e = pcall(redis.call, 'get') return {tostring(ok), type(e), e}", host=Host(fail))
    assert reply == Encoded(b"*3\r\n$5\r\nfalse\r\n$6\r\nstring\r\n$31\r\nERR internal error, see the log\r\n")
    assert "defect" in caplog.text


def test_error_tells_script_and_line_and_whether_it_was_counted() -> None:
    host = Host(lambda request: Error("WRONGTYPE no"))
    assert run("\nreturn redis.call('x')", host=host) == Encoded(b"-WRONGTYPE no script: name, on @user_script:2.\r\n")
    assert host.errors == [(b"WRONGTYPE no script: name, on @user_script:2.", True)]
    with pytest.raises(CommandError, match=r"^ERR user_script:1: x script: name, on @user_script:1\.$"):
        run("error('x')")
    host = Host()
    run("return {1, {err='ERR mine'}}", host=host)
    assert host.errors == [(b"ERR mine", False)]


@pytest.mark.parametrize("line", ["{}", "1/0", "0/0", "'x'", "2^70"])
def test_error_that_tells_an_odd_line_tells_none(line: str) -> None:
    fields = f"{{err = 'x', source = 'src', line = {line}}}"
    # The line goes away where the handler would set it, and is there again behind that.
    script = f"local fields = {fields} local e = {{err = 'x'}} error(setmetatable(e, {{__newindex = function(t, name) "
    with pytest.raises(CommandError, match=r"^x$"):
        run(script + "rawset(t, name, fields[name]) end}))")
    with pytest.raises(CommandError, match=r"^x$"):
        run(script + "end, __index = fields}))")


def test_clock_is_looked_at_in_loops_and_between_calls() -> None:
    host = Host(lambda request: 1)
    run("for i = 1, 100000 do end", host=host)
    assert host.looks > 3
    host.looks = 0
    run("for i = 1, 40 do redis.call('x') end", host=host)
    assert host.looks == 2


@pytest.mark.parametrize(
    "text",
    [
        "while true do end",
        "while true do redis.call('x') end",
        "while true do pcall(function() while true do end end) end",
        "while true do local c = coroutine.create(function() while true do end end) coroutine.resume(c) end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do xpcall(function() error('x') end, function() while true do end end) end",
        "string.gsub('aaa', '.', function() while true do end end)",
    ],
)
def test_script_that_must_end_ends_whatever_it_catches(text: str) -> None:
    host = Host(lambda request: 1)
    host.verdict = b"ERR enough"
    interpreter = Interpreter(host, 64 * MIB, "7.0.15")
    with pytest.raises(CommandError, match=r"^ERR enough"):
        interpreter.run(interpreter.compile(text.encode()), b"name", [], 0, 2)
    # The next one is alive, and is looked after.
    host.verdict, host.looks = None, 0
    assert interpreter.run(interpreter.compile(b"for i = 1, 50000 do end return 1"), b"name", [], 0, 2) == 1
    assert host.looks > 0


@pytest.mark.parametrize("text", ["return (", "x = = 1", "\x1bLua", "return " + "(" * 300 + "1" + ")" * 300])
def test_what_does_not_compile_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match=r"user_script:1: |chunk has too many syntax levels"):
        run(text)


def test_acl_check_knows_commands() -> None:
    assert run("return redis.acl_check_cmd('GET', 'k')") == Encoded(b":1\r\n")
    with pytest.raises(CommandError, match="Invalid command passed"):
        run("return redis.acl_check_cmd('nope')")


def test_log_lines_reach_the_host() -> None:
    host = Host()
    run("redis.log(redis.LOG_WARNING, 'a', 1, {}, 'b')", host=host)
    assert host.logged == [(3, b"a 1 b")]


def test_garbage_is_cleared_away_when_a_quarter_of_the_limit_came_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = Interpreter(Host(lambda request: b"x" * 6 * MIB), 32 * MIB, "7.0.15")
    # More than half of the limit is kept.
    interpreter.kit[b"held"] = b"x" * 20 * MIB
    used_bytes: list[int] = []
    collect = interpreter._collect

    def note_and_collect() -> None:
        used_bytes.append(interpreter.used_bytes)
        collect()

    monkeypatch.setattr(interpreter, "_collect", note_and_collect)
    for _ in range(20):
        assert interpreter.run(interpreter.compile(b"return KEYS[1]"), b"name", [b"a"], 1, 2) == b"a"
    assert len(used_bytes) == 1
    # What does not fit beside the garbage fits when that is cleared away, and a script does so itself.
    make = interpreter.compile(b"return #redis.call('get')")
    assert [interpreter.run(make, b"name", [], 0, 2) for _ in range(4)] == [6 * MIB] * 4
    assert len(used_bytes) > 1
    assert min(used_bytes[1:]) > 25 * MIB


def test_first_script_waits_for_no_import_that_takes_long() -> None:
    check = "import sys, kvserver.scripting.interpreter; sys.exit('importlib.resources' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize("of_library", [False, True])
def test_words_of_a_script_that_has_ended_are_not_kept(of_library: bool) -> None:
    interpreter = Interpreter(Host(), 64 * MIB, "7.0.15")
    before = interpreter.used_bytes
    function = interpreter.compile(b"return 1")
    assert interpreter.run(function, b"name", [b"x" * (8 * MIB)] * 2, 1, 2, of_library=of_library) == 1
    # Run the other way, it has words of another place.
    interpreter.run(interpreter.compile(b"collectgarbage()"), b"name", [], 0, 2, of_library=not of_library)
    assert interpreter.used_bytes - before < MIB
