"""Fields that expire: nobody ever sees one whose time has come, and journal, frames and other servers have their times."""

from __future__ import annotations

import random
from typing import Any
from unittest import mock

import pytest

from helpers.documents import cut_of, exact
from helpers.sessions import START_MS, Server, run
from kvserver.containers import times
from kvserver.containers.times import Times
from kvserver.data.entries import Entry
from kvserver.data.footprint import EMPTY_BYTES, Footprint
from kvserver.data.keyspace import MOST_LAPSES
from kvserver.data.kinds import LAPSES_A_STEP
from kvserver.data.shards import load_shards, new_shards
from kvserver.formats.decoder import Decoder
from kvserver.formats.encoder import encode
from kvserver.formats.rdb import dump
from kvserver.resp.reply import OK, Error
from kvserver.state.session import REPLAY_ID, Session
from kvserver.types import TAGGED
from kvserver.types.hash.value import Hash, value_of


def call(server: Server, words: str) -> Any:
    reply = run(server.session(), *words.split())
    return getattr(reply, "text", reply)


def filled(*lines: str) -> Server:
    server = Server()
    for line in ("HSET h a 1 b 2 c 3", *lines):
        assert not isinstance(run(server.session(), *line.split()), Error)
    server.keyspace.records.take()
    return server


def replayed(written: list[list[bytes]], now_ms: int) -> Server:
    """A server that has replayed these commands at this time."""
    server = Server()
    server.clock.now_ms = now_ms
    server.keyspace.stop_clock()
    for words in written:
        assert not isinstance(run(server.session(), *words), Error)
    server.keyspace.start_clock()
    return server


def sweep(server: Server) -> None:
    while server.keyspace.sweep():
        pass


def entries(server: Server) -> dict[bytes, Any]:
    return {key: exact(entry) for key, entry in server.keyspace.members()}


# --- What clients are told ---


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("HEXPIRE h 10 FIELDS 2 a nosuch", [1, -2]),
        ("HEXPIRE missing 10 FIELDS 2 a a", [-2, -2]),
        ("HEXPIRE h 0 FIELDS 3 a a nosuch", [2, -2, -2]),
        (f"HEXPIREAT h {START_MS // 1000} FIELDS 1 a", [2]),
        (f"HPEXPIREAT h {START_MS + 1} FIELDS 1 a", [1]),
        ("HPEXPIRE h 50 NX FIELDS 2 a timed", [1, 0]),
        ("HPEXPIRE h 50 xx FIELDS 2 a timed", [0, 1]),
        ("HPEXPIRE h 101 GT FIELDS 2 a timed", [0, 1]),
        ("HPEXPIRE h 100 GT FIELDS 1 timed", [0]),
        ("HPEXPIRE h 99 lt FIELDS 2 a timed", [1, 1]),
        ("HPEXPIRE h 100 LT FIELDS 1 timed", [0]),
        ("HPEXPIRE h 0 GT FIELDS 1 timed", [0]),
        ("HPEXPIRE h 0 LT FIELDS 1 timed", [2]),
        ("HTTL h FIELDS 3 a timed nosuch", [-1, 1, -2]),
        ("HPTTL h FIELDS 1 timed", [100]),
        ("HPTTL missing FIELDS 1 timed", [-2]),
        ("HEXPIRETIME h FIELDS 2 timed a", [(START_MS + 999 + 100) // 1000, -1]),
        ("HPEXPIRETIME h FIELDS 1 timed", [START_MS + 100]),
        ("HPERSIST h FIELDS 3 a timed nosuch", [-1, 1, -2]),
        ("HPERSIST missing FIELDS 1 a", [-2]),
    ],
)
def test_each_field_has_its_answer(words: str, reply: list[int]) -> None:
    assert call(filled("HSET h timed v", "HPEXPIRE h 100 FIELDS 1 timed"), words) == reply


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("HEXPIRE s x FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HTTL s FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HPERSIST s FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HEXPIRE missing x FIELDS 1 a", "ERR value is not an integer or out of range"),
        ("HEXPIRE h -1 FIELDS 1 a", "ERR invalid expire time, must be >= 0"),
        (f"HPEXPIREAT h {1 << 46} FIELDS 1 a", "ERR invalid expire time in 'hpexpireat' command"),
        (f"HEXPIRE h {(1 << 63) - 1} FIELDS 1 a", "ERR invalid expire time in 'hexpire' command"),
        (f"HPEXPIRE h {(1 << 46) - START_MS} FIELDS 1 a", "ERR invalid expire time in 'hpexpire' command"),
        ("HEXPIRE h 1 NX GT FIELDS 1 a", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HPERSIST h FIELD 1 a", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HEXPIRE h 1 FIELDS 0 a", "ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 1 FIELDS x a", "ERR Parameter `numFields` should be greater than 0"),
        ("HTTL h FIELDS 0 a", "ERR Number of fields must be a positive integer"),
        ("HPERSIST h FIELDS -1 a", "ERR Number of fields must be a positive integer"),
        ("HEXPIRE h 1 NX FIELDS 1", "ERR The `numfields` parameter must match the number of arguments"),
        ("HEXPIRE missing 1 FIELDS 1 a b", "ERR The `numfields` parameter must match the number of arguments"),
        ("HTTL missing FIELDS 2 a", "ERR The `numfields` parameter must match the number of arguments"),
        ("HEXPIRE h 1 FIELDS 1", "ERR wrong number of arguments for 'hexpire' command"),
        ("HTTL h FIELDS 1", "ERR wrong number of arguments for 'httl' command"),
    ],
)
def test_refusals(words: str, text: str) -> None:
    server = filled("SET s v")
    assert call(server, words) == text
    assert server.keyspace.records.take() == []


