"""`kvserver import redis://SOURCE redis://TARGET` leaves the target with all that the source had, or both as they were."""

from __future__ import annotations

import os
import pty
import random
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.busy import BusySource, contents
from helpers.fake_source import FakeSource
from helpers.nodes import Node
from helpers.proxy import Proxy
from helpers.servers import (
    ServerProcess,
    StartServer,
    Wire,
    info,
    kvserver_command,
    kvserver_environment,
    wait_until,
)
from kvserver.cli import takeover
from kvserver.cli.takeover import Orders, Terminal, take_over
from kvserver.errors import TransferError

pytestmark = pytest.mark.timeout(90)
SOURCE = ("--save", "", "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "100mb", "--enable-debug-command", "local")


@pytest.fixture
def redis(start_server: StartServer) -> ServerProcess:
    return start_server(*SOURCE, kind="redis-server")


@pytest.fixture
def ours(start_server: StartServer) -> ServerProcess:
    return start_server("--save", "")


@pytest.fixture
def source(redis: ServerProcess) -> Iterator[Wire]:
    with redis.connect() as wire:
        yield wire


@pytest.fixture
def target(ours: ServerProcess) -> Iterator[Wire]:
    with ours.connect() as wire:
        yield wire


def url(server: ServerProcess, login: str = "") -> str:
    return f"redis://{login}127.0.0.1:{server.port}"


def import_(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        kvserver_command("import", *map(str, words)),
        env=kvserver_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def refusal(*words: str | Path) -> str:
    done = import_(*words)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    return done.stderr


def test_busy_source_is_taken_over(redis: ServerProcess, ours: ServerProcess, source: Wire, target: Wire) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    with BusySource(redis, seed) as busy:
        wait_until(lambda: min(busy.acknowledged.values()) > 50, "the source is busy")
        done = import_(url(redis), url(ours), "--switch", "--pause-limit", "20")
        assert done.returncode == 0, done
        acknowledged = busy.acknowledged
        wanted, found = contents(source), contents(target)
        assert found == wanted
        for key, count in acknowledged.items():
            assert int(target.value("GET", key)) >= count
        assert target.command("SET", "k", 1) == b"+OK\r\n"
        source.command("CLIENT", "UNPAUSE")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{url(ours)} follows {url(redis)}, which is only read"
    assert lines[1] == "all data is there, and what is written follows"
    assert re.fullmatch(rf"{url(ours)} takes the writes now, and has \d+ keys: all up to offset \d+ of the source", lines[2])
    assert re.fullmatch(r"writes were paused for \d+ ms", lines[3])
    assert re.fullmatch(
        r"the source holds writes for (20|1\d) s more: what is written there then is not in the target", lines[4]
    )
    print(done.stdout)


def test_password_is_the_targets_for_as_long_as_it_follows(
    start_server: StartServer, ours: ServerProcess, target: Wire
) -> None:
    redis = start_server(*SOURCE, "--requirepass", "p@ss word", kind="redis-server")
    with redis.connect() as source:
        source.command("AUTH", "p@ss word")
        source.command("SET", "k", "v")
    done = import_(url(redis, ":p%40ss%20word@"), url(ours), "--switch")
    assert done.returncode == 0, done
    assert "p@ss" not in done.stdout
    assert target.value("GET", "k") == b"v"
    assert target.value("CONFIG", "GET", "masterauth") == [b"masterauth", b""]
    assert "answers AUTH: WRONGPASS" in refusal(url(redis, ":wrong@"), url(ours), "--switch")


def test_keys_of_the_target_are_not_replaced_unasked(
    redis: ServerProcess, ours: ServerProcess, source: Wire, target: Wire
) -> None:
    target.command("SET", "old", 1)
    source.command("SET", "new", 1)
    assert "has keys, and all of them would be replaced: --replace does that" in refusal(url(redis), url(ours), "--switch")
    assert target.value("KEYS", "*") == [b"old"]
    assert info(target, "replication")["role"] == "master"
    assert import_(url(redis), url(ours), "--switch", "--replace").returncode == 0
    assert target.value("KEYS", "*") == [b"new"]


def test_without_a_pause_the_source_takes_writes(
    redis: ServerProcess, ours: ServerProcess, source: Wire, target: Wire
) -> None:
    source.command("SET", "k", 1)
    done = import_(url(redis), url(ours), "--switch", "--no-pause")
    assert done.returncode == 0, done
    assert "what was written to the source meanwhile may be missing" in done.stdout
    assert source.command("SET", "k", 2) == b"+OK\r\n"
    assert target.value("GET", "k") == b"1"


def test_what_cannot_be_taken_over_is_told_before_anything_is_done(
    start_server: StartServer,
    redis: ServerProcess,
    ours: ServerProcess,
    target: Wire,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp
    replica = start_server("--replicaof", f"127.0.0.1 {redis.port}", kind="redis-server", directory=folder("replica"))
    with replica.connect() as wire:
        wait_until(lambda: info(wire, "replication")["master_link_status"] == "up", "it is a replica")
    node = start_server("--cluster-enabled", "yes", kind="redis-server", directory=folder("node"))
    other = start_server(directory=folder("other"))
    with Node(folder("shared"), f"file:{folder('engine')}") as shared:
        told = refusal(url(redis), url(shared), "--switch")
        assert "follows the log of an engine" in told
    for words, told in (
        ((url(replica), url(ours)), f"is a replica: take over its primary, 127.0.0.1:{redis.port}, which takes the writes"),
        ((url(node), url(ours)), "is a node of a cluster, which has a part of the keys alone"),
        ((url(other), url(ours)), "is a kvserver, which lets nobody follow it"),
        ((url(redis), url(redis)), "is no kvserver"),
        (("unix:///tmp/nothing", url(ours)), "a server on a Unix socket can't be followed"),
        (("redis://127.0.0.1:1", url(ours)), "cannot connect to redis://127.0.0.1:1: Connection refused"),
    ):
        assert told in refusal(*words, "--switch"), words
        assert info(target, "replication")["role"] == "master"


def test_switch_that_takes_too_long_leaves_the_source_as_it_was(
    redis: ServerProcess, ours: ServerProcess, source: Wire, target: Wire
) -> None:
    # What the busy source writes is on its way for longer than the pause may last.
    with Proxy(redis.port) as proxy, BusySource(redis, 1):
        proxy.delay_s = 0.1
        told = import_(f"redis://127.0.0.1:{proxy.port}", url(ours), "--switch", "--pause-limit", "0.001")
        assert told.returncode == 1, told
        assert "not switched in time: the target was still " in told.stderr
        assert "the pause of the source has ended" in told.stdout
        assert info(target, "replication")["role"] == "slave"
        assert source.command("SET", "k", 2) == b"+OK\r\n"
        wait_until(lambda: target.value("GET", "k") == b"2", "it goes on following")


@pytest.mark.parametrize("answer", ["y", "n"])
def test_sigint_asks(redis: ServerProcess, ours: ServerProcess, source: Wire, target: Wire, answer: str) -> None:
    source.command("SET", "k", 1)
    process, terminal = on_terminal(url(redis), url(ours))
    read_until(terminal, b"Enter switches to the target")
    process.send_signal(signal.SIGINT)
    read_until(terminal, b"Switch to the target now? [y/N]")
    os.write(terminal, answer.encode() + b"\n")
    if answer == "y":
        read_until(terminal, b"writes were paused for")
    else:
        read_until(terminal, b"the target goes on following: REPLICAOF NO ONE there ends that")
    assert process.wait(20) == (answer != "y")
    os.close(terminal)
    assert info(target, "replication")["role"] == ("master" if answer == "y" else "slave")


def test_enter_switches(redis: ServerProcess, ours: ServerProcess, source: Wire, target: Wire) -> None:
    source.command("SET", "k", 1)
    process, terminal = on_terminal(url(redis), url(ours))
    read_until(terminal, b"0 bytes behind")
    os.write(terminal, b"\n")
    read_until(terminal, b"writes were paused for")
    assert process.wait(20) == 0
    os.close(terminal)
    assert target.value("GET", "k") == b"1"


def on_terminal(*words: str) -> tuple[subprocess.Popen[bytes], int]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        kvserver_command("import", *words),
        env=kvserver_environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # A shell lets what it runs in the background ignore SIGINT, and these tests may be among that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    return process, ours


def read_until(terminal: int, text: bytes) -> None:
    said = b""
    while text not in said:
        try:
            said += os.read(terminal, 4096)
        except OSError:
            raise AssertionError(said.decode()) from None


def test_target_that_cannot_follow_says_why(ours: ServerProcess, target: Wire) -> None:
    with FakeSource(b"$9\r\nREDIS0099") as source:
        source.answers[b"INFO"] = b"$0\r\n\r\n"
        told = refusal(f"redis://127.0.0.1:{source.port}", url(ours), "--switch")
        assert "the data of the source can't be read: the RDB file has version 99" in told
    assert info(target, "replication")["role"] == "master", "it does not go on trying"


RIGHTS = ("+ping", "+psync", "+replconf", "+info")
RIGHTS_TO_PAUSE = ("+multi", "+exec", "+client|pause", "+client|unpause")


def test_user_needs_the_rights_that_are_documented(
    redis: ServerProcess, ours: ServerProcess, source: Wire, target: Wire
) -> None:
    source.command("SET", "k", "v")
    source.command("ACL", "SETUSER", "me", "on", ">pw", *RIGHTS, *RIGHTS_TO_PAUSE)
    done = import_(url(redis, "me:pw@"), url(ours), "--switch")
    assert done.returncode == 0, done
    assert target.value("GET", "k") == b"v"
    source.command("CLIENT", "UNPAUSE")
    target.command("FLUSHALL")
    source.command("ACL", "SETUSER", "me", "resetkeys", "-@all", *RIGHTS)
    assert "no permissions to run the 'multi' command" in refusal(url(redis, "me:pw@"), url(ours), "--switch")
    target.command("REPLICAOF", "NO", "ONE")
    done = import_(url(redis, "me:pw@"), url(ours), "--switch", "--no-pause", "--replace")
    assert done.returncode == 0, done
    assert target.value("GET", "k") == b"v"


def test_pause_that_cannot_be_ended_hides_nothing(
    redis: ServerProcess, ours: ServerProcess, source: Wire, target: Wire
) -> None:
    source.command("ACL", "SETUSER", "me", "on", ">pw", *RIGHTS, "+multi", "+exec", "+discard")
    done = import_(url(redis, "me:pw@"), url(ours), "--switch")
    assert done.returncode == 1
    assert "no permissions to run the 'client|pause' command" in done.stderr
    assert "a pause of the source ends by itself within 10 s" in done.stdout
    assert info(target, "replication")["role"] == "slave", "it goes on following"


def test_target_that_is_refused_does_not_go_on_trying(
    redis: ServerProcess, ours: ServerProcess, source: Wire, target: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.command("SET", "old", 1)
    source.command("ACL", "SETUSER", "me", "on", ">pw", "+ping", "+info")
    monkeypatch.setattr(takeover, "CONNECT_S", 2.0)
    orders = Orders(switches=True, pauses=True, pause_s=10, replaces=True)
    with pytest.raises(TransferError, match="no permissions to run the 'psync' command"):
        take_over(url(redis, "me:pw@"), url(ours), orders, Terminal())
    assert info(target, "replication")["role"] == "master"
    assert target.value("CONFIG", "GET", "masterauth") == [b"masterauth", b""]
    assert target.value("GET", "old") == b"1"
    # Nor does one that has followed another source give that up.
    with FakeSource() as other:
        target.command("REPLICAOF", "127.0.0.1", other.port)
        wait_until(lambda: info(target, "replication")["master_link_status"] == "up", "it follows")
        with pytest.raises(TransferError, match="no permissions to run the 'psync' command"):
            take_over(url(redis, "me:pw@"), url(ours), orders, Terminal())
        assert info(target, "replication")["master_port"] == str(other.port)
        assert target.value("CONFIG", "GET", "masterauth") == [b"masterauth", b""]


# --- Into a folder ---


def test_running_source_is_imported_into_a_folder(
    redis: ServerProcess, source: Wire, start_server: StartServer, tmp_path: Path
) -> None:
    source.command("SET", "k", "v")
    source.command("SELECT", 3)
    source.command("RPUSH", "l", 1, 2, 3)
    source.command("FUNCTION", "LOAD", "#!lua name=mylib\nredis.register_function('f', function() return 1 end)")
    done = import_(url(redis), tmp_path / "data")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("imported 2 keys of 2 databases and 1 function library: ")
    with start_server("--save", "", directory=tmp_path / "data").connect() as wire:
        assert contents(wire) == contents(source)
        assert wire.value("FCALL", "f", 0) == 1
    assert source.value("ROLE")[2] == [], "it is a replica no more"


def test_refusals_of_a_source_leave_the_folder_alone(start_server: StartServer, tmp_path: Path) -> None:
    ours = start_server()
    assert "is a kvserver, which lets nobody follow it" in refusal(url(ours), tmp_path / "data")
    with FakeSource(b"$10\r\nREDIS0011\xc8") as source:
        source.answers[b"INFO"] = b"$0\r\n\r\n"
        assert "200 is no type and no opcode" in refusal(f"redis://127.0.0.1:{source.port}", tmp_path / "data")
        source.data = b"-ERR no disk\r\n"
        assert "MASTER aborted replication with an error: ERR no disk" in refusal(
            f"redis://127.0.0.1:{source.port}", tmp_path / "data"
        )
    assert not (tmp_path / "data").exists()
