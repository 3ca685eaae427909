"""SAVE, BGSAVE, LASTSAVE, RESTORE without arguments and SHUTDOWN do what they say, as a client sees it."""

from __future__ import annotations

import time

import pytest

from helpers.servers import ServerProcess, StartServer, encode, wait_until

MEGABYTE = 1 << 20


@pytest.mark.parametrize(("protocol", "true", "false"), [(2, b":1\r\n", b":0\r\n"), (3, b"#t\r\n", b"#f\r\n")])
def test_true_and_false_have_the_kind_of_the_protocol(
    start_server: StartServer, protocol: int, true: bytes, false: bytes
) -> None:
    server = start_server("--shutdown-mode", "flush", "--save", "", "--appendonly", "no")
    with server.connect() as wire, server.connect() as other:
        wire.command("HELLO", protocol)
        assert wire.command("RESTORE") == false
        assert wire.command("SET", "k", "1") == b"+OK\r\n"
        assert wire.command("SHUTDOWN") == true
        assert wire.command("SET", "k", "2") == b"+OK\r\n"
        assert wire.command("SET", "l", "2") == b"+OK\r\n"
        assert wire.command("RESTORE") == true
        assert wire.command("GET", "k") == b"$1\r\n1\r\n"
        assert wire.command("DBSIZE") == b":1\r\n"
        assert other.command("GET", "k") == b"$1\r\n1\r\n"


def test_restore_in_a_pipeline_keeps_the_order_of_replies(start_server: StartServer) -> None:
    server = start_server("--shutdown-mode", "flush", "--save", "", "--appendonly", "no")
    requests = [
        (encode("SET", "k", "1"), b"+OK\r\n"),
        (encode("SHUTDOWN"), b":1\r\n"),
        (encode("SET", "k", "2"), b"+OK\r\n"),
        (encode("GET", "k"), b"$1\r\n2\r\n"),
        (encode("RESTORE"), b":1\r\n"),
        (encode("GET", "k"), b"$1\r\n1\r\n"),
        (encode("SET", "l", "3"), b"+OK\r\n"),
        (encode("SAVE"), b"+OK\r\n"),
        (encode("DEBUG", "CRASH"), b"+OK\r\n"),
        (encode("FLUSHALL"), b"+OK\r\n"),
        (encode("RESTORE"), b":1\r\n"),
        (encode("DBSIZE"), b":2\r\n"),
    ]
    with server.connect() as wire:
        wire.send(b"".join(request for request, _ in requests))
        assert [wire.read_reply() for _ in requests] == [reply for _, reply in requests]


def test_shutdown_closes_every_connection_without_a_reply_and_exits_0(start_server: StartServer) -> None:
    server = start_server("--save", "")
    with server.connect() as wire, server.connect() as other:
        assert other.command("SET", "k", "v") == b"+OK\r\n"
        wire.send(encode("PING") + encode("SHUTDOWN") + encode("PING"))
        assert wire.read_until_eof() == b"+PONG\r\n"
        assert other.read_until_eof() == b""
    assert server.wait() == 0


def test_lastsave_moves_with_a_save(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        before = wire.value("LASTSAVE")
        assert wire.command("SAVE") == b"+OK\r\n"
        after = wire.value("LASTSAVE")
        assert before <= after <= time.time() + 1
        assert abs(after - time.time()) < 60


def test_bgsave_answers_at_once_and_completes(start_server: StartServer) -> None:
    server = start_server("--save", "")
    with server.connect() as wire:
        wire.command("SET", "k", b"x" * MEGABYTE)
        assert wire.command("BGSAVE") == b"+Background saving started\r\n"
        wait_until(
            lambda: b"rdb_bgsave_in_progress:0\r\n" in wire.value("INFO", "persistence"),
            "the background save ends",
        )
        assert b"rdb_last_bgsave_status:ok\r\n" in wire.value("INFO", "persistence")
        server.kill()
    again = start_server("--save", "", directory=server.directory)
    assert again.once("GET", "k") == b"$%d\r\n%s\r\n" % (MEGABYTE, b"x" * MEGABYTE)
