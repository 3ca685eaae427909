"""A signal is a SHUTDOWN, a second one ends the process at once, and a server that could not save stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.servers import StartServer, encode, kvserver_environment
from helpers.starts import QUIET

WRITES_FOR_EVER = "redis.call('SET', 'a', 1) while true do end"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_a_server_that_waits(start_server: StartServer, number: signal.Signals) -> None:
    server = start_server(*QUIET, "--appendonly", "no", "--busy-reply-threshold", "1")
    with server.connect() as wire:
        # A script that has written can't be killed, so that the flush before the end waits for it.
        wire.send(encode("EVAL", WRITES_FOR_EVER, 0))
        assert server.wait_for_line("slow script")
        server.process.send_signal(number)
        assert server.wait_for_line(f"received {number.name}, shutting down")
        server.process.send_signal(number)
        assert server.wait() == 1
    assert "received a second signal" in server.log_text()


def test_server_that_can_not_save_stays_and_takes_the_next_signal(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*QUIET, "--appendonly", "no")
    assert server.once("SET", "a", 1) == b"+OK\r\n"
    moved = server.directory.rename(tmp_path / "moved")
    server.directory.write_text("in the way")
    server.process.send_signal(signal.SIGTERM)
    assert server.wait_for_line("not leaving")
    assert server.once("GET", "a") == b"$1\r\n1\r\n"
    server.directory.unlink()
    moved.rename(server.directory)
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_subcommand_that_is_ended_leaves_no_half_file(number: signal.Signals, tmp_path: Path) -> None:
    program = f"""
import os, signal
from kvserver import KVStore, ServerFolder
from kvserver.cli.main import main
from kvserver.transfer import outgoing

# A shell lets what it runs in the background ignore SIGINT, and nohup SIGHUP.
signal.signal({number.value}, signal.default_int_handler if {number.value} == signal.SIGINT else signal.SIG_DFL)
with ServerFolder("data") as folder:
    store = KVStore(folder)
    store["a"] = "1"
    store.shutdown()

def copy(pieces, write):
    write(b"half")
    assert any(name.endswith(".part") for name in os.listdir("."))
    os.kill(os.getpid(), {number.value})

outgoing._copy = copy
code = main(["export", "data", "--jsonl", "out"])
assert signal.getsignal({number.value}) in (signal.SIG_DFL, signal.default_int_handler)
raise SystemExit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=kvserver_environment(), capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (128 + number, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
