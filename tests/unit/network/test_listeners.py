"""A server listens on ports, addresses and Unix sockets, from its start and by CONFIG SET, as redis-server does."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.servers import (
    COMMON_OPTIONS,
    DEADLINE_S,
    Kind,
    StartServer,
    Wire,
    encode,
    free_port,
    info,
    need_program,
    wait_until,
)
from helpers.starts import failed_start
from kvserver.network.listeners import bind_unix, listen
from kvserver.options.kinds import AUTO_PORT

KINDS: tuple[Kind, Kind] = ("kvserver", "redis-server")
PONG = b"+PONG\r\n"
# It is an address of this machine, too, but neither server takes it for local.
FAR_ADDRESS = "127.0.0.2"


def connect_to_path(path: Path) -> Wire:
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.connect(str(path))
    except OSError:
        connected.close()
        raise
    return Wire(0, connected=connected)


# --- at run time


def is_served(port: int, host: str = "127.0.0.1") -> bool:
    try:
        with socket.create_connection((host, port), DEADLINE_S) as connected:
            return Wire(port, connected=connected).command("PING") == PONG
    except OSError:
        return False


def test_port_and_addresses_change_at_run_time_as_in_redis(start_server: StartServer) -> None:
    """Or all stays as it is, with redis-server's words, if they can't be had; who is connected stays so."""
    transcripts = []
    for kind in KINDS:
        server = start_server(*COMMON_OPTIONS, "--bind", "127.0.0.1", kind=kind)
        with server.connect() as wire, socket.socket() as taken, socket.socket() as probe:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            probe.bind(("127.0.0.1", 0))
            names = {b"taken": taken.getsockname()[1], b"new": probe.getsockname()[1], b"old": server.port}
            probe.close()
            said: list[object] = []

            def change(
                *words: str, wire: Wire = wire, names: dict[bytes, int] = names, said: list[object] = said, kind: Kind = kind
            ) -> None:
                reply = wire.command("CONFIG", "SET", *(names.get(word.encode(), word) for word in words))
                shown = dict(zip(*[iter(wire.value("CONFIG", "GET", "port", "bind", "timeout"))] * 2, strict=True))
                ports = {b"%d" % port: name for name, port in names.items()} | {b"0": b"0"}
                said.append((words, reply, ports[shown.pop(b"port")], shown))
                said.append({name: is_served(port) for name, port in names.items() if name != b"taken"})
                said.append((is_served(names[b"old"], FAR_ADDRESS), wire.command("PING")))

            change("port", "new")
            change("port", "taken")
            change("PORT", "taken", "timeout", "7")
            change("port", "70000")
            change("port", "old", "timeout", "x")
            change("port", "old")
            change("bind", "127.0.0.1 -10.9.9.9")
            change("bind", "10.9.9.9")
            change("bind", "127.0.0.1 10.9.9.9", "timeout", "7")
            change("bind", "nosuch.invalid")
            change("bind", "127.0.0.1 127.0.0.1")
            change("bind", "127.0.0.1 127.0.0.2")
            change("bind", "*", "protected-mode", "no")
            change("bind", "127.0.0.2")
            change("bind", "127.0.0.1", "port", "taken")
            change("port", "new", "bind", "127.0.0.1")
            change("port", "0")
            change("bind", "")
            change("port", "old")
            change("bind", "* -::*")
            change("port", "old", "bind", "127.0.0.1")
            wire.send(encode("MULTI") + encode("CONFIG", "SET", "port", names[b"new"]) + encode("EXEC"))
            said += [wire.read_reply() for _ in range(3)]
            wait_until(lambda port=names[b"new"]: is_served(port), "served there")  # type: ignore[misc]
            said.append(wire.command("CONFIG", "SET", "tls-port", "1"))
            said.append(wire.value("CONFIG", "GET", "tls-port"))
        transcripts.append(said)
    for ours, theirs in zip(*transcripts, strict=True):
        assert ours == theirs


def test_socket_that_is_wanted_again_goes_on_and_survives_what_fails() -> None:
    port = free_port()
    (first,) = listen(["127.0.0.1"], port, 5, [])
    both = listen(["127.0.0.2", "127.0.0.1"], port, 5, [], [first])
    try:
        assert both[1] is first
        with pytest.raises(OSError, match=f"cannot listen on 192.0.2.1:{port}"):
            listen(["127.0.0.1", "192.0.2.1"], port, 5, [], both)
        socket.create_connection(("127.0.0.1", port), DEADLINE_S).close()
    finally:
        for raw_socket in both:
            raw_socket.close()


def test_new_port_is_told_and_written_and_the_old_one_is_free(tmp_path: Path, start_server: StartServer) -> None:
    file = tmp_path / "kvserver.toml"
    file.write_text("timeout = 0  # never\n", encoding="utf-8")
    server = start_server(*COMMON_OPTIONS, "--config", str(file))
    with server.connect() as wire:
        port = free_port()
        assert wire.command("CONFIG", "SET", "port", port) == b"+OK\r\n"
        assert server.wait_for_line(f"listening on redis://127.0.0.1:{port}")
        assert info(wire, "server")["tcp_port"] == str(port)
        assert wire.command("CONFIG", "REWRITE") == b"+OK\r\n"
        assert f"\nport = {port}\n" in file.read_text(encoding="utf-8")
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", server.port))
            other.listen()
        wire.command("CONFIG", "SET", "bind", "* -192.0.2.1")
        assert server.wait_for_line("is on a network: clients of other machines are turned away")
        assert server.wait_for_line("cannot listen on 192.0.2.1")
        wire.command("CONFIG", "SET", "port", "auto")
        assert is_served(int(wire.value("CONFIG", "GET", "port")[1]))


# --- Unix sockets


@pytest.mark.parametrize("mode", [0o600, 0o700, 0o660])
def test_unix_socket_has_its_mode_before_anybody_can_connect(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "kv.sock"
    with bind_unix(str(path), mode):
        assert stat.S_IMODE(path.stat().st_mode) == mode
        with pytest.raises(ConnectionRefusedError):
            connect_to_path(path)


@pytest.mark.parametrize("mode", ["700", "666", "0"])
def test_unix_socket_has_the_mode_of_its_option(start_server: StartServer, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "kv.sock"
    start_server(*COMMON_OPTIONS, "--unixsocket", str(path), "--unixsocketperm", mode)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == (int(mode, 8) or 0o777 & ~umask)
    with connect_to_path(path) as wire:
        assert wire.command("PING") == PONG
        info = wire.value("CLIENT", "INFO").decode()
        assert f" addr={path}:0 " in info


def test_unix_socket_of_a_running_server_is_left_alone(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "kv.sock"
    start_server(*COMMON_OPTIONS, "--unixsocket", str(path))
    line = failed_start("--unixsocket", str(path), "--dir", str(tmp_path / "other"))
    assert line == f"kvserver: cannot listen on {path}: Address already in use"
    with connect_to_path(path) as wire:
        assert wire.command("PING") == PONG


def test_unix_socket_that_a_crash_left_is_replaced_and_one_that_is_a_file_is_not(
    start_server: StartServer, tmp_path: Path
) -> None:
    path = tmp_path / "kv.sock"
    start_server(*COMMON_OPTIONS, "--unixsocket", str(path)).kill()
    assert path.is_socket()
    server = start_server(*COMMON_OPTIONS, "--unixsocket", str(path))
    with connect_to_path(path) as wire:
        assert wire.command("PING") == PONG
    assert server.stop() == 0
    assert not path.exists()
    path.write_text("mine")
    assert "Address already in use" in failed_start("--unixsocket", str(path), "--dir", str(tmp_path / "other"))
    assert path.read_text() == "mine"


# --- at the start


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


ANOTHER = "-p takes another port, -p auto any that is free"


def test_taken_port_fails_in_one_line(taken_port: int) -> None:
    line = failed_start("--port", str(taken_port))
    assert line == f"kvserver: cannot listen on 127.0.0.1:{taken_port}: Address already in use; {ANOTHER}"


def test_address_that_is_not_of_this_machine_fails_or_is_left_out() -> None:
    port = free_port()
    assert failed_start("--bind", "192.0.2.1", "--port", str(port)) == (
        f"kvserver: cannot listen on 192.0.2.1:{port}: Cannot assign requested address"
    )
    assert "nosuch.invalid" in failed_start("--bind", "nosuch.invalid", "--port", str(port))


def test_missing_address_with_a_dash_is_left_out(start_server: StartServer) -> None:
    server = start_server(*COMMON_OPTIONS, "--bind", "127.0.0.1 -192.0.2.1 -::1")
    assert server.once("PING") == PONG


def listening_of_redis(bind: str, port: int) -> tuple[set[str], list[str]]:
    """The addresses that redis-server listens on, none if it does not start, and why it does not listen on others."""
    options = ["--port", str(port), "--save", "", "--bind", bind]
    with subprocess.Popen(
        [need_program("redis-server"), *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        reasons, hosts = [], set()
        for line in process.stdout:
            if found := re.search(r"Could not create server TCP listening socket .*?: (?:bind: )?([A-Z].*)", line):
                reasons.append(found[1])
            if "Ready to accept connections" in line:
                hosts = {host for host in HOSTS if is_listened_to(host, port)}
                process.kill()
    return hosts, reasons


HOSTS = ("127.0.0.1", "127.0.0.9", "::1")


def is_listened_to(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), DEADLINE_S).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "bind",
    [
        *("*", "::*", "* -::*", "* ::*", "* 127.0.0.1", "* -127.0.0.1", "0.0.0.0 *"),
        *("127.0.0.1", "127.0.0.1 127.0.0.1", "127.0.0.1 -127.0.0.1", "localhost", "127.0.0.1 -::1", "-::1 -127.0.0.9"),
        *("[::1]", "-[::1]", "10.9.9.9", "-10.9.9.9", "127.0.0.1 10.9.9.9", "127.0.0.1 -10.9.9.9", "-2001:db8::9 127.0.0.1"),
        *("nosuch.invalid", "-nosuch.invalid", "127.0.0.1 -nosuch.invalid"),
    ],
)
def test_bind_listens_where_redis_does_and_says_why_not_elsewhere(bind: str) -> None:
    port = free_port()
    theirs = listening_of_redis(bind, port)
    left_out: list[str] = []
    hosts = set()
    try:
        listening = listen(bind.split(), port, 511, left_out)
    except OSError as error:
        left_out.append(str(error))
    else:
        hosts = {host for host in HOSTS if is_listened_to(host, port)}
        for raw_socket in listening:
            raw_socket.close()
    assert (hosts, [line.rpartition(": ")[2] for line in left_out]) == theirs
    assert all(line.startswith("cannot listen on ") and f":{port}: " in line for line in left_out)


def test_bind_of_no_address_at_all_is_an_error_that_says_why() -> None:
    port = free_port()
    assert failed_start("--bind", "-192.0.2.1", "--port", str(port)) == (
        f"kvserver: nothing to listen on: cannot listen on 192.0.2.1:{port}: Cannot assign requested address"
    )
    assert "is no name of a host" in failed_start("--bind", "\u00e4..b")
    assert "nothing to listen on" in failed_start("--port", "0")


def test_port_auto_is_one_that_is_free_at_every_address(start_server: StartServer) -> None:
    server = start_server(*COMMON_OPTIONS, "--port", "auto", "--bind", "127.0.0.1 127.0.0.2")
    line = server.wait_for_line("Ready to accept connections on redis://127.0.0.1:")
    assert line
    ports = set(re.findall(r"127\.0\.0\.[12]:(\d+)", line))
    (port,) = ports
    server.port = int(port)
    with server.connect() as wire:
        assert info(wire, "server")["tcp_port"] == port
        assert wire.value("CONFIG", "GET", "port") == [b"port", port.encode()]


def test_port_auto_is_0_where_every_address_is_missing(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "kv.sock"
    server = start_server(*COMMON_OPTIONS, "--port", "auto", "--bind", "-192.0.2.1", "--unixsocket", str(path))
    assert server.wait_for_line("cannot listen on 192.0.2.1:auto: Cannot assign requested address; going on without it")
    with connect_to_path(path) as wire:
        assert info(wire, "server")["tcp_port"] == "0"


def test_port_auto_gives_up_an_address_whose_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first port that the system gives is taken at the second address."""
    ports = [0, 0]
    with socket.create_server(("127.0.0.2", 0)) as taken:
        ports[0] = taken.getsockname()[1]
        real_bind = socket.socket.bind

        def bind(raw_socket: socket.socket, address: tuple[str, int]) -> None:
            is_first = address == ("127.0.0.1", 0) and ports
            real_bind(raw_socket, ("127.0.0.1", ports.pop(0)) if is_first else address)

        monkeypatch.setattr(socket.socket, "bind", bind)
        listening = listen(["127.0.0.1", "127.0.0.2"], AUTO_PORT, 511, [])
        numbers = {raw_socket.getsockname()[1] for raw_socket in listening}
        for raw_socket in listening:
            raw_socket.close()
        assert len(numbers) == 1
        assert taken.getsockname()[1] not in numbers
    assert not ports
