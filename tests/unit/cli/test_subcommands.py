"""Each subcommand has a help that fits a terminal, with exit codes and an example, and answers wrong words in one line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from helpers.frames import frame
from helpers.servers import kvserver_command, kvserver_environment
from kvserver.cli.main import SUBCOMMANDS as NAMES
from kvserver.cli.main import main
from kvserver.cli.subcommands import SUBCOMMANDS


def test_program_knows_the_names_of_all_subcommands() -> None:
    assert [each.name for each in SUBCOMMANDS] == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_subcommand_fits_a_terminal_and_tells_exit_codes_and_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: kvserver {name} [-h]")
    assert max(map(len, text.splitlines())) <= 80
    codes = text.partition("exit codes:\n")[2].partition("\n\n")[0].splitlines()
    assert codes[0].startswith("  0 ")
    assert codes[-1] == "  2 the words on the command line are wrong"
    assert f"\nexample:\n  kvserver {name}" in text
    assert main(["help", name]) == 0
    assert capsys.readouterr().out.strip() == text.strip()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["check"], "check: the following arguments are required: PATH"),
        (["check", "a", "b"], "check: unrecognized arguments: b"),
        (["check", "a", "--dbfile", "x"], "check: unrecognized arguments: --dbfile x; did you mean --dbfilename?"),
        (["check", "a", "--dbfilename"], "check: argument --dbfilename: expected one argument"),
        (["apply"], "apply: the following arguments are required: DIR"),
        (["apply", "/nowhere"], "apply: /nowhere is not a folder"),
        (["compact", "a", "--keep-frames", "0"], "compact: argument --keep-frames: it takes a number from 1 on"),
        (["compact", "a", "--keep", "1"], "compact: unrecognized arguments: --keep 1; did you mean --keep-frames?"),
        (["replay", "a", "--urls=x"], "replay: unrecognized arguments: --urls=x; did you mean --url?"),
        (["completion", "fish"], "completion: argument SHELL: invalid choice: 'fish' (choose from "),
        (["completion"], "completion: the following arguments are required: SHELL"),
        (["help", "a", "b"], "help: unrecognized arguments: b"),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"kvserver: {told}")
    assert line.endswith(f" (kvserver {words[0]} --help tells more)")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["check", "nowhere"], 1, "kvserver: cannot read nowhere"),
        (["compact", "nowhere"], 1, "kvserver: nowhere is not a file"),
        (["apply", "."], 1, "kvserver: no segment of a journal is put aside in ."),
        (["replay", "nowhere"], 1, "kvserver: cannot read nowhere: No such file or directory"),
        (["replay", "latin1"], 1, "kvserver: cannot read latin1: 'utf-8' codec"),
        (["replay", "object"], 1, "kvserver: object: a list of operations is needed, such as "),
        (["replay", "list", "--url", "http://x"], 1, "kvserver: 'http://x' is no redis:// or unix:// URL"),
    ],
)
def test_failure_is_one_line_and_exit_code_1(
    words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin1").write_bytes(b'["\xe4"]')
    Path("object").write_text("{}")
    Path("list").write_text("[]")
    assert main(words) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(told)


def test_options_may_stand_anywhere_and_have_their_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.kvs").write_bytes(frame({"k": 1}) * 5)
    assert main(["check", "--dbfilename=other.kvs", str(tmp_path)]) == 0
    assert main(["compact", str(tmp_path / "other.kvs")]) == 0
    assert "3 of 5 frames kept" in capsys.readouterr().out
    operations = tmp_path / "operations.json"
    operations.write_text('{"operations": [["set", "a", "\u00e4"], ["get", "a"]]}')
    assert main(["replay", str(operations)]) == 0
    assert json.loads(capsys.readouterr().out) == [None, "\u00e4"]


def test_long_text_goes_through_a_pager_on_a_terminal_only() -> None:
    environment = kvserver_environment() | {"PAGER": "sed s/^/paged:/", "TERM": "xterm", "LINES": "24", "COLUMNS": "80"}
    piped = subprocess.run(kvserver_command("help", "options"), env=environment, capture_output=True, text=True, check=True)
    assert "paged:" not in piped.stdout
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        kvserver_command("help", "options"), env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as run:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 1 << 16)
            except OSError:
                # Linux says so when the last one who had the terminal is gone.
                break
        assert run.wait() == 0
    os.close(ours)
    lines = shown.decode().splitlines()
    assert lines[0] == "paged:# Options: all of them, with their defaults"
    assert [line.removeprefix("paged:") for line in lines] == piped.stdout.splitlines()
