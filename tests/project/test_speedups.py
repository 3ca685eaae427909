"""The leaves in C are those of the sources here, where a compiler is at hand, and each is declared and has its twin."""

from __future__ import annotations

import hashlib
import re
import shutil
import sysconfig
from pathlib import Path

import pytest

import kvserver._speedups
from helpers.leaves import forms
from helpers.servers import PROJECT
from kvserver._speedups import choice

FOLDER = PROJECT / "kvserver" / "_speedups"
INSTALLED = Path(kvserver._speedups.__file__).parent
SOURCES = sorted(path for path in FOLDER.glob("*.[ch]"))
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the installed package is tested where its sources are not")


@pytest.mark.skipif(choice.compiled is None, reason="the leaves are pure here")
def test_compiled_leaves_are_those_of_the_sources() -> None:
    assert choice.compiled
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()
    assert digest == choice.compiled.SOURCES, "older sources were compiled: install again, by `pip install -e .`"


@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no compiler")
@pytest.mark.skipif(not Path(sysconfig.get_path("include"), "Python.h").exists(), reason="Python's headers are not there")
def test_leaves_are_compiled_where_a_compiler_is() -> None:
    assert list(INSTALLED.glob("_compiled.*.so")), "install again, by `pip install -e .`"


def test_each_leaf_in_c_stands_beside_its_twin_and_is_in_the_module() -> None:
    table = [*re.findall(r"^NAME\((\w+)\)$", (FOLDER / "names.h").read_text(), re.MULTILINE), "fetch_ahead"]
    defined = {
        name: path.stem
        for path in FOLDER.glob("*.c")
        for name in re.findall(r"^(?:CALL_)?LEAF\((\w+)\)$", path.read_text(), re.MULTILINE)
    }
    assert sorted(table) == sorted(defined) == sorted(choice.TWINS)
    for name, place in defined.items():
        assert choice.TWINS[name].__module__ == f"kvserver._speedups.{place}"


def test_files_in_c_have_heads_and_are_short() -> None:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("/* "), path
        assert len(text.splitlines()) < 400, path
        assert max(map(len, text.splitlines())) <= 127, path


def test_two_forms_run_in_the_tests_where_leaves_are_compiled() -> None:
    assert len(forms("decode")) == 1 + choice.IS_COMPILED