@pytest.mark.parametrize(
    ("words", "reply", "gone"),
    [
        ("HGETALL h", {b"a": b"1"}, ""),
        ("HKEYS h", [b"a"], ""),
        ("HVALS h", [b"1"], ""),
        ("HLEN h", 1, ""),
        ("HGET h b", None, ""),
        ("HMGET h a b", [b"1", None], ""),
        ("HEXISTS h b", 0, ""),
        ("HSTRLEN h b", 0, ""),
        ("HSCAN h 0", [b"0", [b"a", b"1"]], ""),
        ("HRANDFIELD h", b"a", ""),
        ("HRANDFIELD h 9", [b"a"], ""),
        ("HRANDFIELD h -3", [b"a", b"a", b"a"], ""),
        ("HTTL h FIELDS 2 a b", [-1, -2], ""),
        ("HDEL h b c", 0, "b c"),
        ("HSETNX h b 5", 1, "b"),
        ("HSET h b 5", 1, "b"),
        ("HINCRBY h b 5", 5, "b"),
        ("HINCRBYFLOAT h b 5", b"5", "b"),
        ("HPERSIST h FIELDS 1 b", [-2], "b"),
        ("HEXPIRE h 5 FIELDS 2 a b", [1, -2], "b"),
        ("SORT l BY *->b GET *->a GET *->b", [b"1", None], ""),
    ],
)
@pytest.mark.parametrize("is_held", [False, True])
def test_field_whose_time_has_come_is_never_seen(words: str, reply: Any, gone: str, is_held: bool) -> None:
    server = filled("RPUSH l h", "HPEXPIRE h 10 FIELDS 2 b c")
    server.clock.now_ms += 9
    assert call(server, "HLEN h") == 3
    server.clock.now_ms += 1
    server.keyspace.is_held = is_held
    assert call(server, words) == reply
    removed = [request[2:] for request in server.keyspace.records.take() if request[0] == b"hdel"]
    # A command that writes removes those that it names, and a sweep the others.
    assert removed == ([gone.encode().split()] if gone else [])


