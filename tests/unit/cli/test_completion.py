"""A real bash completes subcommands, options and values by the script; without shtab one line says what to install."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.servers import need_program
from kvserver.cli.main import main
from kvserver.cli.subcommands import SHELLS
from kvserver.options.table import CONFIG_FILE, OPTIONS

pytest.importorskip("shtab")


def script_for(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def completed(script: Path, *words: str, folder: Path) -> list[str]:
    """What bash offers for the last of these words, behind `kvserver`."""
    line = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
        function=$(complete -p kvserver | sed -E 's/.*-F ([^ ]+).*/\\1/')
        "$function" kvserver "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    bash = [need_program("bash"), "--norc", "-c", line, "bash", str(script), "kvserver", *words]
    done = subprocess.run(bash, cwd=folder, capture_output=True, text=True, check=True, timeout=20)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_values_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "script"
    script.write_text(script_for("bash", capsys))
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    (folder / "dump.kvs").touch()
    assert completed(script, "che", folder=folder) == ["check"]
    assert completed(script, "com", folder=folder) == ["compact", "completion"]
    assert completed(script, "--appendf", folder=folder) == ["--appendfsync"]
    assert completed(script, "--appendfsync", "", folder=folder) == ["everysec", "always", "no"]
    assert completed(script, "-p", "6380", "--loglevel", "ver", folder=folder) == ["verbose"]
    assert completed(script, "--dir", "", folder=folder) == ["data"]
    assert completed(script, "--config", "du", folder=folder) == ["dump.kvs"]
    assert completed(script, "check", "du", folder=folder) == ["dump.kvs"]
    assert completed(script, "check", "--db", folder=folder) == ["--dbfilename"]
    assert completed(script, "completion", "b", folder=folder) == ["bash"]
    assert completed(script, "help", "dur", folder=folder) == ["durability"]
    offered = completed(script, "--", folder=folder)
    assert {f"--{option.name}" for option in (*OPTIONS, CONFIG_FILE)} <= set(offered)


@pytest.mark.parametrize("shell", SHELLS)
def test_script_of_each_shell_names_every_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = script_for(shell, capsys)
    missing = [option.name for option in (*OPTIONS, CONFIG_FILE) if option.name not in script]
    assert not missing
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_missing_extra_is_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "kvserver: completion needs shtab: pip install 'kvserver[completion]'\n")
