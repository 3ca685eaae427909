"""Limits of clients: protected mode, passwords, counts, times and sizes are held as by redis-server."""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
import types
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from helpers.servers import (
    COMMON_OPTIONS,
    DEADLINE_S,
    Kind,
    ServerProcess,
    StartServer,
    Wire,
    encode,
    free_port,
    info,
    kvserver_command,
    kvserver_environment,
    wait_until,
)
from kvserver.network import clients
from kvserver.network.clients import print_address

KINDS: tuple[Kind, Kind] = ("kvserver", "redis-server")
MEGABYTE = 1 << 20
PONG = b"+PONG\r\n"
# It is an address of this machine, too, but neither server takes it for local.
FAR_ADDRESS = "127.0.0.2"


def connect_from(server: ServerProcess, source: str) -> Wire:
    connected = socket.create_connection(("127.0.0.1", server.port), DEADLINE_S, source_address=(source, 0))
    return Wire(server.port, connected=connected)


# --- protected mode and passwords


def test_protected_mode_turns_others_away_in_the_words_of_redis(start_server: StartServer) -> None:
    replies = []
    for kind in KINDS:
        server = start_server(*COMMON_OPTIONS, "--bind", "*", "--protected-mode", "yes", kind=kind)
        with connect_from(server, FAR_ADDRESS) as far:
            replies.append(far.read_until_eof())
        with server.connect() as near:
            assert near.command("PING") == PONG
            rejected = re.search(rb"rejected_connections:(\d+)", near.value("INFO", "stats"))
            assert rejected is not None
            assert rejected[1] == b"1"
    ours, theirs = replies
    assert ours == theirs
    assert ours.startswith(b"-DENIED ")


def test_protected_mode_ends_with_a_password_or_by_config_set(start_server: StartServer) -> None:
    for kind in KINDS:
        server = start_server(*COMMON_OPTIONS, "--bind", "*", kind=kind)

        def greeting(server: ServerProcess = server) -> bytes:
            with connect_from(server, FAR_ADDRESS) as far:
                # The connection may be closed already.
                with suppress(ConnectionError):
                    far.send(encode("PING"))
                return far.read_reply()[:8]

        with server.connect() as near:
            assert greeting() == b"-DENIED "
            assert near.command("CONFIG", "SET", "protected-mode", "no") == b"+OK\r\n"
            assert greeting() == PONG
            assert near.command("CONFIG", "SET", "protected-mode", "yes") == b"+OK\r\n"
            assert greeting() == b"-DENIED "
            assert near.command("CONFIG", "SET", "requirepass", "secret") == b"+OK\r\n"
            assert greeting() == b"-NOAUTH "
            assert near.command("CONFIG", "SET", "requirepass", "") == b"+OK\r\n"
            assert greeting() == b"-DENIED "


def test_password_set_at_run_time_is_asked_of_new_clients_only(start_server: StartServer) -> None:
    transcripts = []
    for kind in KINDS:
        server = start_server(*COMMON_OPTIONS, kind=kind)
        with server.connect() as before, server.connect() as admin:
            said = [before.command("PING"), admin.command("CONFIG", "SET", "requirepass", "secret")]
            with server.connect() as after:
                said += [after.command("PING"), before.command("PING")]
                said += [before.command("AUTH", "wrong"), before.command("PING")]
                said += [after.command("AUTH", "wrong"), after.command("HELLO", "2", "AUTH", "default", "wrong")]
                said += [admin.command("CONFIG", "SET", "requirepass", "other"), after.command("AUTH", "secret")]
                said += [after.command("AUTH", "other"), after.command("PING")]
            with server.connect() as waiting:
                said += [waiting.command("PING"), admin.command("CONFIG", "SET", "requirepass", ""), waiting.command("PING")]
        transcripts.append(said)
    ours, theirs = transcripts
    assert ours == theirs
    assert ours[-1] == PONG


def test_secrets_are_in_no_line_of_the_log(start_server: StartServer) -> None:
    secret = "correct-horse-battery"
    server = start_server(*COMMON_OPTIONS, "--loglevel", "debug", "--requirepass", secret)
    with server.connect() as wire:
        wire.command("AUTH", secret + "x")
        wire.command("AUTH", "default", secret)
        wire.command("CONFIG", "SET", "requirepass", secret + "2", "tls-key-file-pass", secret + "3")
        wire.command("CONFIG", "SET", "requirepass", secret + "4", "nosuch", secret + "5")
        wire.command(secret, secret)
        wire.send(b"*2\r\n$4\r\nAUTH\r\n$-5\r\n" + secret.encode())
        wire.read_until_eof()
    assert server.stop() == 0
    assert secret not in server.log_text()


