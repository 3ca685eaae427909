"""Starts of the program as a person or a shell makes them, in odd circumstances, also those that fail with one line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from helpers.frames import frame
from helpers.servers import (
    ServerProcess,
    Wire,
    encode,
    free_port,
    kvserver_command,
    kvserver_environment,
)

# Nothing is written but what a test asks for.
QUIET = ("--save", "", "--appendonly", "no")
DATA_FILE = "dump.kvs"
START_TIMEOUT_S = 20


def failure_of_start(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """The one line that a start with nothing but these arguments must write, since it fails."""
    done = subprocess.run(
        kvserver_command(*arguments),
        env=kvserver_environment() | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    assert done.returncode > 0, done
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in lines[0]
    return lines[0]


def failed_start(*arguments: str) -> str:
    """The one line for a person that a start which writes no data and has a port of its own must write, since it fails."""
    line = failure_of_start(*QUIET, "--port", str(free_port()), *arguments)
    assert line.startswith("kvserver: ")
    return line


class InShell(ServerProcess):
    """A server that a shell starts by this line, where "$@" stands for its command."""

    line: str

    def command(self) -> list[str]:
        return ["sh", "-c", self.line, "sh", *kvserver_command()]


class Removed(InShell):
    """A server whose working folder is gone."""

    line = 'rmdir "$PWD" && exec "$@"'


def in_shell(line: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The end of a command that a shell starts by a line."""
    return subprocess.run(
        ["sh", "-c", line, "sh", *kvserver_command(*arguments)],
        cwd=folder,
        env=kvserver_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )


def said(server: ServerProcess) -> list[str]:
    """The lines of the log without process, time and the level INFO."""
    return [line.split(maxsplit=5)[5].removeprefix("INFO ") for line in server.log_text().splitlines()]


# So many that a flush or a load takes a while.
MANY_KEYS = 60_000


def data_file(server: ServerProcess) -> Path:
    return server.directory / DATA_FILE


def fill(wire: Wire, count: int = MANY_KEYS) -> None:
    wire.send(b"".join(encode("SET", f"key:{number:08}", "x" * 64) for number in range(count)))
    assert {wire.read_reply() for _ in range(count)} == {b"+OK\r\n"}


def place(kind: str, path: Path) -> None:
    match kind:
        case "a folder":
            path.mkdir()
        case "a FIFO":
            os.mkfifo(path)
        case "a symlink to a file":
            (path.parent / "elsewhere").write_bytes(frame({"k": "v"}))
            path.symlink_to("elsewhere")
        case "a symlink to nothing":
            path.symlink_to("nowhere")
        case "a symlink to itself":
            path.symlink_to(path.name)
        case "a device":
            path.symlink_to("/dev/null")
