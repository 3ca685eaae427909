"""The proxy of the tests delays, stalls and cuts as it is told, and changes nothing else."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from helpers.proxy import Proxy


class Echo(socketserver.BaseRequestHandler):
    """Answers what it gets, and notes it."""

    got: bytearray

    def handle(self) -> None:
        try:
            while data := self.request.recv(1 << 16):
                self.got.extend(data)
                self.request.sendall(data)
        except OSError:
            pass


@contextmanager
def echo() -> Iterator[tuple[int, bytearray]]:
    class Noting(Echo):
        got = bytearray()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Noting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1], Noting.got
        server.shutdown()
        thread.join()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def read_exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length and (chunk := connection.recv(1 << 16)):
        data += chunk
    return data


def test_bytes_pass_in_their_order_also_while_the_delay_changes() -> None:
    sent = random.Random(0).randbytes(3 << 20)
    with echo() as (port, _), Proxy(port) as proxy, connect(proxy) as connection:

        def send() -> None:
            for start in range(0, len(sent), 1 << 16):
                proxy.delay_s = (start >> 16) % 3 * 0.01
                connection.sendall(sent[start : start + (1 << 16)])

        sender = threading.Thread(target=send)
        sender.start()
        assert read_exactly(connection, len(sent)) == sent
        sender.join()
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""


def test_it_delays_each_way() -> None:
    with echo() as (port, _), Proxy(port) as proxy, connect(proxy) as connection:
        proxy.delay_s = 0.05
        began_at = time.monotonic()
        connection.sendall(b"hello")
        assert read_exactly(connection, 5) == b"hello"
        assert time.monotonic() - began_at >= 0.1


def test_it_stalls_until_it_flows() -> None:
    with echo() as (port, got), Proxy(port) as proxy, connect(proxy) as connection:
        connection.sendall(b"a")
        assert connection.recv(10) == b"a"
        proxy.stall()
        connection.sendall(b"b")
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        assert got == b"a"
        proxy.flow()
        connection.settimeout(10)
        assert connection.recv(10) == b"b"


def test_it_cuts_and_lets_clients_come_back() -> None:
    with echo() as (port, _), Proxy(port) as proxy:
        with connect(proxy) as connection:
            connection.sendall(b"a")
            assert connection.recv(10) == b"a"
            assert proxy.cut() == 1
            with pytest.raises(ConnectionError):
                assert connection.recv(10)
        with connect(proxy) as connection:
            connection.sendall(b"b")
            assert connection.recv(10) == b"b"


def test_it_refuses() -> None:
    with echo() as (port, got), Proxy(port) as proxy:
        proxy.refuses = True
        with connect(proxy) as connection, pytest.raises(ConnectionError):
            assert connection.recv(10)
        assert not got


def test_it_loses_an_answer_that_the_server_has_sent() -> None:
    with echo() as (port, got), Proxy(port) as proxy, connect(proxy) as other, connect(proxy) as connection:
        lost = proxy.lose_answer(of=b"put")
        connection.sendall(b"get")
        assert connection.recv(10) == b"get"
        assert not lost.is_set()
        connection.sendall(b"a put")
        assert lost.wait(10)
        with pytest.raises(ConnectionError):
            assert connection.recv(10)
        assert got == b"geta put"
        # Nobody else is cut, and no other answer is lost.
        other.sendall(b"put")
        assert other.recv(10) == b"put"


def test_no_more_passes_than_the_limit_says() -> None:
    sent = random.Random(1).randbytes(300_000)
    with echo() as (port, _), Proxy(port, 1_000_000) as proxy, connect(proxy) as connection:
        started = time.monotonic()
        connection.sendall(sent)
        assert read_exactly(connection, len(sent)) == sent
        assert time.monotonic() - started > 0.3