# --- clients that have yet to authenticate


def test_replies_that_pile_up_before_auth_end_the_connection_as_in_redis(start_server: StartServer) -> None:
    for kind in KINDS:
        server = start_server(*COMMON_OPTIONS, "--requirepass", "secret", kind=kind)
        with server.connect_with_a_small_buffer() as wire, server.connect() as other:
            # The refusal of an unknown command has its words: so few of them fill what the system buffers.
            requests = encode("x" * 128, "y" * 128) * 100

            def is_closed(wire: Wire = wire, requests: bytes = requests) -> bool:
                try:
                    wire.send(requests)
                except ConnectionError:
                    return True
                return False

            wait_until(is_closed, "who does not read is closed")
            assert other.command("AUTH", "secret") == b"+OK\r\n"
            assert other.command("PING") == PONG
        told = "replies unread" if kind == "kvserver" else "overcoming of output buffer limits"
        assert server.wait_for_line(told)


def test_pipeline_behind_auth_in_one_write_is_served_however_long(start_server: StartServer) -> None:
    """An unknown client may send little, but this one is known from its first command on."""
    server = start_server(*COMMON_OPTIONS, "--requirepass", "secret")
    count, value = 20_000, b"v" * 300
    request = encode("AUTH", "secret") + encode("SET", "k", value) * count + encode("ECHO", "end")
    with server.connect() as wire:
        sender = threading.Thread(target=wire.send, args=(request,))
        sender.start()
        assert wire.read_exactly(5 * (count + 1)) == b"+OK\r\n" * (count + 1)
        assert wire.read_reply() == b"$3\r\nend\r\n"
        sender.join()


def test_pipeline_without_auth_costs_little_memory_and_gets_every_refusal(start_server: StartServer) -> None:
    server = start_server(*COMMON_OPTIONS, "--requirepass", "secret")
    count = 20_000
    peak = server.memory_bytes("VmHWM")
    refusal = b"-NOAUTH Authentication required.\r\n"
    with server.connect() as wire, server.connect() as other:
        sender = threading.Thread(target=wire.send, args=(encode("SET", "k", b"v" * 300) * count,))
        sender.start()
        assert wire.read_exactly(len(refusal) * count) == refusal * count
        sender.join()
        assert other.command("PING") == refusal
    assert server.memory_bytes("VmHWM") < peak + 8 * MEGABYTE


# --- how many, and for how long


def test_maxclients_can_be_changed_at_run_time(start_server: StartServer) -> None:
    for kind in KINDS:
        server = start_server(*COMMON_OPTIONS, kind=kind)
        with ExitStack() as stack:
            first, second, third = (stack.enter_context(server.connect()) for _ in range(3))
            assert first.command("PING") == second.command("PING") == third.command("PING") == PONG
            assert first.command("CONFIG", "SET", "maxclients", "2") == b"+OK\r\n"
            with server.connect() as late:
                assert late.read_until_eof() == b"-ERR max number of clients reached\r\n"
            assert third.command("PING") == PONG, "those that are there may stay"
            assert first.command("CONFIG", "SET", "maxclients", "10") == b"+OK\r\n"
            with server.connect() as late:
                assert late.command("PING") == PONG


def test_limit_of_open_files_is_raised_for_maxclients_or_told(tmp_path: Path) -> None:
    """As redis-server does. The hard limit of the child is set low; only some who are root can raise it."""

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256))

    port = free_port()
    command = kvserver_command(*COMMON_OPTIONS, "--port", str(port), "--dir", str(tmp_path), "--maxclients", "300")
    process = subprocess.Popen(
        command, env=kvserver_environment(), stderr=subprocess.PIPE, text=True, preexec_fn=lower
    )  # fmt: skip
    assert process.stderr is not None
    try:
        lines: list[str] = []
        while "Ready" not in "".join(lines[-1:]):
            lines.append(process.stderr.readline())
            assert lines[-1], "".join(lines)
        with Wire(port) as wire:
            shown = int(wire.value("CONFIG", "GET", "maxclients")[1])
            limits = Path(f"/proc/{process.pid}/limits")
            if limits.exists():
                allowed = int(re.findall(r"Max open files +(\d+)", limits.read_text())[0])
                assert allowed >= shown + 64
            is_reduced = any("maxclients has been reduced from 300 to 192" in line for line in lines)
            assert shown == (192 if is_reduced else 300)
            if is_reduced:
                assert wire.command("CONFIG", "SET", "maxclients", "300") == (
                    b"-ERR CONFIG SET failed (possibly related to argument 'maxclients') - "
                    b"The operating system is not able to handle the specified number of clients, try with 192\r\n"
                )
                assert wire.value("CONFIG", "GET", "maxclients")[1] == b"192"
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
        process.stderr.close()


