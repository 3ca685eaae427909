"""The tree of errors that the docstring draws is the tree there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from kvserver import errors


def drawn_tree() -> dict[str, str]:
    """Class -> parent, by the depth at which the drawing names it."""
    path: list[str] = []
    parents: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([ │├└─]*)([A-Z]\w+)(\s{2}|$)", line):
            depth = len(match[1]) // 4
            del path[depth:]
            if path:
                parents[match[2]] = path[-1]
            path.append(match[2])
    return parents


def test_exceptions_are_as_the_docstring_draws_them() -> None:
    there = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert len(there) >= 7
    assert drawn_tree() == {name: kind.__bases__[0].__name__ for name, kind in there.items()}


def test_no_exception_stands_elsewhere_but_what_a_scan_tells_of_a_frame() -> None:
    elsewhere = {
        node.name
        for path in Path(errors.__file__).parent.rglob("*.py")
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and {getattr(base, "id", "") for base in node.bases} & {"Exception", "OSError", "ValueError", *vars(errors)}
    }
    assert elsewhere == {"RecordInvalid", "_Invalid"}


def test_failures_of_media_can_be_caught_as_os_errors_and_wrong_payloads_as_value_errors() -> None:
    assert issubclass(errors.MediumPoisoned, OSError)
    assert issubclass(errors.MediumLocked, OSError)
    assert issubclass(errors.PayloadInvalid, ValueError)


def test_every_exception_says_what_it_stands_for() -> None:
    for name in drawn_tree():
        assert getattr(errors, name).__doc__
