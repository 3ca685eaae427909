"""Scripts run within a tick. Those that take long stand aside: others are answered, and nothing is seen or kept of half."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from helpers.servers import ServerProcess, StartServer, Wire, encode, info, wait_until
from helpers.sessions import Server, run, text
from helpers.writers import Noting, Setting, settle
from kvserver.dispatch.effect import Effect, Fetch, Fetched
from kvserver.engine.scripts import ScriptRunner
from kvserver.engine.writer import Writer
from kvserver.resp.reply import Reply
from kvserver.scripting.interpreter import Interpreter
from kvserver.state.channels import Message
from kvserver.state.session import Session

SET_TWO = "redis.call('set', KEYS[1], 1) redis.call('incr', KEYS[1]) return redis.call('get', KEYS[1])"
ENDLESS = "while true do end"
WRITES_AND_RUNS_ON = "redis.call('set', KEYS[1], 'half') while redis.call('exists', 'stop') == 0 do end"
# It takes some 0.2 s.
LONG = "redis.call('incr', KEYS[1]) for i = 1, 1e7 do end return redis.call('incr', KEYS[1])"
BUSY = b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n"
OPTIONS = ("--save", "", "--busy-reply-threshold", "5")


@pytest.fixture(scope="module")
def running_busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess("kvserver", tmp_path_factory.mktemp("busy"), *OPTIONS) as server:
        yield server


@pytest.fixture
def busy(running_busy: ServerProcess) -> ServerProcess:
    assert running_busy.once("FLUSHALL") == b"+OK\r\n"
    return running_busy


class NoJobs:
    """Jobs that are never asked for anything."""

    def act(self, effect: Effect, session: Session) -> Reply:
        raise AssertionError(effect)

    def fetch(self, effect: Fetch, session: Session) -> Awaitable[Fetched]:
        raise AssertionError(effect)


def wait_until_busy(other: Wire) -> None:
    wait_until(lambda: other.command("GET", "x") == BUSY, "nobody is told that a script runs")


def wait_until_free(other: Wire) -> None:
    wait_until(lambda: other.command("GET", "x") != BUSY, "the script runs for ever")


def test_script_of_a_transaction_runs_in_it(busy: ServerProcess) -> None:
    with busy.connect() as wire:
        wire.send(encode("MULTI") + encode("SET", "a", 5) + encode("EVAL", SET_TWO, 1, "k") + encode("EXEC"))
        assert [wire.read_reply() for _ in range(4)][-1] == b"*2\r\n+OK\r\n$1\r\n2\r\n"


def test_selected_database_is_the_scripts_own(busy: ServerProcess) -> None:
    with busy.connect() as wire:
        assert wire.value("SELECT", 3) == b"OK"
        assert wire.value("EVAL", "redis.call('set', 'k', 1) redis.call('select', 4) redis.call('set', 'l', 1)", 0) is None
        assert wire.value("DBSIZE") == 1
        assert wire.value("EXISTS", "k") == 1


def test_who_waits_is_served_behind_the_script_that_feeds(busy: ServerProcess) -> None:
    with busy.connect() as waiting, busy.connect() as wire:
        waiting.send(encode("BLPOP", "l", 0))
        wait_until(lambda: info(wire, "clients")["blocked_clients"] == "1", "nobody waits")
        push = "redis.call('rpush', 'l', 'a') redis.call('rpush', 'l', 'b') return redis.call('llen', 'l')"
        wire.send(encode("EVAL", push, 0) + encode("LLEN", "l"))
        assert [wire.read_reply(), wire.read_reply()] == [b":2\r\n", b":1\r\n"]
        assert waiting.read_reply() == b"*2\r\n$1\r\nl\r\n$1\r\na\r\n"


def test_blocking_command_of_a_script_does_not_wait(busy: ServerProcess) -> None:
    with busy.connect() as wire:
        assert b"not allowed from script" in wire.command("EVAL", "return redis.call('blpop', 'l', 0)", 0)


# --- Long scripts ---


def test_others_are_answered_and_can_kill(busy: ServerProcess) -> None:
    with busy.connect() as wire, busy.connect() as other:
        wire.send(encode("EVAL", ENDLESS, 0) + encode("ECHO", "behind"))
        wait_until_busy(other)
        assert other.command("SHUTDOWN") == other.command("SHUTDOWN", "SAVE") == other.command("EVAL", "return 1", 0) == BUSY
        assert other.command("PING") == BUSY
        assert [other.command("MULTI"), other.command("GET", "k"), other.command("DISCARD")] == [b"+OK\r\n", BUSY, b"+OK\r\n"]
        with busy.connect() as newcomer:
            assert newcomer.command("SCRIPT", "KILL") == b"+OK\r\n"
        assert wire.read_reply().startswith(b"-ERR Script killed by user with SCRIPT KILL... script: ")
        assert wire.read_reply() == b"$6\r\nbehind\r\n"
        assert other.command("SCRIPT", "KILL") == b"-NOTBUSY No scripts in execution right now.\r\n"


@pytest.mark.parametrize(
    "script",
    [
        "while true do pcall(function() while true do end end) end",
        "while true do redis.pcall('get', 'k') end",
        "coroutine.wrap(function() while true do end end)()",
        "string.gsub('aaa', '.', function() while true do end end)",
        "table.sort({1, 2, 3}, function() while true do end end)",
    ],
)
def test_script_is_killed_wherever_it_is(busy: ServerProcess, script: str) -> None:
    with busy.connect() as wire, busy.connect() as other:
        wire.send(encode("EVAL", script, 0))
        wait_until_busy(other)
        assert other.command("SCRIPT", "KILL") == b"+OK\r\n"
        assert b"Script killed" in wire.read_reply()


def test_script_that_has_written_goes_on_and_is_whole(busy: ServerProcess) -> None:
    with busy.connect() as wire, busy.connect() as other:
        wire.send(encode("INCR", "k") + encode("EVAL", LONG, 1, "k") + encode("INCR", "k"))
        wait_until_busy(other)
        assert other.command("SCRIPT", "KILL").startswith(b"-UNKILLABLE Sorry the script already executed write commands")
        wait_until_free(other)
        assert other.value("GET", "k") == b"4"
        assert [wire.read_reply() for _ in range(3)] == [b":1\r\n", b":3\r\n", b":4\r\n"]


def test_transaction_of_scripts_is_whole(busy: ServerProcess) -> None:
    with busy.connect() as wire, busy.connect() as other:
        calls = [
            ("MULTI",),
            ("SET", "k", 5),
            ("EVAL", LONG, 1, "k"),
            ("INCR", "k"),
            ("EVAL", LONG, 1, "k"),
            ("EXEC",),
            ("PING",),
        ]
        wire.send(b"".join(encode(*words) for words in calls))
        wait_until_busy(other)
        wait_until_free(other)
        assert other.value("GET", "k") == b"10"
        assert [wire.read_reply() for _ in calls][-2:] == [b"*4\r\n+OK\r\n:7\r\n:8\r\n:10\r\n", b"+PONG\r\n"]


def test_client_that_is_gone_leaves_the_script_to_its_end(busy: ServerProcess) -> None:
    with busy.connect() as other:
        with busy.connect() as wire:
            wire.send(encode("EVAL", LONG, 1, "k"))
            wait_until_busy(other)
        wait_until_free(other)
        assert other.value("GET", "k") == b"2"


def test_key_does_not_expire_while_a_script_stands_aside(busy: ServerProcess) -> None:
    with busy.connect() as wire, busy.connect() as other:
        script = "redis.call('set', 'k', 1, 'px', 1) for i = 1, 1e7 do end return redis.call('exists', 'k')"
        wire.send(encode("EVAL", script, 0))
        wait_until_busy(other)
        assert wire.read_reply() == b":1\r\n"
        assert other.value("EXISTS", "k") == 0


def test_those_behind_in_the_tick_are_answered_too(busy: ServerProcess) -> None:
    with busy.connect() as wire, busy.connect() as other, busy.connect() as third:
        for each in (wire, other, third):
            each.send(encode("EVAL", LONG, 1, "k") if each is wire else encode("GET", "k"))
        assert {other.read_reply(), third.read_reply()} <= {BUSY, b"$-1\r\n"}
        assert wire.read_reply() == b":2\r\n"


def test_time_of_those_who_wait_is_up_behind_the_script(busy: ServerProcess) -> None:
    with busy.connect() as waiting, busy.connect() as wire:
        waiting.send(encode("BLPOP", "l", "1"))
        wait_until(lambda: info(wire, "clients")["blocked_clients"] == "1", "nobody waits")
        # It takes until the time is up, and then some.
        now = "local function now() local t = redis.call('time') return t[1] + t[2] / 1e6 end"
        wire.send(encode("EVAL", f"{now} local ends = now() + 1.2 while now() < ends do end redis.call('rpush', 'l', 'a')", 0))
        assert wire.read_reply() == b"$-1\r\n"
        assert waiting.read_reply() == b"*2\r\n$1\r\nl\r\n$1\r\na\r\n"


# --- What is kept ---


def kept(start_server: StartServer, directory: Path) -> dict[bytes, bytes]:
    """What a server that starts there finds."""
    with start_server("--save", "", directory=directory).connect() as wire:
        return {key: wire.value("GET", key) for key in wire.value("KEYS", "*")}


def test_all_that_a_script_wrote_is_kept(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--save", "", "--appendfsync", "always", directory=tmp_path)
    with server.connect() as wire:
        assert wire.value("EVAL", SET_TWO, 1, "k") == b"2"
        wire.command("EVAL", "redis.call('set', 'first', 1) error('x')", 0)
    server.kill()
    assert kept(start_server, tmp_path) == {b"k": b"2", b"first": b"1"}


@pytest.mark.parametrize("how", ["nosave", "kill"])
def test_nothing_is_kept_of_half_a_script(start_server: StartServer, tmp_path: Path, how: str) -> None:
    server = start_server(*OPTIONS, "--appendfsync", "always", directory=tmp_path)
    with server.connect() as wire, server.connect() as other:
        wire.send(encode("EVAL", WRITES_AND_RUNS_ON, 1, "k"))
        wait_until_busy(other)
        if how == "nosave":
            other.send(encode("SHUTDOWN", "NOSAVE"))
            assert other.read_until_eof() == b""
            server.wait()
        else:
            server.kill()
    assert kept(start_server, tmp_path) == {}


def test_write_before_a_long_script_is_kept_and_told(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*OPTIONS, "--appendfsync", "always", directory=tmp_path)
    with server.connect() as wire, server.connect() as other:
        wire.send(encode("SET", "before", 1) + encode("EVAL", WRITES_AND_RUNS_ON, 1, "k"))
        wait_until_busy(other)
        server.kill()
    assert kept(start_server, tmp_path) == {b"before": b"1"}


def test_signal_ends_a_script_that_has_not_written_and_saves(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*OPTIONS, "--appendonly", "no", directory=tmp_path)
    with server.connect() as wire, server.connect() as other:
        assert wire.command("SET", "k", "v") == b"+OK\r\n"
        wire.send(encode("EVAL", ENDLESS, 0))
        wait_until_busy(other)
        assert server.stop() == 0
    assert kept(start_server, tmp_path) == {b"k": b"v"}


@pytest.mark.parametrize("in_transaction", [False, True])
def test_signal_ends_scripts_behind_one_another(start_server: StartServer, tmp_path: Path, in_transaction: bool) -> None:
    server = start_server(*OPTIONS, "--appendonly", "no", directory=tmp_path)
    with server.connect() as wire, server.connect() as other:
        assert wire.value("EVAL", "return 1", 0) == 1
        commands: list[tuple[str | int, ...]] = [
            ("SET", "before", 1),
            ("EVAL", ENDLESS, 0),
            ("EVAL", ENDLESS + " ", 0),
            ("SET", "behind", 1),
        ]
        if in_transaction:
            commands = [("MULTI",), *commands, ("EXEC",)]
        wire.send(b"".join(encode(*words) for words in commands))
        wait_until_busy(other)
        assert server.stop() == 0
    # A transaction is whole. What is behind a script that was killed alone does not run any more.
    assert kept(start_server, tmp_path) == {b"before": b"1"} | ({b"behind": b"1"} if in_transaction else {})


def test_script_in_a_transaction_behind_a_pause_can_be_killed(start_server: StartServer) -> None:
    server = start_server(*OPTIONS, "--enable-debug-command", "yes")
    with server.connect() as wire, server.connect() as other:
        wire.send(b"".join(encode(*words) for words in (("MULTI",), ("DEBUG", "SLEEP", 100), ("EVAL", ENDLESS, 0), ("EXEC",))))
        wait_until_busy(other)
        assert other.command("SCRIPT", "KILL") == b"+OK\r\n"


# --- What is told of scripts ---


def test_monitors_see_a_script_and_then_its_calls(busy: ServerProcess) -> None:
    with busy.connect() as monitor, busy.connect() as wire:
        assert monitor.command("MONITOR") == b"+OK\r\n"
        wire.command("EVAL", "redis.call('select', 2) redis.call('set', 'k', ARGV[1]) return redis.pcall('get')", 0, "a b")
        lines = [monitor.read_reply().partition(b" ")[2] for _ in range(3)]
        assert b'] "EVAL" "redis.call' in lines[0]
        assert lines[1:] == [b'[2 lua] "select" "2"\r\n', b'[2 lua] "set" "k" "a b"\r\n']


def test_monitors_see_a_script_while_it_runs(busy: ServerProcess) -> None:
    with busy.connect() as monitor, busy.connect() as wire, busy.connect() as other:
        assert monitor.command("MONITOR") == b"+OK\r\n"
        wire.send(encode("EVAL", "while true do redis.call('echo', 'x') end", 0))
        lines = [monitor.read_reply().partition(b" ")[2] for _ in range(5)]
        assert b'] "EVAL" "while' in lines[0]
        assert set(lines[1:]) == {b'[0 lua] "echo" "x"\r\n'}
        assert other.command("SCRIPT", "KILL") == b"+OK\r\n"
        assert wire.read_reply().startswith(b"-ERR Script killed")
        assert wire.command("ECHO", "behind") == b"$6\r\nbehind\r\n"
        # The script was shown once.
        for line in iter(monitor.read_reply, b""):
            assert b"EVAL" not in line
            if b"behind" in line:
                break


def test_messages_of_a_script_come_while_it_runs_unless_it_has_written(busy: ServerProcess) -> None:
    with busy.connect() as listener, busy.connect() as wire, busy.connect() as other:
        listener.command("SUBSCRIBE", "c")
        publish = "redis.call('publish', 'c', 'm') while redis.call('exists', 'k') == 0 do end"
        wire.send(encode("EVAL", publish, 0))
        assert listener.read_reply().endswith(b"m\r\n")
        assert other.command("SCRIPT", "KILL") == b"+OK\r\n"
        wire.read_reply()
        wire.send(encode("EVAL", "redis.call('set', 'k', 1) redis.call('publish', 'c', 'n') for i = 1, 1e7 do end", 0))
        wait_until_busy(other)
        assert listener.command("PING") == BUSY
        assert listener.read_reply().endswith(b"n\r\n")
        assert wire.read_reply() == b"$-1\r\n"


def test_slow_log_has_the_script_alone(busy: ServerProcess) -> None:
    with busy.connect() as wire:
        wire.command("CONFIG", "SET", "slowlog-log-slower-than", 0)
        wire.command("SLOWLOG", "RESET")
        wire.command("EVAL", "redis.call('set', 'k', 1) redis.call('keys', '*') return redis.call('del', 'k')", 0)
        wire.command("CONFIG", "SET", "slowlog-log-slower-than", 10000)
        assert [entry[3][0] for entry in wire.value("SLOWLOG", "GET")][:-1] == [b"EVAL"]


def test_slow_log_has_a_script_that_stood_aside_or_sent_messages(busy: ServerProcess) -> None:
    with busy.connect() as wire, busy.connect() as listener:
        listener.command("SUBSCRIBE", "c")
        wire.command("SLOWLOG", "RESET")
        for script in (LONG, "redis.call('publish', 'c', 'm') for i = 1, 1e7 do end"):
            wire.command("EVAL", script, 1, "k")
        entries = wire.value("SLOWLOG", "GET")
        assert [entry[3][0] for entry in entries] == [b"EVAL", b"EVAL"]
        assert all(entry[2] > 10_000 for entry in entries)


def test_figures_of_scripts(busy: ServerProcess) -> None:
    with busy.connect() as wire:
        wire.command("SCRIPT", "FLUSH")
        assert info(wire, "memory")["number_of_cached_scripts"] == "0"
        wire.command("SCRIPT", "LOAD", "return 1")
        figures = info(wire, "memory")
        assert figures["number_of_cached_scripts"] == "1"
        assert 0 < int(figures["used_memory_scripts"]) < 10_000
        assert 10_000 < int(figures["used_memory_vm_eval"]) < 1_000_000
        stats = wire.value("MEMORY", "STATS")
        assert stats[stats.index(b"lua.caches") + 1] == int(figures["used_memory_scripts"])


def test_messages_and_events_of_a_script_come_in_order(busy: ServerProcess) -> None:
    with busy.connect() as listener, busy.connect() as wire:
        wire.command("CONFIG", "SET", "notify-keyspace-events", "KA")
        listener.command("PSUBSCRIBE", "*")
        calls = ("'set', 'k', 1", "'publish', 'c', 'm'", "'del', 'k'", "'publish', 'c', 'n'")
        assert wire.value("EVAL", " ".join(f"redis.call({words})" for words in calls) + " return 7", 0) == 7
        assert [listener.read_reply().split(b"\r\n")[-2] for _ in range(4)] == [b"set", b"m", b"del", b"n"]
        wire.command("CONFIG", "SET", "notify-keyspace-events", "")


def test_memory_limit_can_be_set_while_scripts_are_there(busy: ServerProcess) -> None:
    with busy.connect() as wire:
        assert wire.value("EVAL", "return #string.rep('x', 2e7)", 0) == 20_000_000
        wire.command("CONFIG", "SET", "lua-memory-limit", "10mb")
        assert wire.command("EVAL", "return #string.rep('x', 2e7)", 0).startswith(b"-ERR not enough memory")
        assert wire.value("EVAL", "return 1", 0) == 1
        wire.command("CONFIG", "SET", "lua-memory-limit", "256mb")


@pytest.mark.parametrize(("package", "module"), [("lupa", "scripting.interpreter"), ("greenlet", "engine.carrier")])
async def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str, module: str) -> None:
    server = Server()
    writer = Writer(server.state, server.table, NoJobs(), lambda records, clients: None)
    server.state.scripts = ScriptRunner(server.state, server.table, NoJobs(), writer)
    # An import of what is None there fails as that of a package that is not installed.
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"kvserver.{module}", raising=False)
    reply = text(run(server.session(), "EVAL", "return 1", "0"))
    assert reply == f"ERR scripts need the package {package}, which is not installed: pip install 'kvserver[lua]'"


# --- Defects ---


@pytest.fixture
def in_process() -> Callable[[], tuple[Setting, ScriptRunner]]:
    def new() -> tuple[Setting, ScriptRunner]:
        setting = Setting()
        state = setting.server.state
        state.scripts = runner = ScriptRunner(state, setting.server.table, setting.jobs, setting.writer)
        state.config.busy_reply_threshold = 1
        # The first tick runs in a carrier, too.
        assert runner.must_prepare()
        return setting, runner

    return new


async def until_said(client: Noting, end: bytes) -> bytes:
    while not client.said.endswith(end):
        await settle()
    return client.said


async def test_defect_of_the_interpreter_leaves_nobody_busy(
    in_process: Callable[[], tuple[Setting, ScriptRunner]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    setting, runner = in_process()

    def fail(*_: object, **__: object) -> None:
        while not runner.busy_error:
            runner.look()
        raise TypeError("a defect")

    monkeypatch.setattr(Interpreter, "run", fail)
    client = setting.client()
    setting.send(client, encode("EVAL", "return 1", 0), encode("ECHO", "behind"))
    async with asyncio.timeout(10):
        said = await until_said(client, b"behind\r\n")
    assert said == b"-ERR internal error, see the log\r\n$6\r\nbehind\r\n"
    assert not runner.busy_error
    assert not client.is_waiting
    assert runner.running() is None
    assert "defect" in caplog.text


async def test_script_that_cannot_stand_aside_ends(
    in_process: Callable[[], tuple[Setting, ScriptRunner]], caplog: pytest.LogCaptureFixture
) -> None:
    setting, runner = in_process()

    def fail() -> None:
        setting.recording.on_record = lambda: None
        raise OSError("a defect")

    setting.recording.on_record = fail
    client = setting.client()
    setting.send(client, encode("SET", "k", 1), encode("EVAL", ENDLESS, 0), encode("ECHO", "behind"))
    async with asyncio.timeout(10):
        said = await until_said(client, b"behind\r\n")
    assert said.startswith(b"+OK\r\n-ERR internal error, see the log script: ")
    assert not runner.busy_error
    assert not client.is_waiting
    assert "defect" in caplog.text


async def test_what_calls_lead_to_is_handed_over_after_so_many_messages(
    in_process: Callable[[], tuple[Setting, ScriptRunner]], monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, runner = in_process()
    setting.server.state.config.busy_reply_threshold = 60_000
    results, numbers = setting.writer.results, list[int]()

    class Counting:
        """The results for the runner, with a count: those themselves take no other method where they are compiled."""

        def __getattr__(self, name: str) -> object:
            return getattr(results, name)

        def deliver(self, deliveries: list[tuple[Session, Message]]) -> None:
            numbers.append(len(deliveries))
            results.deliver(deliveries)

    monkeypatch.setattr(runner, "_results", Counting())
    monitor, client = setting.client(), setting.client()
    setting.send(monitor, encode("MONITOR"))
    calls = "for i = 1, 3000 do redis.call('echo', i) end"
    setting.send(client, encode("EVAL", calls, 0), encode("ECHO", "behind"))
    async with asyncio.timeout(10):
        await until_said(client, b"behind\r\n")
    assert len(numbers) == 2
    assert max(numbers) < 1100
    lines = monitor.said.splitlines()[1:]
    assert b'"EVAL"' in lines[0]
    assert [line.partition(b"lua] ")[2] for line in lines[1:-1]] == [b'"echo" "%d"' % number for number in range(1, 3001)]
    assert b"behind" in lines[-1]


INVALIDATED = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"


@pytest.mark.parametrize("mode", [(), ("NOLOOP",), ("BCAST", "PREFIX", "k", "NOLOOP")], ids=" ".join)
def test_what_a_script_writes_is_told_behind_all_replies_and_as_its_own_clients_doing(
    busy: ServerProcess, mode: tuple[str, ...]
) -> None:
    with busy.connect() as wire, busy.connect() as other, busy.connect() as observer:
        observer.command("SET", "k", "old")
        for each in wire, other:
            each.command("HELLO", 3)
            each.command("CLIENT", "TRACKING", "ON", *mode)
            each.command("GET", "k")
        script = "local v = redis.call('get', KEYS[1]) redis.call('set', KEYS[1], 'new') for i = 1, 1e7 do end return v"
        wire.send(encode("GET", "k") + encode("SET", "o", 1) + encode("EVAL", script, 1, "k") + encode("PING"))
        wait_until_busy(observer)
        # A call that is refused is none that has done anything.
        assert other.command("PING") == BUSY
        heard = [wire.read_reply() for _ in range(3)]
        assert heard == [b"$3\r\nold\r\n", b"+OK\r\n", b"$3\r\nold\r\n"]
        assert wire.read_reply() == (b"+PONG\r\n" if mode else INVALIDATED)
        # It is told once, and that as the first word since then.
        wait_until_free(observer)
        assert b"invalidate" in other.read_reply()
        assert other.command("PING") == b"+PONG\r\n"