def test_client_that_sends_slowly_or_subscribes_is_not_idle(start_server: StartServer) -> None:
    server = start_server(*COMMON_OPTIONS, "--timeout", "1")
    with server.connect() as slow, server.connect() as idle:
        request = encode("SET", "k", "v" * 40)
        idle.command("PING")
        ended = threading.Event()

        def read_idle() -> None:
            idle.read_until_eof()
            ended.set()

        reader = threading.Thread(target=read_idle)
        reader.start()
        sent = 0
        while not ended.wait(0.05) or sent < len(request) - 1:
            slow.send(request[sent : sent + 1] if sent < len(request) - 1 else b"")
            sent = min(sent + 1, len(request) - 1)
            assert sent < len(request) - 1 or ended.is_set(), "the idle client was not closed in 3 s"
        reader.join()
        slow.send(request[sent:])
        assert slow.read_reply() == b"+OK\r\n"


def test_idle_client_that_never_reads_is_closed_as_well(start_server: StartServer) -> None:
    """Its unread replies must not keep it: it is waited for by nobody."""
    server = start_server(*COMMON_OPTIONS, "--timeout", "1")
    with server.connect() as wire, server.connect() as other:
        wire.command("SET", "k", b"x" * MEGABYTE)
        wire.send(encode("GET", "k") * 20 + encode("QUIT"))
        clients = [0]

        def is_gone() -> bool:
            clients[0] = len(other.value("CLIENT", "LIST").splitlines())
            return clients[0] == 1

        wait_until(is_gone, "the client is closed")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/net/tcp is Linux's")
def test_tcp_keepalive_sets_the_timer_of_the_socket(tmp_path: Path) -> None:
    """The kernel tells of each socket which timer runs (2 is keepalive's) and when it will fire, in clock ticks."""
    for keepalive_s, expected in ((0, "00"), (300, "02")):
        with (
            ServerProcess("kvserver", tmp_path, *COMMON_OPTIONS, "--tcp-keepalive", str(keepalive_s)) as server,
            server.connect() as wire,
        ):
            assert wire.command("PING") == PONG
            ends = f":{server.port:04X}", f":{wire.socket.getsockname()[1]:04X}"

            def timer(ends: tuple[str, str] = ends) -> tuple[str, str]:
                lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
                # The last one: where sockets come and go while it is read, the table names one of them twice.
                ours = [line for line in lines if line[1].endswith(ends[0]) and line[2].endswith(ends[1])][-1]
                kind, _, when = ours[5].partition(":")
                return kind, when

            # Until its reply is known to have arrived, another timer runs: 1.
            wait_until(lambda: timer()[0] != "01", "the reply is acknowledged")
            kind, when = timer()
            assert kind == expected
            if keepalive_s:
                ticks = os.sysconf("SC_CLK_TCK")
                assert 200 * ticks < int(when, 16) <= 300 * ticks


class GoneSocket:
    """The socket of a client that has gone, on macOS: no option can be set any more."""

    family = socket.AF_INET

    def setsockopt(self, *arguments: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")


class Recorded:
    family = socket.AF_INET

    def __init__(self) -> None:
        self.set: list[tuple[int, ...]] = []

    def setsockopt(self, *arguments: int) -> None:
        self.set.append(arguments)


def test_keepalive_of_macos_has_another_name_and_a_client_that_has_gone_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "KEEP_IDLE", 0x10)
    for raw_socket in (recorded := Recorded(), GoneSocket()):
        transport = types.SimpleNamespace(get_extra_info=lambda name, found=raw_socket: found)
        clients._set_keepalive(transport, 300)  # type: ignore[arg-type]
    assert (socket.IPPROTO_TCP, 0x10, 300) in recorded.set
    monkeypatch.setattr(clients, "KEEP_IDLE", None)
    transport = types.SimpleNamespace(get_extra_info=lambda name: recorded)
    recorded.set.clear()
    clients._set_keepalive(transport, 300)  # type: ignore[arg-type]
    assert recorded.set == [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]


