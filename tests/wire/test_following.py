"""Random commands on a redis-server leave here what they leave on a replica of Redis's, by the digest of all data.

The replica is what is compared with, since Redis tells its replicas nothing of a few writes (a BITFIELD that makes a key, and
then fails by OVERFLOW FAIL).

KVSERVER_FOLLOWING_COUNT is the number of commands, KVSERVER_FOLLOWING_SEED the first seed. A failure names the seed of its run
of commands, which begins without keys.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from helpers.casefiles import random_rows
from helpers.random_commands import show
from helpers.servers import ServerProcess, Wire, encode, info, wait_until

COUNT = int(os.environ.get("KVSERVER_FOLLOWING_COUNT", "10000"))
SEED = int(os.environ.get("KVSERVER_FOLLOWING_SEED", "1"))
RUN = 250
ROWS = random_rows()
OPTIONS = ("--save", "", "--proto-max-bulk-len", "1mb", "--enable-debug-command", "local")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Wire, Wire, Wire]]:
    """A redis-server, a replica of it, and a server of ours that follows it."""
    options = (*OPTIONS, "--repl-diskless-sync-delay", "0")
    with ServerProcess("redis-server", tmp_path_factory.mktemp("redis"), *options) as source:
        options = (*OPTIONS, "--replicaof", f"127.0.0.1 {source.port}")
        theirs = ServerProcess("redis-server", tmp_path_factory.mktemp("replica"), *options)
        ours = ServerProcess("kvserver", tmp_path_factory.mktemp("kvserver"), *options)
        with theirs, ours, source.connect() as one, theirs.connect() as replica, ours.connect() as target:
            for each in (replica, target):
                wait_until(lambda: info(each, "replication")["master_link_status"] == "up", "it follows")  # noqa: B023
            yield one, replica, target


@pytest.mark.timeout(120 + COUNT / 50)
def test_random_commands_leave_the_same_data(three: tuple[Wire, Wire, Wire]) -> None:
    source, replica, target = three
    for run in range(-(-COUNT // RUN)):
        seed = SEED + run
        rng = random.Random(seed)
        sent = ROWS.some(rng).commands(rng, RUN)
        source.send(b"".join(encode(*words) for words in [(b"FLUSHALL",), *sent]))
        for _ in range(len(sent) + 1):
            source.read_reply()
        offset = int(info(source, "replication")["master_repl_offset"])
        for each in (replica, target):
            wait_until(lambda: _offset(each) >= offset, f"seed {seed}")  # noqa: B023
        try:
            # A key may expire on the one before it does on the other.
            wait_until(lambda: replica.command("DEBUG", "DIGEST") == target.command("DEBUG", "DIGEST"), "", 5)
        except AssertionError:
            pytest.fail(f"KVSERVER_FOLLOWING_SEED={seed}: {_differences(replica, target)}", pytrace=False)
    assert info(target, "replication")["master_link_status"] == "up"


def _offset(target: Wire) -> int:
    fields = info(target, "replication")
    assert not fields.get("master_link_error"), fields["master_link_error"]
    return int(fields["slave_repl_offset"])


def _differences(source: Wire, target: Wire) -> str:
    found = []
    for number in range(16):
        keys = set()
        for wire in (source, target):
            wire.command("SELECT", number)
            keys |= set(wire.value("KEYS", "*"))
        for key in sorted(keys):
            digests = [wire.value("DEBUG", "DIGEST-VALUE", key) for wire in (source, target)]
            types = [wire.value("TYPE", key) for wire in (source, target)]
            expiries = [wire.value("PEXPIRETIME", key) for wire in (source, target)]
            if digests[0] != digests[1] or expiries[0] != expiries[1]:
                found.append(f"db {number} {show((key,))}: {types} {digests} {expiries}")
    return "; ".join(found)
