"""A signal is a SHUTDOWN, a second one ends the process at once, and a server that could not save stays."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from helpers.servers import StartServer, encode
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
