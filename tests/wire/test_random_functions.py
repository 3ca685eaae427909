"""Libraries of functions that come, go, and collide at random: kvserver has the same of them as redis-server all the way.

KVSERVER_RANDOM_FUNCTIONS is the number of commands, KVSERVER_RANDOM_FUNCTIONS_SEED the seed.
"""

from __future__ import annotations

import os
import re
from random import Random

from helpers.dumps import sealed
from helpers.servers import ServerProcess, Wire, encode, parse
from kvserver._speedups.rdb_strings import write_string

COUNT = int(os.environ.get("KVSERVER_RANDOM_FUNCTIONS", "400"))
SEED = int(os.environ.get("KVSERVER_RANDOM_FUNCTIONS_SEED", "0")) or Random().randrange(1, 1 << 32)
LIBRARIES = ("a", "b", "c", "A")
FUNCTIONS = ("f", "g", "h", "F", "x y")
# Of several functions that collide, Redis names the first of its table.
_COLLISION = re.compile(rb"Function \w+ already exists")
BROKEN = ("error('x')", "x = 1", "redis.call('get')", "local t = {} t.x.y = 1", "return (", "redis.register_function(1)")


def library(rng: Random) -> str:
    # Of two that differ in case alone, Redis calls the one that its table gives first.
    names = (
        rng.sample((rng.choice("fF"), "g", "h"), rng.randrange(1, 3)) if rng.random() < 0.9 else [rng.choice(FUNCTIONS)] * 2
    )
    lines = [f"redis.register_function('{name}', function() return {rng.randrange(100)} end)" for name in names]
    if rng.random() < 0.1:
        lines.append(rng.choice(BROKEN))
    return f"#!lua name={rng.choice(LIBRARIES)}\n" + "\n".join(lines)


def payload(rng: Random) -> bytes:
    return sealed(b"\xf5" + write_string(library(rng).encode()) + (b"\xf5" if rng.random() < 0.05 else b""))


def command(rng: Random) -> tuple[bytes | str | int, ...]:
    drawn = rng.random()
    if drawn < 0.35:
        return ("FUNCTION", "LOAD", *(["REPLACE"] if rng.random() < 0.6 else []), library(rng))
    if drawn < 0.5:
        return ("FUNCTION", "RESTORE", payload(rng), *rng.choice(([], ["APPEND"], ["REPLACE"], ["FLUSH"])))
    if drawn < 0.6:
        return ("FUNCTION", "DELETE", rng.choice(LIBRARIES))
    if drawn < 0.62:
        return ("FUNCTION", "FLUSH")
    return (rng.choice(("FCALL", "FCALL_RO")), rng.choice(FUNCTIONS), 0)


def held(wire: Wire) -> list[tuple[bytes, list[bytes], bytes]]:
    """The libraries in the order of their names, with their functions and texts."""
    libraries = [dict(zip(each[::2], each[1::2], strict=True)) for each in wire.value("FUNCTION", "LIST", "WITHCODE")]
    return sorted(
        (each[b"library_name"], sorted(function[1] for function in each[b"functions"]), each[b"library_code"])
        for each in libraries
    )


def test_libraries_and_functions_are_those_of_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    rng = Random(SEED)
    with kvserver.connect() as ours, redis_oracle.connect() as theirs:
        for wire in (ours, theirs):
            assert wire.command("FUNCTION", "FLUSH") == b"+OK\r\n"
        for _ in range(COUNT // 50):
            sent = [command(rng) for _ in range(50)]
            replies = []
            for wire in (ours, theirs):
                wire.send(b"".join(encode(*words) for words in sent))
                replies.append([_COLLISION.sub(b"Function ? already exists", wire.read_reply()) for _ in sent])
            for words, one, other in zip(sent, *replies, strict=True):
                assert one == other, f"KVSERVER_RANDOM_FUNCTIONS_SEED={SEED}: {words}"
            assert held(ours) == held(theirs), f"KVSERVER_RANDOM_FUNCTIONS_SEED={SEED}"
        dumped = parse(ours.command("FUNCTION", "DUMP"))
        before = held(theirs)
        assert theirs.command("FUNCTION", "RESTORE", dumped, "FLUSH") == b"+OK\r\n"
        assert held(theirs) == before
