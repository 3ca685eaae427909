"""Other people's clients, installed for a test into a folder that pytest's cache keeps, and programs that use them.

What is installed there is on nobody's path but that of the programs which a test runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

PROGRAM_TIMEOUT_S = 110


def run(*command: str | Path, stdin: bytes | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Standard output and error of a program that must succeed."""
    done = subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PROGRAM_TIMEOUT_S,
        env=environment,
        check=False,
    )
    output = done.stdout.decode(errors="backslashreplace")
    assert done.returncode == 0, f"{command} gave {done.returncode}:\n{output}"
    return output


class Installs:
    """Folders of packages: made once, and again when what they are to hold changes."""

    def __init__(self, cache: pytest.Cache | None, fallback: Path) -> None:
        self._cache = cache
        self._fallback = fallback

    def python(self, *requirements: str) -> Path:
        """A folder for PYTHONPATH."""
        folder = self._folder("python", *requirements)
        if not (folder / "complete").exists():
            run(sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", folder, *requirements)
            (folder / "complete").touch()
        return folder

    def wheels(self, *requirements: str) -> Path:
        """A folder for pip's --find-links: these and what they need, so that others can be installed without a network."""
        version = "{}.{}".format(*sys.version_info)  # which wheels of code in C are for
        folder = self._folder("wheels", version, *requirements)
        if not (folder / "complete").exists():
            run(sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", folder, *requirements)
            (folder / "complete").touch()
        return folder

    def node(self, *packages: str) -> Path:
        """A folder for NODE_PATH; or a skip that says what is missing."""
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed, so clients in JavaScript can't run")
        folder = self._folder("node", *packages)
        if not (folder / "complete").exists():
            run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *packages)
            (folder / "complete").touch()
        return folder / "node_modules"

    def _folder(self, *names: str) -> Path:
        # Of letters and digits: a path with a colon or the like would be two to NODE_PATH and PYTHONPATH.
        name = "-".join("".join(char if char.isalnum() else "." for char in part) for part in names)
        folder = self._cache.mkdir(name) if self._cache is not None else self._fallback / name
        folder.mkdir(exist_ok=True)
        return folder
