"""The pytest plugin in other people's hands: their tests, with our fixture in the place of theirs, and their plugins."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from clients.packages import THROTTLED, THROTTLED_SOURCE
from helpers.installs import Installs, run
from helpers.servers import kvserver_environment

FOLDER = Path(__file__).parent
# Some of those which use a store: each of them is there for a loop or without one. All take three times as long.
FILES = ("tests/asyncio/store/test_store.py", "tests/rate_limiter/test_token_bucket.py", "-k", "not concurrent")


def passed(folder: Path, *words: str, packages: Path) -> set[str]:
    """Run pytest in a folder. Return the names of the tests that have passed, which must be all."""
    paths = [str(packages), str(folder), *kvserver_environment()["PYTHONPATH"].split(os.pathsep)]
    environment = kvserver_environment() | {"PYTHONPATH": os.pathsep.join(paths)}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        environment.pop(name, None)
    pytest = (sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    output = run(*pytest, f"--rootdir={folder}", *words, environment=environment)
    # pytest tells the paths as they are seen from here.
    here = os.path.relpath(folder) + os.sep
    return {name.removeprefix(here) for name in re.findall(r"^PASSED (.*)$", output, re.MULTILINE)}


def test_tests_of_throttled_pass_with_our_fixture_as_with_fakeredis(installs: Installs, tmp_path: Path) -> None:
    packages = installs.python(*THROTTLED)
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for folder in (theirs, ours):
        shutil.copytree(installs.source(THROTTLED_SOURCE) / "tests", folder / "tests")
        (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    for place in ("tests", "tests/asyncio"):
        shutil.copy(FOLDER / "throttled_fixtures.py", ours / place / "conftest.py")

    def with_paths(folder: Path) -> list[str]:
        return [str(folder / word) if word.startswith("tests/") else word for word in FILES]

    of_theirs = passed(theirs, *with_paths(theirs), packages=packages)
    of_ours = passed(ours, *with_paths(ours), packages=packages)
    print(f"{THROTTLED_SOURCE}: {len(of_ours)} tests")
    assert of_ours == of_theirs
    # The others are of its store in memory, or of both.
    assert sum("[redis" in name for name in of_ours) > 40


OF_ANYIO = """
import gc
import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.parametrize("number", [1, 2])
async def test_async(async_redis_client, kvserver_server, number):
    assert await async_redis_client.dbsize() == 0
    await async_redis_client.set("a", 1, ex=10)
    kvserver_server.clock.advance(10)
    assert not await async_redis_client.exists("a")


def test_nothing_is_left_open():
    gc.collect()
"""


def test_async_client_in_tests_of_anyio(installs: Installs, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    (tmp_path / "test_anyio.py").write_text(OF_ANYIO)
    assert len(passed(tmp_path, str(tmp_path), packages=installs.python("anyio>=4"))) == 3
