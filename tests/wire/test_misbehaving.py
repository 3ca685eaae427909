"""Clients that mean harm or do not care cost the server little memory, and other clients little time.

Each test prints both, and holds them to a bound. The bounds on time are wide: a busy machine delays everybody.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from helpers.certificates import Certificates
from helpers.conversations import MARK, MARK_REPLY, say
from helpers.servers import (
    COMMON_OPTIONS,
    DEADLINE_S,
    ServerProcess,
    StartServer,
    Wire,
    encode,
    free_port,
    least_cost,
    wait_until,
)

MEGABYTE = 1 << 20
PONG = b"+PONG\r\n"
LONGEST_WAIT_S = 2.0
PING_EVERY_S = 0.002


class Witness:
    """Another client that pings throughout the with-block, and the server's memory before and at its peak."""

    def __init__(self, server: ServerProcess, what: str, most_bytes: int) -> None:
        self._server, self._what, self._most_bytes = server, what, most_bytes
        self._waits_s: list[float] = []
        self._peak_bytes = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ping)

    def __enter__(self) -> Self:
        self._before_bytes = self._server.memory_bytes("VmRSS")
        self._wire = self._server.connect()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join()
        self._wire.close()
        grown, waits = self._peak_bytes - self._before_bytes, sorted(self._waits_s)
        print(
            f"\n{self._what}: VmRSS {self._before_bytes / MEGABYTE:.1f} MB, at most {grown / MEGABYTE:+.1f} MB; "
            f"{len(waits)} PINGs of another client, median {waits[len(waits) // 2] * 1e3:.1f} ms, "
            f"longest {waits[-1] * 1e3:.1f} ms"
        )
        if error is None:
            assert grown < self._most_bytes
            assert waits[-1] < LONGEST_WAIT_S
            self._server.check_log()

    def _ping(self) -> None:
        last = False
        while not last:
            # One PING more is sent behind it all.
            last = self._is_over.is_set()
            started_s = time.monotonic()
            assert self._wire.command("PING") == PONG
            self._waits_s.append(time.monotonic() - started_s)
            self._peak_bytes = max(self._peak_bytes, self._server.memory_bytes("VmRSS"))
            self._is_over.wait(PING_EVERY_S)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """One of its own for each test, since a process seldom gives memory back."""
    with ServerProcess("kvserver", tmp_path, *COMMON_OPTIONS) as running:
        running.once("PING")
        yield running


def connected_clients(server: ServerProcess) -> int:
    with server.connect() as wire:
        return len(wire.value("CLIENT", "LIST").splitlines()) - 1


END = b"<the end of the flood>"


