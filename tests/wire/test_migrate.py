"""MIGRATE moves keys to and from redis-server, and loses nothing whatever happens at the other end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from helpers.servers import ServerProcess, StartServer, Wire, encode, parse

# A key of each kind, small and large, and what makes it.
KEYS: dict[str, list[tuple[str | int, ...]]] = {
    "text": [("SET", "text", "Grüße")],
    "number": [("SET", "number", 12345)],
    "long": [("SET", "long", "kvserver " * 200_000)],
    "log": [("PFADD", "log", *range(300))],
    "list": [("RPUSH", "list", *range(1_000), "x" * 5_000)],
    "set": [("SADD", "set", *range(600), "m")],
    "numbers": [("SADD", "numbers", *range(9))],
    "hash": [("HSET", "hash", *(word for n in range(600) for word in (f"f{n}", n)))],
    "sorted": [("ZADD", "sorted", *(word for n in range(300) for word in (f"{n}.5", f"m{n}")))],
    "stream": [
        *(("XADD", "stream", f"{n}-7", "field", "value", f"n{n % 3}", n) for n in range(1, 150)),
        ("XGROUP", "CREATE", "stream", "group", "5-0"),
        ("XREADGROUP", "GROUP", "group", "alice", "COUNT", 3, "STREAMS", "stream", ">"),
    ],
}


@contextmanager
def target() -> Iterator[socket.socket]:
    """A server whose answers the test writes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        yield listening


def accepted(listening: socket.socket) -> Wire:
    """The connection that a MIGRATE has made, behind the SELECT, which is answered."""
    wire = Wire(0, connected=listening.accept()[0])
    assert parse(wire.read_reply()) == [b"SELECT", b"0"]
    wire.send(b"+OK\r\n")
    return wire


def migrate(port: int, *keys: str, timeout_ms: int = 20_000, options: tuple[str, ...] = ()) -> bytes:
    return encode("MIGRATE", "127.0.0.1", port, "", 0, timeout_ms, *options, "KEYS", *keys)


