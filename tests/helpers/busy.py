"""A redis-server that is written to without a pause, by clients who note what was acknowledged; and the data of two servers.

The writers use every type, several databases, transactions, scripts, expiries and blocking pops. Each has keys of its own, and
what it sends follows from a seed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from helpers.servers import ServerProcess, Wire, encode

DATABASES = (0, 0, 0, 3, 7)
SCRIPT = "redis.call('INCR', KEYS[1]); redis.call('RPUSH', KEYS[2], ARGV[1]); return redis.call('TIME')[1]"
# Of two servers that are looked at one after the other, one may not have a key any more that is gone so soon.
SOON_S = 60


class _Writer(threading.Thread):
    def __init__(self, port: int, name: str, seed: int, has_ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self.label = name
        self.acknowledged = 0
        # The reply that has ended it, or why it has failed.
        self.end: Any = None
        self._rng = random.Random(seed)
        self._port = port
        self._has_ended = has_ended

    def run(self) -> None:
        try:
            with Wire(self._port, 60) as wire:
                while not self._has_ended.is_set():
                    wire.command("SELECT", self._rng.choice(DATABASES))
                    self._write(wire)
                    # The counter tells how many have been acknowledged, in database 0.
                    wire.command("SELECT", 0)
                    self.acknowledged = wire.value("INCR", f"{self.label}:count")
        except (OSError, EOFError, ValueError) as error:
            self.end = error

    def _write(self, wire: Wire) -> None:
        rng, label = self._rng, self.label
        key, other = f"{label}:{rng.randrange(20)}", f"{label}:{rng.randrange(20)}"
        value = rng.choice(["v", "17", "x" * 100, str(rng.random()), "y" * 3000])
        number = rng.randrange(1000)
        match rng.randrange(18):
            case 0:
                wire.command("SET", f"s{key}", value)
            case 1:
                wire.command("SET", f"s{key}", value, "EX", rng.choice([1, 1000]) if key.endswith("0") else 5000)
            case 2:
                wire.command("SET", f"brief:{key}", value, "PX", rng.randrange(1, 50))
            case 3:
                wire.command("HSET", f"h{key}", f"f{number}", value)
            case 4:
                wire.command("HINCRBYFLOAT", f"n{key}", "f", "0.3")
            case 5:
                wire.command("RPUSH", f"l{key}", value, number)
                wire.command("LPOP", f"l{other}")
            case 6:
                wire.command("SADD", f"t{key}", number, value)
                wire.command("SPOP", f"t{other}", 2)
            case 7:
                wire.command("ZADD", f"z{key}", f"{number / 7}", f"m{number}")
                wire.command("ZPOPMIN", f"z{other}")
            case 8:
                wire.command("XADD", f"x{key}", "MAXLEN", "~", 50, "*", "field", value)
            case 9:
                wire.command("XGROUP", "CREATE", f"x{key}", "g", "0", "MKSTREAM")
                wire.command("XREADGROUP", "GROUP", "g", f"c{number % 3}", "COUNT", 3, "STREAMS", f"x{key}", ">")
            case 10:
                wire.send(b"".join(_requests(["MULTI"], ["INCR", f"i{key}"], ["LPUSH", f"l{key}", value], ["EXEC"])))
                for _ in range(4):
                    wire.read_reply()
            case 11:
                wire.command("EVAL", SCRIPT, 2, f"i{key}", f"l{key}", value)
            case 12:
                wire.command("BLPOP", f"l{key}", f"l{other}", "0.001")
                wire.command("BLMOVE", f"l{key}", f"l{other}", "LEFT", "RIGHT", "0.001")
            case 13:
                wire.command("APPEND", f"a{key}", value)
                wire.command("SETBIT", f"b{key}", number, number % 2)
            case 14:
                wire.command("PFADD", f"p{key}", value, number)
                wire.command("GEOADD", f"g{key}", "13.3", "38.1", f"m{number}")
            case 15:
                wire.command("EXPIRE", f"{rng.choice('shltz')}{key}", rng.choice([0, 5000]))
                wire.command("PERSIST", f"s{other}")
            case 16:
                wire.command("RENAME", f"h{key}", f"h{other}")
                wire.command("COPY", f"l{key}", f"l{other}", "REPLACE")
            case 17:
                wire.command("MOVE", f"s{key}", rng.choice(DATABASES))
                wire.command("GETDEL", f"s{other}")


def _requests(*requests: list[str]) -> list[bytes]:
    return [encode(*request) for request in requests]


class BusySource:
    """Writers on a server, from the beginning of the `with` block until `stop`."""

    def __init__(self, server: ServerProcess, seed: int, writers: int = 4) -> None:
        self._has_ended = threading.Event()
        self.writers = [_Writer(server.port, f"w{number}", seed + number, self._has_ended) for number in range(writers)]

    def __enter__(self) -> Self:
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let them end behind what they are at."""
        self._has_ended.set()
        for writer in self.writers:
            writer.join(30)

    @property
    def acknowledged(self) -> dict[str, int]:
        """The least that each counter is, by its key."""
        return {f"{writer.label}:count": writer.acknowledged for writer in self.writers}


def contents(wire: Wire, databases: int = 16) -> dict[tuple[int, bytes], Any]:
    """All that a server has, by database and key: type, value and time of expiry, but for keys that are gone soon."""
    found: dict[tuple[int, bytes], Any] = {}
    for number in range(databases):
        wire.command("SELECT", number)
        for key in wire.value("KEYS", "*"):
            kind = wire.value("TYPE", key)
            if kind == b"none":
                continue
            value, expires_at_ms = READ[kind](wire, key), wire.value("PEXPIRETIME", key)
            if expires_at_ms == -1 or expires_at_ms > (time.time() + SOON_S) * 1000:
                found[number, key] = (kind, value, expires_at_ms)
    wire.command("SELECT", 0)
    return found


def _stream(wire: Wire, key: bytes) -> Any:
    groups = [group[:8] for group in wire.value("XINFO", "GROUPS", key)]
    pending = [wire.value("XPENDING", key, group[1], "-", "+", 1000) for group in groups]
    # How long an entry has been idle is different at each look.
    return (
        wire.value("XRANGE", key, "-", "+"),
        wire.value("XINFO", "STREAM", key)[2:],
        groups,
        [[[entry[0], entry[1], entry[3]] for entry in each] for each in pending],
    )


def _sorted(command: str) -> Callable[[Wire, bytes], Any]:
    return lambda wire, key: sorted(wire.value(command, key))


def _pairs(wire: Wire, key: bytes) -> Any:
    words = wire.value("HGETALL", key)
    return dict(zip(words[::2], words[1::2], strict=True))


READ: dict[bytes, Callable[[Wire, bytes], Any]] = {
    b"string": lambda wire, key: wire.value("GET", key),
    b"list": lambda wire, key: wire.value("LRANGE", key, 0, -1),
    b"set": _sorted("SMEMBERS"),
    b"zset": lambda wire, key: wire.value("ZRANGE", key, 0, -1, "WITHSCORES"),
    b"hash": _pairs,
    b"stream": _stream,
}
