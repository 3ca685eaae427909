"""The settings that a server is started with count, and CONFIG changes them."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.redis_conf import WithFile
from helpers.servers import Kind, ServerProcess, StartServer, encode


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


# What keeps a server from writing a new file beside the old one, and how the error ends. Nothing keeps root from it but the
# length of the name, which is the one that redis-server is asked for, too.
FAILURES = {"a full disk": "File too large", "a folder to read": "Permission denied", "a long name": "File name too long"}


@pytest.mark.parametrize("failure", FAILURES)
def test_config_rewrite_that_fails_leaves_the_file_and_its_users(failure: str, tmp_path: Path) -> None:
    folder = tmp_path / "options"
    folder.mkdir()
    file = folder / ("redis.conf" if failure != "a long name" else "l" * 245 + ".conf")
    file.write_text("# mine\ntimeout 5\nuser alice on nopass ~a* +get\nuser default on nopass ~* &* +@all\n")
    before = file.read_bytes()
    kinds: tuple[Kind, ...] = ("kvserver", "redis-server") if failure == "a long name" else ("kvserver",)
    for kind in kinds:
        (tmp_path / kind).mkdir()
        server = WithFile(kind, tmp_path / kind)
        server.file = file
        with server, server.connect() as wire:
            assert wire.command("CONFIG", "SET", "timeout", "77", "requirepass", "secret") == b"+OK\r\n"
            assert wire.command("ACL", "SETUSER", "bob", "on", "nopass") == b"+OK\r\n"
            assert wire.command("ACL", "DELUSER", "alice") == b":1\r\n"
            with failing(failure, folder, server):
                error = f"-ERR Rewriting config file: {FAILURES[failure]}\r\n".encode()
                assert wire.command("CONFIG", "REWRITE") == error
            assert os.listdir(folder) == [file.name]
            assert file.read_bytes() == before
            # What the server has is as it was, and can be written as soon as that goes.
            assert [line.split()[1] for line in wire.value("ACL", "LIST")] == [b"bob", b"default"]
            if failure != "a long name":
                assert wire.command("CONFIG", "REWRITE") == b"+OK\r\n"
                assert b"\nuser bob on nopass" in file.read_bytes()
                assert b"alice" not in file.read_bytes()
                file.write_bytes(before)
            else:
                assert wire.value("CONFIG", "GET", "timeout") == [b"timeout", b"77"]
        again = WithFile(kind, tmp_path / kind)
        again.file = file
        with again, again.connect() as wire:
            assert wire.command("AUTH", "alice", "x") == b"+OK\r\n"


@contextmanager
def failing(failure: str, folder: Path, server: ServerProcess) -> Iterator[None]:
    hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
    if failure == "a full disk":
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (10, hard))
    if failure == "a folder to read":
        folder.chmod(0o555)
        if os.access(folder, os.W_OK):
            pytest.skip("root may write everywhere")
    yield
    folder.chmod(0o755)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


def test_config_rewrite_writes_redis_own_form_where_the_file_has_it(tmp_path: Path) -> None:
    file = tmp_path / "redis.conf"
    file.write_text("# mine\nsave 900 1\n# f\udcfcr\nsave 300 10\ntimeout 5\ndaemonize yes\n", errors="surrogateescape")
    before = file.read_bytes()
    server = WithFile("kvserver", tmp_path / "data")
    server.file = file
    with server, server.connect() as wire:
        assert wire.command("CONFIG", "REWRITE") == b"+OK\r\n"
        # It is started with another port and folder.
        assert file.read_bytes() == before + b"\n# Generated by CONFIG REWRITE\nport %d\n" % server.port
        assert wire.command("CONFIG", "SET", "timeout", "77", "save", "60 1", "requirepass", "a b") == b"+OK\r\n"
        assert wire.command("CONFIG", "REWRITE") == b"+OK\r\n"
        assert file.read_bytes() == (
            b"# mine\nsave 60 1\n# f\xfcr\ntimeout 77\ndaemonize yes\n\n# Generated by CONFIG REWRITE\n"
            b'port %d\nrequirepass "a b"\n' % server.port
        )
    again = WithFile("kvserver", tmp_path / "data")
    again.file = file
    with again, again.connect() as wire:
        assert wire.command("AUTH", "a b") == b"+OK\r\n"
        assert wire.value("CONFIG", "GET", "timeout", "save") == [b"timeout", b"77", b"save", b"60 1"]


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
