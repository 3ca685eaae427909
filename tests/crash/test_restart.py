"""What a server finds when it starts again: after leaving in order, after kill -9, on a damaged medium.

And what it says when it can't start at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers.servers import (
    ServerProcess,
    StartServer,
    Wire,
    encode,
    free_port,
    info,
    kvserver_command,
    kvserver_environment,
    need_program,
    parse,
    wait_until,
)

ROUNDS = int(os.environ.get("KVSERVER_RESTART_ROUNDS", "100"))
SEED = int(os.environ.get("KVSERVER_RESTART_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
LANES = 2

# Nothing is written but what a test asks for.
QUIET = ("--save", "", "--appendonly", "no")

DATA_FILE = "dump.kvs"
HEADER_SIZE = len(b"KVS1") + 12 + 64
START_TIMEOUT_S = 20

Data = dict[bytes, bytes]


def frame(store: dict[str, object]) -> bytes:
    """A KVS1 frame, written here once more so that the server isn't checked by its own code."""
    payload = json.dumps(store, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return b"KVS1%012d" % len(payload) + hashlib.sha256(payload).hexdigest().encode() + payload


def valid_frames(medium: bytes) -> list[dict[str, object]]:
    """The stores of a medium that must hold whole frames and nothing else."""
    stores: list[dict[str, object]] = []
    while medium:
        assert re.fullmatch(rb"KVS1[0-9]{12}[0-9a-f]{64}", medium[:HEADER_SIZE]), medium[:HEADER_SIZE]
        end = HEADER_SIZE + int(medium[4:16])
        stores.append(json.loads(medium[HEADER_SIZE:end]))
        assert frame(stores[-1]) == medium[:end]
        medium = medium[end:]
    return stores


# --- a hundred lives of one folder


class Life:
    """One folder through many starts and ends, and what it must hold."""

    KEYS = (*(b"key:%d" % index for index in range(24)), b"\xff\0odd", b"$tag", b"")

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        # What the last flush known to be complete held; a flush that was cut short may add a second one.
        self.possible: list[Data] = [{}]
        # Round trips that fit into a flush, measured while a SAVE runs: where to choose a moment to kill.
        self.flush_round_trips = 1
        self.outcomes: Counter[str] = Counter()

    def live(self, rounds: int) -> None:
        endings = [
            self.shut_down,
            self.terminate,
            self.kill_in_a_flush,
            self.kill_in_a_flush,
            self.kill_behind_a_save,
        ]
        endings += [self.kill_without_a_flush, self.kill_behind_a_torn_write]
        for _ in range(rounds):
            with ServerProcess("kvserver", self.folder, *QUIET) as server, server.connect() as wire:
                now = self.read(wire)
                known = now in self.possible
                assert known, f"{self.difference(now)}\n{server.log_text()}"
                if len(self.possible) == 2:
                    self.outcomes["cut flush kept" if now == self.possible[1] else "cut flush lost"] += 1
                self.possible = [now]
                now = self.write(wire, dict(now), self.rng.randrange(1, 40))
                ending = self.rng.choice(endings)
                self.outcomes[ending.__name__] += 1
                ending(server, wire, now)

    def read(self, wire: Wire) -> Data:
        wire.send(b"".join(encode("GET", key) for key in self.KEYS) + encode("DBSIZE"))
        values = [parse(wire.read_reply()) for _ in self.KEYS]
        data = {key: value for key, value in zip(self.KEYS, values, strict=True) if value is not None}
        assert parse(wire.read_reply()) == len(data), "there are keys that nobody has set"
        return data

    def write(self, wire: Wire, data: Data, count: int) -> Data:
        for _ in range(count):
            self.write_once(wire, data)
        return data

    def write_once(self, wire: Wire, data: Data) -> None:
        key = self.rng.choice(self.KEYS)
        if self.rng.random() < 0.2:
            assert wire.value("DEL", key) == (data.pop(key, None) is not None)
            return
        kind = self.rng.random()
        size = self.rng.randrange(60_000)
        text = b"%d" % self.rng.getrandbits(64)
        data[key] = self.rng.randbytes(size // 4) if kind < 0.2 else text if kind < 0.4 else text * (size // 20)
        assert wire.command("SET", key, data[key]) == b"+OK\r\n"

    def save(self, server: ServerProcess, wire: Wire, now: Data) -> None:
        with server.connect() as other:
            wire.send(encode("SAVE"))
            round_trips = 0
            while not select.select([wire.socket], [], [], 0)[0]:
                assert other.command("PING") == b"+PONG\r\n"
                round_trips += 1
            assert wire.read_reply() == b"+OK\r\n"
        self.flush_round_trips = max(self.flush_round_trips // 2, round_trips, 1)
        self.possible = [dict(now)]

    def shut_down(self, server: ServerProcess, wire: Wire, now: Data) -> None:
        wire.send(encode("SHUTDOWN"))
        assert wire.read_until_eof() == b""
        assert server.wait() == 0
        self.possible = [now]

    def terminate(self, server: ServerProcess, wire: Wire, now: Data) -> None:
        assert server.stop() == 0
        self.possible = [now]

    def kill_behind_a_save(self, server: ServerProcess, wire: Wire, now: Data) -> None:
        self.save(server, wire, now)
        self.write(wire, now, self.rng.randrange(5))
        server.kill()

    def kill_in_a_flush(self, server: ServerProcess, wire: Wire, now: Data) -> None:
        """The newer snapshot is that of the moment of BGSAVE, whatever is written behind it."""
        if self.rng.random() < 0.5:
            self.save(server, wire, now)
        self.write(wire, now, self.rng.randrange(1, 10))
        self.possible = [*self.possible, dict(now)]
        assert wire.command("BGSAVE") == b"+Background saving started\r\n"
        for _ in range(self.rng.randrange(self.flush_round_trips + self.flush_round_trips // 3 + 2)):
            if self.rng.random() < 0.25:
                self.write_once(wire, now)
            else:
                assert wire.command("PING") == b"+PONG\r\n"
        server.kill()

    def kill_without_a_flush(self, server: ServerProcess, wire: Wire, now: Data) -> None:
        server.kill()

    def kill_behind_a_torn_write(self, server: ServerProcess, wire: Wire, now: Data) -> None:
        assert wire.command("DEBUG", "CRASH") == b"+OK\r\n"
        server.kill()

    def difference(self, now: Data) -> str:
        wrong = [[key for key in self.KEYS if now.get(key) != state.get(key)] for state in self.possible]
        return f"keys that differ from each state it might have: {wrong}"


@pytest.mark.timeout(300)
def test_last_completed_flush_is_there_after_every_kind_of_end(tmp_path: Path) -> None:
    seeds = [SEED + lane for lane in range(LANES)]
    folders = [tmp_path / str(seed) for seed in seeds]
    for folder in folders:
        folder.mkdir()
    lives = [Life(folder, seed) for folder, seed in zip(folders, seeds, strict=True)]
    try:
        with ThreadPoolExecutor(LANES) as pool:
            list(pool.map(lambda life: life.live(ROUNDS // LANES), lives))
    finally:
        print(f"KVSERVER_RESTART_SEED={SEED}: {dict(sum((life.outcomes for life in lives), Counter()))}")


def test_snapshot_is_the_state_at_one_instant_whatever_is_written_meanwhile(
    start_server: StartServer,
) -> None:
    """Counting goes round and round over the keys, so the greatest value decides what all others must be."""
    keys, batch = 3000, 200
    server = start_server(*QUIET)

    def counting(start: int) -> bytes:
        return b"".join(encode("SET", f"key:{n % keys}", f"{n:0500}") for n in range(start, start + batch))

    with server.connect() as writer, server.connect() as other:
        count = 0
        saves = 0
        while saves < 4 or b"rdb_bgsave_in_progress:1" in other.value("INFO", "persistence"):
            writer.send(counting(count))
            assert [writer.read_reply() for _ in range(batch)] == [b"+OK\r\n"] * batch
            count += batch
            if count >= keys and b"rdb_bgsave_in_progress:0" in other.value("INFO", "persistence") and saves < 4:
                assert other.command("BGSAVE") == b"+Background saving started\r\n"
                saves += 1
        server.kill()
    stores = valid_frames((server.directory / DATA_FILE).read_bytes())
    assert len(stores) in range(1, 5)
    for store in stores:
        values = [int(str(store[f"key:{key}"])) for key in range(keys)]
        last = max(values)
        assert values == [last - (last - key) % keys for key in range(keys)]


def test_commands_during_a_flush_see_and_change_the_live_data(start_server: StartServer) -> None:
    """Many more keys than a flush takes in one slice, against a dict; at the end the medium holds what the dict holds."""
    rng = random.Random(SEED)
    server = start_server(*QUIET)
    model: Data = {b"key:%d" % index: b"%d" % index * 20 for index in range(20_000)}

    def random_command() -> tuple[bytes, bytes]:
        """A request, and the reply that the model gives."""
        key, kind = b"key:%d" % rng.randrange(25_000), rng.random()
        if kind < 0.4:
            model[key] = b"%d" % rng.getrandbits(40)
            return encode("SET", key, model[key]), b"+OK\r\n"
        if kind < 0.6:
            return encode("DEL", key), b":%d\r\n" % (model.pop(key, None) is not None)
        if kind < 0.9:
            value = model.get(key)
            return encode("GET", key), b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
        if kind < 0.95:
            return encode("EXISTS", key), b":%d\r\n" % (key in model)
        if kind < 0.9999:
            return encode("DBSIZE"), b":%d\r\n" % len(model)
        model.clear()
        return encode("FLUSHALL"), b"+OK\r\n"

    with server.connect() as wire, server.connect() as other:
        wire.send(b"".join(encode("SET", key, value) for key, value in model.items()))
        assert {wire.read_reply() for _ in model} == {b"+OK\r\n"}
        batches_in_a_flush = 0
        for _ in range(8):
            assert other.command("BGSAVE") == b"+Background saving started\r\n"
            is_flushing = True
            while is_flushing:
                is_flushing = b"rdb_bgsave_in_progress:1" in other.value("INFO", "persistence")
                batches_in_a_flush += is_flushing
                commands = [random_command() for _ in range(300)]
                wire.send(b"".join(request for request, _ in commands))
                for request, expected in commands:
                    assert wire.read_reply() == expected, f"KVSERVER_RESTART_SEED={SEED}: {request!r}"
        assert batches_in_a_flush > 8
        assert wire.command("SAVE") == b"+OK\r\n"
        server.kill()
    stored = valid_frames((server.directory / DATA_FILE).read_bytes())[-1]
    assert stored == {key.decode(): value.decode() for key, value in model.items()}, f"KVSERVER_RESTART_SEED={SEED}"


# --- leaving in order


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signal_flushes_and_exits_0(start_server: StartServer, number: signal.Signals) -> None:
    server = start_server(*QUIET)
    server.once("SET", "k", "v")
    server.process.send_signal(number)
    assert server.wait() == 0
    assert start_server(*QUIET, directory=server.directory).once("GET", "k") == b"$1\r\nv\r\n"


class UnderNohup(ServerProcess):
    def command(self) -> list[str]:
        return [need_program("nohup"), *kvserver_command()]


def test_sighup_is_ignored_under_nohup(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with UnderNohup("kvserver", folder, *QUIET) as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.stop() == 0  # 1 would be the end by a second signal
    assert "SIGHUP" not in server.log_text()


def test_shutdown_nosave_leaves_the_medium_as_it_was(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    server.once("SET", "k", "v")
    with server.connect() as wire:
        wire.send(encode("SHUTDOWN", "NOSAVE"))
        assert wire.read_until_eof() == b""
    assert server.wait() == 0
    assert start_server(*QUIET, directory=server.directory).once("DBSIZE") == b":0\r\n"


def test_medium_is_canonical_frames_that_only_the_owner_can_read(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        wire.command("SET", "b", "é\n")
        wire.command("JSON.SET", "a", "$", '{"z": 1e16, "y": [1, -0.0, null]}')
        wire.command("SAVE")
    file = server.directory / DATA_FILE
    assert valid_frames(file.read_bytes())[-1] == {"a": {"y": [1, -0.0, None], "z": 1e16}, "b": "é\n"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert server.stop() == 0
    assert valid_frames(file.read_bytes())


def test_failed_flush_is_told_and_the_server_keeps_serving(start_server: StartServer) -> None:
    """The file system refuses to let the file grow past a limit, as a full disk does."""
    server = start_server(*QUIET)
    with server.connect() as wire:
        wire.command("SET", "k", "v")
        assert wire.command("SAVE") == b"+OK\r\n"
        before = (server.directory / DATA_FILE).read_bytes()
        hard_limit = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (100_000, hard_limit))
        wire.command("SET", "big", b"x" * 1_000_000)
        assert wire.command("SHUTDOWN") == b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n"
        assert wire.command("SAVE").startswith(b"-ERR")
        assert wire.command("GET", "k") == b"$1\r\nv\r\n"
        assert (server.directory / DATA_FILE).read_bytes()[: len(before)] == before
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard_limit, hard_limit))
        assert wire.command("SAVE") == b"+OK\r\n"
        server.kill()
    again = start_server(*QUIET, directory=server.directory)
    assert again.once("DBSIZE") == b":2\r\n"


# --- a damaged medium

EARLIER, LATER = frame({"k": "earlier", "only": 1}), frame({"k": "later", "z": "x" * 300})
# The one frame that stands unescaped in a JSON text: all others have quotes.
INNER = frame({})
OUTER = frame({"k": INNER.decode(), "z": "behind it"})
GARBAGE = random.Random(2).randbytes(977)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# What stands behind the frame EARLIER.
TORN = {
    "within the magic": LATER[:3],
    "within the length": LATER[:9],
    "within the checksum": LATER[:50],
    "a header only": LATER[:HEADER_SIZE],
    "within the payload": LATER[: HEADER_SIZE + 100],
    "all but one byte": LATER[:-1],
    "behind a whole frame in a value": OUTER[: OUTER.index(INNER) + len(INNER)],
}
DAMAGED = {
    "garbage": GARBAGE,
    "a flipped bit in the payload": flipped(LATER, HEADER_SIZE + 50),
    "a flipped bit in the checksum": flipped(LATER, 40),
    "a flipped bit in the magic": flipped(LATER, 1),
    "a sign in the length": LATER[:4] + b"+" + LATER[5:],
    "a checksum in upper case": LATER[:16] + LATER[16:80].upper() + LATER[80:],
    "a flipped bit, a good frame and half of one behind": flipped(LATER, HEADER_SIZE + 50) + LATER + LATER[:60],
    "a damaged frame around a whole one": flipped(OUTER, len(OUTER) - 3),
    "a payload that is an array": b"KVS1%012d" % 2 + hashlib.sha256(b"[]").hexdigest().encode() + b"[]",
    "a text line": b"hello\n",
}


def medium_folder(tmp_path: Path, medium: bytes) -> Path:
    folder = tmp_path / "damaged"
    folder.mkdir(mode=0o700)
    (folder / DATA_FILE).write_bytes(medium)
    return folder


def news(server: ServerProcess) -> str:
    """The log without the line that names the folder, since that is named after the test."""
    return "".join(line for line in server.log_text().splitlines(keepends=True) if " INFO data in " not in line)


def lines_naming(log: str, *numbers: int) -> list[str]:
    """Log lines in which each number stands as itself."""
    return [line for line in log.splitlines() if all(re.search(rf"\b{number}\b", line) for number in numbers)]


def files_beside(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != DATA_FILE]


def check_that_it_goes_on(start_server: StartServer, server: ServerProcess) -> None:
    """The next flush is found by a strict scan, and the next start has nothing to say."""
    with server.connect() as wire:
        assert wire.command("SET", "behind", "the damage") == b"+OK\r\n"
        assert wire.command("SAVE") == b"+OK\r\n"
        server.kill()
    assert valid_frames((server.directory / DATA_FILE).read_bytes())[-1]["behind"] == "the damage"
    again = start_server(*QUIET, directory=server.directory)
    assert again.once("GET", "behind") == b"$10\r\nthe damage\r\n"
    assert again.stop() == 0
    assert not re.search("torn|damage|corrupt|invalid|dropped", news(again), re.IGNORECASE)


@pytest.mark.parametrize("name", TORN)
def test_torn_tail_is_cut_and_told_in_one_line(start_server: StartServer, tmp_path: Path, name: str) -> None:
    tail = TORN[name]
    server = start_server(*QUIET, directory=medium_folder(tmp_path, EARLIER + tail))
    assert server.once("GET", "k") == b"$7\r\nearlier\r\n"
    assert len(lines_naming(news(server), len(EARLIER), len(tail))) == 1, news(server)
    check_that_it_goes_on(start_server, server)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_tail_is_kept_aside_and_told_in_one_line(start_server: StartServer, tmp_path: Path, name: str) -> None:
    tail = DAMAGED[name]
    server = start_server(*QUIET, directory=medium_folder(tmp_path, EARLIER + tail))
    assert server.once("GET", "k") == b"$7\r\nearlier\r\n"
    assert len(lines_naming(news(server), len(EARLIER), len(tail))) == 1, news(server)
    assert files_beside(server.directory).count(tail) == 1
    check_that_it_goes_on(start_server, server)
    assert files_beside(server.directory).count(tail) == 1


def test_medium_of_garbage_starts_empty_and_is_kept_aside(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*QUIET, directory=medium_folder(tmp_path, GARBAGE))
    assert server.once("DBSIZE") == b":0\r\n"
    assert len(lines_naming(news(server), 0, len(GARBAGE))) == 1, news(server)
    assert GARBAGE in files_beside(server.directory)
    check_that_it_goes_on(start_server, server)


def test_damage_of_each_start_is_kept_in_a_file_of_its_own(start_server: StartServer, tmp_path: Path) -> None:
    folder = medium_folder(tmp_path, EARLIER + GARBAGE)
    assert start_server(*QUIET, directory=folder).stop() == 0
    with (folder / DATA_FILE).open("ab") as file:
        file.write(GARBAGE[::-1])
    assert start_server(*QUIET, directory=folder).stop() == 0
    assert {GARBAGE, GARBAGE[::-1]} <= set(files_beside(folder))


def test_torn_write_is_cut_before_the_next_flush(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        for name in ("first", "second", "third"):
            assert wire.command("SET", "k", name) == b"+OK\r\n"
            assert wire.command("DEBUG", "CRASH") == b"+OK\r\n"
            assert wire.command("DEBUG", "CRASH") == b"+OK\r\n"
            assert wire.command("SAVE") == b"+OK\r\n"
            assert valid_frames((server.directory / DATA_FILE).read_bytes())[-1] == {"k": name}
        assert wire.command("DEBUG", "CRASH") == b"+OK\r\n"
    assert server.stop() == 0
    assert valid_frames((server.directory / DATA_FILE).read_bytes())[-1] == {"k": "third"}


def test_empty_medium_starts_empty(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*QUIET, directory=medium_folder(tmp_path, b""))
    assert server.once("DBSIZE") == b":0\r\n"
    check_that_it_goes_on(start_server, server)


def test_restore_over_damage_gives_the_last_good_frame(start_server: StartServer, tmp_path: Path) -> None:
    """Bytes that another program appended while the server ran."""
    server = start_server(*QUIET, directory=medium_folder(tmp_path, EARLIER))
    with server.connect() as wire:
        wire.command("SET", "k", "unflushed")
        with (server.directory / DATA_FILE).open("ab") as file:
            file.write(GARBAGE)
        assert wire.command("RESTORE") == b":1\r\n"
        assert wire.command("GET", "k") == b"$7\r\nearlier\r\n"
    check_that_it_goes_on(start_server, server)
    assert GARBAGE in files_beside(server.directory)


def test_restore_of_a_medium_that_lost_all_clears_the_data(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*QUIET, directory=medium_folder(tmp_path, EARLIER))
    with server.connect() as wire:
        os.truncate(server.directory / DATA_FILE, 0)
        assert wire.command("RESTORE") == b":0\r\n"
        assert wire.command("DBSIZE") == b":0\r\n"
    check_that_it_goes_on(start_server, server)


def test_unreadable_numbers_of_python_are_read(start_server: StartServer, tmp_path: Path) -> None:
    """Python's reading of JSON decides what a payload may hold, NaN too."""
    server = start_server(*QUIET, directory=medium_folder(tmp_path, frame({"k": float("nan")})))
    assert server.once("JSON.GET", "k") == b"$3\r\nNaN\r\n"


# --- a start that must not succeed


def failed_start(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """The one line that a start that fails must write."""
    done = subprocess.run(
        kvserver_command(*arguments),
        env=kvserver_environment() | (environment or {}),
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    assert done.returncode > 0, done
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in lines[0]
    return lines[0]


def test_second_server_on_a_folder_is_refused_and_the_first_goes_on(start_server: StartServer) -> None:
    first = start_server(*QUIET)
    first.once("SET", "k", "v")
    assert str(first.directory) in failed_start("--port", str(free_port()), "--dir", str(first.directory))
    assert first.once("GET", "k") == b"$1\r\nv\r\n"
    assert first.once("SAVE") == b"+OK\r\n"


def test_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in failed_start("--port", port, "--dir", str(tmp_path))


@pytest.mark.parametrize(
    ("named", "arguments"),
    [
        ("nosuch", ["--nosuch", "1"]),
        ("port", ["--port", "abc"]),
        ("port", ["--port", "99999"]),
        ("port", ["--port", "1_000"]),
        ("port", ["--port"]),
        ("appendonly", ["--appendonly", "maybe"]),
        ("maxclients", ["--maxclients", "-1"]),
        ("shutdown-mode", ["--shutdown-mode", "sideways"]),
        ("save", ["--save", "often"]),
        ("stray", ["stray"]),
    ],
)
def test_wrong_option_is_told(tmp_path: Path, named: str, arguments: list[str]) -> None:
    assert named in failed_start(*arguments, "--dir", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_wrong_setting_in_the_environment_is_told(tmp_path: Path) -> None:
    line = failed_start("--dir", str(tmp_path), environment={"KVSERVER_PORT": "abc"})
    assert "KVSERVER_PORT" in line or "port" in line


def test_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a-file"
    file.write_text("not a folder")
    assert str(file) in failed_start("--port", str(free_port()), "--dir", str(file))
    assert file.read_text() == "not a folder"


def test_missing_folder_is_made_for_its_owner_only(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    server = start_server(*QUIET, directory=folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert server.stop() == 0
    assert (folder / DATA_FILE).exists()


def test_journal_of_before_records_had_times_is_replayed_and_goes_on_with_times(tmp_path: Path) -> None:
    (tmp_path / f"{DATA_FILE}.0000000001.journal").write_bytes(
        b"KVJ10000000000312faa8f3c039955957d0590232e1050eb08f5ecac7f0adc9f335d68f8054bdc4c"
        b"*2\r\n$13\r\nKVSERVER.LINK\r\n$1\r\n-\r\n"
        b"KVJ100000000005442ddad90ef420075c0861f734b39a8a04ee61f404f000990c1e97818eb000988"
        b"*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n\xff\r\n"
    )
    with ServerProcess("kvserver", tmp_path, "--save", "") as server:
        assert server.once("GET", "c") == b"$1\r\n\xff\r\n"
        before_ms = int(time.time() * 1000)
        assert server.once("SET", "d", "1") == b"+OK\r\n"
        after_ms = int(time.time() * 1000)
        server.kill()
    record = (tmp_path / f"{DATA_FILE}.0000000002.journal").read_bytes()[HEADER_SIZE:]
    assert before_ms <= int(re.match(rb"#MS:([0-9]+)\r\n\*3\r\n\$3\r\nSET\r\n", record)[1]) <= after_ms  # type: ignore[index]
    with ServerProcess("kvserver", tmp_path, "--save", "") as server:
        assert (server.once("GET", "c"), server.once("GET", "d")) == (b"$1\r\n\xff\r\n", b"$1\r\n1\r\n")
        assert "damaged" not in server.log_text()
        server.kill()


# --- a process that was begun in odd circumstances


class InShell(ServerProcess):
    """A server that a shell starts by this line, where "$@" stands for its command."""

    line: str

    def command(self) -> list[str]:
        return ["sh", "-c", self.line, "sh", *kvserver_command()]


class Removed(InShell):
    """A server whose working folder is gone."""

    line = 'rmdir "$PWD" && exec "$@"'


def in_shell(line: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The end of a command that a shell starts by a line."""
    return subprocess.run(
        ["sh", "-c", line, "sh", *kvserver_command(*arguments)],
        cwd=folder,
        env=kvserver_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "<&-", ">&-", "2>&-"])
def test_closed_standard_descriptors_are_not_taken_by_files_and_sockets(tmp_path: Path, closed: str) -> None:
    server = InShell("kvserver", tmp_path / "data", "--logfile", str(tmp_path / "log"))
    server.line = f'exec "$@" {closed}'
    server._launch()
    try:
        wait_until(lambda: "Ready" in (tmp_path / "log").read_text() if (tmp_path / "log").exists() else False, "a start")
        with server.connect() as wire:
            assert wire.command("SET", "k", "v") == b"+OK\r\n"
            assert wire.command("SAVE") == b"+OK\r\n"
        folder = Path(f"/proc/{server.process.pid}/fd")
        if folder.exists():
            numbers = {"<": 0, ">": 1, "2": 2}
            for number in (numbers[word[0]] for word in closed.split()):
                assert (folder / str(number)).readlink() == Path(os.devnull)
        assert server.stop() == 0
    finally:
        server.kill()
    assert valid_frames((tmp_path / "data" / DATA_FILE).read_bytes())[-1] == {"k": "v"}
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("closed", ["<&- 2>&-", ">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("subcommand", ["check", "compact", "replay"])
def test_subcommand_does_its_work_with_closed_descriptors(tmp_path: Path, subcommand: str, closed: str) -> None:
    data = tmp_path / DATA_FILE
    data.write_bytes(frame({"k": "v"}) * 5)
    (tmp_path / "operations").write_text('[["set", "a", 1], ["get", "a"]]')
    done = in_shell(f'exec "$@" {closed}', subcommand, "operations" if subcommand == "replay" else DATA_FILE, folder=tmp_path)
    assert done.returncode == 0, done
    said = {"check": "5 valid frames", "compact": "3 of 5 frames kept", "replay": "[null, 1]"}[subcommand]
    assert (said in done.stdout) == (">&-" not in closed.split())
    assert done.stderr == ""
    assert len(valid_frames(data.read_bytes())) == (3 if subcommand == "compact" else 5)


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("check", DATA_FILE), ("replay", "operations")])
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / DATA_FILE).write_bytes(frame({"k": "v"}))
    (tmp_path / "operations").write_text("[]")
    done = in_shell('unset PYTHONUNBUFFERED; exec "$@" >/dev/full', *arguments, folder=tmp_path)
    assert done.returncode > 0
    assert done.stderr == "kvserver: No space left on device\n"


def test_server_whose_working_folder_is_gone_serves_one_of_another_path(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    with Removed("kvserver", tmp_path / "gone" / "data", *QUIET, "--dir", str(tmp_path / "data")) as server:
        assert server.once("SET", "k", "v") == b"+OK\r\n"
        assert server.once("SAVE") == b"+OK\r\n"
    assert (tmp_path / "data" / DATA_FILE).exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "0", "--unixsocket", "socket"], "./kvserver-data: the working directory does not exist"),
        (["--logfile", "log"], "log: No such file"),
        (["--config", "file.toml"], "file.toml can't be read"),
        (["check", "data"], "data"),
        (["compact", "data"], "data"),
        (["replay", "operations"], "operations"),
    ],
)
def test_relative_path_in_a_working_folder_that_is_gone_is_one_line(tmp_path: Path, arguments: list[str], named: str) -> None:
    (tmp_path / "gone").mkdir()
    done = in_shell(Removed.line, *arguments, folder=tmp_path / "gone")
    assert done.returncode > 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("kvserver: ")
    assert named in line


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_data_folder_that_vanishes_is_no_traceback(start_server: StartServer, appendonly: str) -> None:
    server = start_server("--save", "", "--appendonly", appendonly)
    with server.connect() as wire:
        assert wire.command("SET", "k", "v") == b"+OK\r\n"
        shutil.rmtree(server.directory)
        assert wire.command("SAVE").startswith((b"+OK", b"-ERR "))
        shutil.rmtree(server.directory, ignore_errors=True)
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.process.poll() is not None or "not leaving" in server.log_text(), "an outcome")
    server.kill()
    server.check_log()
    assert all(line.startswith(f"{server.process.pid} ") for line in server.log_text().splitlines())


# --- what the log says of a start


def said(server: ServerProcess) -> list[str]:
    """The lines of the log without process, time and the level INFO."""
    return [line.split(maxsplit=5)[5].removeprefix("INFO ") for line in server.log_text().splitlines()]


def test_first_lines_say_what_runs_where_it_keeps_data_how_and_who_may_come(start_server: StartServer) -> None:
    server = start_server("--save", "60 1", "--appendfsync", "always")
    with server.connect() as wire:
        facts = info(wire, "server")
    assert said(server)[:4] == [
        f"kvserver {facts['kvserver_version']}, {facts['kvserver_build']}, on Python {facts['python_version']} and "
        f"{facts['multiplexing_api']}, process {server.process.pid}",
        f"data in {server.directory}/{DATA_FILE}: appendonly yes, appendfsync always, save 60 1",
        f"listening on 127.0.0.1:{server.port}",
        f"Ready to accept connections on 127.0.0.1:{server.port}",
    ]


def test_name_in_the_environment_that_is_no_option_is_one_warning(tmp_path: Path) -> None:
    server = InShell("kvserver", tmp_path / "data", "--appendonly", "no")
    server.line = 'KVSERVER_PROT=1 KVSERVER_KILLS=2 KVSERVER_SAVE="" exec "$@"'
    with server:
        pass
    lines = [line for line in said(server) if "KVSERVER_" in line]
    (line,) = lines
    told, _, names = line.partition(": ")
    assert told == "WARNING ignored in the environment, since they are no options"
    assert sorted(names.split(", ")) == ["KVSERVER_KILLS", "KVSERVER_PROT (did you mean KVSERVER_PORT?)"]
    assert 'save ""' in said(server)[1]


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (["--bind", "127.0.0.1 ::1"], ""),
        (["--bind", "* -::*"], "clients of other machines are turned away, since protected-mode is on"),
        (["--bind", "0.0.0.0", "--port", "0"], ""),
        (["--bind", "0.0.0.0", "--protected-mode", "no"], "whoever gets there has all data"),
        (["--bind", "0.0.0.0", "--protected-mode", "no", "--requirepass", "secret"], ""),
    ],
)
def test_address_on_a_network_without_a_password_is_warned_of(
    start_server: StartServer, tmp_path: Path, options: list[str], warning: str
) -> None:
    server = start_server(*QUIET, "--unixsocket", str(tmp_path / "socket"), *options)
    warnings = [line for line in said(server) if line.startswith("WARNING")]
    assert len(warnings) == bool(warning)
    if warning:
        assert warnings[0].startswith(f"WARNING 0.0.0.0:{server.port} is on a network: {warning}")


def test_start_that_fails_is_in_the_log_file_too_and_in_json_alone_where_that_is_asked_for(tmp_path: Path) -> None:
    log, taken = tmp_path / "log", str(tmp_path / "no" / "socket")
    options = ["--dir", str(tmp_path / "data"), "--port", "auto", "--unixsocket", taken]
    line = failed_start(*options, "--logfile", str(log))
    assert line == f"kvserver: cannot listen on {taken}: No such file or directory"
    assert log.read_text().endswith(f" ERROR {line.removeprefix('kvserver: ')}\n")
    told = json.loads(failed_start(*options, "--log-format", "json"))
    assert (told["level"], told["message"]) == ("error", line.removeprefix("kvserver: "))
