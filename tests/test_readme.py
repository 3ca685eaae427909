"""README holds what it says: its lines and examples are run as they stand there."""

from __future__ import annotations

import os

from servers import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def line_of(name: str) -> str:
    """The one line of shell behind the comment of that name."""
    _, _, behind = README.partition(f"<!-- {name} command -->\n```sh\n")
    assert behind, f"no {name} command"
    line, _, _ = behind.partition("\n```\n")
    assert "\n" not in line
    return line


# --- the test line


def test_ci_runs_the_test_line_and_nothing_else() -> None:
    run = PROJECT / ".ci" / "run"
    assert run.read_text() == f"#!/bin/sh\n{line_of('test')}\n"
    assert os.access(run, os.X_OK)
