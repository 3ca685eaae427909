"""The settings that a server is started with count, and CONFIG changes them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from helpers.servers import StartServer, encode


@pytest.mark.parametrize("allowed", ["no", "local", "yes"])
def test_debug_obeys_its_option(start_server: StartServer, allowed: str) -> None:
    options = ("--save", "", "--enable-debug-command", allowed)
    ours = start_server(*options).once("DEBUG", "CRASH")
    theirs = start_server(*options, kind="redis-server").once("DEBUG", "NOSUCH")
    assert ours == (b"+OK\r\n" if b"DEBUG HELP" in theirs else theirs)
    assert (ours == b"+OK\r\n") == (allowed != "no")


def test_config_rewrite_keeps_what_a_person_wrote_and_holds_at_the_next_start(
    start_server: StartServer, tmp_path: Path
) -> None:
    file = tmp_path / "kvserver.toml"
    file.write_text("# mine\nsave = ''\ntimeout = 5  # seconds\n")
    server = start_server("--config", str(file))
    with server.connect() as wire:
        assert wire.command("CONFIG", "SET", "timeout", "77", "maxclients", "99", "requirepass", "secret") == b"+OK\r\n"
        assert wire.command("CONFIG", "REWRITE") == b"+OK\r\n"
        text = file.read_text()
        assert text.startswith("# mine\nsave = ''\ntimeout = 77  # seconds\n")
        file.unlink()
        assert wire.command("CONFIG", "REWRITE") == b"-ERR Rewriting config file: No such file or directory\r\n"
    server.stop()
    assert "CONFIG SET timeout 77" in server.log_text()
    assert "secret" not in server.log_text()
    file.write_text(text)
    with start_server("--config", str(file)).connect() as wire:
        assert wire.command("AUTH", "secret") == b"+OK\r\n"
        assert wire.value("CONFIG", "GET", "timeout", "maxclients") == [b"timeout", b"77", b"maxclients", b"99"]


def test_shutdown_mode_can_be_changed_while_running(start_server: StartServer) -> None:
    server = start_server("--save", "")
    with server.connect() as wire:
        assert wire.command("CONFIG", "SET", "shutdown-mode", "flush") == b"+OK\r\n"
        assert wire.command("SHUTDOWN") == b":1\r\n"
        assert wire.command("PING") == b"+PONG\r\n"


def test_unix_socket_serves_as_the_port_does(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "kv.sock"
    start_server("--unixsocket", str(path), "--save", "")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(encode("PING"))
        assert client.recv(100) == b"+PONG\r\n"
