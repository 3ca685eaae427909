"""DEBUG OBJECT says of data of every type what redis-server says, and DEBUG RELOAD loses nothing."""

from __future__ import annotations

import re
import resource

from helpers.folders import ALWAYS, values_after_crash
from helpers.servers import COMMON_OPTIONS, ServerProcess, StartServer, Wire, encode

FILLED = (
    ("SET", "string", "value"),
    ("SET", "number", "12"),
    ("SET", "large number", "123456789012"),
    ("SET", "expires", "x" * 100, "EX", "1000"),
    ("RPUSH", "list", "a", "b", "12", ""),
    ("RPUSH", "long list", *(f"element:{number}" for number in range(2000))),
    ("SADD", "set", "a", "b"),
    ("SADD", "numbers", *map(str, range(300))),
    ("ZADD", "zset", "1", "a", "2.5", "b"),
    ("ZADD", "large zset", *(part for number in range(200) for part in (f"{number}.5", f"m{number}"))),
    ("HSET", "hash", "a", "1", "b", ""),
    ("HSET", "large hash", *(part for number in range(600) for part in (f"f{number}", f"{number}"))),
)
KEYS = [words[1] for words in FILLED]


def fill(wire: Wire) -> None:
    for words in FILLED:
        assert not wire.command(*words).startswith(b"-")


def described(server: ServerProcess) -> list[tuple[str, list[int]]]:
    """What DEBUG OBJECT says of each key: without its numbers that differ from server to server, and its clock alone."""
    with server.connect() as wire:
        wire.command("CONFIG", "SET", "rdbcompression", "no")
        fill(wire)
        lines = [wire.command("DEBUG", "OBJECT", key).decode() for key in KEYS]
        wire.command("CONFIG", "SET", "rdbcompression", "yes")
    varying = re.compile(r"(?<=at:0x)[0-9a-f]+|(?<=lru:)[0-9]+|(?<=idle:)[0-9]+")
    return [(varying.sub("…", line), [int(clock) for clock in re.findall(r"lru:([0-9]+)", line)]) for line in lines]


def test_objects_are_described_as_by_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    ours, theirs = described(kvserver), described(redis_oracle)
    assert [line for line, _ in ours] == [line for line, _ in theirs]
    # The clock of a number is that of an object which several keys share: it is as old as the server.
    assert all(abs(one - other) < 600 for (_, [one]), (_, [other]) in zip(ours, theirs, strict=True))


def test_data_of_every_type_comes_back_from_a_reload(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    digests = []
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            fill(wire)
            wire.command("SELECT", 5)
            fill(wire)
            before = wire.command("DEBUG", "DIGEST")
            assert wire.command("DEBUG", "RELOAD") == b"+OK\r\n"
            assert wire.command("DEBUG", "DIGEST") == before
            assert 990 < wire.value("TTL", "expires") <= 1000
            digests.append(before)
    assert digests[0] == digests[1]


def test_what_others_write_during_a_reload_is_not_lost(start_server: StartServer) -> None:
    server = start_server(*ALWAYS, "--enable-debug-command", "local")
    count = 200
    with server.connect() as wire, server.connect() as other:
        wire.command("DEBUG", "POPULATE", 5000)
        wire.send(encode("DEBUG", "RELOAD") + encode("INCR", "own"))
        # Each of these is a round trip. So some of them come while data is saved, and some while it is loaded.
        assert [other.value("INCR", "counter") for _ in range(count)] == [*range(1, count + 1)]
        assert [wire.read_reply(), wire.read_reply()] == [b"+OK\r\n", b":1\r\n"]
        assert wire.value("MGET", "counter", "own", "key:4999") == [b"%d" % count, b"1", b"value:4999"]
    assert values_after_crash(start_server, server, "counter", "own", "key:0") == [b"%d" % count, b"1", b"value:0"]


def test_reload_without_a_save_goes_back_to_the_last_one(start_server: StartServer) -> None:
    server = start_server(*ALWAYS, "--enable-debug-command", "local")
    with server.connect() as wire:
        failed = b"-ERR Error trying to load the RDB dump, check server logs.\r\n"
        assert wire.command("DEBUG", "RELOAD", "NOSAVE") == failed
        wire.command("SET", "k", "saved")
        wire.command("SAVE")
        wire.command("SET", "k", "newer")
        assert wire.command("DEBUG", "RELOAD", "NOSAVE") == b"+OK\r\n"
        assert wire.value("GET", "k") == b"saved"
    assert values_after_crash(start_server, server, "k") == [b"saved"]


def test_reload_that_cannot_save_changes_nothing(start_server: StartServer) -> None:
    server = start_server(*COMMON_OPTIONS)
    hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
    with server.connect() as wire:
        wire.command("SET", "k", "v" * 1000)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (100, hard))
        assert b"File too large" in wire.command("DEBUG", "RELOAD")
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert wire.value("STRLEN", "k") == 1000
        assert wire.command("DEBUG", "RELOAD") == b"+OK\r\n"
        assert wire.value("STRLEN", "k") == 1000
