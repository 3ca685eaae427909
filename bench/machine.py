"""The machine that a run was made on: processor, kernel, versions.

Owns the ways in which these are found. Must never tell a name by which a machine or a person could be found.
"""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = ("uvloop", "hiredis", "orjson", "fakeredis")
UNKNOWN = "unknown"


def describe_machine() -> dict[str, str | int]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "redis-server": _redis_version(),
        **{name: _package_version(name) for name in PACKAGES},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    return platform.machine()


def _redis_version() -> str:
    try:
        done = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    # Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=…
    return next((word.removeprefix("v=") for word in done.stdout.split() if word.startswith("v=")), UNKNOWN)


def _package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