# --- what is left unread


def ask_without_reading(server: ServerProcess, wire: Wire, value_bytes: int, count: int) -> None:
    with server.connect() as other:
        other.command("SET", "k", b"x" * value_bytes)
    wire.send(encode("GET", "k") * count)


def gets_all(wire: Wire, value_bytes: int, count: int) -> bool:
    """True if the replies to the requests of `ask_without_reading` come, each whole, and nothing else does."""
    reply = b"$%d\r\n%b\r\n" % (value_bytes, b"x" * value_bytes)
    return all(wire.read_exactly(len(reply)) == reply for _ in range(count)) and wire.command("PING") == PONG


def test_hard_limit_of_unread_replies_closes_the_client(start_server: StartServer) -> None:
    server = start_server(*COMMON_OPTIONS, "--client-output-buffer-limit", "normal 20mb 0 0")
    with server.connect() as wire, server.connect() as other:
        ask_without_reading(server, wire, 40 * MEGABYTE, 1)
        assert server.wait_for_line("bytes of replies unread")
        assert len(wire.read_until_eof()) < 40 * MEGABYTE
        ask_without_reading(server, other, 10 * MEGABYTE, 10)
        assert gets_all(other, 10 * MEGABYTE, 10), "who reads what is less than that at a time"


def test_soft_limit_of_unread_replies_closes_the_client_after_its_seconds(start_server: StartServer) -> None:
    server = start_server(*COMMON_OPTIONS)
    with server.connect() as wire, server.connect() as other:
        assert other.command("CONFIG", "SET", "client-output-buffer-limit", "normal 0 2mb 1") == b"+OK\r\n"
        # Nothing is unread yet at this time, so that a busy machine can only make the disconnection later.
        started_at = time.monotonic()
        ask_without_reading(server, wire, 16 * MEGABYTE, 1)
        assert other.command("PING") == PONG
        assert server.wait_for_line("bytes of replies unread")
        assert time.monotonic() - started_at >= 1
        assert len(wire.read_until_eof()) < 16 * MEGABYTE


def test_limit_below_the_high_water_mark_holds_as_well(start_server: StartServer) -> None:
    server = start_server(*COMMON_OPTIONS)
    with server.connect_with_a_small_buffer() as wire, server.connect() as other:
        assert other.command("CONFIG", "SET", "client-output-buffer-limit", "normal 100kb 0 0") == b"+OK\r\n"
        ask_without_reading(server, wire, 50_000, 1000)
        assert server.wait_for_line("bytes of replies unread")
        assert other.command("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0") == b"+OK\r\n"
        ask_without_reading(server, other, 50_000, 1000)
        assert gets_all(other, 50_000, 1000)