def flood(server: ServerProcess, data: bytes, repeats: int) -> None:
    """Send the same bytes again and again as fast as the server takes them, reading its replies, until all is answered."""
    with server.connect() as wire, selectors.DefaultSelector() as selector:
        wire.socket.setblocking(False)
        selector.register(wire.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
        left = memoryview(data)
        tail = b""
        while END not in tail:
            for _, events in selector.select(timeout=DEADLINE_S):
                if events & selectors.EVENT_READ:
                    tail = (tail + wire.socket.recv(MEGABYTE))[-2 * len(END) :]
                if events & selectors.EVENT_WRITE:
                    left = left[wire.socket.send(left) :]
                    if not left:
                        repeats -= 1
                        left = memoryview(data if repeats > 0 else encode("ECHO", END))
                    if repeats < 0:
                        selector.modify(wire.socket, selectors.EVENT_READ)


def send_without_reading(server: ServerProcess, data: bytes, repeats: int) -> int:
    """Send until the server takes no more for a while; how many bytes it took."""
    with server.connect() as wire, selectors.DefaultSelector() as selector:
        wire.socket.setblocking(False)
        selector.register(wire.socket, selectors.EVENT_WRITE)
        sent, total = 0, len(data) * repeats
        while sent < total and selector.select(timeout=1.0):
            sent += wire.socket.send(memoryview(data)[sent % len(data) :])
        return sent


# --- many bytes that mean little


@pytest.mark.parametrize(
    "name", ["line ends", "empty arrays", "inline pings", "arrays and lines", "quoted words", "escapes", "empty arguments"]
)
def test_stream_that_is_slow_to_parse_holds_up_nobody(server: ServerProcess, name: str) -> None:
    pieces = {
        "line ends": b"\n",
        "empty arrays": b"*0\r\n",
        "inline pings": b"PING\r\n",
        "arrays and lines": encode("PING") + b"PING\r\n",
        "quoted words": b"nosuch " + b"'a' " * 10_000 + b"\n",
        "escapes": b'nosuch "' + b"\\x41" * 10_000 + b'"\n',
        "empty arguments": b"*10000\r\n" + b"$0\r\n\r\n" * 10_000,
    }
    piece = pieces[name] * max(1, 100_000 // len(pieces[name]))
    with Witness(server, f"1 MB of {name}", 24 * MEGABYTE):
        flood(server, piece, MEGABYTE // len(piece))


def test_two_hundred_thousand_tiny_commands_of_each_of_five_clients_hold_up_nobody(server: ServerProcess) -> None:
    with Witness(server, "5 clients with 200,000 commands each", 32 * MEGABYTE):
        threads = [threading.Thread(target=flood, args=(server, encode("PING") * 10_000, 20)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


# The limit of a line that has no end yet, in bytes.
LINE_LIMIT = 64 * 1024


@pytest.mark.parametrize(
    ("garbage", "failure"),
    [
        (b"(" * (LINE_LIMIT + 1), b"-ERR Protocol error: too big inline request\r\n"),
        (b"\0" * (LINE_LIMIT + 1), b"-ERR Protocol error: too big inline request\r\n"),
        (b'"' * 60_000 + b"\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b'"' + b"\\" * 60_001 + b"\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"'" + b"\\'" * 30_000 + b"\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"*" + b"9" * LINE_LIMIT, b"-ERR Protocol error: too big mbulk count string\r\n"),
        (b"*1\r\n$" + b"9" * LINE_LIMIT, b"-ERR Protocol error: too big bulk count string\r\n"),
        (b"*1\r\n" * 2, b"-ERR Protocol error: expected '$', got '*'\r\n"),
    ],
    ids=lambda part: repr(part[:8]),
)
def test_deep_garbage_is_refused_with_the_exact_error(server: ServerProcess, garbage: bytes, failure: bytes) -> None:
    """At its last byte, so that the server has read all when it closes: with bytes unread, the error may be lost."""
    with Witness(server, f"50 clients with {garbage[:8]!r}…", 24 * MEGABYTE):
        for _ in range(25):
            with server.connect() as wire:
                wire.send(garbage)
                assert wire.read_until_eof() == failure
            with server.connect() as wire, suppress(ConnectionError):
                wire.send(garbage + garbage[-1:] * 200_000)
                assert wire.read_until_eof() in (failure, b"")


def test_nul_bytes_are_bytes_in_arguments_and_end_an_inline_command(server: ServerProcess) -> None:
    with Witness(server, "NUL bytes", 24 * MEGABYTE), server.connect() as wire:
        assert wire.command("SET", b"\0" * 1000, b"\0" * 100_000) == b"+OK\r\n"
        assert wire.value("GET", b"\0" * 1000) == b"\0" * 100_000
        assert wire.command(b"\0", b"\0") == b"-ERR unknown command '', with args beginning with: '' \r\n"
        wire.send(b"PING\0 what follows\r\n")
        assert wire.read_reply() == PONG
        wire.send(b"\0\n" * 100_000 + encode("PING"))
        assert wire.read_reply() == PONG


# --- what is declared, and never sent


def test_huge_declared_lengths_cost_what_was_sent(server: ServerProcess) -> None:
    claims = [
        b"*2147483647\r\n",
        b"*1\r\n$536870912\r\n",
        b"*2147483647\r\n$536870912\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
    ]
    with Witness(server, "400 clients that declare 512 MB and more", 32 * MEGABYTE), ExitStack() as stack:
        for number in range(400):
            stack.enter_context(server.connect()).send(claims[number % len(claims)] + b"x" * 1000)
        assert server.once("PING") == PONG


def test_query_buffer_limit_closes_who_never_ends_a_command(start_server: StartServer) -> None:
    server = start_server(*COMMON_OPTIONS, "--client-query-buffer-limit", "2mb")
    with Witness(server, "a command of 20 MB that never ends", 16 * MEGABYTE):
        with server.connect() as wire, suppress(ConnectionError):
            wire.send(b"*1000\r\n" + (b"$1000\r\n" + b"x" * 1000 + b"\r\n") * 990 + b"$400000000\r\n")
            wire.send(b"x" * 20 * MEGABYTE)
            assert wire.read_until_eof() == b""
        assert server.wait_for_line("it reached the query buffer limit")


# --- many connections


def test_thousand_clients_that_send_a_byte_at_a_time_are_all_served(server: ServerProcess) -> None:
    request = encode("SET", "slow", "value") + b"GET slow\r\n"
    with Witness(server, "1,000 clients, a byte at a time", 48 * MEGABYTE), ExitStack() as stack:
        wires = [stack.enter_context(server.connect()) for _ in range(1000)]
        for byte in request:
            for wire in wires:
                wire.socket.send(bytes([byte]))
        for wire in wires:
            assert wire.read_exactly(16) == b"+OK\r\n$5\r\nvalue\r\n"


def test_clients_that_come_and_go_leave_nothing_behind(server: ServerProcess) -> None:
    endings: list[Callable[[Wire], None]] = [Wire.close, Wire.reset, Wire.half_close, lambda wire: wire.send(encode("QUIT"))]
    with Witness(server, "3,000 connections", 16 * MEGABYTE):
        for number in range(3000):
            wire = server.connect()
            with suppress(ConnectionError):
                if number % 3:
                    wire.send((encode("PING"), b"*1\r\n$4\r\nPI")[number % 2])
                endings[number % len(endings)](wire)
            wire.close()
        wait_until(lambda: connected_clients(server) == 1, "all are forgotten")


def test_half_open_connections_are_closed_by_the_timeout(start_server: StartServer) -> None:
    """Clients that were there and say nothing any more, as if their machine was gone, each in the middle of a command."""
    server = start_server(*COMMON_OPTIONS, "--timeout", "1")
    with Witness(server, "300 half-open connections", 24 * MEGABYTE), ExitStack() as stack:
        wires = [stack.enter_context(server.connect()) for _ in range(300)]
        for number, wire in enumerate(wires):
            wire.send((b"*2\r\n$4\r\nECHO\r\n$100\r\n", b"PING", encode("PING"), b"")[number % 4])
        for wire in wires:
            assert wire.read_until_eof() in (b"", PONG)
        wait_until(lambda: connected_clients(server) == 1, "all are forgotten")


# --- who does not read


def test_clients_that_never_read_big_replies_cost_little_more_than_one_each(server: ServerProcess) -> None:
    count = 30
    with (
        Witness(server, f"{count} clients that ask for 100 MB each and do not read", count * 4 * MEGABYTE),
        ExitStack() as stack,
    ):
        wires = [stack.enter_context(server.connect()) for _ in range(count)]
        wires[0].command("SET", "big", b"x" * MEGABYTE)
        for wire in wires:
            wire.send(encode("GET", "big") * 100)
        with server.connect() as other:
            for _ in range(1000):
                assert other.command("PING") == PONG
        for wire in wires[: count // 2]:
            wire.reset()
        wait_until(lambda: connected_clients(server) == 1 + count - count // 2, "those that left are forgotten")


def test_sender_that_never_reads_is_not_read_from(server: ServerProcess) -> None:
    server.once("SET", "k", b"x" * 10_000)
    with Witness(server, "a sender of 400 MB of requests that never reads", 16 * MEGABYTE):
        requests = encode("GET", "k") * 4000
        assert send_without_reading(server, requests, 4000) < 16 * MEGABYTE


@pytest.mark.parametrize("limit", ["pubsub 4mb 0 0", "pubsub 16mb 1mb 1", "pubsub 50kb 0 0"], ids=["hard", "soft", "small"])
def test_subscriber_that_never_reads_is_closed_and_the_others_get_all(start_server: StartServer, limit: str) -> None:
    server = start_server(*COMMON_OPTIONS, "--client-output-buffer-limit", limit)
    text = b"x" * 10_000
    message = b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$10000\r\n%b\r\n" % text
    with (
        Witness(server, f"a subscriber that never reads, with {limit}", 64 * MEGABYTE),
        server.connect_with_a_small_buffer() as deaf,
        server.connect() as reader,
        server.connect() as publisher,
    ):
        for wire in (deaf, reader):
            wire.command("SUBSCRIBE", "news")
        receivers = 2
        deadline_s = time.monotonic() + DEADLINE_S
        while receivers == 2:
            assert time.monotonic() < deadline_s, "the one who does not read is never closed"
            receivers = publisher.value("PUBLISH", "news", text)
            assert reader.read_exactly(len(message)) == message
        assert receivers == 1
        assert server.wait_for_line("bytes of replies unread")
        assert publisher.command("PING") == PONG


def test_monitor_that_never_reads_is_closed(start_server: StartServer) -> None:
    server = start_server(*COMMON_OPTIONS, "--client-output-buffer-limit", "normal 4mb 0 0")
    with (
        Witness(server, "a monitor that never reads", 32 * MEGABYTE),
        server.connect_with_a_small_buffer() as deaf,
        server.connect() as busy,
    ):
        deaf.command("MONITOR")
        wait_until(
            lambda: busy.command("ECHO", b"x" * 20_000)[:1] == b"$" and "bytes of replies unread" in server.log_text(),
            "the monitor is closed",
        )


# --- TLS


def test_what_is_no_tls_costs_little(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    port = free_port()
    options = (*COMMON_OPTIONS, "--tls-port", str(port), *certificates.options())
    with (
        ServerProcess("kvserver", tmp_path, *options) as server,
        Witness(server, "600 connections that are no TLS", 48 * MEGABYTE),
    ):
        for number in range(600):
            sent = (encode("PING"), b"\x16\x03\x01\x00\x64" + b"\0" * 100, b"\x16", b"")[number % 4]
            with Wire(port) as wire:
                wire.send(sent)
                if number % 8 < 4:
                    wire.reset()
                elif len(sent) > 1:
                    assert b"PONG" not in wire.read_until_eof(), "it is closed, and nothing of it was served"
        with ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(Wire(port)).send(b"\x16\x03\x01\x00\xff")
            context = certificates.client_context("stranger")
            for _ in range(20):
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE_S))
                # It may learn of its refusal with the handshake or behind it, as an error or as an end.
                with suppress(ssl.SSLError, ConnectionError), context.wrap_socket(raw, server_hostname="127.0.0.1") as wrapped:
                    wrapped.sendall(encode("PING"))
                    assert wrapped.recv(10) == b"", "a stranger is served"
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE_S))
            with certificates.client_context().wrap_socket(raw, server_hostname="127.0.0.1") as wrapped:
                wrapped.sendall(encode("PING"))
                assert wrapped.recv(10) == PONG
        wait_until(lambda: connected_clients(server) == 1, "all are forgotten")
        assert server.once("PING") == PONG


# --- what costs nobody else anything


MEMORY_MARGIN = 24 * MEGABYTE


@pytest.mark.parametrize(
    "sent",
    [
        encode("SET", "k", "value")[:-3],
        b"*3\r\n$3\r\nSET",
        b"PING",
        encode("GET", "big") * 300,
        encode("SAVE"),
        encode("BGSAVE") + encode("GET", "big") * 20,
    ],
    ids=["cut value", "cut name", "cut inline", "unread replies", "unread save", "unread background save"],
)
def test_reset_in_the_middle_leaves_the_others_served(kvserver: ServerProcess, sent: bytes) -> None:
    with kvserver.connect() as other:
        other.command("SET", "big", b"x" * MEGABYTE)
        for _ in range(20):
            wire = kvserver.connect()
            wire.send(sent)
            assert other.command("PING") == b"+PONG\r\n"
            wire.reset()
        wait_until(lambda: connected_clients(kvserver) == 1, "clients that were reset are forgotten")
        assert other.command("EXISTS", "k", "big") == b":1\r\n"


@pytest.mark.parametrize(
    "claim",
    [
        b"*100000000\r\n",
        b"*2147483647\r\n$4\r\nPING\r\n",
        b"*2\r\n$4\r\nECHO\r\n$500000000\r\n",
        b"*3\r\n$3\r\nSET\r\n$536870912\r\nabc",
        b"*1\r\n$536870912\r\n",
    ],
)
def test_what_a_client_declares_is_not_allocated(kvserver: ServerProcess, claim: bytes) -> None:
    """Several hundred such clients may cost what several hundred connections cost, and no more."""
    resident, peak = kvserver.memory_bytes("VmRSS"), kvserver.memory_bytes("VmHWM")
    with ExitStack() as stack:
        other = stack.enter_context(kvserver.connect())
        for _ in range(300):
            stack.enter_context(kvserver.connect()).send(claim)
        assert other.command("PING") == b"+PONG\r\n"
        assert kvserver.memory_bytes("VmRSS") < resident + MEMORY_MARGIN
        assert kvserver.memory_bytes("VmHWM") < peak + MEMORY_MARGIN
    assert kvserver.once("PING") == b"+PONG\r\n"


def test_slow_reader_gets_all_and_costs_others_neither_memory_nor_time(start_server: StartServer) -> None:
    """400 MB of replies are asked for at once by a client that doesn't read them at first."""
    count, value = 400, b"x" * MEGABYTE
    reply = b"$%d\r\n%s\r\n" % (len(value), value)
    server = start_server("--save", "", "--appendonly", "no")
    with server.connect() as slow, server.connect() as other:
        slow.command("SET", "k", value)
        peak = server.memory_bytes("VmHWM")

        def longest_wait_s() -> float:
            slow.send(encode("GET", "k") * count)
            longest_s = max(server.work_during_s(lambda: ping(other)) for _ in range(2_000))
            for index in range(count):
                assert slow.read_exactly(len(reply)) == reply, f"reply {index}"
            return longest_s

        assert least_cost(longest_wait_s, 0.2) < 0.2
        assert slow.command("ECHO", MARK) == MARK_REPLY
        assert server.memory_bytes("VmHWM") < peak + 64 * MEGABYTE


def test_sender_that_never_reads_is_held_back(start_server: StartServer) -> None:
    """It sends until the server takes no more; the memory of the server stays bounded."""
    server = start_server("--save", "", "--appendonly", "no")
    with server.connect() as flood, server.connect() as other:
        other.command("SET", "k", b"x" * 100_000)
        peak = server.memory_bytes("VmHWM")
        requests = memoryview(encode("GET", "k") * 40_000)
        flood.socket.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(flood.socket, selectors.EVENT_WRITE)
            sent = 0
            while sent < len(requests) and selector.select(timeout=0.5):
                sent += flood.socket.send(requests[sent:])
        assert other.command("PING") == b"+PONG\r\n"
        assert server.memory_bytes("VmHWM") < peak + 64 * MEGABYTE


def ping(wire: Wire) -> None:
    assert wire.command("PING") == b"+PONG\r\n"


def pump(server: ServerProcess, requests: bytes, reply_bytes: int) -> float:
    """Sends and reads as fast as the server takes and gives; the most work that another client's PING waited for."""
    with server.connect() as busy, server.connect() as other, selectors.DefaultSelector() as selector:
        busy.socket.setblocking(False)
        selector.register(busy.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
        to_send = memoryview(requests)
        received = 0
        longest_s = 0.0
        while received < reply_bytes:
            for _, events in selector.select(timeout=DEADLINE_S):
                if events & selectors.EVENT_READ:
                    received += len(busy.socket.recv(MEGABYTE))
                if events & selectors.EVENT_WRITE:
                    to_send = to_send[busy.socket.send(to_send[:MEGABYTE]) :]
                    if not to_send:
                        selector.modify(busy.socket, selectors.EVENT_READ)
            longest_s = max(longest_s, server.work_during_s(lambda: ping(other)))
        return longest_s


def test_long_pipeline_costs_the_others_no_time_and_the_server_no_memory(start_server: StartServer) -> None:
    """The commands that were read and have not run yet must be bounded, and no tick may run or parse all of them."""
    count = 100_000
    server = start_server("--save", "", "--appendonly", "no")
    peak = server.memory_bytes("VmHWM")

    def longest_wait_s() -> float:
        return pump(server, (encode("SET", "k", "v") + encode("STRLEN", "k")) * count, len(b"+OK\r\n:1\r\n") * count)

    # The wait is 0.03 s, and would be 0.16 s if one turn ran all commands that have come.
    assert least_cost(longest_wait_s, 0.1) < 0.1
    assert server.memory_bytes("VmHWM") < peak + MEMORY_MARGIN


def test_command_in_a_long_pipeline_costs_what_it_costs_in_a_short_one(start_server: StartServer) -> None:
    server = start_server("--save", "", "--appendonly", "no")

    def cost_s(pipelines: int, length: int) -> float:
        started_s = server.processor_time_s()
        for _ in range(pipelines):
            pump(server, encode("SET", "k", "v") * length, len(b"+OK\r\n") * length)
        return server.processor_time_s() - started_s

    # The least of either: what a busy machine adds to one of them must not tell for or against the other.
    long_s, short_s = (min(cost_s(*shape) for _ in range(3)) for shape in ((1, 200_000), (200, 1_000)))
    assert long_s < 3 * short_s


# --- who is closed


def test_http_request_ends_the_connection(kvserver: ServerProcess) -> None:
    """Redis loses the reply to the line before `Host:` at times, so it can't be compared."""
    replies = say(kvserver, b"GET / HTTP/1.1\r\nHost: localhost\r\nSET k v\r\n\r\n")
    assert replies in (b"", b"-ERR wrong number of arguments for 'get' command\r\n")
    assert kvserver.once("EXISTS", "k") == b":0\r\n"


def test_clients_over_the_limit_get_the_error_of_redis(start_server: StartServer) -> None:
    replies = []
    for kind in ("kvserver", "redis-server"):
        server = start_server("--maxclients", "2", "--save", "", kind=kind)
        with server.connect() as first, server.connect() as second:
            assert first.command("PING") == second.command("PING") == b"+PONG\r\n"
            with server.connect() as third:
                replies.append(third.read_until_eof())
            assert first.command("PING") == b"+PONG\r\n"

        def accepted(server: ServerProcess = server) -> bool:
            with server.connect() as wire:
                wire.send(encode("PING"))
                return wire.read_reply() == b"+PONG\r\n"

        wait_until(accepted, "a place that became free is given to the next client")
    ours, theirs = replies
    assert ours == theirs != b""


def test_idle_client_is_closed_and_busy_one_is_kept(start_server: StartServer) -> None:
    server = start_server("--timeout", "1", "--save", "")
    with server.connect() as idle, server.connect() as busy, selectors.DefaultSelector() as selector:
        started = time.monotonic()
        assert idle.command("PING") == b"+PONG\r\n"
        selector.register(idle.socket, selectors.EVENT_READ)
        while not selector.select(timeout=0.1):
            assert busy.command("PING") == b"+PONG\r\n"
            assert time.monotonic() - started < 15, "the idle client was never closed"
        assert idle.read_until_eof() == b""
        assert time.monotonic() - started > 0.9
        assert busy.command("PING") == b"+PONG\r\n"
