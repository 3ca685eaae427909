"""The program: `python -m kvserver` does what the command line says, and its imports are no garbage to look for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import kvserver
from helpers.servers import kvserver_environment

TIMEOUT_S = 20


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=kvserver_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(("--version",), 0, f"kvserver {kvserver.__version__}\n"), (("--nosuch", "1"), 2, "")],
)
def test_module_that_is_run_is_the_command_line(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = run_python("-m", "kvserver", *arguments)
    assert (done.returncode, done.stdout) == (code, said)
    assert "Traceback" not in done.stderr


def test_import_runs_nothing_and_leaves_a_collector_that_works_and_skips_what_was_imported() -> None:
    program = "import gc, json, kvserver.__main__; print(json.dumps([gc.isenabled(), gc.get_freeze_count() > 1000]))"
    done = run_python("-c", program)
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, [True, True], "")


def test_interrupted_start_is_silent() -> None:
    program = """
import sys

class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "kvserver.server":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
import kvserver.__main__
"""
    done = run_python("-c", program)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
