"""The command line: options and subcommands, and one line on standard error for whatever can not be done."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from helpers.frames import frame, valid_frames
from helpers.servers import ServerProcess, kvserver_command, kvserver_environment
from helpers.starts import DATA_FILE, QUIET, Removed, failure_of_start, in_shell
from kvserver import __version__
from kvserver.cli.main import main

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
        ("-p", ["-p", "99999"]),
    ],
)
def test_wrong_option_is_told(tmp_path: Path, named: str, arguments: list[str]) -> None:
    assert named in failure_of_start(*arguments, "--dir", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_wrong_setting_in_the_environment_is_told(tmp_path: Path) -> None:
    line = failure_of_start("--dir", str(tmp_path), environment={"KVSERVER_PORT": "abc"})
    assert "KVSERVER_PORT" in line or "port" in line


# --- the words of a first hour

MEANT = {
    "--prot 6380": "--prot on the command line: unknown option; did you mean --port?",
    "--host 0.0.0.0": "--host on the command line: unknown option; did you mean --bind?",
    "--password x": "--password on the command line: unknown option; did you mean --requirepass?",
    "--data x": "--data on the command line: unknown option; did you mean --dir?",
    "--data-dir x": "--data-dir on the command line: unknown option; did you mean --dir?",
    "--aof yes": "--aof on the command line: unknown option; did you mean --appendonly?",
    "--db 4": "--db on the command line: unknown option; did you mean --databases?",
    "--maxmem 1gb": "--maxmem on the command line: unknown option; did you mean --maxmemory?",
    "--conf x": "--conf on the command line: unknown option; did you mean --config?",
    "--verbose": "--verbose on the command line: unknown option; did you mean --loglevel verbose?",
    "--log-level info": "--log-level on the command line: unknown option; did you mean --loglevel?",
    "--loglevel info": "--loglevel on the command line: argument(s) must be one of the following: debug, verbose, notice, "
                       "warning (got 'info'); did you mean notice?",
    "--appendonly true": "--appendonly on the command line: argument must be 'yes' or 'no' (got 'true'); did you mean yes?",
    "--port=abc": "--port on the command line: argument couldn't be parsed into an integer (got 'abc')",
    "--port 70000": "--port on the command line: argument must be between 0 and 65535 inclusive (got '70000')",
    "--save": "--save on the command line: a value is missing: SECONDS CHANGES ...",
    "--port 0": "nothing to listen on: port and tls-port are 0 or bind is empty, and unixsocket is empty; "
                "--port auto takes any port that is free",
    "6380": "'6380' is no command and no file of options; did you mean -p 6380?",
    "chekc": "'chekc' is no command and no file of options; did you mean check? (kvserver --help lists the commands)",
    "verify x": "'verify' is no command and no file of options; did you mean check? (kvserver --help lists the commands)",
    "qqq": "'qqq' is no command and no file of options (kvserver --help lists the commands)",
    "no.conf": "the file no.conf can't be read: No such file or directory",
    "version": "there is no command 'version': `kvserver --version` tells it",
    "stop": "there is no command 'stop': ctrl-C, SIGTERM or the command SHUTDOWN stops a server: redis-cli SHUTDOWN",
    "-q": "'-q' on the command line: options begin with --",
    "-port 6380": "'-port' on the command line: options begin with --; did you mean --port?",
    "-port=6380": "'-port=6380' on the command line: options begin with --; did you mean --port?",
    "-a x": "'-a' on the command line: options begin with --; did you mean --requirepass?",
    "--versoin": "--versoin on the command line: unknown option; did you mean --version?",
    "-p=abc": "-p on the command line: argument couldn't be parsed into an integer (got 'abc')",
    "-p": "-p on the command line: a value is missing: NUMBER|auto",
    **{word: f"there is no command {word!r}: `kvserver` alone runs the server, and takes options: "
             "kvserver -p 6380 --dir data" for word in ("start", "serve", "run", "server")},
}  # fmt: skip


@pytest.mark.parametrize("words", MEANT)
def test_word_of_a_newcomer_is_answered_with_what_is_meant_and_exit_code_2(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"kvserver: {MEANT[words]}\n")
    assert list(tmp_path.iterdir()) == []


def test_empty_word_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["", "--port", "7000"]) == 2
    assert capsys.readouterr().err == "kvserver: an empty word names no command and no file of options\n"


@pytest.mark.parametrize("words", [["port"], ["--port"], ["-p"]])
def test_help_takes_an_option_as_it_is_written(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", *words]) == 0
    assert capsys.readouterr().out.startswith("    -p, --port NUMBER|auto\n")


def test_file_of_another_form_is_told_from_the_two_that_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "options.json"
    path.write_text('{"port": 6380}')
    assert main([str(path)]) == 2
    assert f"the file {path} looks like JSON: options are TOML" in capsys.readouterr().err


def test_folder_in_the_place_of_a_file_is_told_what_can_be_done_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "can't be read: Is a directory" in capsys.readouterr().err
    assert main([tmp_path.name]) == 2  # which is none here
    assert "is no command" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["-p", "6380", "--help"], ["redis.conf", "--help"]])
def test_help_is_short(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("usage: kvserver [FILE] [-p PORT]")
    assert len(lines) < 75
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("words", [["-v"], ["--version"], ["--dir", "x", "--version"]])
def test_version_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == f"kvserver {__version__}\n"


def test_exit_codes_of_the_program_are_those_of_the_help(tmp_path: Path) -> None:
    for arguments, code in ((["--prot", "1"], 2), (["check", "nowhere"], 1), (["--help"], 0), (["check", "--help"], 0)):
        done = subprocess.run(
            kvserver_command(*arguments), cwd=tmp_path, env=kvserver_environment(), capture_output=True, check=False
        )
        assert done.returncode == code, done
        assert bool(done.stderr) == bool(code)


@pytest.mark.parametrize(
    ("name", "text"),
    [("redis.conf", "port 1\ntimeout 7"), ("kvserver.toml", "port = 1\ntimeout = 7"), ("options", "timeout 7")],
)
@pytest.mark.parametrize("before", [[], ["--config"]])
def test_file_of_either_form_is_taken_in_either_way(tmp_path: Path, name: str, text: str, before: list[str]) -> None:
    file = tmp_path / name
    file.write_text(text)

    class Started(ServerProcess):
        def command(self) -> list[str]:
            return kvserver_command(*before, str(file))

    with Started("kvserver", tmp_path / "data", *QUIET) as server, server.connect() as wire:
        assert wire.value("CONFIG", "GET", "timeout") == [b"timeout", b"7"]


def test_short_form_of_the_port_serves(tmp_path: Path) -> None:
    class Short(ServerProcess):
        def _launch(self, port: int | None = None) -> None:
            self.options = ()
            super()._launch(port)

        def command(self) -> list[str]:
            return kvserver_command(f"-p{self.port}", "--dir", str(tmp_path / "data"), *QUIET)

    with Short("kvserver", tmp_path / "data") as server:
        assert server.once("PING") == b"+PONG\r\n"


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
