"""Other people's clients: a test installs them in a folder that pytest's cache keeps, and runs programs that use them.

The folder is on the path of these programs only.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

PROGRAM_TIMEOUT_S = 110


def run(*command: str | Path, stdin: bytes | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a program that must succeed. Returns its standard output and error."""
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
    """The folders of packages. A folder is made once, and another one when other packages are wanted."""

    def __init__(self, cache: pytest.Cache | None, fallback: Path) -> None:
        self._cache = cache
        self._fallback = fallback

    def python(self, *requirements: str) -> Path:
        """A folder for PYTHONPATH that has these packages."""
        folder = self._folder("python", *requirements)
        # Programs compile what they import of it, which is less than there is.
        options = ("--quiet", "--no-compile", "--upgrade", "--target", folder)
        _fill(folder, sys.executable, "-m", "pip", "install", *options, *requirements)
        return folder

    def wheels(self, *requirements: str) -> Path:
        """A folder for pip's --find-links with the wheels of these packages and of all that they need, for use offline."""
        # Wheels of code in C are for one version of Python.
        version = "{}.{}".format(*sys.version_info)
        folder = self._folder("wheels", version, *requirements)
        _fill(folder, sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", folder, *requirements)
        return folder

    def source(self, requirement: str) -> Path:
        """A folder with the source of a package, as its authors have published it, tests and all."""
        folder = self._folder("source", requirement)
        # It alone: pip would make what it is built with from sources, too, and what that is built with.
        name = requirement.partition("=")[0]
        options = ("--quiet", "--no-deps", "--no-binary", name, "--dest", folder)
        _fill(folder, sys.executable, "-m", "pip", "download", *options, requirement)
        (archive,) = folder.glob("*.tar.gz")
        source = folder / archive.name.removesuffix(".tar.gz")
        if not source.exists():
            unpacked = Path(tempfile.mkdtemp(dir=folder))
            shutil.unpack_archive(archive, unpacked, filter="data")
            # Another worker may have been first.
            with suppress(OSError):
                (unpacked / source.name).rename(source)
        return source

    def node(self, *packages: str) -> Path:
        """A folder for NODE_PATH that has these packages; or a skip that names the missing program."""
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed, so clients in JavaScript can't run")
        folder = self._folder("node", *packages)
        _fill(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *packages)
        return folder / "node_modules"

    def _folder(self, *names: str) -> Path:
        # The name has letters and digits only: NODE_PATH and PYTHONPATH would take a path with a colon for two.
        name = "-".join("".join(char if char.isalnum() else "." for char in part) for part in names)
        folder = self._cache.mkdir(name) if self._cache is not None else self._fallback / name
        folder.mkdir(exist_ok=True)
        return folder


def _fill(folder: Path, *command: str | Path) -> None:
    """Run the command that fills a folder, unless it was run. Several workers may want the folder at once: one runs it."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            run(*command)
            (folder / "complete").touch()
