"""Several clients in turn, on kvserver and on redis-server: transactions, messages, monitors, pauses, kills.

What every client gets is the same, byte for byte.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import time

import pytest

from helpers.conversations import converse
from helpers.servers import ServerProcess, Wire, encode, parse

SEED = int(os.environ.get("KVSERVER_CONVERSATIONS_SEED", "1"))
COUNT = int(os.environ.get("KVSERVER_CONVERSATIONS_COUNT", "60"))

CASES = {
    # --- transactions
    "transaction": """
        A: MULTI
        A: SET k 1
        A: GET k
        A: GET missing
        A: DEL k missing
        B: EXISTS k
        A: EXEC
        B: EXISTS k
        A: MULTI; SET k 2; GET k; EXEC; GET k
    """,
    "empty transaction": "A: MULTI; EXEC",
    "calls out of place": "A: EXEC; DISCARD; UNWATCH; MULTI; MULTI; WATCH a; EXEC; EXEC",
    "wrong counts of words": """
        A: MULTI x; EXEC x; DISCARD x; UNWATCH x; WATCH; WAIT; WAIT 1
        A: MULTI; MULTI x; EXEC
        A: MULTI; DISCARD x; EXEC; EXEC
        A: MULTI; EXEC x; EXEC
        A: MULTI; WATCH; SET k 1; EXEC; GET k
    """,
    "refused at queueing": """
        A: MULTI; GET; SET k 1; EXEC; GET k
        A: MULTI; NOSUCH; EXEC
        A: MULTI; CLIENT NOSUCH; EXEC
        A: MULTI; CLIENT SETNAME; EXEC
        A: MULTI; SAVE; EXEC
        A: MULTI; SHUTDOWN NOSAVE; EXEC
        A: MULTI; GET; DISCARD; GET k
    """,
    "errors of single commands": "A: SET k v; MULTI; INCR k; SET k 1; INCR k; SET k 1 NX XX; EXEC; GET k",
    "replies of every kind": "A: MULTI; PING; GET x; DBSIZE; MGET a b; PUBSUB NUMSUB; CLIENT TRACKINGINFO; EXEC",
    "flushes": "A: SET k 1; MULTI; FLUSHALL; DBSIZE; SET k 2; FLUSHALL ASYNC; EXEC; DBSIZE",
    "effects that take a while": """
        A: MULTI; DEBUG SLEEP 0.01; SET k 1; DEBUG SLEEP x; DEBUG SLEEP 0.01; GET k; EXEC; GET k
        A: GET k; MULTI; CONFIG SET appendonly yes; CONFIG GET appendonly; SET k 2; CONFIG SET appendonly no; EXEC; GET k
        B: GET k; CONFIG GET appendonly
        A: MULTI; GET k; CONFIG REWRITE; EXEC; GET k
        A: MULTI; SUBSCRIBE c; DEBUG SLEEP 0; UNSUBSCRIBE c; EXEC; PING
        A: MULTI; CLIENT REPLY ON; DEBUG SLEEP 0; EXEC
    """,
    "settings": "A: MULTI; CONFIG SET timeout 77; CONFIG GET timeout; CONFIG SET timeout 0; CONFIG SET x y; EXEC",
    "waiting for replicas": "A: WAIT 0 0; WAIT 0 1; WAIT x 1; WAIT 1 x; WAIT 1 -1; MULTI; WAIT 1 0; WAIT 1 -1; EXEC",
    "change of protocol": "A: MULTI; GET x; HELLO 3; GET x; HELLO 2; GET x; EXEC; GET x",
    "authentication": "A: MULTI; AUTH x; AUTH default x; EXEC",
    "reset ends it": "A: WATCH k; MULTI; SET k 1; RESET; EXEC; GET k; SET k 2; MULTI; EXEC",
    "quit ends it": "A: MULTI; SET k 1; QUIT; EXEC",
    "leaving ends it": """
        A: MULTI; SET k 1
        A: <close>
        B: GET k
    """,
    # --- watching
    "watch that nobody touches": "A: WATCH a b; GET a; MULTI; SET a 1; EXEC; GET a",
    "watch that another client touches": """
        A: WATCH a b
        B: SET b 1
        A: MULTI; SET a 1; EXEC; GET a
        A: MULTI; SET a 1; EXEC; GET a
    """,
    "watch touched behind multi": """
        A: WATCH a; MULTI; SET x 1
        B: SET a 1
        A: EXEC; EXISTS x
    """,
    "watch touched by its own client": "A: WATCH a; SET a 1; MULTI; EXEC; MULTI; EXEC",
    "watch touched by the same value": "A: SET a 1; WATCH a; SET a 1; MULTI; EXEC",
    "watch touched by a transaction": """
        A: WATCH a; MULTI
        B: MULTI; SET a 1; EXEC
        A: EXEC
    """,
    "watch and a transaction that fails": "A: WATCH a; SET a 1; MULTI; NOSUCH; EXEC; MULTI; EXEC",
    "unwatch": "A: WATCH a; SET a 1; UNWATCH; MULTI; EXEC",
    "unwatch inside": "A: WATCH a; SET a 1; MULTI; UNWATCH; EXEC; MULTI; UNWATCH; EXEC",
    "discard unwatches": "A: WATCH a; MULTI; DISCARD; SET a 1; MULTI; EXEC",
    "exec unwatches": "A: WATCH a; MULTI; EXEC; SET a 1; MULTI; EXEC",
    "watch of a missing key and a flush": """
        A: WATCH a
        B: FLUSHALL
        A: MULTI; EXEC
    """,
    "watch of a key and a flush": """
        A: SET a 1; WATCH a
        B: FLUSHALL
        A: MULTI; EXEC
    """,
    "watch of a key that was deleted and flushed": """
        A: SET a 1; DEL a; WATCH a
        B: FLUSHALL
        A: MULTI; EXEC
    """,
    "watch and writes that change nothing": """
        A: SET a 1; WATCH a b c
        B: SETNX a 2; SET a 2 NX; SET b 1 XX; DEL b; PERSIST a; GETDEL b; GETEX a; EXPIRE b 10; RENAMENX b c
        A: MULTI; EXEC
    """,
    "watch and a rename": """
        A: SET a 1; WATCH b; RENAME a b; MULTI; EXEC
        A: WATCH b; RENAME b a; MULTI; EXEC
        A: WATCH a; COPY a b; MULTI; EXEC
    """,
    "watch and a time to live": "A: SET a 1; WATCH a; EXPIRE a 100; MULTI; EXEC; WATCH a; PERSIST a; MULTI; EXEC",
    # --- messages
    "message": """
        S: SUBSCRIBE c d
        P: PUBLISH c hello; PUBLISH d ""; PUBLISH e x
        S: UNSUBSCRIBE c
        P: PUBLISH c hello; PUBLISH d x
    """,
    "messages by patterns": """
        S: PSUBSCRIBE h?llo
        T: PSUBSCRIBE h[ae]llo*
        P: PUBLISH hello 1; PUBLISH hallo 2; PUBLISH hxllo 3; PUBLISH hello! 4; PUBLISH "" 5
        S: PUNSUBSCRIBE
        P: PUBLISH hello 6
    """,
    "message by channel and pattern": """
        S: SUBSCRIBE c
        S: PSUBSCRIBE c*
        P: PUBLISH c 1
    """,
    "messages of shards": """
        S: SSUBSCRIBE c
        S: SUBSCRIBE c
        P: SPUBLISH c 1; PUBLISH c 2; PUBSUB SHARDCHANNELS; PUBSUB SHARDNUMSUB c d; PUBSUB CHANNELS
        S: SUNSUBSCRIBE
        S: SUNSUBSCRIBE
        P: SPUBLISH c 1
    """,
    "subscribing twice": "S: SUBSCRIBE c c d; SUBSCRIBE d; PSUBSCRIBE d; SSUBSCRIBE d",
    "unsubscribing from nothing": "S: UNSUBSCRIBE; PUNSUBSCRIBE; SUNSUBSCRIBE; UNSUBSCRIBE a b; PUNSUBSCRIBE a; PING",
    "context of a subscriber": """
        S: SUBSCRIBE c
        S: PING; PING x; PING x y; GET k; get; NOSUCH; MULTI; EXEC; HELLO; AUTH x; CLIENT INFO x; RESET
        S: GET k; PING
    """,
    "context begins in resp3 and is met in resp2": """
        S: HELLO 3
        S: SUBSCRIBE c; GET k; PING; PING x
        S: HELLO 2
        S: GET k; PING; UNSUBSCRIBE; GET k; PING
    """,
    "context ends with the last subscription": """
        S: SUBSCRIBE a; PSUBSCRIBE a; SSUBSCRIBE a
        S: UNSUBSCRIBE; PING; PUNSUBSCRIBE; PING; SUNSUBSCRIBE; PING
    """,
    "message to oneself": "S: HELLO 3; SUBSCRIBE c; PUBLISH c 1; PING; MULTI; PUBLISH c 2; EXEC; SPUBLISH c 3",
    "message to oneself among others": """
        S: HELLO 3; SUBSCRIBE c
        T: SUBSCRIBE c
        S: PING; PUBLISH c 1; PUBLISH c 2; PING
    """,
    "subscribing in a transaction": """
        S: MULTI; SUBSCRIBE a b; PING; GET x; PING y; EXEC
        P: PUBLISH a x
        S: GET x
        S: UNSUBSCRIBE a b; GET x
    """,
    "publishing in a transaction": """
        S: SUBSCRIBE c
        P: MULTI; PUBLISH c 1; SET k 1; PUBLISH c 2
        P: EXEC
        P: MULTI; PUBLISH c 3; DISCARD
    """,
    "subscriber leaves": """
        S: SUBSCRIBE c; PSUBSCRIBE c
        P: PUBLISH c 1
        S: <close>
        P: PUBLISH c 1; PUBSUB CHANNELS; PUBSUB NUMPAT
    """,
    "subscriber quits or resets": """
        S: SUBSCRIBE c
        T: SUBSCRIBE c
        S: QUIT
        T: RESET
        P: PUBLISH c 1
    """,
    "who listens": """
        S: SUBSCRIBE ab; PSUBSCRIBE p q
        T: SUBSCRIBE ab; PSUBSCRIBE p
        P: PUBSUB CHANNELS; PUBSUB CHANNELS a*; PUBSUB CHANNELS x*; PUBSUB NUMSUB; PUBSUB NUMSUB ab x ab; PUBSUB NUMPAT
        P: PUBSUB CHANNELS a b; PUBSUB NUMPAT x; PUBSUB NOSUCH; PUBSUB; PUBSUB HELP; PUBSUB SHARDCHANNELS a b
    """,
    "wrong counts of words for messages": """
        P: PUBLISH; PUBLISH c; PUBLISH c x y
        P: SUBSCRIBE; PSUBSCRIBE; SPUBLISH c; SSUBSCRIBE
    """,
    # --- monitors
    "monitor": """
        M: MONITOR
        A: SET k "a\\"b"; GET k; GET; NOSUCH; INCR k; PING; CLIENT GETNAME; CLIENT LIST ID 99999; CONFIG GET timeout
        A: MULTI; GET k; SET k 1; EXEC; EXEC; MULTI; GET; EXEC; WATCH k; SET k 2; MULTI; GET k; EXEC
    """,
    "monitor sees no secrets": """
        M: MONITOR
        A: AUTH secret; AUTH default secret; AUTH nobody secret; CONFIG SET requirepass ""
        B: HELLO 2 AUTH nobody secret; HELLO 2 SETNAME me AUTH nobody secret
    """,
    "monitor and itself": "M: MONITOR; PING; PING; MONITOR; GET k; SET k 1; PUBLISH c x; ECHO x; RESET; PING; GET k",
    "monitor in a transaction": """
        M: MULTI; MONITOR; PING; EXEC; PING
        M: MONITOR; MULTI; PING; GET k; EXEC; MULTI; PING; EXEC
    """,
    "monitor that subscribes": """
        M: MONITOR; SUBSCRIBE c; PING; GET k
        A: PUBLISH c x
    """,
    "monitors": """
        M: MONITOR
        N: MONITOR
        A: PING
        M: QUIT
        A: PING
        N: RESET
        A: PING
    """,
    # --- replies held back
    "replies off": "A: CLIENT REPLY OFF; PING; GET; NOSUCH; SET k 1; CLIENT REPLY SKIP; PING; CLIENT REPLY ON; GET k",
    "replies skipped": """
        A: CLIENT REPLY SKIP; PING; ECHO 1; CLIENT REPLY SKIP
        A: ECHO 2; ECHO 3; CLIENT REPLY SKIP; CLIENT REPLY SKIP; ECHO 4; ECHO 5
        A: CLIENT REPLY SKIP; CLIENT REPLY ON; CLIENT REPLY SKIP; CLIENT REPLY X; CLIENT REPLY SKIP; NOSUCH; ECHO 6
    """,
    "replies on": "A: CLIENT REPLY ON; CLIENT REPLY x; CLIENT REPLY; CLIENT REPLY ON x; MULTI; CLIENT REPLY ON; EXEC",
    "transaction without replies": "A: CLIENT REPLY OFF; MULTI; SET k 1; EXEC; CLIENT REPLY ON; GET k",
    "replies skipped in part of a transaction": "A: CLIENT REPLY SKIP; MULTI; GET k; CLIENT REPLY ON; EXEC",
    "reset lets replies through": "A: CLIENT REPLY OFF; RESET; PING",
    "messages without replies": """
        S: CLIENT REPLY OFF
        S: SUBSCRIBE c
        P: PUBLISH c 1
        S: UNSUBSCRIBE; PING; CLIENT REPLY ON
    """,
    "message to oneself without replies": "S: HELLO 3; CLIENT REPLY OFF; SUBSCRIBE c; PUBLISH c 1; CLIENT REPLY ON",
    "monitor without replies": """
        M: MONITOR; CLIENT REPLY OFF; PING
        A: PING
        M: CLIENT REPLY ON; PING
    """,
    # --- pauses
    "pause of writes": """
        P: CLIENT PAUSE 100000 WRITE
        A: GET k; SET k; NOSUCH; SET k 1; GET k
        B: GET k; PUBLISH c x; PING
        P: CLIENT UNPAUSE
        P: GET k
    """,
    "pause and transactions": """
        A: MULTI; SET k 1
        B: MULTI
        C: MULTI; GET k
        P: CLIENT PAUSE 100000 WRITE
        A: GET k; EXEC; PING
        B: SET k 2; EXEC
        C: EXEC
        P: GET k
        P: CLIENT UNPAUSE
    """,
    "pause inside a transaction": """
        A: MULTI; CLIENT PAUSE 100000 WRITE; SET k 1; EXEC; GET k
        B: SET k 2
        C: CLIENT UNPAUSE
        B: GET k
    """,
    "keys whose time comes in a pause": """
        A: SET k v PX 1; SET l v; CLIENT PAUSE 100000 WRITE; DEBUG SLEEP 0.4; DBSIZE; GET k; EXISTS k; TTL k; KEYS *; TYPE k
        A: OBJECT ENCODING k; RANDOMKEY; DBSIZE
        B: SET k w NX GET
        A: CLIENT UNPAUSE
        B: GET k; DBSIZE
    """,
    "wrong pauses": """
        P: CLIENT PAUSE; CLIENT PAUSE x; CLIENT PAUSE -1; CLIENT PAUSE 10 NOSUCH; CLIENT PAUSE 10 WRITE x
        P: CLIENT UNPAUSE x; CLIENT UNPAUSE; CLIENT PAUSE 99999999999999999999; CLIENT PAUSE 0
    """,
    # --- kills and the rest of CLIENT
    "kill by kind": """
        S: SUBSCRIBE c
        K: CLIENT KILL TYPE pubsub; PUBLISH c x
        K: CLIENT KILL TYPE master; CLIENT KILL TYPE replica; CLIENT KILL TYPE slave; CLIENT KILL ID 999999
    """,
    "wrong kills": """
        K: CLIENT KILL; CLIENT KILL 1.2.3.4:5; CLIENT KILL ID; CLIENT KILL ID x; CLIENT KILL ID 0; CLIENT KILL ID -1
        K: CLIENT KILL TYPE nosuch; CLIENT KILL USER nosuch; CLIENT KILL USER nosuch SKIPME no
        K: CLIENT KILL ADDR 1.2.3.4:5 LADDR x; CLIENT KILL TYPE pubsub SKIPME maybe; CLIENT KILL ID 1 x; CLIENT KILL X 1
        K: CLIENT KILL MAXAGE 1
    """,
    "unblocking nobody": """
        A: CLIENT UNBLOCK; CLIENT UNBLOCK x; CLIENT UNBLOCK 99999; CLIENT UNBLOCK 99999 ERROR; CLIENT UNBLOCK x y
        A: CLIENT UNBLOCK 99999 timeout; CLIENT UNBLOCK 99999 ERROR x
    """,
    "tracking that is off": """
        A: CLIENT GETREDIR; CLIENT TRACKINGINFO; CLIENT TRACKING OFF; CLIENT TRACKING X; CLIENT TRACKING ON BAR
        A: CLIENT TRACKING; CLIENT CACHING YES; CLIENT CACHING X; CLIENT CACHING; CLIENT GETREDIR x
    """,
    "eviction": "A: CLIENT NO-EVICT ON; CLIENT NO-EVICT off; CLIENT NO-EVICT x; CLIENT NO-EVICT",
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_all_clients_get_what_redis_gives_them(
    kvserver: ServerProcess, redis_oracle: ServerProcess, name: str, protocol: int
) -> None:
    steps = CASES[name].strip().splitlines()
    theirs = converse(redis_oracle, steps, protocol)
    ours = converse(kvserver, steps, protocol)
    for client, heard in theirs.items():
        assert ours[client].split(b"\r\n") == heard.split(b"\r\n")
    assert ours.keys() == theirs.keys()


# --- random transactions of several clients

KEYS = ("a", "b", "c")
_READS = ("GET {k}", "EXISTS {k} {l}", "MGET {k} {l}", "TTL {k}", "STRLEN {k}", "TYPE {k}")
_WRITES = (
    "SET {k} {v}", "SET {k} {v}", "SET {k} {v} NX", "SET {k} {v} XX GET", "SETNX {k} {v}", "DEL {k}", "DEL {k} {l}",
    "INCR {k}", "APPEND {k} {v}", "APPEND {k} ''", "SETRANGE {k} 2 {v}", "SETRANGE {k} 0 ''", "MSET {k} {v} {l} {v}",
    "MSETNX {k} 1 {l} 2", "GETDEL {k}", "GETSET {k} {v}",
    "RENAME {k} {l}", "RENAMENX {k} {l}", "COPY {k} {l}", "COPY {k} {l} REPLACE", "UNLINK {k}",
    "EXPIRE {k} 1000", "EXPIRE {k} 1000 NX", "EXPIRE {k} -1", "PERSIST {k}", "GETEX {k} PERSIST", "GETEX {k} EX 1000",
    "SETEX {k} 1000 {v}", "FLUSHALL", "SETBIT {k} 3 1", "BITOP NOT {k} {l}", "BITOP AND {k} {l} {k}", "INCRBYFLOAT {k} 0",
    "INCRBY {k} 0", "TOUCH {k}", "BITFIELD {k} GET u8 0", "BITFIELD {k} SET u8 0 0", "SET {k} {v} EXAT 1", "LCS {k} {l}",
)  # fmt: skip
_FRAMES = ("MULTI", "MULTI", "EXEC", "EXEC", "EXEC", "DISCARD", "WATCH {k}", "WATCH {k}", "WATCH {k} {l}", "UNWATCH")
_WRONG = ("NOSUCH", "GET", "SET {k}", "INCRBY {k} x", "EXEC x", "CLIENT NOSUCH", "SAVE x", "MULTI x")


# What TTL says of EXPIRE 1000 some steps later, which take either server as long as the machine is busy.
_ABOUT_1000 = re.compile(rb":(?:1000|9[5-9][0-9])\r\n")


def random_step(rng: random.Random) -> str:
    rows = rng.choices((_READS, _WRITES, _FRAMES, _WRONG), (15, 40, 43, 2))[0]
    words = {"k": rng.choice(KEYS), "l": rng.choice(KEYS), "v": rng.choice(("1", "2", "text", "0"))}
    return rng.choice(rows).format(**words)


def test_random_transactions_of_two_clients_end_as_on_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    """Each reply is awaited before the next step, so that both servers take the steps in the same order."""
    for number in range(COUNT):
        seed = SEED + number
        rng = random.Random(seed)
        steps = [(rng.choice("AB"), random_step(rng)) for _ in range(80)]
        heard = {}
        for server in (kvserver, redis_oracle):
            assert server.once("FLUSHALL") == b"+OK\r\n"
            with server.connect() as first, server.connect() as second:
                wires = {"A": first, "B": second}
                if seed % 2:
                    first.command("HELLO", 3)
                replies = [wires[name].command(*shlex.split(said)) for name, said in steps]
            heard[server.kind] = [_ABOUT_1000.sub(b":<about 1000>\r\n", reply) for reply in replies]
        if heard["kvserver"] != heard["redis-server"]:
            place = next(
                place
                for place, (ours, theirs) in enumerate(zip(heard["kvserver"], heard["redis-server"], strict=True))
                if ours != theirs
            )
            told = "\n".join(
                f"{name}: {said}  {reply!r}"
                for (name, said), reply in zip(steps[: place + 1], heard["redis-server"], strict=False)
            )
            pytest.fail(f"seed {seed}:\n{told}\nkvserver: {heard['kvserver'][place]!r}", pytrace=False)


# --- what ends a wait or a connection


@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
def test_pause_ends_by_itself_and_in_order(kvserver: ServerProcess, mode: str) -> None:
    with kvserver.connect() as wire, kvserver.connect() as other:
        started_at = time.monotonic()  # before the pause begins: however late this process is then, it is over later
        assert wire.command("CLIENT", "PAUSE", 100, mode) == b"+OK\r\n"
        other.send(encode("SET", "k", 1) + encode("INCR", "k") + encode("GET", "k"))
        assert [other.read_reply() for _ in range(3)] == [b"+OK\r\n", b":2\r\n", b"$1\r\n2\r\n"]
        assert time.monotonic() - started_at > 0.09


def test_pause_becomes_neither_shorter_nor_weaker(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire, kvserver.connect() as other:
        started_at = time.monotonic()  # before the pause begins: however late this process is then, it is over later
        wire.send(
            encode("MULTI") + encode("CLIENT", "PAUSE", 300, "ALL") + encode("CLIENT", "PAUSE", 1, "WRITE") + encode("EXEC")
        )
        assert [wire.read_reply() for _ in range(3)] == [b"+OK\r\n", b"+QUEUED\r\n", b"+QUEUED\r\n"]
        assert wire.read_reply() == b"*2\r\n+OK\r\n+OK\r\n"
        assert other.command("PING") == b"+PONG\r\n"
        assert time.monotonic() - started_at > 0.29


def test_write_behind_a_pause_in_a_transaction_finds_no_key_that_is_due(kvserver: ServerProcess) -> None:
    """Where redis-server 7.0.15 ends, since the key that it has found missing is there."""
    commands = [
        *("SET k v PX 1", "SET due v PX 1", "DEBUG SLEEP 0.01"),
        *("MULTI", "CLIENT PAUSE 100000 WRITE", "APPEND k x", "PTTL k", "SET due v PX 1", "EXEC"),
        *("DEBUG SLEEP 0.4", "GET k", "GET due", "DBSIZE", "CLIENT UNPAUSE", "GET due", "DBSIZE"),
    ]
    with kvserver.connect() as wire:
        wire.send(b"".join(encode(*command.split()) for command in commands))
        replies = [wire.read_reply() for _ in commands]
        assert replies[8] == b"*4\r\n+OK\r\n:1\r\n:-1\r\n+OK\r\n"
        assert [parse(reply) for reply in replies[9:]] == [b"OK", b"x", None, 2, b"OK", None, 1]


def test_killed_client_is_gone_at_once(kvserver: ServerProcess) -> None:
    with kvserver.connect() as victim, kvserver.connect() as killer:
        number = victim.value("CLIENT", "ID")
        victim.command("SUBSCRIBE", "c")
        killer.send(
            encode("CLIENT", "KILL", "ID", number) + encode("PUBLISH", "c", "x") + encode("CLIENT", "LIST", "ID", number)
        )
        assert [killer.read_reply() for _ in range(3)] == [b":1\r\n", b":0\r\n", b"$0\r\n\r\n"]
        assert victim.read_until_eof() == b""


def test_client_that_kills_itself_gets_its_reply_first(kvserver: ServerProcess) -> None:
    def kill(wire: Wire) -> bytes:
        return encode("CLIENT", "KILL", "ID", wire.value("CLIENT", "ID"), "SKIPME", "no")

    with kvserver.connect() as wire:
        wire.send(encode("PING") + kill(wire) + encode("SET", "k", 1))
        assert wire.read_until_eof() == b"+PONG\r\n:1\r\n"
    with kvserver.connect() as wire:
        wire.send(encode("MULTI") + kill(wire) + encode("SET", "l", 1) + encode("EXEC") + encode("SET", "k", 1))
        assert wire.read_until_eof() == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+OK\r\n"
    with kvserver.connect() as wire:
        wire.send(encode("MULTI") + kill(wire) + encode("DEBUG", "SLEEP", 0) + encode("EXEC") + encode("SET", "k", 1))
        assert wire.read_until_eof() == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+OK\r\n"
    assert kvserver.once("MGET", "k", "l") == b"*2\r\n$-1\r\n$1\r\n1\r\n"
