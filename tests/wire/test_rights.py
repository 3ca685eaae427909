"""Rights that change while clients talk: what each hears, and when it is closed, is as by redis-server.

KVSERVER_RIGHTS_COUNT is the number of random conversations, KVSERVER_RIGHTS_SEED the first seed.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator

import pytest

from wire.talks import Pair, compare, pair_of_servers

COUNT = int(os.environ.get("KVSERVER_RIGHTS_COUNT", "12"))
SEED = int(os.environ.get("KVSERVER_RIGHTS_SEED", "1"))
# Users of the conversation before are gone, and so are those who had logged in as one of them.
ANEW = "a3: ACL DELUSER u v; ACL SETUSER u on nopass +@all ~* &*; ACL SETUSER v on nopass +@all ~* &*; CONFIG RESETSTAT"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair_of_servers(tmp_path_factory) as pair:
        yield pair


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
