"""What `.build/wheels.py` takes for a wheel that a release may upload, on made-up wheels; and the settings that it goes by."""

from __future__ import annotations

import ast
import importlib.util
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from helpers.servers import PROJECT

SCRIPT = PROJECT / ".build" / "wheels.py"
NAME = "kvserver-0.1.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"
MODULES = ["data/shards", "engine/writer"]
SUFFIX = ".cpython-311-x86_64-linux-gnu.so"
LIBRARIES = "/opt/made/up/lib"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wheels", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    tool: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]
    return tool


def wheel(folder: Path, *, name: str = NAME, lacks: str = "", more: str = "", text: bytes = b"code") -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for module in ("_speedups/_compiled", *MODULES):
            if module != lacks:
                archive.writestr(f"kvserver/{module}{SUFFIX}", text)
        if more:
            archive.writestr(more, "")
    return path


def test_whole_wheel_has_no_faults(script: ModuleType, tmp_path: Path) -> None:
    assert script.faults(wheel(tmp_path), MODULES, LIBRARIES) == ""


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        ({"name": "kvserver-0.1.0-cp311-cp311-linux_x86_64.whl"}, "it is for newer systems than a release's: linux_x86_64"),
        (
            {"name": "kvserver-0.1.0-cp311-cp311-manylinux_2_36_x86_64.whl"},
            "it is for newer systems than a release's: manylinux_2_36_x86_64",
        ),
        ({"lacks": "_speedups/_compiled"}, "it is not compiled: kvserver/_speedups/_compiled"),
        ({"lacks": "data/shards"}, "it is not compiled: kvserver/data/shards"),
        ({"more": "kvserver/_speedups/leaves.h"}, "sources in C are in it: kvserver/_speedups/leaves.h"),
    ],
)
def test_fault_is_told(script: ModuleType, tmp_path: Path, made: Any, fault: str) -> None:
    assert script.faults(wheel(tmp_path, **made), MODULES, LIBRARIES) == fault


def test_libraries_that_are_looked_for_on_the_machine_that_built_are_told(script: ModuleType, tmp_path: Path) -> None:
    fault: str = script.faults(wheel(tmp_path, text=b"\0/opt/made/up/lib\0"), MODULES, LIBRARIES)
    assert fault.startswith(f"libraries are looked for in {LIBRARIES} by kvserver/_speedups/_compiled")


@pytest.mark.skipif(not (PROJECT / "kvserver").exists(), reason="the installed package is tested where its sources are not")
def test_modules_and_tests_that_the_settings_name_are_there(settings: dict[str, Any]) -> None:
    modules = settings["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
    assert modules == sorted(set(modules))
    wheels = settings["cibuildwheel"]
    words = wheels["test-command"].split()
    paths = [f"kvserver/{name}.py" for name in modules] + [
        *wheels["test-sources"],
        *words[words.index("no:cacheprovider") + 1 :],
    ]
    assert [path for path in paths if not (PROJECT / path).exists()] == []


@pytest.mark.skipif(not (PROJECT / "kvserver").exists(), reason="the installed package is tested where its sources are not")
def test_no_compiled_module_unpacks_what_may_fail_halfway(settings: dict[str, Any]) -> None:
    """mypyc puts "not enough values to unpack" in the place of the error that a `map` raises while it is unpacked."""
    found = []
    for name in settings["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]:
        path = PROJECT / "kvserver" / f"{name}.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Assign(targets=[ast.Tuple()], value=ast.Call(func=ast.Name(id="map" | "filter" | "iter" | "zip"))):
                    found.append(f"{name}:{node.lineno}")
    assert found == []


def test_program_that_fails_is_shown_with_what_it_said(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="gave 3:\nsaid"):
        script.run("sh", "-c", "echo said; exit $CODE", variables={"CODE": "3"})


def test_wheels_of_no_python_are_a_mistake(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([]) == 2
    assert capsys.readouterr().err.startswith("usage: ")
