"""Rights that change while clients talk: what each hears, and when it is closed, is as by redis-server.

KVSERVER_RIGHTS_COUNT is the number of random conversations, KVSERVER_RIGHTS_SEED the first seed.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator

import pytest

from helpers.servers import ServerProcess
from wire.talks import Pair, compare, logged, pair_of_servers

COUNT = int(os.environ.get("KVSERVER_RIGHTS_COUNT", "12"))
SEED = int(os.environ.get("KVSERVER_RIGHTS_SEED", "1"))
# Users of the conversation before are gone, and so are those who had logged in as one of them.
ANEW = "a3: ACL DELUSER u v; ACL SETUSER u on nopass +@all ~* &*; ACL SETUSER v on nopass +@all ~* &*; ACL LOG RESET"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair_of_servers(tmp_path_factory) as pair:
        yield pair


# What may happen to one that tracks, waits or is amid a transaction while users change.
CASES = {
    "one that takes all rights of its own": """
        b2: AUTH u x; ACL SETUSER u reset; PING; GET k; AUTH u x
    """,
    "one that takes its own rights in a transaction": """
        b3: AUTH u x; MULTI; ACL SETUSER u reset; GET k; PING; EXEC; PING
    """,
    "one that deletes itself amid a pipeline": """
        b3: AUTH u x; ACL DELUSER u; GET k; SET k 7
        a3: GET k
    """,
    "one that switches itself off": """
        b3: AUTH u x; ACL SETUSER u off; PING; AUTH u x; RESET; PING
    """,
    "a user deleted amid a transaction": """
        b3: AUTH u x; MULTI; SET k 1
        a3: ACL DELUSER u; GET k
        b3: EXEC
        a3: GET k
    """,
    "a user deleted whose call a pause holds": """
        a3: CLIENT PAUSE 100000 WRITE
        b3: AUTH u x; SET k 8
        a3: ACL DELUSER u; CLIENT UNPAUSE; GET k
    """,
    "rights taken from one whose call a pause holds": """
        a3: CLIENT PAUSE 100000 WRITE
        b3: AUTH u x; SET k 8; PING
        a3: ACL SETUSER u -@write; CLIENT UNPAUSE; GET k
    """,
    "rights taken from one whose EXEC a pause holds": """
        a3: CLIENT PAUSE 100000 WRITE
        b3: AUTH u x; MULTI; SET k 8; GET k; EXEC; PING
        a3: ACL SETUSER u -@write; CLIENT UNPAUSE; GET k
    """,
    "a user deleted whose EXEC a pause holds": """
        a3: CLIENT PAUSE 100000 WRITE
        b3: AUTH u x; MULTI; SET k 8; GET k; EXEC; PING
        a3: ACL DELUSER u; CLIENT UNPAUSE; GET k
    """,
    "rights to a key taken from one that tracks it": """
        b3: AUTH u x; CLIENT TRACKING on; GET k; GET l
        a3: ACL SETUSER u resetkeys ~l
        c3: SET k 1; SET l 1
        b3: GET k; GET l; GET kk
        c3: SET k 2; SET l 2; SET kk 2
        * info
    """,
    "all rights taken from one that is told of prefixes": """
        b3: AUTH u x; CLIENT TRACKING on BCAST
        a3: ACL SETUSER u resetkeys -@all
        c3: SET k 1; SET l 1
        b3: GET k; CLIENT TRACKING off; PING
        c3: SET k 2
        * info
    """,
    "channels taken from one that others redirect to": """
        b3: AUTH u x; SUBSCRIBE __redis__:invalidate
        c3: CLIENT TRACKING on REDIRECT @b3; GET k
        a3: ACL SETUSER u resetchannels
        c3: SET k 1; GET k
        a3: SET k 2
        c3: CLIENT TRACKINGINFO
        * info
    """,
    "all rights taken from one that others redirect to": """
        b3: AUTH u x
        c3: CLIENT TRACKING on REDIRECT @b3; GET k
        a3: ACL SETUSER u reset
        c3: SET k 1; GET k
        a3: SET k 2
        b3: PING
        * info
    """,
    "a user deleted that tracks": """
        b3: AUTH u x; CLIENT TRACKING on; GET k
        a3: ACL DELUSER u; SET k 1
        * info
    """,
    "keys of another database": """
        b3: SELECT 1; CLIENT TRACKING on; GET k; MGET k l
        c3: SET k 1
        b3: PING; GET k; GET l
        c3: SELECT 1; SET l 1; MOVE l 2; SET k 3
        b3: GET k; FLUSHDB
        c3: SELECT 5; FLUSHDB; SELECT 1; FLUSHDB
    """,
    "one that tracks and hears no replies": """
        b3: CLIENT TRACKING on; GET k; GET l; CLIENT REPLY OFF; GET m
        c3: SET k 1; SET m 1
        b3: GET k; SET k 2; CLIENT REPLY ON; GET k
        c3: SET k 1; SET l 1; FLUSHALL
        b3: PING
    """,
    "one that is told of prefixes and hears no replies": """
        b3: CLIENT TRACKING on BCAST; CLIENT REPLY OFF
        c3: SET k 1
        b3: SET k 2; CLIENT REPLY ON; PING
        c3: SET k 1
        b3: CLIENT REPLY SKIP
        c3: SET k 3
        b3: SET k 4; PING
    """,
    "one that redirects and hears no replies": """
        i2: SUBSCRIBE __redis__:invalidate
        b3: CLIENT TRACKING on REDIRECT @i2; GET k; CLIENT REPLY OFF
        c3: SET k 1
        b3: GET k
        c3: SET k 1
        b3: CLIENT REPLY ON
    """,
    "one that others redirect to and that hears no replies": """
        i3: CLIENT REPLY OFF
        b3: CLIENT TRACKING on REDIRECT @i3; GET k
        c3: SET k 1
        i3: CLIENT REPLY ON; PING
        b3: GET k
        c3: SET k 1
    """,
    "CLIENT NO-EVICT of one that tracks": """
        b3: CLIENT NO-EVICT on; CLIENT TRACKING on; GET k; CLIENT NO-EVICT x; CLIENT NO-EVICT
        c3: SET k 1
        b3: CLIENT NO-EVICT off; GET k
        c3: SET k 1
    """,
    "tracking that begins in a transaction, and may not end": """
        b3: AUTH u x; MULTI; CLIENT TRACKING on; GET k; EXEC
        a3: ACL SETUSER u -client; SET k 1
        b3: CLIENT TRACKING off; PING; RESET; HELLO 3; GET k
        a3: SET k 2
        * info
    """,
    "one that tracks and logs in as another": """
        b3: AUTH u x; CLIENT TRACKING on; GET k; AUTH v x; ACL SETUSER v resetkeys; GET k
        a3: SET k 1
        b3: PING
        a3: ACL DELUSER u; SET k 2
        b3: PING
    """,
    "a deleted user that is made anew": """
        b3: AUTH u x; SUBSCRIBE c
        a3: ACL DELUSER u; ACL SETUSER u on nopass +@all ~* &*
        b3: PING
        a3: CLIENT KILL USER u; CLIENT KILL USER nosuch; PUBLISH c x
    """,
    "EXEC taken from one that watches": """
        b3: AUTH u x; WATCH k; MULTI; GET k
        a3: ACL SETUSER u -exec; SET k 1
        b3: EXEC; GET k; ACL WHOAMI
        a3: ACL SETUSER u +exec
        b3: EXEC; MULTI; EXEC
    """,
    "one that takes its own keys": """
        b3: AUTH u x; ACL SETUSER u resetkeys; GET k; MULTI; GET k; EXEC; EVAL "return redis.pcall('get', 'k')" 0
    """,
    "ACL, AUTH and tracking in a script": """
        b3: EVAL "return redis.pcall('acl', 'whoami')" 0; EVAL "return redis.pcall('acl', 'setuser', 'u', 'off')" 0
        b3: EVAL "return redis.pcall('client', 'tracking', 'on')" 0; EVAL "return redis.pcall('auth', 'u', 'x')" 0
    """,
    "users that change in a transaction": """
        b3: MULTI; ACL SETUSER u off; ACL USERS; ACL SETUSER u +nosuch; ACL DELUSER v; AUTH u x; ACL WHOAMI; EXEC
        b3: ACL WHOAMI; PING
    """,
    "a login as one with few rights in a transaction": """
        b3: ACL SETUSER u reset on nopass +get ~k; MULTI; AUTH u x; SET k 1; GET k; GET l; AUTH default x; GET l; EXEC
        b3: ACL WHOAMI; PING
    """,
    "HELLO in a transaction": """
        b3: MULTI; HELLO 2 AUTH u x; PING; HELLO 3; EXEC; ACL WHOAMI
    """,
    "RESET in a transaction of one that tracks": """
        b3: AUTH u x; CLIENT TRACKING on; MULTI; SET k 1; RESET; ACL WHOAMI; EXEC
    """,
    "one that has subscribed before it was a user without channels": """
        a3: ACL SETUSER u resetchannels; ACL SETUSER v resetchannels &d
        b3: SUBSCRIBE c1; AUTH u x
        d3: SUBSCRIBE c1; AUTH v x
        a3: ACL SETUSER u -get; ACL SETUSER v -get; PUBLISH c1 x
        b3: PING
        d3: PING
        a3: ACL SETUSER u &d; ACL SETUSER u &e; PUBLISH c1 x
        b3: PING
    """,
    "one that is denied amid a pipeline": """
        a3: ACL SETUSER u resetkeys -ping; ACL SETUSER v resetpass >p
        b3: AUTH u x; GET k; PING; AUTH v x; HELLO 2 AUTH v y; PING; ECHO a
        b3: ECHO a; AUTH default x; AUTH v z; ECHO a
    """,
    "one that is denied what it queues behind a refusal": """
        a3: ACL SETUSER u resetkeys -ping
        b3: AUTH u x; MULTI; ECHO a; NOSUCH; ECHO b; ECHO c; PING; EXEC; MULTI; ECHO a; GET k; ECHO b; GET k; DISCARD
    """,
    "one that is denied what it queues behind a write of what it watches": """
        a3: ACL SETUSER u -ping
        b3: AUTH u x; WATCH k; MULTI; ECHO a
        a3: SET k 1
        b3: ECHO b; ECHO c; PING; EXEC
    """,
    "one that has not logged in": """
        b3: PING
        a3: ACL SETUSER default off
        b3: RESET; GET k; PING; CLIENT TRACKING on; HELLO 3; HELLO 3 AUTH u x; PING
        a3: ACL SETUSER default on
        b3: PING
    """,
}


@pytest.mark.parametrize("name", CASES)
def test_conversation_with_changing_rights_is_heard_alike(pair: Pair, name: str) -> None:
    compare(pair, f"{ANEW}\n{CASES[name]}")
    ours, theirs = (denials(server) for server in pair)
    assert ours == theirs


OF_ALL = [
    "GET $", "MGET $ $", "SET $ 1", "INCR $", "DEL $", "RENAME $ $", "COPY $ $ REPLACE", "RPUSH $ 2", "LPOP $", "PING",
    "DBSIZE", "EVAL \"return redis.pcall('get', KEYS[1])\" 1 $", "EVAL \"return redis.pcall('set', '$', 1)\" 0",
    "SORT $ BY nosort GET #", "PUBLISH & x", "SPUBLISH & x", "NOSUCH", "GET", "SELECT 1", "SELECT 0",
    "OBJECT ENCODING $", "CLIENT GETNAME", "TOUCH $ $",
]  # fmt: skip
OF_USERS = [
    "AUTH u x", "AUTH v x", "AUTH u p", "AUTH default x", "ACL WHOAMI", "MULTI", "MULTI", "EXEC", "EXEC", "EXEC",
    "DISCARD", "WATCH $", "SUBSCRIBE & &", "PSUBSCRIBE c*", "SSUBSCRIBE &", "UNSUBSCRIBE &", "PUNSUBSCRIBE c*",
    "SUNSUBSCRIBE &", "RESET", "CLIENT TRACKING on", "CLIENT TRACKING on BCAST PREFIX k", "CLIENT TRACKING off",
    "CLIENT CACHING yes", "HELLO 3", "HELLO 2", "CLIENT TRACKING on NOLOOP", "CLIENT TRACKINGINFO", "HELLO 3 AUTH u x",
    "HELLO 2 AUTH v p", "CLIENT SETNAME x", "BLPOP l1 0", "CLIENT UNBLOCK 1",
]  # fmt: skip
OF_ADMINS = [
    "ACL SETUSER @ ~", "ACL SETUSER @ ~", "ACL SETUSER @ ~ ~", "ACL SETUSER @ ~ ~ ~", "ACL SETUSER @ reset",
    "ACL DELUSER @", "ACL SETUSER @ on nopass +@all ~* &*", "ACL USERS", "ACL DRYRUN @ GET $", "ACL DRYRUN @ SET $ 1",
    "CLIENT KILL USER @", "ACL SETUSER @ (~ ~)", "ACL SETUSER @ clearselectors",
    "ACL SETUSER @ on nopass ~ ~ (+@all ~*)", "FLUSHALL",
]  # fmt: skip
RULES = [
    "on", "on", "off", "nopass", ">p", "resetpass", "+@all", "-@all", "+get", "-get", "+@read", "-@read", "-@write",
    "+@write", "~k*", "~l*", "~*", "%R~k*", "%W~l*", "resetkeys", "allkeys", "&c1", "&c*", "resetchannels",
    "allchannels", "+multi", "-exec", "-client|tracking", "-eval", "+ping", "-@connection", "-select", "+select|1",
    "-@pubsub", "+@transaction", "-publish",
]  # fmt: skip


def random_conversation(rng: random.Random) -> str:
    """A conversation of three clients, one of which changes what the users may do that the others log in as."""
    drawn = {
        "$": ["k1", "k2", "l1", "l2", "m"], "&": ["c1", "c2", "d"], "@": ["u", "u", "v"], "~": RULES,
    }  # fmt: skip

    def line(name: str, kinds: list[list[str]]) -> str:
        # Redis sends no messages to a client that one of the calls behind them kills.
        count = 1 if name == "a3" else rng.choice((1, 1, 1, 2, 4))
        said = [rng.choice(rng.choice(kinds)) for _ in range(count)]
        # A rule may begin with one of these signs, so the words of a call are looked at once.
        filled = [re.sub(r"(?<=[ ('])([$&@~])(?![*a-z])", lambda mark: rng.choice(drawn[mark[1]]), each) for each in said]
        return f"{name}: {'; '.join(filled)}"

    names = [f"{letter}{rng.choice((2, 3))}" for letter in "rd"]
    lines = [ANEW, "a3: MSET k1 1 k2 2; RPUSH l1 1 2 3", f"{names[0]}: AUTH u x", f"{names[1]}: AUTH {rng.choice('uv')} x"]
    for _ in range(40):
        name = rng.choice(("a3", *names, *names))
        if name != "a3" and rng.random() < 0.05:
            lines += [f"- {name}", f"{name}: AUTH {rng.choice('uv')} x"]
        lines.append(line(name, [OF_ADMINS, OF_ADMINS, OF_ALL] if name == "a3" else [OF_ALL, OF_USERS]))
    return "\n".join(["k3: CLIENT TRACKING on", *lines, "* info"])


@pytest.mark.parametrize("number", range(COUNT))
def test_random_conversation_with_changing_rights_is_heard_alike(pair: Pair, number: int) -> None:
    conversation = random_conversation(random.Random(SEED + number))
    print(f"seed {SEED + number}\n{conversation}")
    compare(pair, conversation)
    ours, theirs = (denials(server) for server in pair)
    assert ours == theirs


def denials(server: ServerProcess) -> list[dict[bytes, object]]:
    """The entries of the log, but for the command in which a transaction or a script was denied something."""
    raw = server.once("ACL", "LOG", 128)
    entries: list[dict[bytes, object]] = logged(raw) if raw != b"*0\r\n" else []
    return [entry | ({} if entry[b"context"] == b"toplevel" else {b"cmd": b""}) for entry in entries]
