"""Who may connect and what a client may take: protected mode, passwords, counts, times and sizes, beside redis-server."""

from __future__ import annotations

import os
import re
import resource
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
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
    failed_start,
    free_port,
    info,
    kvserver_command,
    kvserver_environment,
    need_program,
    wait_until,
)
from kvserver.network.clients import print_address
from kvserver.network.listeners import bind_unix, listen
from kvserver.options.kinds import AUTO_PORT

KINDS: tuple[Kind, Kind] = ("kvserver", "redis-server")
MEGABYTE = 1 << 20
PONG = b"+PONG\r\n"
FAR_ADDRESS = "127.0.0.2"  # of this machine, too, but neither server takes it for local


def connect_from(server: ServerProcess, source: str) -> Wire:
    connected = socket.create_connection(("127.0.0.1", server.port), DEADLINE_S, source_address=(source, 0))
    return Wire(server.port, connected=connected)


def connect_to_path(path: Path) -> Wire:
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.connect(str(path))
    except OSError:
        connected.close()
        raise
    return Wire(0, connected=connected)


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
                with suppress(ConnectionError):  # it may be closed already
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
            requests = encode("GET", "k") * 100

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
    """What an unknown client may send is little, but this one is known from its first command on."""
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


# --- where it listens


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
        assert server.wait_for_line(f"listening on 127.0.0.1:{port}")
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


# --- what is left unread


def ask_without_reading(server: ServerProcess, wire: Wire, value_bytes: int, count: int) -> None:
    with server.connect() as other:
        other.command("SET", "k", b"x" * value_bytes)
    wire.send(encode("GET", "k") * count)


def gets_all(wire: Wire, value_bytes: int, count: int) -> bool:
    """Whether the replies to what `ask_without_reading` has asked come, each whole, and nothing else does."""
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
        started_at = time.monotonic()  # before there is anything unread: a busy machine makes it later only
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
    """What is more than the limit when a batch of commands has run is not sent; a transaction has run to its end."""
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
                    told.append(len(wire.read_until_eof()) < 100)  # the header of a long one may have left
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
            least = 10 * MEGABYTE if kind == "redis-server" else 0  # kvserver runs nothing more of who does not read
            wire.send(encode("GET", "k") * 30)

            def are_told(other: Wire = other, least: int = least, kind: str = kind) -> bool:
                """As soon as the system takes no more of them."""
                unread = fields_of(other, "wire")
                if int(unread["omem"]) <= least or int(unread["oll"]) == 0 or int(unread["tot-mem"]) <= int(unread["omem"]):
                    return False
                if kind == "redis-server":  # it counts the others some times a second
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
    assert told[0].replace(f"from {addresses[0]} ", "") == told[1]  # whose connection, 7.0.15 does not say
    assert addresses[0] in told[0]


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


# --- listening


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_taken_port_fails_in_one_line(taken_port: int) -> None:
    line = failed_start("--port", str(taken_port))
    assert line == f"kvserver: cannot listen on 127.0.0.1:{taken_port}: Address already in use"


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
    line = server.wait_for_line("Ready to accept connections on 127.0.0.1:")
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
