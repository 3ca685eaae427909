"""Random rules of users: redis-server takes and refuses the same ones, and allows and denies the same calls afterwards.

KVSERVER_ACL_USERS is the number of users, KVSERVER_ACL_USERS_SEED the seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from random import Random

from helpers.servers import ServerProcess, Wire, encode, parse

COUNT = int(os.environ.get("KVSERVER_ACL_USERS", "150"))
SEED = int(os.environ.get("KVSERVER_ACL_USERS_SEED", "0")) or Random().randrange(1, 1 << 32)
CATEGORIES = (
    *("keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream"),
    *("pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting", "all", "nosuch"),
)
COMMANDS = (
    *("get", "set", "config", "config|get", "config|set", "client", "client|id", "select", "debug", "ping", "publish", "eval"),
    *("sort", "copy", "mget", "object|encoding", "xread", "subscribe", "psubscribe", "acl|whoami", "incr", "lpush", "nosuch"),
)
PATTERNS = ("a*", "b?", "[ab]1", "*", "a", "", "x\\*", "r:*", "*1", "a b")
CALLS = (
    "GET {}", "SET {} x", "SET {} x GET", "MGET {} {}", "COPY {} {}", "SORT {}", "SORT {} STORE {}", "INCR {}", "PING",
    "CONFIG GET x", "CONFIG SET x y", "CLIENT ID", "CLIENT GETNAME", "SELECT 0", "SELECT 1", "DEBUG SLEEP 0", "PUBLISH {} x",
    "SUBSCRIBE {} {}", "PSUBSCRIBE {}", "EVAL x 2 {} {}", "EVAL x 0 {}", "XREAD STREAMS {} 0", "OBJECT ENCODING {}", "AUTH x",
    "LPUSH {} x", "RPOPLPUSH {} {}", "EXISTS {}", "TOUCH {} {}", "ZUNIONSTORE {} 2 {} {}", "BITFIELD {} GET u8 0",
    "BITFIELD {} SET u8 0 1", "GETEX {}", "HEXISTS {} f", "FLUSHALL", "ACL WHOAMI", "ACL LIST", "UNSUBSCRIBE {}", "MULTI",
    "GEORADIUS {} 0 0 1 m STORE {}", "PFCOUNT {} {}", "LMOVE {} {} LEFT LEFT", "SPUBLISH {} x", "WATCH {}", "GET", "NOSUCH",
)  # fmt: skip
KEYS = ("a", "a1", "b1", "bb", "x*", "r:1", "c", "1", "*")


def rule(rng: Random, *, of_user: bool = True) -> str:
    drawn = rng.random()
    if drawn < 0.25:
        return rng.choice("+++-") + rng.choice(COMMANDS)
    if drawn < 0.45:
        return f"{rng.choice('++-')}@{rng.choice(CATEGORIES)}"
    if drawn < 0.65:
        prefix, pattern = rng.choice(("~", "~", "%R~", "%W~", "%RW~", "%wr~", "%~", "%X~", "%R")), rng.choice(PATTERNS)
        # Redis tells of `%RW~*` as of `~*`, which is another rule: it drops the patterns before it.
        return ("~" if pattern == "*" and prefix in ("%RW~", "%wr~") else prefix) + pattern
    if drawn < 0.75:
        return "&" + rng.choice(PATTERNS)
    if drawn < 0.8:
        return rng.choice(("allkeys", "resetkeys", "allchannels", "resetchannels", "allcommands", "nocommands", "ALLKEYS"))
    if drawn < 0.84:
        return f"+{rng.choice(COMMANDS)}|{rng.choice(('0', '1', 'get', '', 'SLEEP'))}"
    if not of_user or drawn < 0.86:
        return rng.choice(("", "x", "(", "+", "-", "@all"))
    if drawn < 0.94:
        return f"({' '.join(rule(rng, of_user=False) for _ in range(rng.randrange(4)))})"
    return rng.choice(("on", "off", ">p", "<p", "nopass", "resetpass", "reset", "clearselectors", "sanitize-payload", "#p"))


def both(wires: Iterable[Wire], *words: str) -> list[bytes]:
    return [wire.command(*words) for wire in wires]


def test_random_rules_mean_the_same_as_in_redis(kvserver: ServerProcess, running_redis: ServerProcess) -> None:
    print(f"KVSERVER_ACL_USERS_SEED={SEED}")
    rng = Random(SEED)
    with kvserver.connect() as ours, running_redis.connect() as theirs:
        for _ in range(COUNT):
            said = []
            for _ in range(rng.randrange(1, 5)):
                words = ("ACL", "SETUSER", "random", *(rule(rng) for _ in range(rng.randrange(1, 6))))
                said.append(words)
                mine, other = both((ours, theirs), *words)
                assert mine == other, said
            calls = [rng.choice(CALLS) for _ in range(30)]
            asked = [call.format(*(rng.choice(KEYS) for _ in range(3))).split() for call in calls]
            data = b"".join(encode("ACL", "DRYRUN", "random", *call) for call in asked)
            for wire in (ours, theirs):
                wire.send(data)
            for call in asked:
                mine, other = ours.read_reply(), theirs.read_reply()
                assert mine == other, (said, call)
            mine, other = both((ours, theirs), "ACL", "GETUSER", "random")
            # What has been left out of categories by single commands depends on which commands there are.
            assert without_commands(mine) == without_commands(other), said
            if rng.random() < 0.3:
                both((ours, theirs), "ACL", "DELUSER", "random")
        both((ours, theirs), "ACL", "DELUSER", "random")


def without_commands(raw: bytes) -> object:
    told = parse(raw)
    if told is None:
        return None
    fields = dict(zip(told[::2], told[1::2], strict=True))
    selectors = [dict(zip(each[::2], each[1::2], strict=True)) for each in fields.pop(b"selectors")]
    commands = [each.pop(b"commands").split()[0] for each in (fields, *selectors)]
    return fields, selectors, commands


def test_rules_that_are_told_make_the_same_user_again(kvserver: ServerProcess) -> None:
    print(f"KVSERVER_ACL_USERS_SEED={SEED}")
    rng = Random(SEED)
    with kvserver.connect() as wire:
        for _ in range(COUNT // 3):
            wire.command("ACL", "SETUSER", "first", *(rule(rng) for _ in range(rng.randrange(1, 8))))
            line = next((line for line in wire.value("ACL", "LIST") if line.startswith(b"user first ")), b"")
            if line:
                assert wire.command("ACL", "SETUSER", "second", *line.split(b" ")[2:]) == b"+OK\r\n"
                assert line.replace(b"first", b"second", 1) in wire.value("ACL", "LIST")
            wire.command("ACL", "DELUSER", "first", "second")


def test_random_calls_of_a_user_have_the_replies_of_redis(kvserver: ServerProcess, running_redis: ServerProcess) -> None:
    """What DRYRUN tells is what happens: alone, in a transaction, and in a script."""
    print(f"KVSERVER_ACL_USERS_SEED={SEED}")
    rng = Random(SEED)
    sent = [
        call
        for call in CALLS
        if not call.startswith(("SUB", "PSUB", "UNSUB", "MULTI", "DEBUG", "EVAL x", "AUTH", "SELECT", "CLIENT ID"))
    ]
    with kvserver.connect() as ours, running_redis.connect() as theirs:
        for _ in range(COUNT // 5):
            rules = [f"~{rng.choice(PATTERNS[:6])}", f"%R~{rng.choice(PATTERNS[:6])}", f"&{rng.choice(PATTERNS[:6])}", "+@all"]
            rules = [each for each in rules if each != "~*"] + [f"-{rng.choice(COMMANDS[:8])}" for _ in range(3)]
            rules += ["-@admin", "-@dangerous", "+eval", "+multi", "+exec", "+auth", "+acl|whoami"]
            assert both((ours, theirs), "ACL", "SETUSER", "random", "reset", "on", "nopass", *rules) == [b"+OK\r\n"] * 2
            data = encode("AUTH", "random", "x")
            count = 1
            for _ in range(20):
                call = rng.choice(sent).format(*(rng.choice(KEYS) for _ in range(3))).split()
                form = rng.randrange(3)
                if form == 0:
                    data += encode(*call)
                    count += 1
                elif form == 1:
                    data += encode("MULTI") + encode(*call) + encode("EXEC")
                    count += 3
                else:
                    words = ", ".join(f"'{word}'" for word in call)
                    data += encode("EVAL", f"return redis.pcall({words})", 0)
                    count += 1
            data += encode("AUTH", "default", "x") + encode("FLUSHALL")
            for wire in (ours, theirs):
                wire.send(data)
            replies = [[wire.read_reply() for _ in range(count + 2)] for wire in (ours, theirs)]
            assert replies[0] == replies[1], rules
        both((ours, theirs), "ACL", "DELUSER", "random")
        both((ours, theirs), "ACL", "LOG", "RESET")