def test_low_limit_is_held_as_by_redis_however_much_the_system_would_take(start_server: StartServer) -> None:
    """Replies above the limit are not sent when a batch of commands has run; a transaction has run to its end."""
    value = b"x" * 10_000
    batches = [
        encode("MULTI") + encode("SET", "one", "1") + encode("GET", "k") * 15 + encode("SET", "two", "2") + encode("EXEC"),
        encode("SET", "one", "1") + encode("GET", "k") * 15,
        encode("MGET", *["k"] * 15) + encode("ECHO", "x" * 50_000),
        encode("GET", "big"),
    ]
    told = []
    for kind in KINDS:
        server = start_server(*COMMON_OPTIONS, "--client-output-buffer-limit", "normal 100000 0 0", kind=kind)
        with server.connect() as other:
            for batch in batches:
                other.command("MSET", "k", value, "one", "", "two", "", "big", value * 40)
                with server.connect() as wire:
                    wire.send(batch)
                    # The header of a long reply may have left.
                    told.append(len(wire.read_until_eof()) < 100)
                told.append(other.value("MGET", "one", "two"))
            with server.connect() as wire:
                wire.command("SET", "k", value)
                wire.send(encode("GET", "k") * 5)
                assert len(wire.read_exactly(5 * 10_010)) > 0, "who asks for less gets it"
    assert told[: len(told) // 2] == told[len(told) // 2 :]
    assert told[0] is told[2] is told[4] is told[6] is True


def fields_of(wire: Wire, name: str) -> dict[str, str]:
    """The line of CLIENT LIST of the client that has this name."""
    lines = [
        dict(field.split("=", 1) for field in line.split(" ")) for line in wire.value("CLIENT", "LIST").decode().splitlines()
    ]
    return next(line for line in lines if line["name"] == name)


def test_list_of_clients_tells_what_each_holds_as_redis_does(start_server: StartServer) -> None:
    names = ("qbuf", "argv-mem", "events", "cmd")
    told = []
    for kind in KINDS:
        server = start_server(*COMMON_OPTIONS, kind=kind)
        with server.connect() as wire, server.connect() as other:
            other.command("CLIENT", "SETNAME", "other")
            wire.command("CLIENT", "SETNAME", "wire")
            seen: list[object] = [[fields_of(other, each)[name] for name in names] for each in ("other", "wire")]
            other.send(encode("CLIENT", "INFO") + encode("PING") * 3)
            seen += [re.findall(rb"(qbuf|argv-mem)=(\d+)", other.read_reply())]
            assert [other.read_reply() for _ in range(3)] == [PONG] * 3
            # Half a command.
            wire.send(b"*2\r\n$4\r\nECHO\r\n$100000\r\n" + b"x" * 50_000)
            wait_until(lambda wire=other: fields_of(wire, "wire")["qbuf"] == "50000", "half of it has come")  # type: ignore[misc]
            half = fields_of(other, "wire")
            seen += [half["argv-mem"]]
            assert 50_000 < int(half["tot-mem"]) < 200_000
            wire.send(b"x" * 50_000 + b"\r\n")
            assert wire.read_reply()[:9] == b"$100000\r\n"
            seen += [[fields_of(other, "wire")[name] for name in names]]
            # A transaction.
            wire.command("MULTI")
            before = int(fields_of(other, "wire")["tot-mem"])
            wire.command("SET", "k", b"x" * 10_000)
            queued = fields_of(other, "wire")
            assert 10_000 < int(queued["multi-mem"]) < 11_000
            assert 10_000 < int(queued["tot-mem"]) - before < 40_000
            wire.command("EXEC")
            # Replies that nobody reads.
            other.command("SET", "k", b"x" * MEGABYTE)
            # kvserver runs no more commands of a client that does not read.
            least = 10 * MEGABYTE if kind == "redis-server" else 0
            wire.send(encode("GET", "k") * 30)

            def are_told(other: Wire = other, least: int = least, kind: str = kind) -> bool:
                """As soon as the system takes no more of them."""
                unread = fields_of(other, "wire")
                if int(unread["omem"]) <= least or int(unread["oll"]) == 0 or int(unread["tot-mem"]) <= int(unread["omem"]):
                    return False
                # redis-server counts the other fields some times a second.
                if kind == "redis-server":
                    return unread["events"] == "rw"
                memory = info(other, "memory") | info(other, "clients")
                stats = other.value("MEMORY", "STATS")
                normal = dict(zip(stats[::2], stats[1::2], strict=True))[b"clients.normal"]
                assert int(memory["client_recent_max_input_buffer"]) > 0
                is_same = int(memory["mem_clients_normal"]) == normal >= int(unread["tot-mem"])
                is_same = is_same and int(memory["client_recent_max_output_buffer"]) == int(unread["omem"])
                return is_same and unread["events"] == "rw"

            wait_until(are_told, "the same figures everywhere")
        told.append(seen)
    assert told[0] == told[1]


# --- browsers that were led here


@pytest.mark.parametrize(
    "request_", [b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", encode("HOST:", "localhost")], ids=["post", "host"]
)
def test_browser_is_told_of_in_the_log_once_a_minute_in_the_words_of_redis(start_server: StartServer, request_: bytes) -> None:
    told, addresses = [], []
    for kind in KINDS:
        server = start_server(*COMMON_OPTIONS, kind=kind)
        for _ in range(3):
            with server.connect() as wire:
                addresses.append(print_address(wire.socket.getsockname()))
                wire.send(request_)
                assert wire.read_until_eof() == b""
        assert server.wait_for_line("SECURITY ATTACK")
        lines = re.findall(r"Possible SECURITY ATTACK.*", server.log_text())
        assert len(lines) == 1
        told.append(lines[0])
    # redis-server 7.0.15 does not say whose connection it is.
    assert told[0].replace(f"from {addresses[0]} ", "") == told[1]
    assert addresses[0] in told[0]
