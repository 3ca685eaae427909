"""Small and large collections of all types are kept by the journal, by its rewrite and by a frame, which `check` can read."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from helpers.servers import ServerProcess, StartServer, Wire, encode, kvserver_command, kvserver_environment, wait_until

QUIET = ("--save", "", "--appendfsync", "always")
# How a collection of each type is begun, changed behind a cut, and read.
TYPES = (
    ("HSET", ("HSET", "1", "changed"), ("HGETALL",)),
    ("RPUSH", ("LSET", 1, "changed"), ("LRANGE", 0, -1)),
    ("SADD", ("SREM", "1"), ("SORT", "BY", "nosort", "ALPHA")),
    ("ZADD", ("ZADD", "-inf", "1"), ("ZRANGE", 0, -1, "WITHSCORES")),
    ("XADD", ("XADD", "*", "field", "changed"), ("XRANGE", "-", "+")),
)


def fill(wire: Wire) -> None:
    for name, _, _ in TYPES:
        for size in (4, 2_000):
            begin(wire, name, f"{name}{size}", size)
        begin(wire, name, f"expiring {name}", 200)
        assert wire.command("PEXPIREAT", f"expiring {name}", 9_000_000_000_000) == b":1\r\n"


def begin(wire: Wire, name: str, key: str, size: int) -> None:
    if name != "XADD":
        assert wire.command(name, key, *range(size)).startswith(b":")
        return
    # An entry has a command of its own.
    wire.send(b"".join(encode(name, key, f"{number + 1}-0", "field", number) for number in range(size)))
    assert all(wire.read_reply().startswith(b"$") for _ in range(size))


def change(wire: Wire) -> None:
    for name, (command, *words), _ in TYPES:
        for size in (4, 2_000):
            assert not wire.command(command, f"{name}{size}", *words).startswith(b"-")


def state(wire: Wire) -> Iterator[object]:
    for name, _, (command, *words) in TYPES:
        for key in (f"{name}4", f"{name}2000", f"expiring {name}"):
            assert wire.command("EXISTS", key) == b":1\r\n"
            found = wire.value(command, key, *words)
            # Hashes and sets have no order.
            yield (
                sorted(found)
                if name == "SADD"
                else sorted(zip(found[::2], found[1::2], strict=True))
                if name == "HSET"
                else found
            )
            yield wire.value("PEXPIRETIME", key)


def check_restart(start_server: StartServer, server: ServerProcess, *options: str) -> None:
    """Kill the server, and see that the next one on its folder has the same data."""
    with server.connect() as wire:
        before = list(state(wire))
    server.kill()
    with start_server(*options, directory=server.directory).connect() as wire:
        assert list(state(wire)) == before


@pytest.mark.parametrize("command", [("CONFIG", "SET", "appendonly", "yes"), ("BGREWRITEAOF",)], ids=" ".join)
def test_collections_are_in_a_journal_that_begins_anew(start_server: StartServer, command: tuple[str, ...]) -> None:
    options = (*QUIET, "--appendonly", "no" if command[0] == "CONFIG" else "yes")
    server = start_server(*options)
    with server.connect() as wire:
        fill(wire)
        # These come behind the cut, while the data is frozen or soon after.
        assert not wire.command(*command).startswith(b"-")
        change(wire)
        wait_until(lambda: b"rdb_saves:0" not in wire.value("INFO", "persistence"), "the frame that the journal goes on from")
        change(wire)
    check_restart(start_server, server, *QUIET, "--appendonly", "yes")


def test_frame_of_collections_is_checked_offline(start_server: StartServer) -> None:
    options = (*QUIET, "--appendonly", "no")
    server = start_server(*options)
    with server.connect() as wire:
        fill(wire)
        change(wire)
        assert wire.command("SAVE") == b"+OK\r\n"
    check_restart(start_server, server, *options)
    done = subprocess.run(
        kvserver_command("check", str(server.directory / "dump.kvs")),
        env=kvserver_environment(), capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{3 * len(TYPES)} keys" in done.stdout
