"""The whole project is typed strictly. mypy has one worker of the run for a minute, while others go on with the tests."""

from __future__ import annotations

import subprocess
import sys

import pytest

from helpers.servers import IS_COMPILED, PROJECT


@pytest.mark.timeout(600)
@pytest.mark.skipif(IS_COMPILED, reason="mypy has looked at the sources where they are")
def test_mypy_finds_nothing() -> None:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
