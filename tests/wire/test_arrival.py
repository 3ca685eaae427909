"""Requests arrive in parts, with an end behind them, or many at once, and the replies do not show it."""

from __future__ import annotations

import random

import pytest

from helpers.conversations import MARK, MARK_REPLY, send_in_parts
from helpers.servers import ServerProcess, encode, parse, split_replies

MEGABYTE = 1 << 20

SPLIT_PIPELINE = (
    encode("FLUSHALL")
    + encode("SET", "key", "a value\r\n with a line end")
    + encode("GET", "key")
    + b"SET inline 'two words'\r\n"
    + b"\r\nGET inline\n"
    + b"*0\r\n"
    + encode("NOSUCH", "x")
    + encode("DEL", "key", "inline", "missing")
    + encode("ECHO", b"\xff\0\r\n")
)

SPLIT_ERRORS = {
    "a bad count": encode("PING") + b"*1x\r\n" + encode("PING"),
    "a bad length": encode("PING") + b"*2\r\n$4\r\nECHO\r\n$-5\r\nPING\r\n",
    "another type": encode("PING") + b"*2\r\n$4\r\nECHO\r\n:5\r\nPING\r\n",
    "an open quote": encode("PING") + b'ECHO "abc\r\nPING\r\n',
    "quit": encode("PING") + encode("QUIT") + encode("PING"),
}


def test_request_split_at_every_byte_gives_the_same_replies(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire, kvserver.connect() as other:
        wire.send(SPLIT_PIPELINE)
        expected = [wire.read_reply() for _ in range(8)]
        assert expected[-1] == b"$4\r\n\xff\0\r\n\r\n"
        for at in range(1, len(SPLIT_PIPELINE)):
            send_in_parts(wire, other, [SPLIT_PIPELINE[:at], SPLIT_PIPELINE[at:]])
            assert [wire.read_reply() for _ in expected] == expected, f"split at {at}"
        assert wire.command("ECHO", MARK) == MARK_REPLY


def test_request_sent_byte_by_byte_gives_the_same_replies(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire, kvserver.connect() as other:
        wire.send(SPLIT_PIPELINE)
        expected = [wire.read_reply() for _ in range(8)]
        send_in_parts(wire, other, [SPLIT_PIPELINE[at : at + 1] for at in range(len(SPLIT_PIPELINE))])
        assert [wire.read_reply() for _ in expected] == expected
        assert wire.command("ECHO", MARK) == MARK_REPLY


@pytest.mark.parametrize("name", SPLIT_ERRORS)
def test_connection_ended_by_a_split_request_ends_the_same(kvserver: ServerProcess, name: str) -> None:
    payload = SPLIT_ERRORS[name]
    with kvserver.connect() as whole:
        whole.send(payload)
        expected = whole.read_until_eof()
    assert expected.startswith(b"+PONG\r\n")
    assert expected.count(b"PONG") == 1
    for at in range(1, len(payload)):
        with kvserver.connect() as wire, kvserver.connect() as other:
            send_in_parts(wire, other, [payload[:at], payload[at:]])
            assert wire.read_until_eof() == expected, f"split at {at}"


def test_value_sent_in_many_parts_arrives_whole(kvserver: ServerProcess) -> None:
    value = random.Random(1).randbytes(3 * MEGABYTE)
    request = encode("SET", "k", value)
    with kvserver.connect() as wire, kvserver.connect() as other:
        send_in_parts(wire, other, [request[at : at + 100_003] for at in range(0, len(request), 100_003)])
        assert wire.read_reply() == b"+OK\r\n"
        assert wire.value("GET", "k") == value


def test_half_close_still_gets_every_reply(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        wire.send(b"".join(encode("ECHO", i) for i in range(10_000)))
        wire.half_close()
        assert [parse(raw) for raw in split_replies(wire.read_until_eof())] == [b"%d" % i for i in range(10_000)]


def test_half_close_still_gets_replies_that_fill_every_buffer(kvserver: ServerProcess) -> None:
    reply = b"$%d\r\n%s\r\n" % (MEGABYTE, b"x" * MEGABYTE)
    with kvserver.connect() as wire:
        wire.command("SET", "k", b"x" * MEGABYTE)
        wire.send(encode("GET", "k") * 32)
        wire.half_close()
        assert wire.read_until_eof() == reply * 32


def test_half_close_in_the_middle_of_a_request_closes_without_a_reply(kvserver: ServerProcess) -> None:
    request = encode("SET", "k", "value")
    for at in range(len(request)):
        with kvserver.connect() as wire:
            wire.send(request[:at])
            wire.half_close()
            assert wire.read_until_eof() == b"", f"cut at {at}"
    assert kvserver.once("EXISTS", "k") == b":0\r\n"


def test_quit_behind_a_big_reply_lets_it_arrive(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        wire.command("SET", "k", b"x" * MEGABYTE)
        wire.send(encode("GET", "k") * 16 + encode("QUIT"))
        assert wire.read_until_eof() == b"$%d\r\n%s\r\n" % (MEGABYTE, b"x" * MEGABYTE) * 16 + b"+OK\r\n"


# --- clients that do wrong


@pytest.mark.parametrize("odd", [encode("SAVE"), encode("GET", "long")], ids=["an effect", "replies that are not read"])
def test_pipeline_of_more_than_one_turn_goes_on_behind_what_made_it_wait(kvserver: ServerProcess, odd: bytes) -> None:
    with kvserver.connect() as wire:
        assert wire.command("SET", "long", "x" * 100_000) == b"+OK\r\n"
        wire.send((encode("PING") * 100 + odd) * 40)
        for _ in range(40):
            for _ in range(100):
                assert wire.read_reply() == b"+PONG\r\n"
            assert wire.read_reply()[:1] in b"+$"
