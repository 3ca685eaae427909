"""Requests are sent ahead of their replies, up to a bound; what fails is told in one line."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import hiredis
import pytest

from helpers.certificates import Certificates
from helpers.servers import ServerProcess, StartServer, free_port
from kvserver.errors import TransferError
from kvserver.transfer import connection
from kvserver.transfer.connection import Connection, Login, is_server, login_of


def test_urls_of_servers_are_known() -> None:
    assert all(map(is_server, ("redis://h", "rediss://h", "unix:///path", "REDIS://h:1")))
    assert not any(map(is_server, ("redis", "data", "nats://h", "s3://b", "file:x", "unix")))


def test_replies_come_to_those_who_take_them_in_order(kvserver: ServerProcess) -> None:
    found: list[Any] = []
    with Connection(f"redis://127.0.0.1:{kvserver.port}") as link:
        for number in range(5000):
            link.send([b"SET", b"k%d" % number, b"x" * 2000], found.append)
            assert number - len(found) < connection.MOST_REQUESTS
        link.send([b"GET", b"k7"], found.append)
        link.send([b"INCR", b"k7"], found.append)
        link.settle()
        assert found[:5000] == [b"OK"] * 5000
        assert found[5000] == b"x" * 2000
        assert isinstance(found[5001], hiredis.ReplyError)
        assert link.call(b"DBSIZE") == 5000
        with pytest.raises(TransferError, match=rf"redis://127\.0\.0\.1:{kvserver.port} answers INCR: ERR value is not"):
            link.call(b"INCR", b"k7")


def test_what_is_in_flight_is_bounded() -> None:
    """A server that answers nothing is not sent more than the bound."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = Connection(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        peer, _ = listener.accept()
        sent = threading.Event()

        def send() -> None:
            for _ in range(connection.MOST_REQUESTS):
                link.send([b"PING"], lambda reply: None)
            sent.set()
            link.send([b"LAST"], lambda reply: None)

        sender = threading.Thread(target=send)
        sender.start()
        assert sent.wait(20)
        received = b""
        while received.count(b"PING") < connection.MOST_REQUESTS:
            received += peer.recv(1 << 16)
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        peer.settimeout(20)
        peer.sendall(b"+PONG\r\n")
        assert b"LAST" in peer.recv(1 << 16)
        sender.join()
        peer.close()
        link.close()


def test_password_is_sent_and_never_told(start_server: StartServer) -> None:
    server = start_server("--requirepass", "s3cret/x")
    with Connection(f"redis://:s3cret%2Fx@127.0.0.1:{server.port}") as link:
        assert link.call(b"PING") == b"PONG"
    with pytest.raises(TransferError) as failed:
        Connection(f"redis://:wr0ng@127.0.0.1:{server.port}")
    assert "WRONGPASS" in str(failed.value)
    assert "wr0ng" not in str(failed.value)


def test_unix_socket_is_spoken(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "kv.sock"
    start_server("--unixsocket", str(path))
    with Connection(f"unix://{path}?db=0") as link:
        assert link.call(b"PING") == b"PONG"
        assert link.url == f"unix://{path}"


def test_tls_is_spoken_with_those_whom_the_system_trusts(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates, port = Certificates(tmp_path), free_port()
    start_server("--tls-port", str(port), *certificates.options(), "--tls-auth-clients", "no")
    with pytest.raises(TransferError, match=rf"cannot connect to rediss://127\.0\.0\.1:{port}: .*certificate verify failed"):
        Connection(f"rediss://127.0.0.1:{port}")
    monkeypatch.setenv("SSL_CERT_FILE", certificates.path("authority.crt"))
    with Connection(f"rediss://127.0.0.1:{port}") as link:
        assert link.call(b"PING") == b"PONG"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://127.0.0.1:99999", "a port that is none"),
        ("redis://127.0.0.1:x", "a port that is none"),
        ("redis://127.0.0.1/3", "names a database"),
        ("unix:///nowhere?db=2", "names a database"),
        ("unix:///nowhere", "cannot connect to unix:///nowhere: No such file"),
    ],
)
def test_url_that_means_no_server_is_told(url: str, told: str) -> None:
    with pytest.raises(TransferError, match=told):
        Connection(url)


def test_password_without_a_user_is_one_word_as_redis_takes_it_before_version_6() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sent: list[bytes] = []

        def answer() -> None:
            for _ in range(2):
                peer, _ = listener.accept()
                with peer:
                    sent.append(peer.recv(1 << 16))
                    peer.sendall(b"+OK\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        for login in (":pw", "me:pw"):
            Connection(f"redis://{login}@127.0.0.1:{listener.getsockname()[1]}").close()
        answering.join(20)
    assert sent == [b"*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n", b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n"]


@pytest.mark.parametrize("url", ["redis://a..b", f"redis://{'a' * 64}", "unix:///a%00b"])
def test_name_that_no_host_can_have_is_told(url: str) -> None:
    with pytest.raises(TransferError, match="cannot connect to "):
        Connection(url)


def test_server_that_is_not_there_or_goes_is_told() -> None:
    port = free_port()
    with pytest.raises(TransferError, match=rf"cannot connect to redis://127\.0\.0\.1:{port}: Connection refused"):
        Connection(f"redis://127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = Connection(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"?what\r\n")
            with link, pytest.raises(TransferError, match="no reply from redis://"):
                link.call(b"PING")
        link = Connection(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        listener.accept()[0].close()
        with link, pytest.raises(TransferError, match=r"has closed the connection|no reply from"):
            link.call(b"PING")


def test_way_to_a_server_is_read_off_its_url() -> None:
    assert login_of("redis://me:p%40ss@host:1") == Login("host", 1, "me", "p@ss", is_secure=False)
    assert login_of("rediss://:secret@[::1]") == Login("::1", 6379, "", "secret", is_secure=True)
    assert login_of("redis://") == Login("127.0.0.1", 6379, "", "", is_secure=False)
    with pytest.raises(TransferError, match="a server on a Unix socket can't be followed by another one"):
        login_of("unix:///tmp/socket")


def test_fields_of_info_are_read(kvserver: ServerProcess) -> None:
    with Connection(f"redis://127.0.0.1:{kvserver.port}") as connection:
        assert connection.info("replication")["role"] == "master"
        assert connection.info("no such section") == {}


def test_socket_is_handed_over_behind_all_replies(kvserver: ServerProcess) -> None:
    connection = Connection(f"redis://127.0.0.1:{kvserver.port}")
    replies: list[object] = []
    connection.send([b"PING"], replies.append)
    with connection.detach() as link:
        assert replies == [b"PONG"]
        link.sendall(b"PING\r\n")
        assert link.recv(100) == b"+PONG\r\n"
