"""Scripts run within a tick: in their client's database and in transactions, with what others are told in order."""

from __future__ import annotations

from helpers.servers import ServerProcess, StartServer, encode

SET_TWO = "redis.call('set', KEYS[1], 1) redis.call('incr', KEYS[1]) return redis.call('get', KEYS[1])"


def test_script_of_a_transaction_runs_in_it(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        wire.send(encode("MULTI") + encode("SET", "a", 5) + encode("EVAL", SET_TWO, 1, "k") + encode("EXEC"))
        assert [wire.read_reply() for _ in range(4)][-1] == b"*2\r\n+OK\r\n$1\r\n2\r\n"


def test_selected_database_is_the_scripts_own(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        assert wire.value("SELECT", 3) == b"OK"
        assert wire.value("EVAL", "redis.call('set', 'k', 1) redis.call('select', 4) redis.call('set', 'l', 1)", 0) is None
        assert wire.value("DBSIZE") == 1
        assert wire.value("EXISTS", "k") == 1


def test_all_that_a_script_writes_is_kept(start_server: StartServer) -> None:
    server = start_server("--save", "", "--appendfsync", "always")
    with server.connect() as wire:
        assert wire.value("EVAL", SET_TWO, 1, "k") == b"2"
        wire.command("EVAL", "redis.call('set', 'half', 1) error('x')", 0)
    server.kill()
    with start_server("--save", "").connect() as wire:
        assert wire.value("MGET", "k", "half") == [b"2", b"1"]
