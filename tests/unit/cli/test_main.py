"""The command line: options and subcommands, and one line on standard error for whatever can not be done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.frames import frame, valid_frames
from helpers.starts import DATA_FILE, Removed, failure_of_start, in_shell

# --- wrong options


@pytest.mark.parametrize(
    ("named", "arguments"),
    [
        ("nosuch", ["--nosuch", "1"]),
        ("port", ["--port", "abc"]),
        ("port", ["--port", "99999"]),
        ("port", ["--port", "1_000"]),
        ("port", ["--port"]),
        ("appendonly", ["--appendonly", "maybe"]),
        ("maxclients", ["--maxclients", "-1"]),
        ("shutdown-mode", ["--shutdown-mode", "sideways"]),
        ("save", ["--save", "often"]),
        ("stray", ["stray"]),
    ],
)
def test_wrong_option_is_told(tmp_path: Path, named: str, arguments: list[str]) -> None:
    assert named in failure_of_start(*arguments, "--dir", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_wrong_setting_in_the_environment_is_told(tmp_path: Path) -> None:
    line = failure_of_start("--dir", str(tmp_path), environment={"KVSERVER_PORT": "abc"})
    assert "KVSERVER_PORT" in line or "port" in line


# --- odd circumstances


@pytest.mark.parametrize("closed", ["<&- 2>&-", ">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("subcommand", ["check", "compact", "replay"])
def test_subcommand_does_its_work_with_closed_descriptors(tmp_path: Path, subcommand: str, closed: str) -> None:
    data = tmp_path / DATA_FILE
    data.write_bytes(frame({"k": "v"}) * 5)
    (tmp_path / "operations").write_text('[["set", "a", 1], ["get", "a"]]')
    done = in_shell(f'exec "$@" {closed}', subcommand, "operations" if subcommand == "replay" else DATA_FILE, folder=tmp_path)
    assert done.returncode == 0, done
    said = {"check": "5 valid frames", "compact": "3 of 5 frames kept", "replay": "[null, 1]"}[subcommand]
    assert (said in done.stdout) == (">&-" not in closed.split())
    assert done.stderr == ""
    assert len(valid_frames(data.read_bytes())) == (3 if subcommand == "compact" else 5)


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("check", DATA_FILE), ("replay", "operations")])
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / DATA_FILE).write_bytes(frame({"k": "v"}))
    (tmp_path / "operations").write_text("[]")
    done = in_shell('unset PYTHONUNBUFFERED; exec "$@" >/dev/full', *arguments, folder=tmp_path)
    assert done.returncode > 0
    assert done.stderr == "kvserver: No space left on device\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "0", "--unixsocket", "socket"], "./kvserver-data: the working directory does not exist"),
        (["--logfile", "log"], "log: No such file"),
        (["--config", "file.toml"], "file.toml can't be read"),
        (["check", "data"], "data"),
        (["compact", "data"], "data"),
        (["replay", "operations"], "operations"),
    ],
)
def test_relative_path_in_a_working_folder_that_is_gone_is_one_line(tmp_path: Path, arguments: list[str], named: str) -> None:
    (tmp_path / "gone").mkdir()
    done = in_shell(Removed.line, *arguments, folder=tmp_path / "gone")
    assert done.returncode > 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("kvserver: ")
    assert named in line


# --- what the log says of a start


def test_start_that_fails_is_in_the_log_file_too_and_in_json_alone_where_that_is_asked_for(tmp_path: Path) -> None:
    log, taken = tmp_path / "log", str(tmp_path / "no" / "socket")
    options = ["--dir", str(tmp_path / "data"), "--port", "auto", "--unixsocket", taken]
    line = failure_of_start(*options, "--logfile", str(log))
    assert line == f"kvserver: cannot listen on {taken}: No such file or directory"
    assert log.read_text().endswith(f" ERROR {line.removeprefix('kvserver: ')}\n")
    told = json.loads(failure_of_start(*options, "--log-format", "json"))
    assert (told["level"], told["message"]) == ("error", line.removeprefix("kvserver: "))