def port_of(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


@pytest.mark.parametrize("ours_sends", [True, False], ids=["to redis-server", "from redis-server"])
def test_keys_of_every_kind_move_with_their_expiry(
    kvserver: ServerProcess, redis_oracle: ServerProcess, ours_sends: bool
) -> None:
    source, other = (kvserver, redis_oracle) if ours_sends else (redis_oracle, kvserver)
    with source.connect() as here, other.connect() as there:
        for commands in KEYS.values():
            for words in commands:
                assert not here.command(*words).startswith(b"-")
        here.command("EXPIRE", "hash", 1_000)
        digests = here.value("DEBUG", "DIGEST-VALUE", *KEYS)
        # One of the keys is missing, and one goes to another database.
        sent = [*KEYS, "missing"]
        here.send(migrate(other.port, *sent, options=("COPY",)))
        assert here.read_reply() == b"+OK\r\n"
        assert here.value("EXISTS", *KEYS) == len(KEYS)
        assert there.value("DEBUG", "DIGEST-VALUE", *KEYS) == digests
        here.send(migrate(other.port, *sent))
        assert here.read_reply() == b"-ERR Target instance replied with error: BUSYKEY Target key name already exists.\r\n"
        assert here.value("EXISTS", *KEYS) == len(KEYS)
        here.send(migrate(other.port, *sent, options=("REPLACE",)))
        assert here.read_reply() == b"+OK\r\n"
        assert here.value("EXISTS", *KEYS) == 0
        assert there.value("DEBUG", "DIGEST-VALUE", *KEYS) == digests
        assert 900_000 < there.value("PTTL", "hash") <= 1_000_000
        assert there.value("PTTL", "text") == -1
        assert here.command("SET", "k", "v") == b"+OK\r\n"
        assert here.command("MIGRATE", "127.0.0.1", other.port, "k", 3, 20_000) == b"+OK\r\n"
        assert there.command("SELECT", 3) == b"+OK\r\n"
        assert there.value("GET", "k") == b"v"
        there.command("FLUSHALL")


def test_refusals_of_the_other_server_are_told_as_redis_tells_them(
    kvserver: ServerProcess, redis_oracle: ServerProcess, start_server: StartServer
) -> None:
    guarded = start_server("--save", "", "--requirepass", "secret", kind="redis-server")
    said: list[list[bytes]] = []
    for server in (kvserver, redis_oracle):
        with server.connect() as wire, guarded.connect() as there:
            there.command("AUTH", "secret")
            there.command("FLUSHALL")
            there.command("SET", "busy", "theirs")
            replies = []
            for options in (
                (),
                ("AUTH", "wrong"),
                ("AUTH2", "default", "wrong"),
                ("AUTH2", "nobody", "secret"),
                ("AUTH", "secret", "COPY"),
                ("AUTH", "secret", "KEYS"),
            ):
                wire.command("SET", "k", "v")
                key = "" if "KEYS" in options else "k"
                more = ("busy", "k") if "KEYS" in options else ()
                wire.command("SET", "busy", "ours")
                there.command("DEL", "k")
                replies.append(wire.command("MIGRATE", "127.0.0.1", guarded.port, key, 0, 20_000, *options, *more))
                replies.append(wire.command("EXISTS", "k", "busy"))
            replies.append(wire.command("SET", "k", "v"))
            replies.append(wire.command("MIGRATE", "127.0.0.1", guarded.port, "k", 99, 20_000, "AUTH", "secret"))
            replies.append(wire.command("MIGRATE", "127.0.0.1", guarded.port, "k", -1, 20_000, "AUTH", "secret", "REPLACE"))
            assert there.value("GET", "k") == b"v"
            assert there.value("GET", "busy") == b"theirs"
            said.append(replies)
    assert said[0] == said[1]


def test_others_read_a_key_that_is_on_its_way_and_write_it_afterwards(kvserver: ServerProcess) -> None:
    with target() as listening, kvserver.connect() as wire, kvserver.connect() as writer, kvserver.connect() as other:
        wire.command("MSET", "k", "v", "l", "w")
        wire.send(migrate(port_of(listening), "k"))
        with accepted(listening) as there:
            assert parse(there.read_reply())[:2] == [b"RESTORE", b"k"]
            writer.send(encode("APPEND", "k", "x") + encode("GET", "k"))
            for words in (
                ("GET", "k"),
                ("SET", "l", "x"),
                ("INCR", "n"),
                ("SELECT", 1),
                ("SET", "k", "another"),
                ("SELECT", 0),
            ):
                assert not other.command(*words).startswith(b"-")
            assert other.value("GET", "k") == b"v"
            assert b"blocked_clients:1\r\n" in other.command("INFO", "clients")
            there.send(b"+OK\r\n")
            assert wire.read_reply() == b"+OK\r\n"
        assert [writer.read_reply() for _ in range(2)] == [b":1\r\n", b"$1\r\nx\r\n"]


@pytest.mark.parametrize(
    "commands",
    [["FLUSHALL"], ["MULTI", "DEL k", "EXEC"], ["EVAL return(redis.call('DEL','k')) 0"], ["COPY l k REPLACE"]],
    ids=str,
)
def test_what_might_write_a_key_that_is_on_its_way_waits(kvserver: ServerProcess, commands: list[str]) -> None:
    with target() as listening, kvserver.connect() as wire, kvserver.connect() as writer, kvserver.connect() as other:
        wire.command("MSET", "k", "v", "l", "w")
        wire.send(migrate(port_of(listening), "k"))
        with accepted(listening) as there:
            there.read_reply()
            writer.send(b"".join(encode(*command.split()) for command in commands))
            # The second one shows that the server has looked at the writer's words.
            assert [other.value("GET", "k") for _ in range(2)] == [b"v", b"v"]
            there.send(b"+OK\r\n")
            assert wire.read_reply() == b"+OK\r\n"
        for _ in commands:
            assert not writer.read_reply().startswith(b"-")


def test_key_that_a_script_has_written_without_telling_stays(kvserver: ServerProcess) -> None:
    with target() as listening, kvserver.connect() as wire, kvserver.connect() as other:
        wire.command("MSET", "k", "v", "l", "w")
        wire.send(migrate(port_of(listening), "k", "l"))
        with accepted(listening) as there:
            there.read_reply()
            there.read_reply()
            assert other.command("EVAL", "return redis.call('SET', 'k', 'new')", 1, "other") == b"+OK\r\n"
            there.send(b"+OK\r\n+OK\r\n")
            assert wire.read_reply().startswith(b"-ERR a key has changed while it was on its way: it has stayed here")
        assert wire.value("MGET", "k", "l") == [b"new", None]


@pytest.mark.parametrize("way", ["silence", "end", "reset", "half"])
def test_nothing_is_lost_where_the_other_server_dies(kvserver: ServerProcess, way: str) -> None:
    with target() as listening, kvserver.connect() as wire:
        wire.command("MSET", "k", "v", "l", "w")
        wire.send(migrate(port_of(listening), "k", "l", timeout_ms=200 if way == "silence" else 20_000))
        there = accepted(listening)
        assert parse(there.read_reply())[:2] == [b"RESTORE", b"k"]
        assert parse(there.read_reply())[:2] == [b"RESTORE", b"l"]
        if way == "half":
            there.send(b"+OK\r\n-E")
        if way == "reset":
            there.reset()
        elif way != "silence":
            there.close()
        assert wire.read_reply() == b"-IOERR error or timeout reading to target instance\r\n"
        there.close()
        assert wire.value("MGET", "k", "l") == [None if way == "half" else b"v", b"w"]
        # Nothing holds the keys any more.
        assert wire.command("MSET", "k", "v", "l", "w") == b"+OK\r\n"


def test_large_value_that_nobody_reads_fails_in_time_and_stays(kvserver: ServerProcess) -> None:
    with target() as listening, kvserver.connect() as wire, kvserver.connect() as other:
        wire.command("SET", "k", "v" * 20_000_000)
        wire.send(migrate(port_of(listening), "k", timeout_ms=200))
        with Wire(0, connected=listening.accept()[0]):
            assert other.command("PING") == b"+PONG\r\n"
            assert wire.read_reply() == b"-IOERR error or timeout writing to target instance\r\n"
        assert wire.value("STRLEN", "k") == 20_000_000


def test_killed_client_leaves_its_keys_and_nobody_waits_for_them(kvserver: ServerProcess) -> None:
    with target() as listening, kvserver.connect() as wire, kvserver.connect() as writer, kvserver.connect() as other:
        number = wire.value("CLIENT", "ID")
        wire.command("SET", "k", "v")
        wire.send(migrate(port_of(listening), "k"))
        with accepted(listening) as there:
            there.read_reply()
            writer.send(encode("APPEND", "k", "x"))
            assert other.value("CLIENT", "UNBLOCK", number) == 0
            assert other.value("CLIENT", "KILL", "ID", number) == 1
            assert writer.read_reply() == b":2\r\n"
            assert there.read_until_eof() == b""


def test_client_whose_user_is_deleted_leaves_its_keys_and_nobody_waits_for_them(kvserver: ServerProcess) -> None:
    with target() as listening, kvserver.connect() as wire, kvserver.connect() as writer, kvserver.connect() as admin:
        admin.command("ACL", "SETUSER", "mover", "on", "nopass", "+@all", "~*")
        admin.command("SET", "k", "v")
        assert wire.command("AUTH", "mover", "x") == b"+OK\r\n"
        wire.send(migrate(port_of(listening), "k") + encode("SET", "k", "never"))
        with accepted(listening) as there:
            there.read_reply()
            writer.send(encode("APPEND", "k", "x"))
            assert admin.command("ACL", "DELUSER", "mover") == b":1\r\n"
            assert wire.read_until_eof() == b""
            assert writer.read_reply() == b":2\r\n"
            assert there.read_until_eof() == b""
        assert admin.value("GET", "k") == b"vx"


def test_rights_count_when_a_call_runs_that_has_waited_for_a_key(kvserver: ServerProcess) -> None:
    with target() as listening, kvserver.connect() as wire, kvserver.connect() as writer, kvserver.connect() as admin:
        admin.command("ACL", "SETUSER", "writer", "on", "nopass", "+@all", "~*")
        admin.command("ACL", "SETUSER", "mover", "on", "nopass", "+@all", "~*")
        admin.command("SET", "k", "v")
        assert [each.command("AUTH", name, "x") for each, name in ((wire, "mover"), (writer, "writer"))] == [b"+OK\r\n"] * 2
        wire.send(migrate(port_of(listening), "k"))
        with accepted(listening) as there:
            there.read_reply()
            writer.send(encode("SET", "k", "x") + encode("MULTI") + encode("GET", "k") + encode("EXEC"))
            # Both are on their way, and the mover's keys are its own no more: what was begun ends.
            for user in ("writer", "mover"):
                assert admin.command("ACL", "SETUSER", user, "resetkeys", "~other") == b"+OK\r\n"
            there.send(b"+OK\r\n")
            assert wire.read_reply() == b"+OK\r\n"
        assert [writer.read_reply()[:7] for _ in range(2)] == [b"-NOPERM", b"+OK\r\n"]
        assert [writer.read_reply()[:8] for _ in range(2)] == [b"-NOPERM ", b"-EXECABO"]
        assert admin.value("EXISTS", "k") == 0
        admin.command("ACL", "DELUSER", "writer", "mover")


def test_what_has_gone_is_gone_after_a_kill(start_server: StartServer, redis_oracle: ServerProcess) -> None:
    server = start_server("--appendfsync", "always", "--notify-keyspace-events", "KA")
    with server.connect() as wire, server.connect() as listener:
        wire.command("MSET", "k", "v", "l", "w")
        listener.command("SUBSCRIBE", "__keyspace@0__:k")
        assert wire.command("MIGRATE", "127.0.0.1", redis_oracle.port, "k", 0, 20_000) == b"+OK\r\n"
        assert parse(listener.read_reply()) == [b"message", b"__keyspace@0__:k", b"del"]
    server.kill()
    server.restart()
    with server.connect() as wire, redis_oracle.connect() as there:
        assert wire.value("MGET", "k", "l") == [None, b"w"]
        assert there.value("GETDEL", "k") == b"v"
