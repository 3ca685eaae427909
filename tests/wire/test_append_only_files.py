"""The append-only files of a real redis-server come in as it would load them itself, and what goes out is loaded by it.

KVSERVER_AOF_DATASETS is the count of datasets, KVSERVER_AOF_DAMAGES that of damaged files.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from helpers.rdb_datasets import contents
from helpers.rdb_datasets import fill as fill_at_random
from helpers.servers import ServerProcess, Wire, info, need_program, wait_until
from helpers.transfers import LATER_MS, LIBRARY, fill, payload_in
from kvserver.cli.main import main

DATASETS = int(os.environ.get("KVSERVER_AOF_DATASETS", "1"))
SEED = int(os.environ.get("KVSERVER_AOF_DATASETS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
DAMAGES = int(os.environ.get("KVSERVER_AOF_DAMAGES", "60"))
OPTIONS = ("--save", "", "--enable-debug-command", "yes", "--rdbcompression", "no", "--appendfsync", "no")


def write_some(wire: Wire) -> None:
    """Writes that are kept otherwise than they were sent, transactions, scripts and functions."""
    fill(wire.command, later=False)
    calls: list[list[bytes | str | int]] = [
        ["MULTI"],
        ["SELECT", 2],
        ["SET", "in transaction", 1, "EX", 100_000],
        ["INCRBYFLOAT", "float", "0.1"],
        ["EXEC"],
        ["SELECT", 5],
        ["EVAL", "redis.call('SET', KEYS[1], 1, 'EX', 100000) redis.call('LPUSH', KEYS[2], 'a', 'b')", 2, "of script", "list"],
        ["FUNCTION", "LOAD", "REPLACE", LIBRARY],
        ["FCALL", "put", 1, "of function", "v"],
        ["SADD", "spop", *range(20)],
        ["SPOP", "spop", 7],
        ["EXPIRE", "spop", 100_000],
        ["SET", "gone", 1, "PX", 1],
        ["SET", "persists", 1, "PX", 60_000],
        ["PERSIST", "persists"],
        ["COPY", "persists", "copy"],
        ["MOVE", "copy", 6],
        ["SWAPDB", 6, 7],
        ["XADD", "own ids", "*", "a", "b"],
        ["XGROUP", "CREATE", "own ids", "g", "$", "MKSTREAM"],
        ["XADD", "own ids", "*", "a", "b"],
        ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "own ids", ">"],
        ["GETEX", "persists", "PXAT", LATER_MS],
        ["HINCRBYFLOAT", "hash", "f", "1.5"],
        ["SELECT", 0],
    ]
    for words in calls:
        wire.command(*words)


def known(wire: Wire) -> dict[tuple[int, bytes], Any]:
    """What is in all databases, but for the time at which consumers were last seen: for redis-server, that is its start."""

    def told(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        skipped = {place + 1 for place, name in enumerate(value) if name == b"seen-time"}
        return [told(each) for place, each in enumerate(value) if place not in skipped]

    return {
        place: (kind, expires_at_ms, told(value) if kind == b"stream" else value)
        for place, (kind, expires_at_ms, value) in contents(wire).items()
    }


def their_folder(folder: Path, rng: random.Random, preamble: str, timestamps: str) -> Path:
    """The appendonlydir that a redis-server has left, with a base and writes behind it."""
    aof = ("--appendonly", "yes", "--aof-use-rdb-preamble", preamble, "--aof-timestamp-enabled", timestamps)
    with ServerProcess("redis-server", folder, *OPTIONS, *aof) as server, server.connect() as wire:
        fill_at_random(wire, rng, 60)
        wire.command("BGREWRITEAOF")
        wait_until(lambda: info(wire)["aof_rewrite_in_progress"] == "0" and ".2.base" in names(folder), "the rewrite ends")
        write_some(wire)
    return folder / "appendonlydir"


def names(folder: Path) -> str:
    return " ".join(sorted(path.name for path in (folder / "appendonlydir").iterdir()))


def as_redis_loads_it(folder: Path) -> tuple[dict[tuple[int, bytes], Any], list[Any], bytes]:
    """What a redis-server has when it has loaded the files: the keys, the function libraries, and the digest."""
    with ServerProcess("redis-server", folder, *OPTIONS, "--appendonly", "yes") as server, server.connect() as wire:
        return known(wire), sorted(wire.value("FUNCTION", "LIST", "WITHCODE")), wire.value("DEBUG", "DIGEST")


def in_redis(folder: Path, rdb: Path) -> tuple[dict[tuple[int, bytes], Any], list[Any], bytes]:
    """What a redis-server has that has loaded an RDB file."""
    folder.mkdir()
    shutil.copy(rdb, folder / "dump.rdb")
    with ServerProcess("redis-server", folder, *OPTIONS) as server, server.connect() as wire:
        return known(wire), sorted(wire.value("FUNCTION", "LIST", "WITHCODE")), wire.value("DEBUG", "DIGEST")


@pytest.mark.parametrize("number", range(DATASETS))
@pytest.mark.parametrize(("preamble", "timestamps"), [("yes", "no"), ("no", "yes")])
def test_files_come_in_as_redis_loads_them(tmp_path: Path, preamble: str, timestamps: str, number: int) -> None:
    seed = SEED + number
    print(f"KVSERVER_AOF_DATASETS_SEED={seed}")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    folder = their_folder(theirs, random.Random(seed), preamble, timestamps)
    parts = [(folder / name).read_bytes() for name in sorted(os.listdir(folder)) if "manifest" not in name]
    # The form of before Redis 7: one file.
    (tmp_path / "appendonly.aof").write_bytes(b"".join(parts))
    wanted = as_redis_loads_it(theirs)
    assert len(wanted[0]) > 60
    for number, source in enumerate((folder, tmp_path / "appendonly.aof")):
        assert main(["import", str(source), str(tmp_path / f"ours{number}")]) == 0
        rdb = tmp_path / f"out{number}.rdb"
        assert main(["export", str(tmp_path / f"ours{number}"), "--rdb", str(rdb)]) == 0
        found = in_redis(tmp_path / f"again{number}", rdb)
        assert found[0] == wanted[0]
        assert found[1:] == wanted[1:]


def test_dumps_are_those_of_redis_byte_for_byte(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with ServerProcess("redis-server", theirs, *OPTIONS, "--appendonly", "yes") as server, server.connect() as wire:
        fill(wire.command, later=False)
        wire.command("XREADGROUP", "GROUP", "group", "consumer", "COUNT", "1", "STREAMS", "stream", ">")
    assert main(["import", str(theirs), str(tmp_path / "ours")]) == 0
    with (
        ServerProcess("redis-server", theirs, *OPTIONS, "--appendonly", "yes") as server,
        ServerProcess("kvserver", tmp_path / "ours", "--save", "") as ours,
        server.connect() as wire,
        ours.connect() as our_wire,
    ):
        compared = 0
        for number in (0, 9):
            wire.command("SELECT", number)
            our_wire.command("SELECT", number)
            keys = sorted(wire.value("KEYS", "*"))
            assert sorted(our_wire.value("KEYS", "*")) == keys
            for key in keys:
                assert our_wire.value("PEXPIRETIME", key) == wire.value("PEXPIRETIME", key)
                # The order in a hash is not kept, and a consumer was seen when the server started.
                if wire.value("OBJECT", "ENCODING", key) not in (b"hashtable", b"skiplist") and key not in (
                    b"hash",
                    b"stream",
                ):
                    assert our_wire.value("DUMP", key) == wire.value("DUMP", key), key
                    compared += 1
        assert compared > 20
        assert our_wire.value("DEBUG", "DIGEST") == wire.value("DEBUG", "DIGEST")


def test_file_that_was_cut_anywhere_has_what_redis_loads_of_it(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    print(f"KVSERVER_AOF_DATASETS_SEED={SEED}")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    aof = ("--appendonly", "yes", "--aof-use-rdb-preamble", "no")
    with ServerProcess("redis-server", theirs, *OPTIONS, *aof) as server, server.connect() as wire:
        write_some(wire)
    (last,) = (theirs / "appendonlydir").glob("*.incr.aof")
    whole = last.read_bytes()
    transaction = whole.index(b"MULTI")
    for number, end in enumerate((transaction + 30, rng.randrange(len(whole)), rng.randrange(len(whole)))):
        last.write_bytes(whole[:end])
        assert main(["import", str(theirs), str(tmp_path / f"ours{number}")]) == 0
        assert main(["export", str(tmp_path / f"ours{number}"), "--rdb", str(tmp_path / f"{number}.rdb")]) == 0
        # It cuts the file.
        assert in_redis(tmp_path / f"again{number}", tmp_path / f"{number}.rdb") == as_redis_loads_it(theirs)


def test_damaged_files_are_told_in_one_line_and_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(SEED)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    folder = their_folder(theirs, rng, "no", "no")
    whole = b"".join((folder / name).read_bytes() for name in sorted(os.listdir(folder)) if "manifest" not in name)
    source, target = tmp_path / "appendonly.aof", tmp_path / "ours"
    refused = 0
    for _ in range(DAMAGES):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3))):
            place = rng.randrange(len(data))
            data[place : place + rng.choice((0, 1, 1, 5))] = rng.choice((b"", b"\0", b"\r\n", b"*", rng.randbytes(3)))
        source.write_bytes(data)
        code = main(["import", str(source), str(target)])
        said = capsys.readouterr()
        if code:
            refused += 1
            assert said.err.count("\n") == 1, f"SEED = {SEED}"
            assert said.err.startswith(f"kvserver: {source}: "), f"SEED = {SEED}"
            assert said.err.strip().isprintable()
            assert not target.exists()
        else:
            # It may be a value that was damaged, or what is like an end that was torn.
            shutil.rmtree(target)
    assert refused


def test_commands_that_go_out_are_taken_by_redis_cli(tmp_path: Path, redis_oracle: ServerProcess) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    folder = their_folder(theirs, random.Random(SEED), "yes", "no")
    assert main(["import", str(folder), str(tmp_path / "ours")]) == 0
    assert main(["export", str(tmp_path / "ours"), "--resp", str(tmp_path / "commands")]) == 0
    with redis_oracle.connect() as wire, (tmp_path / "commands").open("rb") as commands:
        wire.command("FUNCTION", "FLUSH")
        done = subprocess.run(
            [need_program("redis-cli"), "-p", str(redis_oracle.port), "--pipe"],
            stdin=commands, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert "errors: 0," in done.stdout
        wanted = as_redis_loads_it(theirs)
        assert (known(wire), sorted(wire.value("FUNCTION", "LIST", "WITHCODE")), wire.value("DEBUG", "DIGEST")) == wanted
        wire.command("FUNCTION", "FLUSH")
    # And by ourselves, as an append-only file.
    assert main(["import", str(tmp_path / "commands"), str(tmp_path / "again")]) == 0
    assert payload_in(tmp_path / "again") == payload_in(tmp_path / "ours")
