"""The time machine of a real server: it answers from earlier moments and brings them back, beside clients that go on."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
from pathlib import Path
from typing import Any

import hiredis
import pytest

import kvserver
from helpers.servers import ServerProcess, StartServer, Wire, encode, info, parse, wait_until
from helpers.starts import failed_start
from kvserver.engine import time_machine
from kvserver.persistence.slices import Slices
from kvserver.resp.reply import Reply
from kvserver.resp.reply import encode as encode_reply

HISTORY = ("--history", "1d", "--save", "")
EMPTY_ID = hashlib.sha256(b"{}").hexdigest()[:16].encode()


def now_ms(wire: Wire) -> int:
    seconds, microseconds = map(int, wire.value("TIME"))
    return seconds * 1000 + microseconds // 1000


def moment(wire: Wire) -> int:
    """The present time, which is over when this returns: nothing that comes later belongs to it."""
    found = now_ms(wire)
    wait_until(lambda: now_ms(wire) > found, "the next millisecond")
    return found


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    return start_server(*HISTORY)


@pytest.fixture
def wire(server: ServerProcess) -> Any:
    with server.connect() as wire:
        yield wire


def test_flushall_is_undone_and_so_is_its_undo(wire: Wire) -> None:
    wire.command("SET", "a", "1")
    wire.command("HSET", "h", "f", "v")
    before = moment(wire)
    assert wire.command("FLUSHALL") == b"+OK\r\n"
    [[record, at_ms, commands], *_] = wire.value("KVS.LOG", "a")
    assert commands == [[b"FLUSHALL"]]
    assert at_ms > before
    flushed = moment(wire)
    assert wire.value("KVS.RESTORE", b"(" + record) == 2
    assert wire.value("HGETALL", "h") == [b"f", b"v"]
    restored = moment(wire)
    assert wire.value("KVS.RESTORE", flushed) == 0
    assert wire.value("DBSIZE") == 0
    assert wire.value("KVS.RESTORE", restored) == 2
    assert wire.value("GET", "a") == b"1"
    assert wire.value("KVS.RESTORE", before) == 2


def test_any_command_that_reads_runs_on_the_past(wire: Wire) -> None:
    wire.command("RPUSH", "l", "1", "2", "3")
    wire.command("JSON.SET", "j", "$", '{"a":[1,2,{"b":3}]}')
    wire.command("XADD", "x", "1-1", "f", "v")
    wire.command("SET", "e", "v", "PX", 60_000)
    wire.command("SELECT", 3)
    wire.command("SET", "three", "3")
    then = moment(wire)
    wire.command("FLUSHALL")
    assert wire.value("KVS.AT", then, "GET", "three") == b"3"
    assert wire.value("KVS.AT", then, "GET", "l") is None
    wire.command("SELECT", 0)
    at = ("KVS.AT", then)
    assert wire.value(*at, "LRANGE", "l", 0, -1) == [b"1", b"2", b"3"]
    assert wire.value(*at, "JSON.GET", "j", "$..b") == b"[3]"
    assert wire.value(*at, "XREAD", "STREAMS", "x", "0") == [[b"x", [[b"1-1", [b"f", b"v"]]]]]
    assert 0 < wire.value(*at, "PTTL", "e") <= 60_000
    assert sorted(wire.value(*at, "KEYS", "*")) == [b"e", b"j", b"l", b"x"]
    assert wire.value(*at, "DBSIZE") == 4
    assert wire.value(*at, "OBJECT", "ENCODING", "l") == b"quicklist"
    wire.command("HELLO", 3)
    assert wire.command(*at, "GET", "missing") == b"_\r\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("SET", "a", "1"), b"-ERR 'set' doesn't read keys: KVS.AT runs no other commands\r\n"),
        (("PING",), b"-ERR 'ping' doesn't read keys: KVS.AT runs no other commands\r\n"),
        (("EVAL_RO", "return 1", "0"), b"-ERR 'eval_ro' doesn't read keys: KVS.AT runs no other commands\r\n"),
        (("KVS.AT", "0s", "GET", "a"), b"-ERR 'kvs.at' doesn't read keys: KVS.AT runs no other commands\r\n"),
        (("GET",), b"-ERR wrong number of arguments for 'get' command\r\n"),
        (("OBJECT", "NOSUCH", "a"), b"-ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP.\r\n"),
        (("NOSUCH",), b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n"),
        (("LLEN", "s"), b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    ],
)
def test_call_that_can_not_run_on_the_past_is_refused(wire: Wire, words: tuple[str, ...], error: bytes) -> None:
    wire.command("SET", "s", "1")
    assert wire.command("KVS.AT", "0s", *words) == error


def test_nothing_of_it_runs_in_transactions_and_scripts(wire: Wire) -> None:
    for words in (("KVS.AT", "0s", "GET", "a"), ("KVS.FRAMES",), ("KVS.RESTORE", "0s"), ("KVS.LOG", "a")):
        assert wire.command("MULTI") == b"+OK\r\n"
        assert wire.command(*words) == b"-ERR Command not allowed inside a transaction\r\n"
        assert wire.command("DISCARD") == b"+OK\r\n"
    script = "return redis.call('KVS.AT', '0s', 'GET', 'a')"
    assert b"This Redis command is not allowed from script" in wire.command("EVAL", script, 0)


def test_user_sees_no_more_of_the_past_than_of_the_present(server: ServerProcess, wire: Wire) -> None:
    wire.command("MSET", "mine:1", "1", "other", "2")
    wire.command("ACL", "SETUSER", "u", "on", "nopass", "~mine:*", "+@read", "+kvs.at", "-dbsize")
    with server.connect() as other:
        other.command("AUTH", "u", "x")
        assert other.value("KVS.AT", "0s", "GET", "mine:1") == b"1"
        assert other.command("KVS.AT", "0s", "GET", "other").startswith(b"-NOPERM")
        assert other.command("KVS.AT", "0s", "DBSIZE").startswith(b"-NOPERM")
        assert other.command("KVS.LOG", "other").startswith(b"-NOPERM")
        assert other.command("KVS.RESTORE", "0s").startswith(b"-NOPERM")


def test_keys_of_a_pattern_come_back_as_one_record_that_clients_hear_of(server: ServerProcess, wire: Wire) -> None:
    wire.command("CONFIG", "SET", "notify-keyspace-events", "KA")
    wire.command("SELECT", 2)
    wire.command("MSET", "a:1", "1", "a:2", "2", "b:1", "3")
    wire.command("PEXPIREAT", "a:1", 9_000_000_000_000)
    wire.command("SET", "a:brief", "4", "PX", 1)
    then = moment(wire)
    wire.command("DEL", "a:1")
    wire.command("MSET", "a:2", "changed", "a:3", "new", "b:1", "changed")
    with server.connect() as waiting, server.connect() as listening:
        listening.command("SUBSCRIBE", "__keyspace@2__:a:1")
        waiting.command("SELECT", 2)
        assert wire.value("KVS.RESTORE", then, "KEYS", "a:*") == 2
        assert b"__keyspace@2__:a:1" in listening.read_reply()
    assert wire.value("MGET", "a:1", "a:2", "a:3", "b:1") == [b"1", b"2", None, b"changed"]
    assert wire.value("PEXPIRETIME", "a:1") == 9_000_000_000_000
    first, second = (wire.value("KVS.LOG", key)[0][0] for key in ("a:1", "a:3"))
    assert first == second
    # It is itself undone by the moment before it.
    assert wire.value("KVS.RESTORE", b"(" + first, "KEYS", "a:*") == 2
    assert wire.value("MGET", "a:1", "a:2", "a:3", "b:1") == [None, b"changed", b"new", b"changed"]


def let_time_come(wire: Wire) -> int:
    """Give two fields and a key an expiry that passes, beside others. Return a time at which all of that had just come."""
    assert wire.command("DEBUG", "SET-ACTIVE-EXPIRE", 0) == b"+OK\r\n"
    wire.command("HSET", "h:some", "a", 1, "b", 2)
    wire.command("HSET", "h:all", "a", 1)
    wire.command("MSET", "h:string", 1, "other", 1)
    due_ms = now_ms(wire) + 5
    wire.command("HPEXPIREAT", "h:some", due_ms, "FIELDS", 1, "a")
    wire.command("HPEXPIREAT", "h:all", due_ms, "FIELDS", 1, "a")
    wire.command("PEXPIREAT", "h:string", due_ms)
    wait_until(lambda: now_ms(wire) > due_ms, "the time of the keys and fields")
    return due_ms


def test_keys_that_come_back_have_no_members_that_are_due(wire: Wire) -> None:
    due_ms = let_time_come(wire)
    for then in (due_ms, due_ms - 1):
        wire.command("DEL", "h:some")
        assert wire.value("KVS.RESTORE", then, "KEYS", "h:*") == 1
        assert [wire.value("EXISTS", key) for key in ("h:some", "h:all", "h:string")] == [1, 0, 0]
        # It can be changed.
        assert wire.value("HSET", "h:some", "c", "3") == 1
        assert wire.value("HGETALL", "h:some") == [b"b", b"2", b"c", b"3"]
        assert wire.value("HPEXPIRETIME", "h:some", "FIELDS", 3, "a", "b", "c") == [-2, -1, -1]


def test_all_data_comes_back_without_what_is_due(wire: Wire) -> None:
    due_ms = let_time_come(wire)
    for then in (due_ms, due_ms - 1):
        assert wire.value("KVS.RESTORE", then) == wire.value("DBSIZE") == 2
        assert sorted(wire.value("KEYS", "*")) == [b"h:some", b"other"]
        assert wire.value("HGETALL", "h:some") == [b"b", b"2"]


def test_differences_of_moments_know_members_that_are_due(wire: Wire) -> None:
    due_ms = let_time_come(wire)
    gone = [[b"h:all", b"removed"], [b"h:some", b"changed"], [b"h:string", b"removed"]]
    assert sorted(wire.value("KVS.DIFF", due_ms - 1, due_ms)) == gone
    assert wire.value("KVS.DIFF", due_ms, due_ms + 1) == []


def test_function_libraries_go_back_with_all_data_and_stay_where_some_keys_do(wire: Wire) -> None:
    def load(number: int) -> None:
        text = f"#!lua name=l\nredis.register_function('f', function() return {number} end)"
        assert wire.command("FUNCTION", "LOAD", "REPLACE", text) == b"$1\r\nl\r\n"

    wire.command("SET", "a", "1")
    empty = moment(wire)
    load(1)
    first = moment(wire)
    load(2)
    wire.command("SET", "a", "2")
    second = moment(wire)
    assert wire.value("KVS.RESTORE", first, "KEYS", "*") == 1
    assert (wire.value("GET", "a"), wire.value("FCALL", "f", 0)) == (b"1", 2)
    for then, called in ((first, 1), (second, 2), (first, 1)):
        assert wire.value("KVS.RESTORE", then) == 1
        assert wire.value("FCALL", "f", 0) == called
    assert wire.value("KVS.RESTORE", empty) == 1
    assert wire.command("FCALL", "f", 0) == b"-ERR Function not found\r\n"


def test_what_came_back_and_the_past_that_it_came_from_change_apart(wire: Wire) -> None:
    wire.command("HSET", "h", *(word for number in range(1000) for word in (f"f{number}", number)))
    then = moment(wire)
    wire.command("DEL", "h")
    assert wire.value("KVS.RESTORE", then, "KEYS", "h") == 1
    wire.command("HSET", "h", "f1", "changed")
    wire.command("HDEL", "h", "f2")
    assert wire.value("KVS.AT", then, "HMGET", "h", "f1", "f2") == [b"1", b"2"]
    assert wire.value("KVS.RESTORE", then, "KEYS", "h") == 1
    assert wire.value("HMGET", "h", "f1", "f2") == [b"1", b"2"]


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_what_was_written_before_in_a_pipeline_is_found(start_server: StartServer, fsync: str) -> None:
    with start_server(*HISTORY, "--appendfsync", fsync).connect() as wire:
        for number in range(5):
            wire.send(encode("SET", "long", str(number) * 3_000_000) + encode("KVS.LOG", "long", "COUNT", 1))
            assert wire.read_reply() == b"+OK\r\n"
            [[_, _, [[_, _, value]]]] = parse(wire.read_reply())
            assert value == b"%d" % number * 4096 + b"... (2995904 more bytes)"


def test_frames_are_told_with_time_keys_and_length(server: ServerProcess, wire: Wire) -> None:
    began = now_ms(wire)
    wire.command("HELLO", 3)
    wire.command("MSET", *(f"{word}" for number in range(500) for word in (number, number)))
    wire.command("SAVE")
    wire.command("SET", "a", "1")
    first, second = wire.value("KVS.FRAMES")
    assert (first[b"id"], first[b"keys"], first[b"bytes"], first[b"linked"]) == (EMPTY_ID, 0, 82, True)
    assert first[b"time"] <= began <= second[b"time"] <= now_ms(wire)
    assert (second[b"keys"], second[b"linked"]) == (500, True)
    assert wire.value("KVS.AT", second[b"id"], "DBSIZE") == 500
    assert wire.value("KVS.AT", EMPTY_ID, "DBSIZE") == 0
    facts = info(wire)
    assert (facts["history_enabled"], facts["history_frames"], facts["history_segments"]) == ("1", "2", "1")


def test_clients_are_served_while_a_past_is_loaded(server: ServerProcess, wire: Wire) -> None:
    wire.send(b"".join(b"*3\r\n$3\r\nSET\r\n$6\r\n%06d\r\n$4\r\nabcd\r\n" % number for number in range(60_000)))
    for _ in range(60_000):
        wire.read_reply()
    then = moment(wire)
    with server.connect() as other:
        other.send(b"*4\r\n$6\r\nKVS.AT\r\n$13\r\n%d\r\n$3\r\nGET\r\n$6\r\n000001\r\n" % then)
        answered = 0
        found: list[bytes] = []
        reader = threading.Thread(target=lambda: found.append(other.read_reply()))
        reader.start()
        while reader.is_alive():
            assert wire.command("PING") == b"+PONG\r\n"
            answered += 1
        assert found == [b"$4\r\nabcd\r\n"]
        assert answered > 5


def test_server_without_a_history_says_so_and_its_frames_can_be_read(start_server: StartServer) -> None:
    with start_server("--save", "").connect() as wire:
        wire.command("SET", "a", "1")
        wire.command("SAVE")
        wire.command("SET", "a", "2")
        assert wire.command("KVS.AT", "0s", "GET", "a").startswith(b"-ERR no history is kept: the option history ")
        [frame] = wire.value("KVS.FRAMES")
        assert wire.value("KVS.AT", frame[1], "GET", "a") == b"1"
        assert wire.value("KVS.RESTORE", frame[1]) == 1
        assert wire.value("GET", "a") == b"1"
        # It can be kept from now on.
        assert wire.command("CONFIG", "SET", "history", "1h") == b"+OK\r\n"
        wait_until(lambda: info(wire).get("history_frames") == "1", "the frame that the journal goes on from")
        wire.command("SET", "a", "3")
        then = moment(wire)
        wire.command("FLUSHALL")
        assert wire.value("KVS.AT", then, "GET", "a") == b"3"


def test_time_at_which_no_journal_was_written_is_refused(server: ServerProcess, wire: Wire) -> None:
    wire.command("SET", "k", "1")
    # What follows has another time than this record.
    moment(wire)
    assert wire.command("CONFIG", "SET", "appendonly", "no") == b"+OK\r\n"
    wire.command("SET", "k", "2")
    second = moment(wire)
    assert wire.value("KVS.AT", "1:1", "GET", "k") == b"1"
    assert wire.command("KVS.AT", second, "GET", "k").startswith(b"-ERR nobody knows what was written behind ")
    wire.command("SAVE")
    third = moment(wire)
    assert wire.command("KVS.AT", second, "GET", "k").startswith(b"-ERR n")
    assert wire.command("CONFIG", "SET", "appendonly", "yes") == b"+OK\r\n"
    wire.command("SET", "k", "3")
    for then in (second, third):
        assert wire.command("KVS.AT", then, "GET", "k").startswith(b"-ERR n")
    assert wire.value("KVS.AT", "0s", "GET", "k") == b"3"


def test_restore_can_be_undone_where_no_journal_is_written(start_server: StartServer) -> None:
    with start_server("--save", "", "--appendonly", "no", "--history", "5").connect() as wire:
        wire.command("SET", "k", "1")
        wire.command("SAVE")
        old = wire.value("KVS.FRAMES")[-1][1]
        wire.command("SET", "k", "precious")
        assert wire.value("KVS.RESTORE", old) == 1
        assert wire.value("GET", "k") == b"1"
        values = [wire.value("KVS.AT", frame[1], "GET", "k") for frame in wire.value("KVS.FRAMES")]
        assert b"precious" in values


def test_history_that_was_removed_costs_nothing_but_itself(server: ServerProcess, wire: Wire) -> None:
    wire.command("SET", "k", "1")
    then = moment(wire)
    wire.command("SAVE")
    shutil.rmtree(server.directory / "dump.kvs.history")
    for number in range(3):
        assert wire.command("SET", "k", number) == b"+OK\r\n"
        assert wire.command("SAVE") == b"+OK\r\n"
    assert wire.command("KVS.AT", then, "GET", "k").startswith(b"-ERR the history begins at ")
    assert wire.value("KVS.AT", "0s", "GET", "k") == b"2"


def test_keys_that_come_back_wait_for_the_end_of_a_pause_of_writes(server: ServerProcess, wire: Wire) -> None:
    wire.command("SET", "k", "1")
    then = moment(wire)
    wire.command("SET", "k", "2")
    with server.connect() as other:
        assert wire.command("CLIENT", "PAUSE", 100_000, "WRITE") == b"+OK\r\n"
        other.send(encode("KVS.RESTORE", then, "KEYS", "k") + encode("GET", "k"))
        for _ in range(20):
            assert wire.value("GET", "k") == b"2"
        assert wire.command("CLIENT", "UNPAUSE") == b"+OK\r\n"
        assert (other.read_reply(), other.read_reply()) == (b":1\r\n", b"$1\r\n1\r\n")


def test_star_stands_for_all_keys_and_the_empty_one(wire: Wire) -> None:
    wire.command("MSET", "", "1", "k", "1")
    then = moment(wire)
    wire.command("DEL", "", "k")
    assert sorted(wire.value("KVS.DIFF", then, "0s")) == sorted(wire.value("KVS.DIFF", then, "0s", "*"))
    assert wire.value("KVS.DIFF", then, "0s") == [[b"", b"removed"], [b"k", b"removed"]]
    assert wire.value("KVS.RESTORE", then, "KEYS", "*") == 2
    assert wire.value("MGET", "", "k") == [b"1", b"1"]


def test_events_of_keys_that_come_back_are_those_of_a_restore(server: ServerProcess, wire: Wire) -> None:
    wire.command("SET", "k", "1")
    then = moment(wire)
    wire.command("DEL", "k")
    wire.command("SET", "k2", "new")
    wire.command("CONFIG", "SET", "notify-keyspace-events", "EA")
    with server.connect() as listening:
        listening.command("PSUBSCRIBE", "*")
        assert wire.value("KVS.RESTORE", then, "KEYS", "k*") == 1
        told = [parse(listening.read_reply())[2:] for _ in range(2)]
    assert told == [[b"__keyevent@0__:restore", b"k"], [b"__keyevent@0__:del", b"k2"]]


def test_change_shows_no_other_keys_to_who_may_not_read_them(server: ServerProcess, wire: Wire) -> None:
    wire.command("MSET", "a", "public", "b", "secret")
    wire.command("ACL", "SETUSER", "u", "on", "nopass", "~a", "+kvs.log")
    with server.connect() as other:
        other.command("AUTH", "u", "x")
        [[_, _, requests]] = other.value("KVS.LOG", "a")
    assert requests == [[b"MSET", b"a", b"(and other keys)"]]
    assert wire.value("KVS.LOG", "a")[0][2] == [[b"MSET", b"a", b"public", b"b", b"secret"]]


def test_server_in_memory_has_no_history(start_server: StartServer) -> None:
    with start_server("--dir", "memory:").connect() as wire:
        assert wire.command("KVS.FRAMES").startswith(b"-ERR there is no history: a server keeps one of the directory")
        assert wire.command("CONFIG", "SET", "history", "1d") == (
            b"-ERR CONFIG SET failed (possibly related to argument 'history') - what is here has none: "
            b"it is that of a directory\r\n"
        )
        assert wire.value("CONFIG", "GET", "history") == [b"history", b"0"]
    assert "--history keeps what a directory had" in failed_start("--dir", "memory:", "--history", "1d")
    assert "medium is given, too: a history is that of a directory" in failed_start("--medium", "file:x", "--history", "5")


def test_restore_that_fails_leaves_the_data_as_it_was(server: ServerProcess, wire: Wire) -> None:
    wire.command("SET", "a", "1")
    then = moment(wire)
    wire.command("SET", "b", "1")
    wire.command("SET", "a", "2")
    segment = next(Path(server.directory).glob("dump.kvs.*.journal"))
    content = bytearray(segment.read_bytes())
    content[-2] ^= 1
    with segment.open("r+b") as file:
        file.write(content)
    assert wire.command("KVS.RESTORE", "0s").startswith(b"-ERR the segment 1 of the journal is damaged at offset ")
    assert wire.value("GET", "a") == b"2"
    assert wire.command("KVS.RESTORE", "1").startswith(b"-ERR the history begins at ")
    assert wire.value("KVS.AT", then, "GET", "a") == b"1"


def test_times_of_what_a_start_has_cut_off_are_refused(server: ServerProcess, start_server: StartServer) -> None:
    with server.connect() as wire:
        wire.command("SET", "a", "1")
        then = moment(wire)
        wire.command("SET", "a", "2")
        lost = moment(wire)
    server.kill()
    segment = next(Path(server.directory).glob("dump.kvs.*.journal"))
    segment.write_bytes(segment.read_bytes()[:-2] + b"!\r\n")
    with start_server(*HISTORY, directory=server.directory).connect() as wire:
        started = moment(wire)
        wire.command("SET", "a", "3")
        assert wire.value("KVS.AT", "0s", "GET", "a") == b"3"
        for _ in range(2):
            for time_ms in (then, lost):
                reply = wire.command("KVS.AT", time_ms, "GET", "a")
                assert reply.startswith(b"-ERR nobody knows what was written behind ")
                assert b": it was damaged, and the start at " in reply
            assert wire.value("KVS.AT", started, "GET", "a") == wire.value("KVS.AT", "1:1", "GET", "a") == b"1"
            wire.command("SAVE")
            # By now these segments are in the history.


@pytest.mark.parametrize("protocol", [2, 3])
def test_diff_tells_what_became_of_keys(wire: Wire, protocol: int) -> None:
    wire.command("HELLO", protocol)
    wire.command("MSET", "gone", "1", "same", "1", "other", "1", "x", "1")
    first = moment(wire)
    wire.command("DEL", "gone")
    wire.command("MSET", "other", "2", b"new\r\n", "1", "x", "2")
    assert sorted(wire.value("KVS.DIFF", first, "0s", "*[enr]*")) == [
        [b"gone", b"removed"],
        [b"new\r\n", b"added"],
        [b"other", b"changed"],
    ]
    assert wire.value("KVS.DIFF", first, "0s", "nothing") == []
    assert wire.command("KVS.DIFF", first, first) == b"*0\r\n"


async def test_diff_is_encoded_on_the_way_and_not_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply may have as many rows as there are keys: no more than one is encoded between two turns of the event loop."""
    count = 300
    # The rows that were encoded in each turn.
    rows = [0]

    def note(reply: Reply, protocol: int) -> bytes:
        rows[-1] += 1
        return encode_reply(reply, protocol)

    async def turn(pace: Slices) -> None:
        rows.append(0)
        await asyncio.sleep(0)

    monkeypatch.setattr(time_machine, "encode", note)
    monkeypatch.setattr(Slices, "is_over", True)
    monkeypatch.setattr(Slices, "next", turn)
    reader = hiredis.Reader(notEnoughData=reader_waits)
    async with kvserver.Server(dir=str(tmp_path), history="1d", save="") as server:
        incoming, outgoing = await asyncio.open_connection("127.0.0.1", server.port)

        async def call(*words: bytes) -> Any:
            outgoing.write(hiredis.pack_command(words))  # type: ignore[arg-type]
            while (reply := reader.gets()) is reader_waits:
                reader.feed(await incoming.read(1 << 16))
            return reply

        await call(b"MSET", *(word for number in range(count) for word in (b"key%d" % number, b"1")))
        found = await call(b"KVS.DIFF", b"1:0", b"0s")
        outgoing.close()
    assert sorted(found) == sorted([b"key%d" % number, b"added"] for number in range(count))
    assert sum(rows) == count
    assert max(rows) == 1


reader_waits = object()
