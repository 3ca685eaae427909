"""SLOWLOG, LATENCY and INFO tell of the commands that a server ran: their times, calls, hits and misses."""

from __future__ import annotations

import re
import selectors
import time
from typing import Any

import pytest

from helpers.conversations import MARK
from helpers.servers import ServerProcess, StartServer, encode, parse

SLOWLOG_STEPS: list[tuple[str | bytes, ...]] = [
    ("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "8"),
    ("CLIENT", "SETNAME", "me"),
    ("AUTH", "secret"),
    ("HELLO", "2", "AUTH", "default", "secret"),
    ("CONFIG", "SET", "requirepass", "", "timeout", "0"),
    ("SET", "k", "v" * 200),
    ("SET", "k", "v", "nonsense"),
    ("NOSUCH", "x"),
    ("GET",),
    ("DEL", *(f"k{number}" for number in range(40))),
    ("GET", "k"),
    ("CONFIG", "GET", "nosuch"),
    ("config", "nosuch"),
]


def test_slowlog_keeps_what_redis_keeps(start_server: StartServer) -> None:
    kept: list[list[Any]] = []
    for kind in ("kvserver", "redis-server"):
        with start_server("--save", "", kind=kind).connect() as wire:
            for step in SLOWLOG_STEPS:
                wire.command(*step)
            entries = wire.value("SLOWLOG", "GET", "-1")
            kept.append([(number, words, name) for number, _, _, words, _, name in entries])
            _, at_s, _, _, address, _ = entries[0]
            assert abs(at_s - time.time()) < 60
            assert address == b"%b:%d" % (wire.socket.getsockname()[0].encode(), wire.socket.getsockname()[1])
            assert wire.value("SLOWLOG", "LEN") == 8
            wire.command("CONFIG", "SET", "slowlog-max-len", "2")
            wire.command("CONFIG", "SET", "slowlog-log-slower-than", "-1")
            assert wire.value("SLOWLOG", "LEN") == 2
            # What a RESET empties has the RESET itself as its first entry.
            wire.command("CONFIG", "SET", "slowlog-max-len", "8", "slowlog-log-slower-than", "0")
            wire.send(encode("SLOWLOG", "RESET") + encode("SLOWLOG", "LEN") + encode("PING") + encode("SLOWLOG", "RESET"))
            kept[-1] += [parse(wire.read_reply()) for _ in range(4)]
            kept[-1] += [wire.value("SLOWLOG", "LEN"), [entry[3] for entry in wire.value("SLOWLOG", "GET")]]
            wire.send(encode("MULTI") + encode("SLOWLOG", "RESET") + encode("CONFIG", "SET", "timeout", "0") + encode("EXEC"))
            kept[-1] += [parse(wire.read_reply()) for _ in range(4)]
            kept[-1] += [entry[3] for entry in wire.value("SLOWLOG", "GET")]
    ours, theirs = kept
    assert ours == theirs


def test_calls_are_counted_exactly_as_redis_counts_them(start_server: StartServer) -> None:
    """Whatever comes in one read, fails, is refused, or is named in another case."""
    steps = [
        encode("CONFIG", "RESETSTAT"),
        encode("SET", "k", "v") * 130 + encode("get", "k") * 70 + encode("GET", "k") * 3,
        encode("GeT", "k") + encode("PING") + encode("SET", "k") + encode("SET", "k", "v", "nonsense") + encode("NOSUCH"),
        encode("CONFIG", "GET", "timeout") + encode("CONFIG", "NOSUCH") + encode("CONFIG", "GET") + encode("DEBUG", "NOSUCH"),
        encode("DEL", *range(300)) + encode("EXISTS", "k") + encode("DEBUG", "SLEEP", "0") + encode("GET", "k") * 5,
        encode("SET", "k", "v") + encode("SAVE") + encode("GET", "k"),
        encode("MULTI") + encode("SET", "k", "v") + encode("GET", "k") * 3 + encode("NOSUCH") + encode("EXEC"),
        encode("MULTI") + encode("SET", "k", "v") + encode("GET", "k") * 3 + encode("SET", "k", "v", "x") + encode("EXEC"),
        encode("MULTI") + encode("GET", "k") + encode("DISCARD"),
        encode("GET", "k") + encode("INFO", "commandstats") + encode("GET", "k"),
    ]
    told = []
    for kind in ("kvserver", "redis-server"):
        with start_server("--save", "", "--enable-debug-command", "local", kind=kind).connect() as wire:
            for step in steps:
                wire.send(step + encode("ECHO", MARK))
                while parse(wire.read_reply()) != MARK:
                    pass
            found = {}
            for line in wire.value("INFO", "commandstats", "errorstats").decode().split("\r\n"):
                name, _, values = line.partition(":")
                fields = dict(field.split("=") for field in values.split(",") if field)
                found[name] = {field: count for field, count in fields.items() if "usec" not in field}
            told.append(found)
    ours, theirs = told
    assert ours == theirs


READS = """SET a 1|BITFIELD a GET u8 0|BITFIELD a SET u8 0 1|BITFIELD none GET u8 0|BITFIELD_RO a GET u8 0|BITOP OR d a none
DUMP a|DUMP none|COPY a b|COPY none c|GETEX a|GETEX none|TOUCH a none|EXISTS a none|TYPE a|TTL a|TTL none|EXPIRETIME a
LCS a none|RENAME a aa|RENAMENX aa a|EXPIRE a 100|PERSIST a|GETSET a 1|SET a 2 GET|SET a 2 NX|SET a 2 NX GET|SETNX a 1|GET a
GET none|MGET a none d|STRLEN a|STRLEN none|GETRANGE a 0 1|SUBSTR a 0 1|GETRANGE none 0 1|BITCOUNT a|BITCOUNT none|BITPOS a 1
GETBIT a 1|GETBIT none 1|SETBIT a 1 1|APPEND a x|INCR n|INCR n|GETDEL a|GETDEL a|DEL d|MSETNX a 1 z 1|SCAN 0|KEYS *|RANDOMKEY
SET a 1 EX 100|GET a|SET a 1 PXAT 1|GET a|DBSIZE|UNLINK a|SETRANGE a 0 x"""


def test_hits_and_misses_are_those_of_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    told = []
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            wire.command("CONFIG", "RESETSTAT")
            found = []
            for words in READS.replace("\n", "|").split("|"):
                wire.command(*words.split())
                stats = wire.value("INFO", "stats")
                found.append((words, re.findall(rb"keyspace_(?:hits|misses):(\d+)", stats)))
            told.append(found)
    ours, theirs = told
    assert ours == theirs


@pytest.mark.parametrize(
    ("before", "queued", "behind", "reply"),
    [
        (b"", [], b"", b"+OK\r\n"),
        (
            encode("MULTI") + encode("SET", "k", "v"),
            [b"+OK\r\n", *[b"+QUEUED\r\n"] * 3],
            encode("GET", "k") + encode("EXEC"),
            b"*3\r\n+OK\r\n+OK\r\n$1\r\nv\r\n",
        ),
    ],
    ids=["alone", "in a transaction"],
)
def test_sleep_stops_every_client_and_is_slow_in_every_log(
    start_server: StartServer, before: bytes, queued: list[bytes], behind: bytes, reply: bytes
) -> None:
    # Thresholds that a PING does not reach, however busy the machine is.
    slow = ("--latency-monitor-threshold", "300", "--slowlog-log-slower-than", "300000")
    server = start_server("--save", "", *slow)
    with server.connect() as sleeper, server.connect() as other:
        started = time.monotonic()
        sleeper.send(before + encode("DEBUG", "SLEEP", "0.3") + behind + encode("PING"))
        assert [sleeper.read_reply() for _ in queued] == queued
        replies = 0
        with selectors.DefaultSelector() as selector:
            selector.register(sleeper.socket, selectors.EVENT_READ)
            while not (sleeper.pending or selector.select(timeout=0)):
                assert other.command("PING") == b"+PONG\r\n"
                replies += 1
        assert time.monotonic() - started >= 0.3
        assert replies <= 5, "one or two before it sleeps, and one behind that; of a server that is awake, thousands"
        assert sleeper.read_reply() == reply
        assert sleeper.read_reply() == b"+PONG\r\n"
        (entry,) = sleeper.value("SLOWLOG", "GET")
        assert entry[3] == [b"DEBUG", b"SLEEP", b"0.3"]
        assert 300_000 <= entry[2] < 5_000_000
        (event, _, latest, longest) = sleeper.value("LATENCY", "LATEST")[0]
        assert event == b"command"
        assert 300 <= latest == longest < 5000
        told = sleeper.value("INFO", "commandstats", "latencystats").decode()
        for field in ("cmdstat_debug:calls=1,usec=", "latency_percentiles_usec_debug:p50="):
            (taken_us,) = re.findall(f"{re.escape(field)}([0-9]+)", told)
            assert int(taken_us) >= 300_000
        _, (_, calls, _, histogram) = sleeper.value("LATENCY", "HISTOGRAM", "debug")
        assert calls == 1
        assert histogram[0] >= 300_000, "and none that took less"
        other.send(b"".join(encode("SET", f"key:{number}", "v") for number in range(5000)))
        other.read_exactly(5000 * 5)
        other.send(encode("MULTI") + encode("KEYS", "*") + encode("EXEC"))
        for _ in range(3):
            other.read_reply()
        usec = dict(re.findall("cmdstat_(keys|exec):calls=[12],usec=([0-9]+)", other.value("INFO", "commandstats").decode()))
        slept_us = 300_000 if before else 0
        assert int(usec["exec"]) >= int(usec["keys"]) + slept_us > 0, "EXEC takes the time of what it runs"
