"""The life of a server as others see it: what its log says of a start, why it can not start, and how a signal ends it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from helpers.servers import (
    DEADLINE_S,
    ServerProcess,
    StartServer,
    free_port,
    info,
    kvserver_command,
    kvserver_environment,
    need_program,
)
from helpers.starts import DATA_FILE, QUIET, InShell, Removed, failure_of_start, said

# --- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signal_flushes_and_exits_0(start_server: StartServer, number: signal.Signals) -> None:
    server = start_server(*QUIET)
    server.once("SET", "k", "v")
    server.process.send_signal(number)
    assert server.wait() == 0
    assert start_server(*QUIET, directory=server.directory).once("GET", "k") == b"$1\r\nv\r\n"


class UnderNohup(ServerProcess):
    def command(self) -> list[str]:
        return [need_program("nohup"), *kvserver_command()]


def test_sighup_is_ignored_under_nohup(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with UnderNohup("kvserver", folder, *QUIET) as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.stop() == 0  # 1 would be the end by a second signal
    assert "SIGHUP" not in server.log_text()


# --- a start that must not succeed


def test_second_server_on_a_folder_is_refused_and_the_first_goes_on(start_server: StartServer) -> None:
    first = start_server(*QUIET)
    first.once("SET", "k", "v")
    line = failure_of_start("--port", str(free_port()), "--dir", str(first.directory))
    assert line.startswith(f"kvserver: the directory {first.directory} is in use by another kvserver")
    assert line.endswith("; --dir takes another directory")
    assert first.once("GET", "k") == b"$1\r\nv\r\n"
    assert first.once("SAVE") == b"+OK\r\n"


def test_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in failure_of_start("--port", port, "--dir", str(tmp_path))


def test_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a-file"
    file.write_text("not a folder")
    assert str(file) in failure_of_start("--port", str(free_port()), "--dir", str(file))
    assert file.read_text() == "not a folder"


def test_missing_folder_is_made_for_its_owner_only(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    server = start_server(*QUIET, directory=folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert server.stop() == 0
    assert (folder / DATA_FILE).exists()


# --- a process that was begun in odd circumstances


def test_server_whose_working_folder_is_gone_serves_one_of_another_path(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    with Removed("kvserver", tmp_path / "gone" / "data", *QUIET, "--dir", str(tmp_path / "data")) as server:
        assert server.once("SET", "k", "v") == b"+OK\r\n"
        assert server.once("SAVE") == b"+OK\r\n"
    assert (tmp_path / "data" / DATA_FILE).exists()


# --- what the log says of a start


def test_first_lines_say_what_runs_where_it_keeps_data_how_and_who_may_come(start_server: StartServer) -> None:
    server = start_server("--save", "60 1", "--appendfsync", "always")
    with server.connect() as wire:
        facts = info(wire, "server")
    assert said(server)[:5] == [
        f"kvserver {facts['kvserver_version']} ({facts['kvserver_build']}, leaves {facts['kvserver_leaves']}, Python "
        f"{facts['python_version']}, {facts['multiplexing_api']}), process {server.process.pid}",
        f"data in {server.directory}/{DATA_FILE}",
        "durability: neither a kill nor a power cut loses anything acknowledged "
        "(appendonly yes, appendfsync always, save 60 1)",
        f"listening on redis://127.0.0.1:{server.port}",
        f"Ready to accept connections on redis://127.0.0.1:{server.port}",
    ]


def test_name_in_the_environment_that_is_no_option_is_one_warning(tmp_path: Path) -> None:
    server = InShell("kvserver", tmp_path / "data", "--appendonly", "no")
    server.line = 'KVSERVER_PROT=1 KVSERVER_KILLS=2 KVSERVER_SAVE="" exec "$@"'
    with server:
        pass
    lines = [line for line in said(server) if "KVSERVER_" in line]
    (line,) = lines
    told, _, names = line.partition(": ")
    assert told == "WARNING ignored in the environment, since they are no options"
    assert sorted(names.split(", ")) == ["KVSERVER_KILLS", "KVSERVER_PROT (did you mean KVSERVER_PORT?)"]
    assert 'save ""' in said(server)[2]


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (["--bind", "127.0.0.1 ::1"], ""),
        (["--bind", "* -::*"], "clients of other machines are turned away, since protected-mode is on"),
        (["--bind", "0.0.0.0", "--port", "0"], ""),
        (["--bind", "0.0.0.0", "--protected-mode", "no"], "whoever gets there has all data"),
        (["--bind", "0.0.0.0", "--protected-mode", "no", "--requirepass", "secret"], ""),
    ],
)
def test_address_on_a_network_without_a_password_is_warned_of(
    start_server: StartServer, tmp_path: Path, options: list[str], warning: str
) -> None:
    server = start_server(*QUIET, "--unixsocket", str(tmp_path / "socket"), *options)
    warnings = [line for line in said(server) if line.startswith("WARNING")]
    assert len(warnings) == bool(warning)
    if warning:
        assert warnings[0].startswith(f"WARNING 0.0.0.0:{server.port} is on a network: {warning}")


# --- what a person sees on a terminal


class OnTerminal:
    """A server whose standard error is a terminal, and what it has written there."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self._ours, theirs = pty.openpty()
        command = kvserver_command("-p", str(self.port), *options)
        self.process = subprocess.Popen(
            command, env=kvserver_environment(), stdin=theirs, stderr=theirs, stdout=theirs, start_new_session=True
        )
        os.close(theirs)
        self.text = ""

    def read_to(self, end: str = "") -> str:
        """The text so far, read until it holds `end`, or until the server is gone."""
        while not end or end not in self.text:
            try:
                self.text += os.read(self._ours, 1 << 16).decode()
            except OSError:
                # Linux says so when the last one who had the terminal is gone.
                break
        return self.text

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def test_terminal_shows_what_runs_where_how_durable_and_how_to_stop_it(tmp_path: Path) -> None:
    server = OnTerminal("--dir", str(tmp_path / "data"))
    try:
        lines = server.read_to("stops it)").splitlines()
        plain = [re.sub(r"^\d\d:\d\d:\d\d INFO ", "", line) for line in lines]
        assert re.fullmatch(rf"kvserver \S+ \(.*\), process {server.process.pid}", plain[0])
        assert plain[1:4] == [
            f"data in {tmp_path}/data/{DATA_FILE}",
            "durability: a kill loses nothing, a power cut about a second "
            "(appendonly yes, appendfsync everysec, save 3600 1 300 100 60 10000)",
            f"listening on redis://127.0.0.1:{server.port}",
        ]
        assert plain[-1] == f"Ready to accept connections on redis://127.0.0.1:{server.port} (ctrl-C stops it)"
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(DEADLINE_S) == 0
        assert "received SIGINT" in server.read_to()
    finally:
        server.close()


def test_json_on_a_terminal_stays_json(tmp_path: Path) -> None:
    server = OnTerminal("--dir", str(tmp_path / "data"), "--log-format", "json")
    try:
        lines = server.read_to("Ready to accept connections").splitlines()
        assert json.loads(lines[0])["message"].startswith("kvserver ")
        assert "ctrl-C" not in server.text
    finally:
        server.close()
