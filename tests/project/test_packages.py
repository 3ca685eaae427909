"""`.ci/packages` installs the right packages, and starts no service, on machines whose programs are made up."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from helpers.servers import PROJECT

PROGRAM = PROJECT / ".ci" / "packages"
# The real ones that it, or a made-up one, runs.
REAL = ("sh", "rm", "chmod", "ln", "touch", "cat")
OF_PACKAGES = {
    "redis-server": ("redis-server",),
    "redis-tools": ("redis-cli", "redis-benchmark"),
    "strace": ("strace",),
    "openssl": ("openssl",),
    "python3": ("python3",),
    "python3-venv": ("venv",),  # no program, but the made-up python3 looks for it
}
ALL = tuple(OF_PACKAGES)
# Answers redis-server's and Python's questions, whatever its name is.
ANSWERS = """#!/bin/sh
case "$0 $*" in
  *ensurepip*) [ -e "$BIN/venv" ] ;;
  *sys.version_info*) [ ! -e "$BIN/../is-old" ] ;;
  *python3*) echo "Python 3.10.12" ;;
  *redis-server*) echo "Redis server v=$(cat "$BIN/../redis")" ;;
esac
"""
# Asks what deb-systemd-invoke and invoke-rc.d ask, then puts the programs of the packages there.
APT_GET = """#!/bin/sh
echo "$*" >>"$BIN/../asked"
[ "$1" = install ] || exit 0
policy=$DPKG_ROOT/usr/sbin/policy-rc.d
answer=0; "$policy" redis-server.service start || answer=$?
echo "$answer" >"$BIN/../answer"
echo "$DEBIAN_FRONTEND $NEEDRESTART_SUSPEND" >"$BIN/../manner"
[ ! -e "$BIN/../is-broken" ] || exit 100
[ ! -e "$BIN/../kills" ] || kill -9 $PPID
shift 4
for package; do
  for program in $(cat "$BIN/../of-$package"); do ln -sf "$BIN/../answers" "$BIN/$program"; done
done
"""


class Machine:
    """A folder that stands for `/`, and another one with all the programs that there are."""

    def __init__(self, folder: Path, *packages: str) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.policy = folder / "root/usr/sbin/policy-rc.d"
        self.policy.parent.mkdir(parents=True)
        for name in REAL:
            (self.bin / name).symlink_to(shutil.which(name) or name)
        (folder / "redis").write_text("7.0.15")
        self.add("id", '#!/bin/sh\n[ -n "$IS_ROOT" ] && echo 0 || echo 1000\n')
        program(folder / "answers", ANSWERS)
        for package, names in OF_PACKAGES.items():
            (folder / f"of-{package}").write_text(" ".join(names))
            for name in names if package in packages else ():
                (self.bin / name).symlink_to(folder / "answers")

    def add(self, name: str, text: str) -> None:
        program(self.bin / name, text)

    def prepare(self, *, is_root: bool = False) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "BIN": str(self.bin), "DPKG_ROOT": str(self.folder / "root")}
        return subprocess.run(
            [PROGRAM],
            env=environment | ({"IS_ROOT": "1"} if is_root else {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that was said."""
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line.removeprefix(".ci/packages: ")


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def debian(bare: Machine) -> Machine:
    bare.add("apt-get", APT_GET)
    return bare


def test_machine_that_has_all_is_left_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *ALL)
    machine.add("apt-get", APT_GET)
    done = machine.prepare()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.read("asked") == ""


def test_fresh_debian_gets_all_and_no_service_may_start_meanwhile(debian: Machine) -> None:
    done = debian.prepare(is_root=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert debian.read("asked").splitlines() == [
        "update -q",
        f"install -y -q --no-install-recommends {' '.join(ALL)}",
    ]
    assert debian.read("answer") == "101\n"
    assert debian.read("manner") == "noninteractive 1\n"
    assert not debian.policy.exists()


@pytest.mark.parametrize("missing", ALL)
def test_only_what_is_missing_is_installed(tmp_path: Path, missing: str) -> None:
    machine = Machine(tmp_path, *(package for package in ALL if package != missing))
    machine.add("apt-get", APT_GET)
    assert machine.prepare(is_root=True).returncode == 0
    installed = machine.read("asked").splitlines()[-1].split()[4:]
    assert installed == ([missing, "python3-venv"] if missing == "python3" else [missing])


def test_who_is_not_root_installs_by_sudo(debian: Machine) -> None:
    debian.add("sudo", '#!/bin/sh\nIS_ROOT=1 exec "$@"\n')
    assert debian.prepare().returncode == 0
    assert debian.read("answer") == "101\n"
    assert not debian.policy.exists()


def test_who_is_not_root_and_has_no_sudo_is_told_what_to_install(debian: Machine) -> None:
    assert refused(debian.prepare()) == f"as root, run apt-get install {' '.join(ALL)}"
    assert debian.read("asked") == ""


def test_other_system_is_told_what_to_install(bare: Machine) -> None:
    assert refused(bare.prepare(is_root=True)) == f"install what the tests want, by Debian's names: {' '.join(ALL)}"


def test_policy_that_is_there_stays_and_one_that_lets_services_start_refuses(debian: Machine) -> None:
    program(debian.policy, "#!/bin/sh\nexit 0\n")
    assert refused(debian.prepare(is_root=True)).startswith(f"{debian.policy} lets services start; ")
    assert debian.read("asked") == ""
    program(debian.policy, "#!/bin/sh\nexit 101\n")
    assert debian.prepare(is_root=True).returncode == 0
    assert debian.policy.read_text() == "#!/bin/sh\nexit 101\n"
    assert stat.S_IMODE(debian.policy.stat().st_mode) == 0o755


def test_failed_install_leaves_nothing_behind_and_fails(debian: Machine) -> None:
    (debian.folder / "is-broken").touch()
    assert debian.prepare(is_root=True).returncode == 100
    assert debian.read("answer") == "101\n"
    assert not debian.policy.exists()


def test_policy_that_a_kill_has_left_forbids_nothing(debian: Machine) -> None:
    (debian.folder / "kills").touch()
    assert debian.prepare(is_root=True).returncode == -9
    assert debian.read("answer") == "101\n"
    assert subprocess.run([debian.policy, "redis-server.service", "start"], env=os.environ, check=False).returncode == 0


def test_package_that_brings_less_than_it_should_is_told(debian: Machine) -> None:
    (debian.folder / "of-redis-tools").write_text("redis-cli")
    done = debian.prepare(is_root=True)
    assert done.returncode == 1
    assert done.stderr == ".ci/packages: still missing: redis-tools\n"


def test_python_that_is_too_old_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *ALL)
    (tmp_path / "is-old").touch()
    assert refused(machine.prepare()) == "install Python 3.11 or later; this is Python 3.10.12"


def test_redis_server_of_another_version_is_told_and_no_obstacle(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *ALL)
    (tmp_path / "redis").write_text("8.0.2")
    done = machine.prepare()
    assert done.returncode == 0
    assert done.stderr.startswith(".ci/packages: the tests compare with redis-server 7.0, ")
    assert done.stderr.endswith(": Redis server v=8.0.2\n")
