"""Scripts of old append-only files run: what they call, what they may not, and those that fail or never end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.servers import kvserver_environment
from helpers.transfers import LATER_MS, LIBRARY, aof, loaded
from kvserver.errors import SourceInvalid
from kvserver.transfer import scripts

CONSTANT = "return redis.call('SET', KEYS[1], ARGV[1])"
# The SHA1 of that.
SHA = "d8f2fad9f8e86a53d2a6ebd960b33c4972cacc37"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "appendonly.aof"


def keys_after(path: Path, *commands: str | list[bytes | str | int]) -> dict[bytes, object]:
    staging = loaded(path, aof(*commands))
    return {key: entry for _, key, entry in staging.members()}


def test_eval_and_evalsha_run_in_the_database_that_is_selected(path: Path) -> None:
    staging = loaded(
        path,
        aof(
            ["EVAL", CONSTANT, 1, "a", "1"],
            ["SCRIPT", "LOAD", CONSTANT + " "],
            "SELECT 5",
            ["EVALSHA", SHA, 1, "b", "2"],
            ["EVAL", "redis.call('SELECT', 7) redis.call('SET', 'c', 3)", 0],
            "SET d 4",
        ),
    )
    assert [(number, key, entry) for number, key, entry in staging.members()] == [
        (0, b"a", b"1"), (5, b"b", b"2"), (5, b"d", b"4"), (7, b"c", b"3"),
    ]  # fmt: skip


def test_what_commands_lead_to_in_a_script_is_done_or_refused(path: Path) -> None:
    body = """
    redis.call('SET', 'a', 1) redis.call('FLUSHDB') redis.call('SET', 'b', redis.call('PUBLISH', 'c', 'm'))
    redis.call('SET', 'c', redis.pcall('XREAD', 'BLOCK', 0, 'STREAMS', 'nothing', 0).err)
    redis.call('SET', 'd', redis.pcall('SHUTDOWN').err)
    redis.call('SET', 'e', 1, 'PXAT', ARGV[1]) redis.log(redis.LOG_WARNING, 'x') redis.setresp(3)
    redis.call('SET', 'f', tostring(redis.acl_check_cmd('SET', 'a', 'b')))
    """
    found = keys_after(path, ["EVAL", body, 0, LATER_MS])
    assert found[b"b"] == b"0"
    assert b"not allowed with BLOCK" in found[b"c"]  # type: ignore[operator]
    assert b"not allowed from script" in found[b"d"]  # type: ignore[operator]
    assert found[b"f"] == b"true"
    assert sorted(found) == [b"b", b"c", b"d", b"e", b"f"]


def test_key_whose_time_has_come_is_there_for_a_script(path: Path) -> None:
    past = 1_500_000_000_000
    body = "redis.call('INCR', 'a') redis.call('PEXPIREAT', 'a', ARGV[1]) redis.call('PERSIST', 'a')"
    assert keys_after(path, f"SET a 1 PXAT {past}", ["EVAL", body, 0, past + 1]) == {b"a": b"2"}


def test_script_that_has_failed_before_fails_again_and_is_noted(path: Path) -> None:
    staging = loaded(path, aof(["EVAL", "redis.call('SET', 'a', 1) redis.call('LPUSH', 'a', 1)", 0], "EVALSHA x 0"))
    assert [key for _, key, _ in staging.members()] == [b"a"]
    assert staging.notes == ["failed, as they may have done before: 2 scripts"]


def test_script_that_never_ends_is_no_script_of_such_a_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file was written, it has ended: to go on without the rest of what it does would lose that silently."""
    monkeypatch.setattr(scripts, "LIMIT_S", 0.05)
    with pytest.raises(SourceInvalid, match="the command 'EVAL' at offset 27: the script has run for a minute"):
        loaded(path, aof("SET a 1", ["EVAL", "redis.call('SET', 'a', 1) while true do end", 0], "SET b 1"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_import_and_not_the_script_alone(path: Path, number: signal.Signals) -> None:
    path.write_bytes(aof("SET a 1", ["EVAL", "while true do end", 0], "SET b 1"))
    program = f"""
import os, signal, threading
from kvserver.cli.main import main
from kvserver.transfer import scripts

signal.signal(signal.SIGINT, signal.default_int_handler)
looks = 0
look = scripts.ImportedScripts.look

def look_and_signal(self):
    global looks
    looks += 1
    if looks == 3:
        os.kill(os.getpid(), {number.value})
    return look(self)

scripts.ImportedScripts.look = look_and_signal
raise SystemExit(main(["import", {str(path)!r}, {str(path.parent / "data")!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env=kvserver_environment(), timeout=40, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"", b"")
    assert not (path.parent / "data").exists()


def test_flush_forgets_scripts(path: Path) -> None:
    staging = loaded(path, aof(["EVAL", CONSTANT, 1, "a", "1"], "SCRIPT FLUSH", f"EVALSHA {SHA} 1 a 2"))
    assert staging.notes == ["failed, as they may have done before: 1 scripts"]


@pytest.mark.parametrize("call", [["EVAL", CONSTANT, 1, "a", "1"], ["FCALL", "put", 1, "a", "1"]])
def test_missing_interpreter_is_told(path: Path, call: list[bytes | str | int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lupa", None)
    monkeypatch.delitem(sys.modules, "kvserver.scripting.interpreter", raising=False)
    # Whoever has no interpreter keeps the texts of libraries all the same.
    assert loaded(path, aof(["FUNCTION", "LOAD", LIBRARY])).databases.libraries.copy() == {b"mylib": LIBRARY}
    with pytest.raises(SourceInvalid, match="scripts need the package lupa"):
        loaded(path, aof(["FUNCTION", "LOAD", LIBRARY], call))
