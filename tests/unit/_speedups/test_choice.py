"""Each leaf is its form in C where there is one; KVSERVER_PURE in the environment has the twins run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kvserver
from helpers.leaves import MODULES
from kvserver._speedups import choice

ASKED = "from kvserver._speedups import choice, requests; print(choice.IS_COMPILED, requests.decode.__class__.__name__)"


def test_leaf_is_the_form_in_c_or_its_twin() -> None:
    for module in MODULES:
        for name in choice.TWINS.keys() & vars(module).keys():
            assert getattr(module, name) is getattr(choice.compiled, name, choice.TWINS[name])


def test_function_that_nothing_has_in_c_is_its_twin() -> None:
    def no_such_leaf() -> None:
        """Do nothing."""

    assert choice.leaf(no_such_leaf) is choice.TWINS.pop("no_such_leaf")


@pytest.mark.parametrize("value", ["1", ""])
def test_environment_has_the_twins_run(value: str) -> None:
    environment = os.environ | {choice.PURE_VARIABLE: value}
    done = subprocess.run([sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True, check=True)
    if value:
        assert done.stdout == "False function\n"
    elif choice.IS_COMPILED:
        assert done.stdout == "True builtin_function_or_method\n"


def test_what_was_compiled_beside_other_twins_is_left_alone(tmp_path: Path) -> None:
    if choice.compiled is None:
        pytest.skip("the leaves are pure here")
    folder = tmp_path / "kvserver"
    shutil.copytree(Path(kvserver.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for is_changed in (False, True):
        if is_changed:
            with open(folder / "_speedups" / "strings.py", "a") as file:
                file.write("# Another version.\n")
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", ASKED], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout == ("False function\n" if is_changed else "True builtin_function_or_method\n")
