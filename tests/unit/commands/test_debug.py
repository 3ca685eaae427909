"""DEBUG is refused to those who may not call it; it describes values, and makes keys, but not where writes are refused."""

from __future__ import annotations

import hashlib
import re

import pytest

from helpers.sessions import START_MS, Server, run, text
from kvserver.commands.debug import LONGEST_SLEEP_S, MOST_KEYS, NOT_ALLOWED
from kvserver.dispatch.effect import Crash, Log, MoveClock, Reload, Sleep
from kvserver.resp.reply import OK


@pytest.mark.parametrize(
    ("allowed", "is_local", "may"), [("local", True, True), ("local", False, False), ("no", True, False), ("yes", False, True)]
)
def test_only_those_may_who_are_allowed(allowed: str, is_local: bool, may: bool) -> None:
    server = Server()
    server.state.config.enable_debug_command = allowed
    reply = run(server.session(is_local=is_local), "DEBUG", "CRASH")
    assert reply == Crash() if may else text(reply) == NOT_ALLOWED


@pytest.mark.parametrize(
    ("word", "seconds"),
    [("0.5", 0.5), ("2", 2.0), ("x", 0.0), ("-1", 0.0), ("nan", 0.0), ("inf", LONGEST_SLEEP_S), ("1e300", LONGEST_SLEEP_S)],
)
def test_sleep_takes_seconds(word: str, seconds: float) -> None:
    assert run(Server().session(), "DEBUG", "sleep", word) == Sleep(seconds)


def test_clock_is_moved_by_seconds() -> None:
    session = Server().session()
    assert run(session, "DEBUG", "CLOCK", "advance", "0.5") == MoveClock(0.5)
    assert run(session, "DEBUG", "clock", "RESET") == MoveClock(None)
    assert text(run(session, "DEBUG", "CLOCK", "ADVANCE", "soon")) == "ERR value is not a valid float"
    for word in ("-1", "inf", "nan", "2e9"):
        assert text(run(session, "DEBUG", "CLOCK", "ADVANCE", word)).startswith("ERR the clock goes forward only")
    for words in ((), ("BACK",), ("ADVANCE",), ("RESET", "now")):
        assert "wrong number of arguments for 'CLOCK'" in text(run(session, "DEBUG", "CLOCK", *words))


def test_active_expiry_is_switched() -> None:
    server = Server()
    session = server.session()
    for word, expected in (("0", False), ("1", True), ("0", False), ("2", True)):
        assert run(session, "DEBUG", "SET-ACTIVE-EXPIRE", word) == OK
        assert server.state.expires_actively is expected


def test_error_is_the_one_that_was_asked_for() -> None:
    assert text(run(Server().session(), "DEBUG", "ERROR", "MINE text")) == "MINE text"


def test_wrong_arguments_are_told() -> None:
    session = Server().session()
    expected = "ERR unknown subcommand or wrong number of arguments for 'sleep'. Try DEBUG HELP."
    assert text(run(session, "debug", "sleep")) == expected
    assert "'SEGFAULT'" in text(run(session, "DEBUG", "SEGFAULT"))


# --- OBJECT ---


def server_of(policy: str) -> Server:
    server = Server()
    server.state.config.maxmemory_policy = policy
    server.state.memory.configure()
    return server


def test_object_is_described_by_its_clock_and_the_length_of_its_payload() -> None:
    server = server_of("allkeys-lru")
    session = server.session()
    run(session, "RPUSH", "k", "a", "b")
    server.clock.now_ms += 5_000
    server.state.memory.tick()
    line = text(run(session, "DEBUG", "OBJECT", "k"))
    clock = START_MS // 1000 & 0xFFFFFF
    assert re.fullmatch(
        f"Value at:0x[0-9a-f]+ refcount:1 encoding:quicklist serializedlength:16 lru:{clock} lru_seconds_idle:5"
        " ql_nodes:1 ql_avg_node:2.00 ql_listpack_max:-2 ql_compressed:0 ql_uncompressed_size:13",
        line,
    ), line
    assert text(run(session, "DEBUG", "OBJECT", "k")) == line
    assert text(run(session, "DEBUG", "OBJECT", "missing")) == "ERR no such key"


def test_clock_of_a_policy_that_counts_uses_has_minutes_and_the_counter() -> None:
    server = server_of("allkeys-lfu")
    session = server.session()
    run(session, "SET", "k", "v")
    (clock,) = re.findall(r" lru:(\d+) ", text(run(session, "DEBUG", "OBJECT", "k")))
    assert divmod(int(clock), 256) == (START_MS // 60_000 & 0xFFFF, server.state.memory.frequency(session.keyspace, b"k"))


def test_object_whose_time_has_come_is_no_more() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "v", "PX", 10)
    run(session, "HSET", "h", "f", "v")
    run(session, "HPEXPIRE", "h", 10, "FIELDS", 1, "f")
    server.clock.now_ms += 10
    for key in "kh":
        assert text(run(session, "DEBUG", "OBJECT", key)) == "ERR no such key"


