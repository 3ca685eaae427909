"""A standby answers its clients as a replica of redis-server does: refusals byte for byte, and keys whose time has come.

The standby is a server of ours in this process, whose facts are set by hand. What real ones do is in test_sharing.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import kvserver
from helpers.servers import ServerProcess, Wire, encode, info, parse, wait_until
from kvserver.embedded import RunningServer
from kvserver.state.session import ServerState

NEVER_HEARD_S = 1e9


class Pair:
    """A replica of redis-server and its master, and a standby of ours. Each begins empty."""

    def __init__(self, stack: ExitStack, master: ServerProcess, replica: ServerProcess, ours: RunningServer) -> None:
        self.master, self.replica = stack.enter_context(master.connect()), stack.enter_context(replica.connect())
        self._ours = ours
        self.standby = stack.enter_context(Wire(ours.port))

    def change(self, change: Callable[[ServerState], None]) -> None:
        """Change the facts of our server, on its event loop."""
        server = self._ours._server
        server.on_loop.run(lambda: change(server.state))

    def write(self, *lines: str) -> None:
        """Have both sides hold what these commands write."""
        self.change(lead)
        for line in lines:
            words = [word.encode() for word in shlex.split(line)]
            replies = self.master.command(*words), self.standby.command(*words)
            assert replies[0] == replies[1], line
        self.change(follow)
        offset = info(self.master, "replication")["master_repl_offset"]
        wait_until(lambda: info(self.replica, "replication")["slave_repl_offset"] >= offset, "the replica has it all")

    def follow_again(self, master: ServerProcess) -> None:
        """Have the replica follow its master again."""
        self.replica.command("REPLICAOF", "127.0.0.1", master.port)
        wait_until(lambda: info(self.replica, "replication")["master_link_status"] == "up", "the replica is one again")

    def both(self, line: str) -> tuple[bytes, bytes]:
        """The replies of the replica and of the standby to a command."""
        data = encode(*(word.encode().decode("unicode_escape") for word in shlex.split(line)))
        self.replica.send(data)
        self.standby.send(data)
        return self.replica.read_reply(), self.standby.read_reply()


def follow(state: ServerState) -> None:
    state.databases.follow()
    state.replication.is_primary = False


def lead(state: ServerState) -> None:
    state.databases.lead()
    state.replication.is_primary = True


def cut_off(state: ServerState) -> None:
    state.replication.tail_age_s = lambda: NEVER_HEARD_S


def hear_again(state: ServerState) -> None:
    state.replication.tail_age_s = lambda: 0.0


@pytest.fixture(scope="module")
def ours() -> Iterator[RunningServer]:
    with kvserver.running(enable_debug_command="local") as server:
        yield server


@pytest.fixture(scope="module")
def replica(running_redis: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    options = ("--save", "", "--enable-debug-command", "local", "--replicaof", f"127.0.0.1 {running_redis.port}")
    assert running_redis.once("CONFIG", "SET", "repl-diskless-sync-delay", 0) == b"+OK\r\n"
    with ServerProcess("redis-server", tmp_path_factory.mktemp("replica"), *options) as server:
        with server.connect() as wire:
            wait_until(lambda: info(wire, "replication")["master_link_status"] == "up", "the replica is one")
        yield server


@pytest.fixture
def pair(redis_oracle: ServerProcess, replica: ServerProcess, ours: RunningServer) -> Iterator[Pair]:
    with ExitStack() as stack:
        pair = Pair(stack, redis_oracle, replica, ours)
        pair.change(lead)
        pair.change(hear_again)
        ours.empty()
        pair.write("SET there v", "HSET hash f v", "RPUSH list a", "PFADD counted a b", "PFCOUNT counted", "PFADD uncounted a")
        yield pair
        pair.change(lead)


REFUSED = r"""
SET k v
SET
set k
NOSUCH
GETEX there
GETEX there PERSIST
GETDEL there
EXPIRE there 100
PERSIST there
DEL there
UNLINK there
RENAME there k
COPY there k
RESTORE k 0 x
MOVE there 1
SORT list
SORT list STORE k
SORT_RO list
BITFIELD there GET u8 0
BITFIELD_RO there GET u8 0
GEORADIUS g 0 0 1 m
GEORADIUS_RO g 0 0 1 m
PFADD counted c
PFMERGE k counted
PFCOUNT counted
PFCOUNT uncounted
PFCOUNT counted uncounted
FLUSHALL
FLUSHDB
SWAPDB 0 1
BLPOP list 0
BLMOVE list k left left 0
BRPOPLPUSH list k 0
BLMPOP 0 1 list LEFT
BZPOPMIN z 0
XADD s * a b
XGROUP CREATE s g 0 MKSTREAM
XREADGROUP GROUP g c STREAMS s >
XREAD BLOCK 1 STREAMS s 0
XACK s g 1-1
FUNCTION LOAD "#!lua name=a\nredis.register_function('f', function() return 1 end)"
FUNCTION FLUSH
FUNCTION DELETE a
FUNCTION RESTORE x
FUNCTION LIST
FCALL f 0
SCRIPT LOAD "return 1"
SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db
EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
EVAL "return redis.call('set','k','v')" 0
EVAL "return redis.pcall('set','k','v')" 0
EVAL "return redis.call('get','there')" 0
EVAL "return redis.call('publish','c','m')" 0
EVAL "return redis.call('pfcount','uncounted')" 0
EVAL "return redis.call('no')" 0
EVAL_RO "return redis.call('set','k','v')" 0
EVAL_RO "return redis.call('get','there')" 0
EVAL "#!lua\nreturn redis.call('get','there')" 0
EVAL "#!lua flags=no-writes\nreturn redis.call('get','there')" 0
EVAL "#!lua flags=no-writes\nreturn redis.call('set','k','v')" 0
EVAL_RO "#!lua\nreturn 1" 0
MULTI
GET there
EXEC
MULTI
SET k v
GET there
EXEC
MULTI
EVAL "return redis.call('set','k','v')" 0
EVAL "#!lua flags=no-writes\nreturn 1" 0
PING
EXEC
MULTI
DISCARD
WATCH there
UNWATCH
PUBLISH c m
SPUBLISH c m
TOUCH there nowhere
GET there
HGETALL hash
LRANGE list 0 -1
DBSIZE
SELECT 1
SET k v
SELECT 0
SUBSCRIBE c
SET k v
GET there
UNSUBSCRIBE c
GET there
""".strip().splitlines()


def test_writes_are_refused_as_by_a_replica(pair: Pair) -> None:
    for line in REFUSED:
        theirs, ours = pair.both(line)
        assert ours == theirs, line
    assert pair.standby.value("GET", "there") == b"v"


def test_transaction_that_has_a_write_from_before_is_refused_at_its_end(
    pair: Pair, running_redis: ServerProcess, replica: ServerProcess
) -> None:
    pair.change(lead)
    assert pair.standby.command("MULTI") == b"+OK\r\n"
    assert pair.standby.command("SET", "k", "v") == b"+QUEUED\r\n"
    pair.change(follow)
    # In redis-server, too, a queue outlives a REPLICAOF.
    with replica.connect() as wire:
        pair.replica.command("REPLICAOF", "NO", "ONE")
        wire.command("MULTI")
        assert wire.command("SET", "k", "v") == b"+QUEUED\r\n"
        pair.follow_again(running_redis)
        theirs = wire.command("EXEC")
    assert pair.standby.command("EXEC") == theirs
    assert theirs.startswith(b"-EXECABORT Transaction discarded because of: READONLY")


STALE = r"""
GET there
GET
NOSUCH
SET k v
PING
ECHO x
INFO no-such-section
ROLE nobody
CONFIG GET replica-serve-stale-data
CLIENT GETNAME
SELECT 0
MULTI
GET there
EXEC
MULTI
PUBLISH c m
EXEC
EVAL "return 1" 0
EVAL "return redis.call('get','there')" 0
EVAL "#!lua\nreturn 1" 0
EVAL "#!lua flags=no-writes\nreturn 1" 0
EVAL "#!lua flags=no-writes,allow-stale\nreturn 1" 0
EVAL "#!lua flags=no-writes,allow-stale\nreturn redis.call('get','there')" 0
EVAL "#!lua flags=no-writes,allow-stale\nreturn redis.call('echo','there')" 0
EVAL "#!lua flags=no-writes,allow-stale\nreturn redis.call('save')" 0
EVAL_RO "return 1" 0
SCRIPT LOAD "return 1"
SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db
KEYS *
DBSIZE
WATCH there
UNWATCH
LASTSAVE x
TIME x
SLOWLOG RESET
SUBSCRIBE c
GET there
UNSUBSCRIBE c
COMMAND COUNT x
OBJECT HELP x
HELLO 9
AUTH x
RANDOMKEY
""".strip().splitlines()


def test_stale_reads_are_refused_as_by_a_replica_whose_link_is_down(pair: Pair, running_redis: ServerProcess) -> None:
    assert pair.both("CONFIG SET replica-serve-stale-data no") == (b"+OK\r\n", b"+OK\r\n")
    assert pair.both("GET there") == (b"$1\r\nv\r\n", b"$1\r\nv\r\n")
    pair.replica.command("REPLICAOF", "127.0.0.1", 1)
    pair.change(cut_off)
    try:
        for line in STALE:
            theirs, ours = pair.both(line)
            assert ours == theirs, line
    finally:
        pair.both("CONFIG SET replica-serve-stale-data yes")
        pair.follow_again(running_redis)
    assert pair.standby.command("GET", "there") == b"$1\r\nv\r\n", "stale, and served"


def test_snapshots_and_loads_are_the_primarys(pair: Pair) -> None:
    for line in ("SAVE", "BGSAVE", "BGREWRITEAOF", "RESTORE", "DEBUG RELOAD", "DEBUG LOADAOF", "DEBUG CRASH"):
        reply = pair.standby.command(*line.split())
        assert reply == b"-READONLY A replica can't save or load: the snapshots are those of the primary.\r\n", line
    assert pair.standby.command("BGSAVE", "x") == b"-ERR syntax error\r\n"
    assert pair.standby.command("DEBUG", "POPULATE", 1) == b"-READONLY You can't write against a read only replica.\r\n"


def test_hello_tells_of_a_replica(pair: Pair) -> None:
    for version in (2, 3):
        theirs, ours = (parse(reply) for reply in pair.both(f"HELLO {version}"))
        if version == 2:
            theirs, ours = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in (theirs, ours))
        assert ours[b"role"] == theirs[b"role"] == b"replica"


DUE = (
    "SET s v PX 20",
    "HSET h f v",
    "PEXPIRE h 20",
    "RPUSH l a",
    "PEXPIRE l 20",
    "SADD t a",
    "PEXPIRE t 20",
    "ZADD z 1 a",
    "PEXPIRE z 20",
    "XADD x 1-1 f v",
    "PEXPIRE x 20",
)
LOOKS = r"""
GET s
MGET s there
EXISTS s h there
TTL s
PTTL s
EXPIRETIME s
TYPE s
STRLEN s
OBJECT ENCODING s
DUMP s
TOUCH s
GETRANGE s 0 -1
HGET h f
HLEN h
HGETALL h
HSCAN h 0
LRANGE l 0 -1
LLEN l
LINDEX l 0
SMEMBERS t
SISMEMBER t a
SCARD t
SRANDMEMBER t
SUNION t nowhere
ZRANGE z 0 -1
ZSCORE z a
XLEN x
XRANGE x - +
XREAD STREAMS x 0
BITCOUNT s
SORT_RO l
KEYS [shltzx]
DBSIZE
EVAL "return redis.call('get', KEYS[1])" 1 s
EVAL "return redis.call('exists', KEYS[1])" 1 s
GET s
DBSIZE
""".strip().splitlines()


def test_keys_that_are_due_are_hidden_and_stay(pair: Pair) -> None:
    # Nobody removes them on the master, so that nothing comes to the replica by the log.
    pair.master.command("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        pair.write(*DUE)
        before = pair.both("DBSIZE")
        pair.both("DEBUG SLEEP 0.05")
        for line in LOOKS:
            theirs, ours = pair.both(line)
            assert ours == theirs, line
        assert pair.both("DBSIZE") == before, "none has gone"
        scanned = [set(each) for each in map(scan_all, (pair.replica, pair.standby))]
        assert scanned[0] == scanned[1] == {b"there", b"hash", b"list", b"counted", b"uncounted"}
        assert {pair.standby.value("RANDOMKEY") for _ in range(100)} <= scanned[0]
        fields = [info(wire, "stats")["expired_keys"] for wire in (pair.replica, pair.standby)]
        assert fields[0] == fields[1] == "0"
    finally:
        pair.master.command("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    pair.change(lead)
    wait_until(lambda: pair.standby.value("DBSIZE") == 5, "a primary removes them")


def scan_all(wire: Wire) -> list[bytes]:
    found, cursor = [], b"0"
    while True:
        cursor, keys = wire.value("SCAN", cursor)
        found += keys
        if cursor == b"0":
            return found
