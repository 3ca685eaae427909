"""A server that starts again has what was there before: after leaving in order, after kill -9, on a damaged medium."""

from __future__ import annotations

import hashlib
import os
import random
import re
import resource
import select
import shutil
import signal
import stat
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers.frames import frame, valid_frames
from helpers.servers import (
    ServerProcess,
    StartServer,
    Wire,
    encode,
    parse,
    wait_until,
)
from helpers.starts import DATA_FILE, QUIET

ROUNDS = int(os.environ.get("KVSERVER_RESTART_ROUNDS", "100"))
SEED = int(os.environ.get("KVSERVER_RESTART_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
LANES = 2


HEADER_SIZE = len(b"KVS1") + 12 + 64

Data = dict[bytes, bytes]


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


# --- a folder that vanishes


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
