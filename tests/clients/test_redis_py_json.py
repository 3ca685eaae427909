"""redis-py's own tests of JSON documents, as its authors have published them, run with our server."""

from __future__ import annotations

import os
import re
import sys

import pytest

from clients.packages import REDIS_PY_JSON, REDIS_PY_SOURCE
from helpers.installs import Installs, run
from helpers.servers import ServerProcess, kvserver_environment

# These want the members of an object in the order in which they were set. Ours are in the order of their names.
ORDERED = ("test_objkeys", "test_objkeys_dollar")


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_tests_of_json_pass(kvserver: ServerProcess, installs: Installs, protocol: int) -> None:
    source = installs.source(REDIS_PY_SOURCE)
    paths = [str(installs.python(*REDIS_PY_JSON)), str(source), *kvserver_environment()["PYTHONPATH"].split(os.pathsep)]
    environment = kvserver_environment() | {"PYTHONPATH": os.pathsep.join(paths)}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        environment.pop(name, None)
    url = f"redis://127.0.0.1:{kvserver.port}"
    server = (f"--redis-url={url}", f"--redis-mod-url={url}", f"--protocol={protocol}")
    plugins = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:kvserver", "-p", "no:xdist")
    files = [str(source / "tests" / "test_json.py")]
    chosen = [word for name in ORDERED for word in ("--deselect", f"tests/test_json.py::{name}")]
    # An ini file that pytest finds above would take the place of redis-py's.
    rootdir = (f"--rootdir={source}", "-c", str(source / "pyproject.toml"))
    output = run(
        sys.executable, "-m", "pytest", "-q", "-rA", *plugins, *rootdir, *server, *chosen, *files, environment=environment
    )
    passed = re.findall(r"^PASSED .*::(\w+)$", output, re.MULTILINE)
    # Those that are skipped want Redis 8.7, or know no modules here.
    print(f"{REDIS_PY_SOURCE}: {len(passed)} tests")
    assert len(passed) >= 40
