"""The version is the same in the package, in the project file, and on the command line."""

from __future__ import annotations

import tomllib

import kvserver
from helpers.servers import PROJECT
from kvserver.version import __version__


def test_version_is_the_projects() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert kvserver.__version__ == __version__ == project["project"]["version"]