# --- DIGEST ---


def test_digest_of_a_document_is_that_of_its_text_and_its_key_counts() -> None:
    server = Server()
    session = server.session()
    assert text(run(session, "DEBUG", "DIGEST")) == "0" * 40
    run(session, "JSON.SET", "k", "$", '{"b": 1, "a": [2]}')

    def sha1(data: bytes) -> bytes:
        return hashlib.sha1(data).digest()

    def xor(one: bytes, other: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(one, other, strict=True))

    document = sha1(b'{"a":[2],"b":1}')
    value = sha1(xor(sha1(sha1(b"\0\0\0\5")), document))
    assert run(session, "DEBUG", "DIGEST-VALUE") == []
    (reply,) = run(session, "DEBUG", "DIGEST-VALUE", "k")  # type: ignore[misc]
    assert text(reply) == value.hex()
    first = text(run(session, "DEBUG", "DIGEST"))
    run(session, "RENAME", "k", "l")
    other = text(run(session, "DEBUG", "DIGEST"))
    assert len({first, other, "0" * 40}) == 3
    run(session, "RENAME", "l", "k")
    assert text(run(session, "DEBUG", "DIGEST")) == first


def test_database_counts_as_its_keys_do() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "v")
    first = text(run(session, "DEBUG", "DIGEST"))
    run(session, "MOVE", "k", 3)
    moved = text(run(session, "DEBUG", "DIGEST"))
    run(session, "SWAPDB", 0, 3)
    assert text(run(session, "DEBUG", "DIGEST")) == first != moved


def test_field_that_expires_has_another_digest() -> None:
    session = Server().session()
    run(session, "HSET", "h", "f", "v", "g", "v")
    run(session, "COPY", "h", "i")
    run(session, "HEXPIRE", "h", 100, "FIELDS", 1, "f")
    one, other = run(session, "DEBUG", "DIGEST-VALUE", "h", "i")  # type: ignore[misc]
    assert text(one) != text(other)
    run(session, "HPERSIST", "h", "FIELDS", 1, "f")
    one, other = run(session, "DEBUG", "DIGEST-VALUE", "h", "i")  # type: ignore[misc]
    assert text(one) == text(other)


# --- POPULATE ---


def test_keys_are_made_and_recorded_as_writes_are() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "key:1", "mine")
    server.state.databases.records.take()
    assert run(session, "DEBUG", "POPULATE", 3) == OK
    assert server.state.databases.records.take() == [[b"SET", b"key:0", b"value:0"], [b"SET", b"key:2", b"value:2"]]
    assert run(session, "MGET", "key:0", "key:1", "key:2") == [b"value:0", b"mine", b"value:2"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((MOST_KEYS + 1,), "ERR OOM in dictTryExpand"),
        ((1, "k", 1 << 62), "ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
    ],
)
def test_nothing_is_made_that_is_only_declared(words: tuple[str | int, ...], told: str) -> None:
    server = Server()
    assert text(run(server.session(), "DEBUG", "POPULATE", *words)) == told
    assert len(server.keyspace) == 0


def test_no_key_is_made_where_writes_are_refused_or_data_is_loaded() -> None:
    server = Server()
    session = server.session()
    server.state.persistence.last_save_ok = False
    assert text(run(session, "DEBUG", "POPULATE", 1)).startswith("MISCONF")
    server.state.persistence.last_save_ok, server.state.persistence.loading = True, True
    assert text(run(session, "DEBUG", "POPULATE", 1)).startswith("LOADING")
    assert text(run(session, "DEBUG", "RELOAD")).startswith("LOADING")
    assert len(server.keyspace) == 0


# --- RELOAD, LOG ---


def test_reload_saves_unless_it_is_told_not_to() -> None:
    session = Server().session()
    for words, saves in (((), True), (("nosave",), False), (("merge",), True), (("MERGE", "NOSAVE"), False)):
        assert run(session, "DEBUG", "RELOAD", *words) == Reload(saves)
    assert run(session, "DEBUG", "LOADAOF") == Reload(saves=True)
    assert text(run(session, "DEBUG", "RELOAD", "NOFLUSH")) == "ERR DEBUG RELOAD can't merge: NOFLUSH is not supported"


@pytest.mark.parametrize("word", ["CRASH", "RELOAD", "LOADAOF"])
def test_what_needs_the_data_as_a_whole_is_not_queued(word: str) -> None:
    session = Server().session()
    run(session, "MULTI")
    assert text(run(session, "DEBUG", word.lower())) == f"ERR DEBUG {word} is not allowed inside a transaction"


def test_message_goes_to_the_log() -> None:
    assert run(Server().session(), "DEBUG", "LOG", b"a\xff") == Log("DEBUG LOG: a\\xff")