def test_hash_whose_last_field_expires_goes_with_its_expiry() -> None:
    server = filled("PEXPIRE h 1000", "HPEXPIRE h 10 FIELDS 3 a b c")
    server.clock.now_ms += 10
    assert call(server, "HSET h new v") == 1
    assert call(server, "PTTL h") == -1
    written = server.keyspace.records.take()
    assert written == [[b"unlink", b"h"], [b"HSET", b"h", b"new", b"v"]]
    assert server.keyspace.records.changes == 4, "what expires is no change"


@pytest.mark.parametrize(
    ("words", "left_ms"),
    [
        ("HSET h a 5", -1),
        ("HMSET h a 5", -1),
        ("HINCRBY h a 5", 50),
        ("HINCRBYFLOAT h a 0.5", 50),
        ("HSETNX h a 5", 50),
        ("HSET h b 5", 50),
        ("HDEL h b", 50),
        ("PERSIST h", 50),
        ("RENAME h h", 50),
        ("HDEL h a", -2),
    ],
)
def test_commands_keep_a_deadline_or_take_it_away(words: str, left_ms: int) -> None:
    server = filled("HPEXPIRE h 50 FIELDS 1 a")
    call(server, words)
    assert call(server, "HPTTL h FIELDS 1 a") == [left_ms]
    again = replayed([[b"HSET", b"h", b"a", b"1", b"b", b"2", b"c", b"3"],
                      [b"HPEXPIREAT", b"h", b"%d" % (START_MS + 50), b"FIELDS", b"1", b"a"],
                      *server.keyspace.records.take()], START_MS)  # fmt: skip
    assert entries(again) == entries(server)


@pytest.mark.parametrize("words", ["COPY h k", "RENAME h k"])
def test_copy_and_rename_bring_deadlines_along(words: str) -> None:
    server = filled("HPEXPIRE h 50 FIELDS 1 a")
    call(server, words)
    assert call(server, "HPTTL k FIELDS 2 a b") == [50, -1]
    call(server, "HPERSIST h FIELDS 1 a")
    assert call(server, "HPTTL k FIELDS 1 a") == [50]
    server.clock.now_ms += 50
    sweep(server)
    fields = server.keyspace.live(b"k")
    assert isinstance(fields, Hash)
    assert len(fields) == 2, "nobody asked"


def test_encoding_tells_of_deadlines() -> None:
    server = filled()
    assert call(server, "OBJECT ENCODING h") == b"listpack"
    call(server, "HPEXPIRE h 50 FIELDS 1 a")
    assert call(server, "OBJECT ENCODING h") == b"listpackex"
    call(server, "HSET h long " + "x" * 65)
    assert call(server, "OBJECT ENCODING h") == b"hashtable"


# --- The journal, frames and other servers ---


@pytest.mark.parametrize(
    ("words", "records"),
    [
        ("HEXPIRE h 10 FIELDS 2 a x", [[b"HPEXPIREAT", b"h", b"%d" % (START_MS + 10_000), b"FIELDS", b"1", b"a"]]),
        ("HPEXPIRE h 7 NX FIELDS 2 a t", [[b"HPEXPIREAT", b"h", b"%d" % (START_MS + 7), b"FIELDS", b"1", b"a"]]),
        ("HEXPIRE h 0 FIELDS 2 a b", [[b"HDEL", b"h", b"a", b"b"]]),
        ("HEXPIRE h 1 FIELDS 1 x", []),
        ("HEXPIRE h 1 NX FIELDS 1 t", []),
        ("HEXPIRE h 0 NX FIELDS 1 t", []),
        ("HPERSIST h FIELDS 2 a x", []),
        ("HPERSIST h FIELDS 1 t", [[b"HPERSIST", b"h", b"FIELDS", b"1", b"t"]]),
        ("HTTL h FIELDS 1 t", []),
        (
            "HINCRBYFLOAT h t 1",
            [[b"HSET", b"h", b"t", b"2"], [b"HPEXPIREAT", b"h", b"%d" % (START_MS + 50), b"FIELDS", b"1", b"t"]],
        ),
    ],
)
def test_journal_gets_what_changes(words: str, records: list[list[bytes]]) -> None:
    server = filled("HSET h t 1", "HPEXPIRE h 50 FIELDS 1 t")
    call(server, words)
    assert server.keyspace.records.take() == records


