"""The wheel and the sdist have what they must, and a page on an index can say of them what there is to say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

from helpers.installs import Installs
from helpers.servers import PROJECT, kvserver_environment

pytestmark = pytest.mark.skipif(
    not (PROJECT / "kvserver").exists(), reason="the installed package is tested where its sources are not"
)
TOPIC = "kvserver/cli/topics/a-topic-of-the-test.md"
# What both have. A topic that is there is there in both.
NEEDED = ("kvserver/LICENSE", "kvserver/py.typed", "kvserver/cli/main.py", "kvserver/scripting/kit.lua", TOPIC)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, installs: Installs) -> Path:
    """The folder of a wheel and an sdist, built without a compiler of a copy of the project that has one more topic."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("README.md", "pyproject.toml", ".gitignore"):
        shutil.copy(PROJECT / name, folder)
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in (".build", ".ci", "bench", "kvserver", "tests"):
        shutil.copytree(PROJECT / name, folder / name, ignore=ignored)
    topic = folder / TOPIC
    topic.parent.mkdir(exist_ok=True)
    topic.write_text("# A topic\n")
    (folder / "kvserver" / "_speedups" / "_compiled.cpython-311-x86_64-linux-gnu.so").touch()
    requirements = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    environment = kvserver_environment() | {"PYTHONPATH": str(installs.python(*requirements)), "PATH": os.devnull}
    environment.pop("KVSERVER_BUILD", None)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder / "dist")],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def names_in_sdist(built: Path) -> set[str]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def metadata_of(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_string(wheel.read(name).decode())


def test_wheel_has_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert set(NEEDED) <= names
    assert any(name.endswith(".dist-info/licenses/kvserver/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"kvserver"}
    assert not [name for name in names if name.endswith((".c", ".h", ".so", ".pyc"))]


def test_sdist_has_all_that_a_build_and_its_tests_need(built: Path) -> None:
    names = names_in_sdist(built)
    assert {*NEEDED, "README.md", "pyproject.toml", ".build/compile.py", "tests/conftest.py"} <= names
    assert {"kvserver/_speedups/module.c", "kvserver/_speedups/names.h"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


def test_metadata_say_what_an_index_shows(wheel: zipfile.ZipFile) -> None:
    metadata = metadata_of(wheel)
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["kvserver/LICENSE"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    classifiers = metadata.get_all("Classifier") or []
    # A licence expression takes the place of this one, and an index refuses both.
    assert not [each for each in classifiers if each.startswith("License ::")]
    assert len(classifiers) == len(set(classifiers)) > 10


def test_page_on_an_index_is_the_part_for_users_with_links_that_hold_there(wheel: zipfile.ZipFile) -> None:
    metadata = metadata_of(wheel)
    (source,) = [url for url in metadata.get_all("Project-URL") or [] if url.startswith("Source, ")]
    page = str(metadata.get_payload())
    assert page.startswith("# kvserver\n")
    assert "For its developers" not in page
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert f"{source.removeprefix('Source, ')}bench/cpu.svg" in links
    assert [link for link in links if not link.startswith("https://")] == []


def test_extra_of_all_is_what_a_user_may_want(wheel: zipfile.ZipFile) -> None:
    needed: dict[str, set[str]] = {}
    for each in metadata_of(wheel).get_all("Requires-Dist") or []:
        requirement, _, extra = each.partition("; extra == ")
        needed.setdefault(extra.strip("'"), set()).add(requirement)
    assert needed["all"] == needed["completion"] | needed["http"] | needed["lua"] | needed["nats"] | needed["s3"]
    assert not needed["all"] & needed[""]
