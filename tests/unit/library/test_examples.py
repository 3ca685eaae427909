"""The examples in the library's docstrings are true."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import pytest

from kvserver.library import folder, operations, store

MODULES = [store, folder, operations]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_are_true(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed
