"""Recording: each door stores and records at once, no command goes around it, and what is recorded gives the same data."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import Place, exact
from helpers.sessions import START_MS, Server, run
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.kinds import kind_of
from kvserver.formats.codec import JSONText
from kvserver.formats.rdb import dump
from kvserver.resp.reply import Error
from kvserver.state.session import REPLAY_ID, Session
from kvserver.types.string.value import Raw, raw

LATER_MS = START_MS + 10
Words = tuple[str | int | bytes, ...]


def entries(server: Server) -> dict[Place, Entry]:
    """All keys of all databases with their entries. Those of another database than 0 have its number beside them."""
    return {
        (keyspace.number, key) if keyspace.number else key: entry
        for keyspace in server.state.databases
        for key, entry in keyspace.members()
    }


def replica_of(commands: list[list[bytes]], now_ms: int = START_MS) -> Server:
    """A server that has replayed these commands at this time."""
    server = Server()
    server.clock.now_ms = now_ms
    server.state.databases.stop_clock()
    session = Session(server.state, REPLAY_ID, "journal", "", is_local=True)
    for args in commands:
        assert not isinstance(run(session, *args), Error)
    server.state.databases.start_clock()
    return server


def replayed(commands: list[list[bytes]], now_ms: int = START_MS) -> dict[Place, Entry]:
    return entries(replica_of(commands, now_ms))


# --- The doors ---


@pytest.mark.parametrize("expires_at_ms", [None, LATER_MS])
@pytest.mark.parametrize("value", [b"", b"\xff", JSONText(b'{"a":1.5}'), JSONText(b"null")], ids=repr)
def test_whole_value_of_each_type_is_stored_and_recorded(value: Value, expires_at_ms: int | None) -> None:
    server = Server()
    server.keyspace.set_expiring(b"k", b"old", START_MS + 5)
    server.keyspace.put(b"k", value, expires_at_ms)
    written = server.keyspace.records.take()
    assert written == kind_of(value).recreation(b"k", value, expires_at_ms)
    assert exact(entries(server)) == exact(replayed(written))
    assert exact(entries(server)) == exact({b"k": Expiring(value, LATER_MS) if expires_at_ms else value})


def test_callers_own_commands_are_recorded_as_they_are() -> None:
    keyspace = Server().keyspace
    keyspace.set_expiring(b"k", b"old", LATER_MS)
    keyspace.put_as(b"k", b"v", [b"COPY", b"l", b"k", b"REPLACE"])
    keyspace.put_all([b"MSET", b"a", b"1", b"b", b"2"])
    assert dict(keyspace.members()) == {b"k": b"v", b"a": b"1", b"b": b"2"}
    assert keyspace.records.take() == [[b"COPY", b"l", b"k", b"REPLACE"], [b"MSET", b"a", b"1", b"b", b"2"]]


def test_change_keeps_the_expiry_and_records_the_request_alone() -> None:
    keyspace = Server().keyspace
    keyspace.set(b"k", b"v")
    keyspace.set_expiring(b"timed", b"v", LATER_MS)
    for key in (b"k", b"timed", b"new"):
        keyspace.change(key, b"w", [b"APPEND", key, b"w"])
    assert dict(keyspace.members()) == {b"k": b"w", b"timed": Expiring(b"w", LATER_MS), b"new": b"w"}
    assert keyspace.records.take() == [[b"APPEND", key, b"w"] for key in (b"k", b"timed", b"new")]


@pytest.mark.parametrize("expires_at_ms", [None, LATER_MS])
def test_value_that_was_changed_in_place_stays_the_same_object_with_its_expiry(expires_at_ms: int | None) -> None:
    value: list[bytes] = []  # stands for a collection
    keyspace = Server().keyspace
    keyspace.set(b"k", value) if expires_at_ms is None else keyspace.set_expiring(b"k", value, expires_at_ms)
    value.append(b"a")
    keyspace.change(b"k", value, [b"RPUSH", b"k", b"a"])
    assert keyspace.live(b"k") is value
    assert keyspace.expires_at_ms(b"k") == expires_at_ms
    assert keyspace.records.take() == [[b"RPUSH", b"k", b"a"]]


@pytest.mark.parametrize("expires_at_ms", [None, LATER_MS])
def test_copy_and_rename_take_the_expiry_along_and_record_no_value(expires_at_ms: int | None) -> None:
    keyspace = Server().keyspace
    entry = b"v" if expires_at_ms is None else Expiring(b"v", expires_at_ms)
    keyspace.set(b"k", entry)
    keyspace.set_expiring(b"new", b"old", START_MS + 5)
    keyspace.put_copy(b"k", b"copy", b"v", keyspace)
    keyspace.rename(b"k", b"new", b"v")
    assert dict(keyspace.members()) == {b"copy": entry, b"new": entry}
    assert keyspace.records.take() == [[b"COPY", b"k", b"copy", b"REPLACE"], [b"RENAME", b"k", b"new"]]


def test_other_form_of_a_value_is_held_with_its_expiry_and_nothing_recorded() -> None:
    keyspace = Server().keyspace
    keyspace.set_expiring(b"k", b"v", LATER_MS)
    keyspace.put_equal(b"k", raw(b"v"))
    assert (type(keyspace.live(b"k")), keyspace.expires_at_ms(b"k")) == (Raw, LATER_MS)
    assert keyspace.records.take() == []


@pytest.mark.parametrize("present_ms", [None, LATER_MS])
@pytest.mark.parametrize("wanted_ms", [None, LATER_MS - 1, LATER_MS, LATER_MS + 1])
def test_expiry_is_recorded_without_the_value(present_ms: int | None, wanted_ms: int | None) -> None:
    keyspace = Server().keyspace
    keyspace.set(b"k", b"v" if present_ms is None else Expiring(b"v", present_ms))
    keyspace.expire(b"k", wanted_ms)
    assert (keyspace.live(b"k"), keyspace.expires_at_ms(b"k")) == (b"v", wanted_ms)
    assert keyspace.records.take() == [[b"PERSIST", b"k"] if wanted_ms is None else [b"PEXPIREAT", b"k", b"%d" % wanted_ms]]


def test_removal_is_one_command_for_all_keys_the_missing_ones_too() -> None:
    keyspace = Server().keyspace
    keyspace.set(b"a", b"v")
    keyspace.set(b"b", b"v")
    keyspace.remove(b"a", b"missing")
    assert keyspace.records.take() == [[b"DEL", b"a", b"missing"]]
    assert len(keyspace) == 1
    assert sum(map(len, keyspace.clear())) == 1
    assert keyspace.records.take() == [[b"FLUSHDB"]]
    assert len(keyspace) == 0


def test_key_that_expires_is_recorded_as_deleted_whoever_meets_it_and_is_no_change() -> None:
    server = Server()
    for key in (b"met", b"swept"):
        server.keyspace.set_expiring(key, b"v", LATER_MS)
    server.keyspace.set(b"stays", b"v")
    server.clock.now_ms = LATER_MS
    server.keyspace.is_held = True
    assert server.keyspace.live(b"met") is None
    assert not server.keyspace.sweep()
    assert server.keyspace.records.take() == [], "it has not gone yet"
    server.keyspace.is_held = False
    assert server.keyspace.live(b"met") is None
    while server.keyspace.sweep():
        pass
    assert (server.keyspace.records.changes, server.keyspace.records.position, server.keyspace.expired) == (0, 2, 2)
    assert server.keyspace.records.since(0) == [(0, [b"del", b"met"]), (0, [b"del", b"swept"])]
    assert server.keyspace.records.take() == [[b"del", b"met"], [b"del", b"swept"]]
    server.keyspace.remove(b"stays")
    assert (server.keyspace.records.changes, server.keyspace.records.position) == (1, 3)
    assert server.keyspace.records.since(2) == [(0, [b"DEL", b"stays"])]


def test_nothing_is_due_while_the_clock_stands_at_zero_and_what_is_due_goes_behind_that() -> None:
    server = Server()
    session = server.session()
    server.keyspace.stop_clock()
    run(session, "SET", "k", "v", "PXAT", START_MS - 5)
    run(session, "SET", "l", "v")
    assert run(session, "PEXPIREAT", "l", START_MS - 9) == 1
    assert (run(session, "GET", "k"), run(session, "GET", "l")) == (b"v", b"v")
    server.keyspace.records.take()
    server.keyspace.stop_clock(START_MS - 7)
    assert (run(session, "GET", "k"), run(session, "GET", "l")) == (b"v", None)
    server.keyspace.start_clock()
    assert run(session, "GET", "k") is None
    assert server.keyspace.records.take() == [[b"del", b"l"], [b"del", b"k"]]


def test_what_was_written_is_told_by_its_position_and_taken_once() -> None:
    keyspace = Server().keyspace
    assert (keyspace.records.changes, keyspace.records.has_any, keyspace.records.take()) == (0, False, [])
    keyspace.remove(b"a")
    since = keyspace.records.position
    keyspace.remove(b"b")
    assert keyspace.records.since(since) == [(0, [b"DEL", b"b"])]
    assert (keyspace.records.changes, keyspace.records.has_any) == (2, True)
    assert keyspace.records.take() == [[b"DEL", b"a"], [b"DEL", b"b"]]
    keyspace.remove(b"c")
    assert keyspace.records.since(since) == keyspace.records.since(0) == [(0, [b"DEL", b"c"])]
    assert keyspace.records.since(keyspace.records.position) == []
    assert (keyspace.records.changes, keyspace.records.has_any) == (3, True)


# --- No way around them ---

# What each write command is to be run with, so that it does all that it may do to data. Before each of them there are `k`,
# `n`, `j` and `timed`.
WRITES: dict[str, list[Words]] = {
    "append": [("k", "w"), ("missing", "w"), ("timed", "w")],
    "bitfield": [("k", "SET", "u8", 0, 1), ("k", "SET", "u8", 0, ord("v")), ("missing", "INCRBY", "u8", 0, 1)],
    "bitop": [("AND", "to", "k", "n"), ("NOT", "to", "timed"), ("AND", "k", "missing")],
    "blmove": [("l", "l", "LEFT", "RIGHT", 0), ("l", "new", "LEFT", "LEFT", 0)],
    "blmpop": [(0, 1, "l", "LEFT"), (0, 2, "missing", "l", "RIGHT", "COUNT", 9)],
    "blpop": [("l", 0), ("missing", "l", 0)],
    "brpop": [("l", 0)],
    "brpoplpush": [("l", "new", 0), ("l", "l", 0)],
    "bzmpop": [(0, 1, "z", "MIN"), (0, 1, "z", "MAX", "COUNT", 9)],
    "bzpopmax": [("z", 0)],
    "bzpopmin": [("missing", "z", 0)],
    "copy": [("k", "to"), ("timed", "to"), ("j", "k", "REPLACE"), ("timed", "timed", "DB", 2), ("h", "k", "DB", 1, "REPLACE")],
    "decr": [("n",), ("missing",)],
    "decrby": [("n", 2), ("j", 2)],
    "del": [("k", "timed", "missing")],
    "expire": [("k", 100), ("timed", 100), ("j", -1)],
    "expireat": [("k", START_MS // 1000 + 9), ("k", 1)],
    "flushall": [()],
    "flushdb": [("ASYNC",)],
    "getdel": [("k",), ("missing",)],
    "getex": [("k", "EX", 100), ("timed", "PERSIST"), ("timed", "PXAT", 1)],
    "getset": [("k", "w"), ("missing", "w")],
    "incr": [("n",), ("missing",), ("j",)],
    "incrby": [("n", 2), ("missing", 2)],
    "incrbyfloat": [("n", "0.5"), ("j", "0.5"), ("missing", "1")],
    "increx": [("n",), ("missing", "BYFLOAT", "0.5", "EX", 9), ("n", "BYINT", 1, "UBOUND", 0)],
    "delex": [("k", "IFEQ", "v"), ("k", "IFNE", "v"), ("missing",)],
    "delifeq": [("k", "v"), ("k", "w")],
    "json.arrappend": [("d", "$.l", "4", '"x"')],
    "json.arrinsert": [("d", "$.l", 0, "0")],
    "json.arrpop": [("d", "$.l"), ("d", "$.l", 0)],
    "json.arrtrim": [("d", "$.l", 1, 1)],
    "json.clear": [("d",), ("d", "$.*"), ("j",)],
    "json.del": [("j",), ("k",), ("missing",), ("d", "$.l[0]"), ("d", "$..x")],
    "json.forget": [("j",), ("d", "$.o")],
    "json.merge": [("d", "$", '{"o": null, "new": {"a": 1}}'), ("d", "$.o", "1")],
    "json.mset": [("d", "$.n", "2", "missing", "$", "[1]")],
    "json.numincrby": [("d", "$.n", "0.5"), ("d", "$..*", 1), ("j", ".", 2)],
    "json.nummultby": [("d", "$.n", 3)],
    "json.set": [("j", "$", "[1]"), ("missing", "$", '"text"'), ("d", "$.l[1]", "{}"), ("d", "$.new", "1", "NX")],
    "json.strappend": [("d", "$.s", '"c"'), ("k", '"w"')],
    "json.toggle": [("d", "$.b")],
    "msetex": [(2, "k", "w", "missing", "x"), (1, "k", "w", "EX", 9), (1, "timed", "w", "KEEPTTL")],
    "move": [("k", 1), ("timed", 1), ("h", 1), ("missing", 1)],
    "mset": [("k", 1, "missing", 2)],
    "msetnx": [("a", 1, "b", 2), ("a", 1, "k", 2)],
    "persist": [("timed",), ("k",)],
    "pexpire": [("k", 100), ("timed", 1)],
    "pexpireat": [("k", LATER_MS), ("timed", 1)],
    "psetex": [("k", 100, "w")],
    "rename": [("k", "to"), ("timed", "k")],
    "renamenx": [("k", "to"), ("k", "n")],
    "restore": [("to", 0, dump(b"w")), ("k", 5, dump(b"w"), "REPLACE"), ("k", 1, dump(b"w"), "REPLACE", "ABSTTL")],
    "set": [("k", "w"), ("k", "w", "EX", 9), ("timed", "w", "KEEPTTL"), ("k", "w", "PXAT", 1), ("k", "w", "GET")],
    "setbit": [("k", 9, 1), ("k", 0, 0), ("timed", 9, 1)],
    "setex": [("k", 9, "w")],
    "setnx": [("k", "w"), ("missing", "w")],
    "setrange": [("k", 3, "w"), ("missing", 0, "")],
    "swapdb": [(0, 1), (3, 2)],
    "unlink": [("k", "missing")],
    "geoadd": [("geo", 15, 37, "q"), ("new", "NX", 15, 37, "q")],
    "georadius": [("geo", 13, 38, 100, "km", "STORE", "new"), ("geo", 13, 38, 100, "km", "STOREDIST", "z")],
    "georadiusbymember": [("geo", "p", 100, "km", "STORE", "new")],
    "geosearchstore": [
        ("new", "geo", "FROMMEMBER", "p", "BYRADIUS", 9, "km"),
        ("z", "geo", "FROMLONLAT", 0, 0, "BYBOX", 1, 1, "m"),
    ],
    "hdel": [("h", "a"), ("h", "a", "b", "c")],
    "hexpire": [("h", 9, "FIELDS", 1, "a"), ("h", 0, "FIELDS", 2, "a", "b")],
    "hexpireat": [("h", LATER_MS // 1000, "FIELDS", 1, "a")],
    "hpersist": [("h", "FIELDS", 1, "a"), ("timed_fields", "FIELDS", 1, "a")],
    "hpexpire": [("h", 9, "NX", "FIELDS", 1, "a")],
    "hpexpireat": [("h", LATER_MS, "FIELDS", 1, "a")],
    "hincrby": [("h", "a", 2), ("new", "a", 2)],
    "hincrbyfloat": [("h", "a", "0.5")],
    "hmset": [("h", "a", 2)],
    "hset": [("h", "a", 2), ("h", "a", 2, "d", "x" * 99), ("new", "a", 1)],
    "hsetnx": [("h", "d", 2), ("h", "a", 2)],
    "linsert": [("l", "BEFORE", "b", "w")],
    "lmove": [("l", "l", "LEFT", "RIGHT"), ("l", "new", "LEFT", "LEFT")],
    "lmpop": [(1, "l", "LEFT"), (2, "missing", "l", "RIGHT", "COUNT", 9)],
    "lpop": [("l",), ("l", 9)],
    "lpush": [("l", "w"), ("new", "w", "x" * 99)],
    "lpushx": [("l", "w"), ("missing", "w")],
    "lrem": [("l", 1, "b"), ("l", 0, "b"), ("l", 0, "w")],
    "lset": [("l", 1, "w")],
    "ltrim": [("l", 1, 2), ("l", 9, 9)],
    "pfadd": [("hll", "b"), ("new",)],
    "pfdebug": [("TODENSE", "hll")],
    "pfmerge": [("new", "hll")],
    "rpop": [("l",), ("l", 2)],
    "rpoplpush": [("l", "new")],
    "rpush": [("l", "w")],
    "rpushx": [("l", "w")],
    "sadd": [("s", "w"), ("s", 1), ("new", 1, 2)],
    "sdiffstore": [("new", "s", "t"), ("s", "s", "s")],
    "sinterstore": [("new", "s", "t"), ("k", "s", "missing")],
    "smove": [("s", "t", 1), ("s", "new", "x"), ("s", "t", "w")],
    "sort": [("l", "ALPHA", "STORE", "new"), ("missing", "STORE", "l")],
    "spop": [("s",), ("s", 2), ("s", 9)],
    "srem": [("s", 1), ("s", 1, 2, "x")],
    "sunionstore": [("new", "s", "t")],
    "xack": [("x", "g", "1-0"), ("x", "g", "1-0", "9-0")],
    "xadd": [
        ("x", "9-0", "f", "v"),
        ("x", "*", "f", "v"),
        ("new", "MAXLEN", 1, "1-0", "f", "v"),
        ("x", "MINID", "2", "9-1", "f", "v"),
    ],
    "xautoclaim": [("x", "g", "bob", 0, "0-0"), ("x", "g", "bob", 0, "0-0", "COUNT", 1, "JUSTID")],
    "xclaim": [("x", "g", "bob", 0, "1-0"), ("x", "g", "bob", 0, "1-0", "2-0", "IDLE", 5000, "RETRYCOUNT", 7, "FORCE")],
    "xdel": [("x", "1-0"), ("x", "1-0", "9-0")],
    "xreadgroup": [
        ("GROUP", "g", "alice", "STREAMS", "x", ">"),
        ("GROUP", "g", "new", "COUNT", 1, "NOACK", "STREAMS", "x", ">"),
        ("GROUP", "g", "alice", "STREAMS", "x", "0"),
    ],
    "xsetid": [("x", "99-1"), ("x", "99-1", "ENTRIESADDED", 100, "MAXDELETEDID", "1-0")],
    "xtrim": [("x", "MAXLEN", 1), ("x", "MINID", "=", "2-0")],
    "zadd": [("z", 9, "a"), ("z", "XX", "GT", "CH", 9, "a"), ("z", "INCR", 1, "w"), ("new", 1, "a")],
    "zdiffstore": [("new", 2, "z", "s"), ("z", 2, "z", "z")],
    "zincrby": [("z", "1.5", "a")],
    "zinterstore": [("new", 2, "z", "z", "WEIGHTS", 2, 3), ("z", 2, "z", "missing")],
    "zmpop": [(1, "z", "MIN"), (1, "z", "MAX", "COUNT", 9)],
    "zpopmax": [("z",), ("z", 9)],
    "zpopmin": [("z",)],
    "zrangestore": [("new", "z", 0, 1)],
    "zrem": [("z", "a"), ("z", "a", "b", "c")],
    "zremrangebylex": [("z", "-", "+")],
    "zremrangebyrank": [("z", 0, 1)],
    "zremrangebyscore": [("z", 1, 2)],
    "zunionstore": [("new", 2, "z", "s")],
}


def filled() -> tuple[Server, Session]:
    server = Server()
    session = server.session()
    for words in (
        ("SET", "k", "v"),
        ("SET", "n", "5"),
        ("JSON.SET", "j", "$", "7"),
        ("JSON.SET", "d", "$", '{"n": 1, "s": "ab", "l": [1, 2, 3], "o": {"x": 1}, "b": true}'),
        ("SET", "timed", "v", "PXAT", LATER_MS),
        ("HSET", "h", "a", 1, "b", 2),
        ("HSET", "timed_fields", "a", 1, "b", 2),
        ("HPEXPIREAT", "timed_fields", LATER_MS, "FIELDS", 1, "a"),
        ("RPUSH", "l", "a", "b", "c", "b"),
        ("SADD", "s", 1, 2, "x"),
        ("SADD", "t", 2, "x", "y"),
        ("ZADD", "z", 1, "a", 2, "b", 3, "c"),
        ("GEOADD", "geo", 13.3, 38.1, "p"),
        ("PFADD", "hll", "a"),
        ("XADD", "x", "1-0", "f", "v"),
        ("XADD", "x", "2-0", "f", "v", "g", "w"),
        ("XADD", "x", "3-0", "f", "v"),
        ("XGROUP", "CREATE", "x", "g", "0"),
        ("XREADGROUP", "GROUP", "g", "alice", "COUNT", 1, "STREAMS", "x", ">"),
    ):
        run(session, *words)
    return server, session


def test_every_command_that_may_change_data_is_here() -> None:
    commands = Server().table.commands.values()
    # MIGRATE and KVS.RESTORE write when their clients are answered: test_migrate and test_time_machine tell of that.
    later = {"migrate", "kvs.restore"}
    assert {command.name for command in commands if "write" in command.flags} - later == WRITES.keys()


@pytest.mark.parametrize("name", WRITES)
def test_command_changes_data_through_a_door_and_what_it_records_repeats_it(name: str) -> None:
    """The keyspace of these sessions raises elsewhere."""
    changed = False
    for words in WRITES[name]:
        server, session = filled()
        before = exact(entries(server))
        reply = run(session, name, *words)
        assert not isinstance(reply, Error), reply
        changed = changed or exact(entries(server)) != before
        assert exact(replayed(server.keyspace.records.take())) == exact(entries(server))
    assert changed


def test_command_that_is_no_write_changes_nothing_whatever_it_is_given() -> None:
    server, session = filled()
    before = exact(entries(server))
    server.keyspace.records.take()
    for command in server.table.commands.values():
        if "write" not in command.flags and command.group not in ("transactions", "connection", "server", "pubsub"):
            for words in (("k",), ("k", "n"), ("k", 0, 1), ("k", 0, 1, "w"), ("k", "GET", "u8", 0)):
                run(session, command.name, *words)
    assert exact(entries(server)) == before
    assert server.keyspace.records.take() == []


@pytest.mark.patches_compiled
@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize(
    "call",
    [
        "keyspace.set(b'k', b'v')",
        "keyspace.delete(b'k')",
        "keyspace.set_expiring(b'k', b'v', 1)",
        "keyspace.set_many([[b'SET', b'k', b'v']])",
        "keyspace.replace([])",
    ],
)
def test_handler_that_goes_around_the_doors_is_found(call: str, is_frozen: bool) -> None:
    """So the tests above are worth something."""
    keyspace = Server().keyspace
    if is_frozen:
        keyspace.cut()
    with pytest.raises(AssertionError, match="broken changes data and records nothing"):
        eval(call, {"__name__": "kvserver.commands.broken", "keyspace": keyspace})
    assert len(keyspace) == 0


@pytest.mark.patches_compiled
def test_value_that_is_held_in_another_form_must_be_equal() -> None:
    keyspace = Server().keyspace
    keyspace.set(b"k", b"v")
    with pytest.raises(AssertionError, match="must be equal"):
        keyspace.put_equal(b"k", b"w")


# --- What is recorded gives the same data at any time, which the journal relies on ---

keys = st.sampled_from(["a", "b", "c"])
times = st.sampled_from(
    [(), ("PX", 10), ("EX", 1), ("PXAT", START_MS + 30), ("EXAT", START_MS // 1000 + 1), ("PXAT", 1), ("KEEPTTL",)]
)
conditions = st.sampled_from([(), ("NX",), ("XX",), ("GET",)])
sets: st.SearchStrategy[Words] = st.builds(
    lambda key, time, condition: ("SET", key, "v", *time, *condition), keys, times, conditions
)
others: st.SearchStrategy[Words] = st.one_of(
    st.tuples(st.sampled_from(["DEL", "GET", "JSON.DEL", "TTL"]), keys),
    st.tuples(st.just("DEL"), keys, keys),
    st.builds(lambda key, extra: ("JSON.SET", key, "$", '{"b": 1.50}', *extra), keys, st.sampled_from([(), ("NX",), ("XX",)])),
    st.builds(lambda key: ("JSON.SET", key, ".", '"text"'), keys),
    st.sampled_from([("FLUSHALL",), ("FLUSHDB", "ASYNC"), ("RANDOMKEY",), ("KEYS", "*"), ("SCAN", 0)]),
    st.sampled_from([("SELECT", 0), ("SELECT", 1), ("SWAPDB", 0, 1), ("SWAPDB", 1, 2), ("SWAPDB", 0, 0)]),
    st.builds(lambda key, number: ("MOVE", key, number), keys, st.sampled_from([0, 1, 2])),
    st.builds(lambda key, other, number: ("COPY", key, other, "DB", number), keys, keys, st.sampled_from([0, 1, 2])),
    st.builds(
        lambda name, key, other: (name, key, other), st.sampled_from(["RENAME", "RENAMENX", "COPY", "UNLINK"]), keys, keys
    ),
    st.builds(lambda key, other: ("COPY", key, other, "REPLACE"), keys, keys),
    st.builds(
        lambda name_and_time, key, condition: (name_and_time[0], key, name_and_time[1], *condition),
        st.sampled_from(
            [("EXPIRE", 1), ("PEXPIRE", 12), ("PEXPIREAT", START_MS + 25), ("EXPIREAT", START_MS // 1000 + 2), ("EXPIRE", -1)]
        ),
        keys,
        st.sampled_from([(), (), ("NX",), ("XX",), ("GT",), ("LT",)]),
    ),
    st.tuples(st.just("PERSIST"), keys),
    st.just(("SET", "a", "v", "EX", "0")),
    st.just(("SET", "a", "v", "NX", "XX")),
)
strings: st.SearchStrategy[Words] = st.one_of(
    st.tuples(st.sampled_from(["INCR", "DECR", "GETDEL", "STRLEN"]), keys),
    st.tuples(st.sampled_from(["INCRBY", "DECRBY", "INCRBYFLOAT", "APPEND", "GETSET", "SETNX"]), keys, st.just(7)),
    st.tuples(st.sampled_from(["SETEX", "PSETEX"]), keys, st.sampled_from([1, 12]), st.sampled_from(["5", "1.5", "v"])),
    st.builds(lambda key, time: ("GETEX", key, *time), keys, times | st.just(("PERSIST",))),
    st.tuples(st.sampled_from(["MSET", "MSETNX"]), keys, st.just("1"), keys, st.just("2")),
    st.tuples(st.just("SETRANGE"), keys, st.sampled_from([0, 3]), st.sampled_from(["", "xy"])),
    st.tuples(st.just("SETBIT"), keys, st.sampled_from([0, 9, 30]), st.sampled_from([0, 1])),
    st.tuples(st.sampled_from(["BITOP"]), st.sampled_from(["AND", "OR", "XOR"]), keys, keys, keys),
    st.tuples(st.just("BITOP"), st.just("NOT"), keys, keys),
    st.builds(lambda key, width: ("BITFIELD", key, "INCRBY", width, 3, 100), keys, st.sampled_from(["u4", "i20"])),
    st.builds(lambda key, number: ("JSON.SET", key, "$", number), keys, st.sampled_from(["1", "2.5"])),
)
# A command, the milliseconds until the next one, and True if there is a sweep before that. The clock may be set back, too.
pauses = st.sampled_from([0, 0, 5, 10, 1_000, -7, -1_000])
steps = st.lists(st.tuples(sets | strings | strings | others, pauses, st.booleans()), max_size=25)


def living(server: Server) -> dict[Place, Entry]:
    for keyspace in server.state.databases:
        for key, _ in list(keyspace.members()):
            keyspace.live(key)
    return entries(server)


@settings(max_examples=150)
@given(steps, st.sampled_from([0, 7, 2_000, -2_000]))
def test_written_commands_run_at_any_time_give_the_same_data(commands: list[tuple[Words, int, bool]], delay_ms: int) -> None:
    server = Server()
    session = server.session()
    for words, pause_ms, sweeps in commands:
        run(session, *words)
        server.clock.now_ms += pause_ms
        while sweeps and server.state.databases.sweep():
            pass
    server.clock.now_ms += delay_ms
    replica = replica_of(server.keyspace.records.take(), server.clock.now_ms)
    # What is due, but has not gone yet, is there, too.
    assert exact(entries(replica)) == exact(entries(server))
    assert exact(living(replica)) == exact(living(server))


def test_commands_that_change_nothing_leave_nothing() -> None:
    session = Server().session()
    run(session, "SET", "k", "v")
    session.keyspace.records.take()
    before = session.keyspace.records.changes
    commands: list[Words] = [
        ("GET", "k"),
        ("SET", "k", "w", "NX"),
        ("SET", "none", "w", "XX"),
        ("SET", "k", "w", "EX", "0"),
        ("DEL", "none"),
        ("JSON.SET", "k", "$", "{"),
        ("JSON.SET", "k", "$", "1", "NX"),
        ("JSON.DEL", "none"),
        ("RESTORE", "k", 0, "x"),
        ("FLUSHALL", "NOW"),
        ("UNLINK", "none"),
        ("RENAME", "none", "k"),
        ("RENAME", "k", "k"),
        ("RENAMENX", "k", "k"),
        ("COPY", "none", "k", "REPLACE"),
        ("COPY", "k", "k"),
        ("EXPIRE", "none", 1),
        ("EXPIRE", "k", 1, "XX"),
        ("PERSIST", "k"),
        ("MOVE", "k", 0),
        *(("SETNX", "k", "w"), ("MSETNX", "l", "1", "k", "2"), ("GETDEL", "none"), ("GETEX", "k"), ("GETEX", "k", "PERSIST")),
        *(("INCR", "k"), ("INCRBYFLOAT", "k", "1"), ("SETRANGE", "k", 0, ""), ("SETRANGE", "none", 4, "")),
        *(("SETBIT", "k", 0, 0), ("BITFIELD", "k", "SET", "u8", 0, ord("v")), ("BITOP", "OR", "none", "none")),
        ("SWAPDB", 0, 0),
        ("TOUCH", "k"),
    ]
    for words in commands:
        run(session, *words)
    assert session.keyspace.records.take() == []
    assert session.keyspace.records.changes == before


@pytest.mark.parametrize("value", [("SET", "k", "v"), ("JSON.SET", "k", "$", "[1]")])
@pytest.mark.parametrize("words", [("PERSIST", "k"), ("EXPIRE", "k", 100), ("PEXPIREAT", "k", START_MS + 99_000)])
def test_key_that_was_let_live_on_lives_though_the_journal_is_replayed_after_its_first_end(value: Words, words: Words) -> None:
    server = Server()
    session = server.session()
    for command in (value, ("PEXPIRE", "k", 10), words):
        run(session, *command)
    replica = replica_of(server.keyspace.records.take(), START_MS + 1_000)
    assert exact(entries(replica)) == exact(entries(server))


@pytest.mark.parametrize("times", [(), ("PX", 10)])
@pytest.mark.parametrize(
    "words",
    [
        *(("RENAME", "k", "new"), ("RENAME", "k", "l"), ("RENAMENX", "k", "new"), ("COPY", "k", "new"), ("UNLINK", "k", "l")),
        *(("COPY", "k", "l", "REPLACE"), ("EXPIRE", "k", 100), ("PEXPIRE", "k", 5), ("EXPIREAT", "k", 1), ("PERSIST", "k")),
        *(("FLUSHDB",), ("EXPIRE", "l", 5, "GT"), ("EXPIRE", "l", 50, "GT"), ("PEXPIREAT", "k", START_MS + 7, "LT")),
    ],
)
def test_change_of_a_key_is_written_as_it_was(words: Words, times: Words) -> None:
    server = Server()
    session = server.session()
    for command in (("SET", "k", "v", *times), ("SET", "l", "w", "EX", 20), words):
        run(session, *command)
    assert exact(replayed(server.keyspace.records.take())) == exact(entries(server))


def test_rename_of_a_key_that_other_data_lacks_fails_no_replay() -> None:
    replica = Server()
    session = Session(replica.state, REPLAY_ID, "journal", "journal", is_local=True)
    run(session, "SET", "b", "v")
    assert not isinstance(run(session, "RENAME", "a", "b"), Error)
    assert entries(replica) == {b"b": b"v"}


@pytest.mark.parametrize(
    "words",
    [
        *(("APPEND", "k", "1"), ("SETRANGE", "k", 2, "x"), ("SETBIT", "k", 3, 1), ("BITFIELD", "k", "SET", "u8", 0, 1)),
        *(
            ("INCR", "k"),
            ("DECRBY", "k", 5),
            ("INCRBYFLOAT", "k", "0.5"),
            ("SET", "k", "w", "KEEPTTL"),
            ("BITOP", "NOT", "k", "k"),
        ),
        *(("GETEX", "k", "EX", 100), ("GETEX", "k", "PX", 5), ("GETEX", "k", "PERSIST"), ("GETEX", "k"), ("GETSET", "k", "w")),
    ],
)
@pytest.mark.parametrize("value", [("SET", "k", "1"), ("JSON.SET", "k", "$", "1")])
@pytest.mark.parametrize("delay_ms", [0, 7, 10, 1_000])
def test_change_of_a_key_that_expires_is_replayed_at_any_time(value: Words, words: Words, delay_ms: int) -> None:
    server = Server()
    session = server.session()
    for command in (value, ("PEXPIRE", "k", 10), words):
        run(session, *command)
    server.clock.now_ms += delay_ms
    replica = replica_of(server.keyspace.records.take(), server.clock.now_ms)
    assert exact(living(replica)) == exact(living(server))