FIELDS = "abcdef"


class Model:
    """Dicts of fields and their times."""

    def __init__(self) -> None:
        self.fields: dict[str, int] = {}
        self.times: dict[str, int] = {}

    def go_on(self, now_ms: int) -> None:
        for field in [field for field, time_ms in self.times.items() if time_ms <= now_ms]:
            del self.fields[field], self.times[field]

    def run(self, now_ms: int, name: str, field: str, number: int) -> Any:
        self.go_on(now_ms)
        is_new = field not in self.fields
        if name in ("HSET", "HSETNX"):
            if name == "HSET" or is_new:
                self.fields[field] = number
                self.times.pop(field, None)
            return int(is_new)
        if name == "HINCRBY":
            self.fields[field] = self.fields.get(field, 0) + number
            return self.fields[field]
        if name == "HDEL":
            self.times.pop(field, None)
            return int(self.fields.pop(field, None) is not None)
        if is_new:
            return [-2]
        if name == "HPERSIST":
            return [-1 if self.times.pop(field, None) is None else 1]
        if not number:
            self.times.pop(field, None)
            del self.fields[field]
            return [2]
        self.times[field] = now_ms + number
        return [1]


@pytest.mark.patches_compiled
@pytest.mark.parametrize("seed", range(6))
def test_random_calls_are_those_of_a_model_and_the_journal_repeats_them(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(times, "MOST_IN_DICT", (64, 1)[seed % 2])
    rng, server, model, cut = random.Random(seed), Server(), Model(), None
    frozen: Any = None
    written: list[list[bytes]] = []
    for step in range(150):
        where = f"seed {seed}, step {step}"
        server.clock.now_ms += rng.choice((0, 0, 1, 5))
        now_ms = server.clock.now_ms
        name = rng.choice(("HSET", "HSETNX", "HINCRBY", "HDEL", "HPEXPIRE", "HPEXPIRE", "HPEXPIRE", "HPERSIST"))
        field, number = rng.choice(FIELDS), rng.randrange(12)
        words = {
            "HDEL": f"HDEL h {field}",
            "HPERSIST": f"HPERSIST h FIELDS 1 {field}",
            "HPEXPIRE": f"HPEXPIRE h {number} FIELDS 1 {field}",
        }.get(name, f"{name} h {field} {number}")
        assert call(server, words) == model.run(now_ms, name, field, number), where
        if step % 3 == 0:
            assert call(server, "HGETALL h") == {k.encode(): b"%d" % v for k, v in model.fields.items()}, where
            left = [model.times[k] - now_ms if k in model.times else -1 if k in model.fields else -2 for k in FIELDS]
            assert call(server, "HPTTL h FIELDS 6 " + " ".join(FIELDS)) == left, where
        if rng.randrange(20) == 0:
            sweep(server)
        if rng.randrange(25) == 0:
            if cut is None:
                frozen, cut = entries(server), server.keyspace.cut()
            else:
                assert {key: exact(entry) for shard in cut.shards for key, entry in shard.items()} == frozen, where
                for _ in server.keyspace.fold(cut):
                    pass
                cut = None
        written += server.keyspace.records.take()
    again = replayed(written, server.clock.now_ms)
    assert entries(again) == entries(server), f"seed {seed}"


def test_replay_is_the_same_however_late_it_is() -> None:
    server = Server()
    for words in ("HSET h a 1 b 2 c 3", "HPEXPIRE h 10 FIELDS 1 a", "HPEXPIRE h 20 FIELDS 1 b"):
        call(server, words)
    server.clock.now_ms += 10
    call(server, "HSETNX h a 9")
    written = server.keyspace.records.take()
    again = replayed(written, START_MS + 1_000)
    assert entries(again) == entries(server)
    assert call(again, "HGETALL h") == {b"a": b"9", b"c": b"3"}


def test_frame_brings_deadlines_to_a_server_that_sweeps_them() -> None:
    contents: dict[bytes, Entry] = {b"h": hash_with(a=10, b=20, c=None), b"plain": value_of({b"f": b"v"}, is_listpack=True)}
    payload = b"".join(encode([cut_of(contents)], TAGGED))
    assert b'{"$kvs":{"hash":{"a":{"expires_at_ms":%d,"value":"v"},"b":' % (START_MS + 10) in payload
    server = Server()
    reader = Decoder(TAGGED)
    shards = new_shards()
    for members in (*reader.feed(payload), *reader.finish()):
        load_shards(shards, members.get(0, ()))
    server.keyspace.replace(shards)
    server.clock.now_ms += 10
    sweep(server)
    assert server.keyspace.records.take() == [[b"hdel", b"h", b"a"]]
    server.clock.now_ms += 10
    sweep(server)
    assert server.keyspace.records.take() == [[b"hdel", b"h", b"b"]]


def hash_with(**deadlines: int | None) -> Hash:
    hash_ = Hash(((field.encode(), b"v") for field in deadlines), is_listpack=True)
    for field, left_ms in deadlines.items():
        if left_ms is not None:
            hash_.expire(field.encode(), START_MS + left_ms)
    return hash_


@pytest.mark.parametrize("value", ["v", "x" * 65])
def test_dump_and_restore_keep_deadlines(value: str) -> None:
    server = filled(
        f"HSET h long {value}", "HPEXPIRE h 50 FIELDS 1 a", "HPEXPIRE h 5 FIELDS 1 b", "HPEXPIRE h 90 FIELDS 1 long"
    )
    server.clock.now_ms += 5
    payload = call(server, "DUMP h")
    assert payload[0] == (24 if len(value) > 64 else 25)
    assert payload[-10:-8] == b"\x0c\0"
    run(server.session(), "RESTORE", "k", 0, payload)
    assert call(server, "HPTTL k FIELDS 4 a b c long") == [45, -2, -1, 85]
    assert call(server, "HGETALL k") == {b"a": b"1", b"c": b"3", b"long": value.encode()}
    call(server, "DEL h")
    sweep(server)
    server.clock.now_ms += 45
    server.keyspace.records.take()
    sweep(server)
    assert server.keyspace.records.take() == [[b"hdel", b"k", b"a"]]
    call(server, "HPERSIST k FIELDS 1 long")
    assert call(server, "DUMP k")[-10:-8] == b"\x0a\0", "any server can read it again"


# --- The sweep, forks and memory ---


def test_fields_go_though_nobody_asks_and_an_empty_hash_goes() -> None:
    server = filled("HPEXPIRE h 10 FIELDS 1 a", "HPEXPIRE h 20 FIELDS 2 b c", "PEXPIRE h 1000")
    sweep(server)
    assert server.keyspace.records.take() == []
    server.clock.now_ms += 10
    sweep(server)
    assert server.keyspace.records.take() == [[b"hdel", b"h", b"a"]]
    assert server.keyspace.expires_at_ms(b"h") == START_MS + 1_000
    server.clock.now_ms += 10
    sweep(server)
    assert server.keyspace.records.take() == [[b"hdel", b"h", b"b", b"c"]]
    assert len(server.keyspace) == 0
    assert not server.keyspace.sweep()


def test_sweep_takes_short_steps() -> None:
    server = Server()
    names = " ".join(map(str, range(1_000)))
    call(server, "HSET h " + " ".join(f"{number} v" for number in range(1_000)))
    call(server, f"HPEXPIRE h 10 FIELDS 1000 {names}")
    server.clock.now_ms += 10
    server.keyspace.records.take()
    sweep(server)
    written = server.keyspace.records.take()
    assert [len(words) - 2 for words in written] == [LAPSES_A_STEP] * (1_000 // LAPSES_A_STEP) + [1_000 % LAPSES_A_STEP]
    assert len(server.keyspace) == 0


@pytest.mark.parametrize("is_held", [False, True])
def test_commands_look_at_no_more_fields_than_they_name(is_held: bool) -> None:
    server = Server()
    count = 5_000
    hash_ = Hash(((b"%d" % number, b"v") for number in range(count)), is_listpack=False)
    for number in range(count - 1):
        hash_.expire(b"%d" % number, START_MS + 10)
    server.keyspace.put(b"h", hash_)
    server.clock.now_ms += 10
    server.keyspace.is_held = is_held
    # A chunk of a table may have some hundred members.
    looks = mock.Mock(wraps=Times.get)
    with mock.patch.object(Times, "get", lambda times, field: looks(times, field)):
        for words, reply in (
            ("HLEN h", 1),
            ("HGET h 7", None),
            (f"HMGET h 8 {count - 1}", [None, b"v"]),
            ("HSET h 9 v", 1),
            ("HINCRBY h 10 1", 1),
            ("HDEL h 11", 0),
            ("HTTL h FIELDS 1 12", [-2]),
            ("HPERSIST h FIELDS 1 13", [-2]),
        ):
            assert call(server, words) == reply
        assert looks.call_count < 40
        cursor, _ = call(server, "HSCAN h 0 COUNT 1")
    assert cursor != b"0"
    assert looks.call_count < 1_000
    # Two were named by commands that set none.
    assert len(hash_) == count - 2


def test_fields_by_chance_are_those_that_are_left() -> None:
    server = Server()
    names = " ".join(f"{number} v" for number in range(2_000))
    call(server, f"HSET h {names}")
    call(server, "HPEXPIRE h 10 FIELDS 500 " + " ".join(map(str, range(500))))
    call(server, "HPEXPIRE h 20 FIELDS 1480 " + " ".join(map(str, range(500, 1_980))))
    for left in (range(500, 2_000), range(1_980, 2_000)):
        server.clock.now_ms += 10
        expected = {b"%d" % number for number in left}
        assert {call(server, "HRANDFIELD h") for _ in range(50)} <= expected
        assert set(call(server, "HRANDFIELD h 2000")) == expected
        assert len(set(call(server, "HRANDFIELD h 15")) & expected) == 15
        assert set(call(server, "HRANDFIELD h -400")) <= expected
        assert call(server, "HLEN h") == len(expected)
        found: dict[bytes, bytes] = {}
        cursor = b"0"
        while True:
            cursor, items = call(server, f"HSCAN h {cursor.decode()}")
            found.update(zip(items[::2], items[1::2], strict=True))
            if cursor == b"0":
                break
        assert found == dict.fromkeys(expected, b"v") == call(server, "HGETALL h")


def test_sweep_finds_what_was_overwritten_or_deferred_not_due() -> None:
    server = filled("HSET k a 1", "HSET l a 1", "HSET m a 1 b 1", *(f"HPEXPIRE {key} 10 FIELDS 1 a" for key in "hklm"))
    for words in ("SET h v", "DEL k", "HPEXPIRE l 20 FIELDS 1 a", "HPERSIST m FIELDS 1 a"):
        call(server, words)
    server.keyspace.records.take()
    server.clock.now_ms += 10
    sweep(server)
    assert server.keyspace.records.take() == []
    server.clock.now_ms += 10
    sweep(server)
    assert server.keyspace.records.take() == [[b"hdel", b"l", b"a"]]


def test_nothing_goes_by_itself_while_held() -> None:
    server = filled("HPEXPIRE h 10 FIELDS 1 a")
    server.clock.now_ms += 10
    server.keyspace.is_held = True
    sweep(server)
    assert call(server, "HLEN h") == 2
    assert server.keyspace.records.take() == []
    server.keyspace.is_held = False
    sweep(server)
    assert server.keyspace.records.take() == [[b"hdel", b"h", b"a"]]


def test_fields_go_while_frozen_and_a_frozen_hash_sees_no_change() -> None:
    server = filled("HPEXPIRE h 10 FIELDS 1 a")
    server.clock.now_ms += 10
    cut = server.keyspace.cut()
    sweep(server)
    assert server.keyspace.records.take() == [[b"hdel", b"h", b"a"]]
    frozen = cut.lookup(b"h")
    assert isinstance(frozen, Hash)
    assert (len(frozen), frozen.earliest_ms) == (3, START_MS + 10)
    for _ in server.keyspace.fold(cut):
        pass
    assert call(server, "HLEN h") == 2


def test_watch_is_touched_when_a_field_is_removed() -> None:
    server = filled("HPEXPIRE h 10 FIELDS 1 a")
    session = server.session()
    run(session, "WATCH", "h")
    server.clock.now_ms += 10
    sweep(server)
    assert session.watch is not None
    assert server.state.watches.is_touched(session.watch)


def test_memory_of_deadlines_is_counted() -> None:
    server = filled()
    footprint = Footprint(server.keyspace)
    before = call(server, "MEMORY USAGE h")
    call(server, "HPEXPIRE h 10 FIELDS 2 a b")
    assert call(server, "MEMORY USAGE h") > before
    footprint.restart()
    assert footprint.used_bytes == EMPTY_BYTES + call(server, "MEMORY USAGE h")


def test_large_hash_with_deadlines_is_loaded_from_chunks() -> None:
    hash_ = Hash(((b"%d" % number, b"v" * 50) for number in range(20_000)), is_listpack=False)
    for number in (9_999, 7):
        hash_.expire(b"%d" % number, START_MS + number)
    payload = b"".join(encode([cut_of({b"h": hash_, b"z": b"v"})], TAGGED))
    members: dict[bytes, Entry] = {}
    reader = Decoder(TAGGED)
    for start in range(0, len(payload), 65_536):
        for some in reader.feed(payload[start : start + 65_536]):
            members.update(some.get(0, ()))
    for some in reader.finish():
        members.update(some.get(0, ()))
    assert exact(members) == exact({b"h": hash_, b"z": b"v"})


def test_journal_takes_the_times_that_a_payload_may_bring() -> None:
    server, again = Server(), Server()
    session = server.session()
    late_ms = 1 << 47
    hash_ = Hash([(b"f", b"1")], is_listpack=True)
    hash_.expire(b"f", late_ms)
    payload = dump(hash_)
    assert run(session, "RESTORE", "h", 0, payload) is OK
    assert run(session, "HPEXPIRETIME", "h", "FIELDS", 1, "f") == [late_ms]
    run(session, "HINCRBYFLOAT", "h", "f", 1)
    again.state.sessions.clear()
    replay = Session(again.state, REPLAY_ID, "", "", True)
    for request in server.keyspace.records.take():
        assert not isinstance(run(replay, *request), Error), request
    assert run(again.session(), "HPEXPIRETIME", "h", "FIELDS", 1, "f") == [late_ms]


def test_keys_that_went_are_forgotten() -> None:
    server = Server()
    session = server.session()
    for number in range(MOST_LAPSES + 10):
        run(session, "HSET", number, "f", "v")
        run(session, "HEXPIRE", number, 10**6, "FIELDS", 1, "f")
        if number:
            run(session, "DEL", number)
    while server.keyspace.sweep():
        pass
    assert len(server.keyspace.lapses) == 1
    server.clock.now_ms += 10**9
    while server.keyspace.sweep():
        pass
    assert len(server.keyspace) == 0
