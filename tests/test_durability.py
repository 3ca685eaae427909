"""What was acknowledged is there after kill -9, for each appendfsync; what was damaged is set aside, never deleted.

Black box: servers on real folders, and a model outside of what they said.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import StartServer
from servers import ServerProcess, Wire, encode, parse, wait_until

KILLS = int(os.environ.get("KVSERVER_KILLS", "30"))
SEED = int(os.environ.get("KVSERVER_KILLS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
HEADER_SIZE = 80
QUIET = ("--save", "")
ALWAYS = (*QUIET, "--appendfsync", "always")
EVERYSEC = (*QUIET, "--appendfsync", "everysec")


def journal_frame(*commands: tuple[bytes | str, ...], magic: bytes = b"KVJ1") -> bytes:
    """A journal frame, written here once more so that the server isn't checked by its own code."""
    payload = b"".join(encode(*command) for command in commands)
    return magic + b"%012d" % len(payload) + hashlib.sha256(payload).hexdigest().encode() + payload


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("dump.kvs.*.journal"))


def asides(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if "damaged" in path.name)


def info(wire: Wire) -> dict[str, str]:
    lines = wire.value("INFO", "persistence").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def crash(server: ServerProcess) -> Path:
    server.kill()
    return server.directory


# --- kill -9, again and again


class Lane(threading.Thread):
    """One writer with keys of its own: it knows what each of them was told to be, and what was acknowledged of it."""

    def __init__(self, number: int, rng: random.Random, model: dict[bytes, bytes | None]) -> None:
        super().__init__(daemon=True)
        self.keys = [b"lane:%d:%d" % (number, index) for index in range(12)]
        self.rng = rng
        self.acknowledged = model  # key -> value, None: deleted
        self.found = dict(model)  # what the server had when this life began
        self.sent: dict[bytes, list[bytes | None]] = {}  # not acknowledged, in order
        self.last: list[tuple[float, bytes, bytes | None]] = []  # when what was acknowledged
        self.port = 0
        self.counter = 0

    def run(self) -> None:
        with suppress(OSError, EOFError), Wire(self.port) as wire:
            while True:
                self.write(wire)

    def write(self, wire: Wire) -> None:
        batch: list[tuple[bytes, bytes | None]] = []
        requests = b""
        for _ in range(self.rng.choice((1, 1, 1, 5, 40))):
            key = self.rng.choice(self.keys)
            self.counter += 1
            kind = self.rng.randrange(10)
            if kind == 0:
                value, request = None, encode("DEL", key)
            elif kind == 1:
                value = b"%d" % self.counter
                request = encode("JSON.SET", key, "$", value)
            elif kind == 2:
                value = b"%d:\xff\r\n$3\r\nKVJ1" % self.counter
                request = encode("SET", key, value, "EX", 1000)
            else:
                value = b"%d:%s" % (self.counter, b"x" * self.rng.choice((0, 10, 3000)))
                request = encode("SET", key, value)
            batch.append((key, value))
            self.sent.setdefault(key, []).append(value)
            requests += request
        wire.send(requests)
        for key, value in batch:
            reply = wire.read_reply()
            assert reply[:1] in b"+:", reply
            self.acknowledged[key] = value
            self.sent[key].pop(0)
            self.last.append((time.monotonic(), key, value))


class Campaign:
    """One folder, killed again and again under load."""

    LANES = 8

    def __init__(self, folder: Path, seed: int, options: tuple[str, ...], tolerated_s: float) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.options = options
        self.tolerated_s = tolerated_s
        self.model: list[dict[bytes, bytes | None]] = [{} for _ in range(self.LANES)]
        self.lost = 0
        self.acknowledged = 0

    def run(self, kills: int) -> None:
        for _ in range(kills):
            with ServerProcess("kvserver", self.folder, *self.options) as server:
                self.verify(server)
                self.live_and_die(server)
        with ServerProcess("kvserver", self.folder, *self.options) as server:
            self.verify(server)

    def verify(self, server: ServerProcess) -> None:
        """What the last life left is the model from now on, if it is explained."""
        assert "set aside" not in server.log_text(), server.log_text()
        for lane in self.model:
            with server.connect() as wire:
                for key in list(lane):
                    value = wire.value("GET", key)
                    allowed = lane[key]
                    assert value in (allowed if isinstance(allowed, list) else [allowed]), (
                        key,
                        value,
                        allowed,
                        server.log_text(),
                    )
                    lane[key] = value

    def live_and_die(self, server: ServerProcess) -> None:
        lanes = [Lane(number, random.Random(self.rng.random()), self.model[number]) for number in range(self.LANES)]
        for lane in lanes:
            lane.port = server.port
            lane.start()
        dies_at = time.monotonic() + self.rng.uniform(0.02, 0.6)
        with suppress(OSError, EOFError), server.connect() as wire:
            while time.monotonic() < dies_at:
                command = self.rng.choice(("SAVE", "BGSAVE", "BGREWRITEAOF", "DEBUG CRASH", "PING", "PING", "PING", "PING"))
                wire.command(*command.split())
                for _ in range(self.rng.randrange(50)):
                    wire.command("PING")
        killed_at = time.monotonic()
        server.kill()
        for lane in lanes:
            lane.join(20)
            self.acknowledged += len(lane.last)
            for key, values in lane.sent.items():
                # What was sent and not acknowledged may be there, up to any point.
                allowed = [lane.acknowledged.get(key), *values]
                if self.tolerated_s:
                    told = [(at > killed_at - self.tolerated_s, value) for at, name, value in lane.last if name == key]
                    safe = [lane.found.get(key), *(value for is_recent, value in told if not is_recent)]
                    allowed += [safe[-1], *(value for is_recent, value in told if is_recent)]
                lane.acknowledged[key] = allowed  # type: ignore[assignment]  # `verify` settles which


@pytest.mark.timeout(60 + 10 * KILLS)
def test_kill_under_load_with_always_loses_nothing_acknowledged(tmp_path: Path) -> None:
    print(f"KVSERVER_KILLS_SEED={SEED}")
    folder = tmp_path / "data"
    folder.mkdir()
    options = (*ALWAYS, "--keep-frames", "2", "--auto-aof-rewrite-min-size", "100kb")
    campaign = Campaign(folder, SEED, options, 0)
    campaign.run(KILLS)
    print(f"{KILLS} kills, {campaign.acknowledged} writes acknowledged, none lost")
    assert campaign.acknowledged > KILLS


@pytest.mark.timeout(60 + 10 * KILLS)
def test_kill_under_load_with_everysec_loses_less_than_a_second(tmp_path: Path) -> None:
    print(f"KVSERVER_KILLS_SEED={SEED}")
    folder = tmp_path / "data"
    folder.mkdir()
    campaign = Campaign(folder, SEED, (*EVERYSEC, "--keep-frames", "2"), 1.0)
    campaign.run(KILLS)
    print(f"{KILLS} kills, {campaign.acknowledged} writes acknowledged")


# --- what is replayed


def test_every_kind_of_write_is_there_after_a_kill(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        for command in (
            "SET gone 1",
            "FLUSHALL",
            "SET a 1",
            "SET b 2 EX 1000",
            "SET c 3",
            "DEL c",
            "SET d 4 PX 1",
            "SET a 5 XX",
        ):
            wire.command(*command.split())
        wire.command("JSON.SET", "j", "$", '{"b":[1,2.5,null],"a":"\\u00e9"}')
        wire.command("SET", b"\xff\x00", b"\r\n*1\r\n")
        wire.command("SET", "b", "6", "KEEPTTL")
    server = start_server(*ALWAYS, directory=crash(server))
    with server.connect() as wire:
        assert wire.value("GET", "a") == b"5"
        assert wire.value("GET", "b") == b"6"
        assert 0 < wire.value("TTL", "b") <= 1000
        assert wire.value("JSON.GET", "j") == '{"a":"é","b":[1,2.5,null]}'.encode()
        assert wire.value("GET", b"\xff\x00") == b"\r\n*1\r\n"
        assert [wire.value("EXISTS", key) for key in ("gone", "c", "d")] == [0, 0, 0]
        assert wire.value("DBSIZE") == 4


def test_expiry_that_passes_while_no_server_runs_is_kept(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    at_ms = int(time.time() * 1000) + 300
    server.once("SET", "k", "v", "PXAT", at_ms)
    folder = crash(server)
    wait_until(lambda: time.time() * 1000 > at_ms, "the expiry", 5)
    assert start_server(*ALWAYS, directory=folder).once("EXISTS", "k") == b":0\r\n"


def test_restore_is_kept_and_what_it_threw_away_stays_away(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.command("SET", "kept", "1")
        wire.command("SAVE")
        wire.command("SET", "thrown", "1")
        assert wire.value("RESTORE") == 1
        wire.command("SET", "later", "1")
    server = start_server(*ALWAYS, directory=crash(server))
    with server.connect() as wire:
        assert [wire.value("GET", key) for key in ("kept", "thrown", "later")] == [b"1", None, b"1"]


def test_restore_of_nothing_is_kept(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.command("SET", "thrown", "1")
        assert wire.value("RESTORE") == 0
        wire.command("SET", "later", "1")
    server = start_server(*ALWAYS, directory=crash(server))
    with server.connect() as wire:
        assert [wire.value("GET", key) for key in ("thrown", "later")] == [None, b"1"]


def test_shutdown_without_a_flush_keeps_what_was_acknowledged(start_server: StartServer) -> None:
    server = start_server(*EVERYSEC)
    with server.connect() as wire:
        wire.send(encode("SET", "k", "v") + encode("SHUTDOWN", "NOSAVE"))
        assert wire.read_reply() == b"+OK\r\n"
        assert wire.read_until_eof() == b""
    assert server.wait() == 0
    again = start_server(*EVERYSEC, directory=server.directory)
    assert again.once("GET", "k") == b"$1\r\nv\r\n"
    assert again.stop() == 0
    assert len(segments(server.directory)) == 1
    assert (server.directory / "dump.kvs").stat().st_size


def test_snapshot_drops_the_segments_before_it(start_server: StartServer) -> None:
    server = start_server(*EVERYSEC)
    with server.connect() as wire:
        for number in range(3):
            wire.command("SET", "k", number)
            wire.command("SAVE")
            assert len(segments(server.directory)) == 1
        assert info(wire)["aof_segments"] == "1"


def test_journal_that_outgrows_its_snapshot_is_followed_by_a_snapshot(start_server: StartServer) -> None:
    server = start_server(*EVERYSEC, "--auto-aof-rewrite-min-size", "10kb")
    with server.connect() as wire:
        for _ in range(20):
            wire.command("SET", "k", "x" * 1000)
        wait_until(lambda: int(info(wire)["aof_base_size"]) > 1000, "the snapshot")
        wait_until(lambda: info(wire)["aof_rewrite_in_progress"] == "0", "its end")
        assert int(info(wire)["aof_current_size"]) < 3000
        assert info(wire)["aof_last_bgrewrite_status"] == "ok"


def test_bgrewriteaof_answers_as_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    assert kvserver.once("BGREWRITEAOF") == redis_oracle.once("BGREWRITEAOF")
    assert kvserver.once("BGREWRITEAOF", "now") == redis_oracle.once("BGREWRITEAOF", "now")


# --- switching


def test_journal_that_is_switched_on_records_from_then_on(start_server: StartServer) -> None:
    server = start_server(*QUIET, "--appendonly", "no", "--appendfsync", "always")
    with server.connect() as wire:
        wire.command("SET", "before", "1")
        assert wire.command("CONFIG", "SET", "appendonly", "yes") == b"+OK\r\n"
        wire.command("SET", "after", "1")
        assert info(wire)["aof_enabled"] == "1"
    server = start_server(*ALWAYS, directory=crash(server))
    with server.connect() as wire:
        assert [wire.value("GET", key) for key in ("before", "after")] == [b"1", b"1"]


def test_journal_that_is_switched_off_keeps_what_it_had_until_the_next_snapshot(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.command("SET", "before", "1")
        assert wire.command("CONFIG", "SET", "appendonly", "no") == b"+OK\r\n"
        wire.command("SET", "after", "1")
        assert info(wire)["aof_enabled"] == "0"
    folder = crash(server)
    server = start_server(*QUIET, "--appendonly", "no", directory=folder)
    assert server.wait_for_line("appendonly is no, but there was a journal")
    with server.connect() as wire:
        assert [wire.value("GET", key) for key in ("before", "after")] == [b"1", None]
        wire.command("SET", "third", "1")
        wire.command("SAVE")
        assert segments(folder) == []
    server = start_server(*ALWAYS, directory=crash(server))
    with server.connect() as wire:
        assert [wire.value("GET", key) for key in ("before", "after", "third")] == [b"1", None, b"1"]


def test_journal_off_and_on_again_replays_no_hole(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        for command in ("SET a 1", "CONFIG SET appendonly no", "SET b 1", "CONFIG SET appendonly yes", "SET c 1"):
            assert wire.command(*command.split()) == b"+OK\r\n"
    server = start_server(*ALWAYS, directory=crash(server))
    with server.connect() as wire:
        assert [wire.value("GET", key) for key in "abc"] == [b"1", b"1", b"1"]


def test_policy_can_be_switched_under_load_and_no_reply_overtakes_another(start_server: StartServer) -> None:
    server = start_server(*EVERYSEC)
    with server.connect() as wire, server.connect() as other:
        for number in range(60):
            policy = ("always", "everysec", "no")[number % 3]
            wire.send(b"".join(encode("SET", "k", f"{number}:{index}") + encode("GET", "k") for index in range(20)))
            assert other.command("CONFIG", "SET", "appendfsync", policy) == b"+OK\r\n"
            for index in range(20):
                assert wire.read_reply() == b"+OK\r\n"
                assert parse(wire.read_reply()) == f"{number}:{index}".encode()


# --- damage


def written(start_server: StartServer, *values: str) -> Path:
    """A folder whose one segment has a link and then one record for each value of the key k."""
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        for value in values:
            wire.command("SET", "k", value)
    return crash(server)


def test_torn_tail_of_the_journal_is_cut_with_one_line(start_server: StartServer) -> None:
    folder = written(start_server, "1", "2")
    segment = segments(folder)[0]
    whole = segment.read_bytes()
    for cut in (1, 40, 79, 80, 100):
        segment.write_bytes(whole + journal_frame(("SET", "k", "3"))[:cut])
        server = start_server(*ALWAYS, directory=folder)
        assert server.once("GET", "k") == b"$1\r\n2\r\n"
        assert server.log_text().count("torn tail of the journal cut") == 1
        crash(server)
        assert asides(folder) == []
        assert segment.read_bytes() == whole


def test_damage_in_the_middle_sets_aside_what_is_behind_it(start_server: StartServer) -> None:
    folder = written(start_server, "1", "2", "3")
    segment = segments(folder)[0]
    whole = segment.read_bytes()
    record = len(journal_frame(("SET", "k", "1")))
    damaged = bytearray(whole)
    damaged[-record - 10] ^= 1  # in the record of 2
    segment.write_bytes(damaged)
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("GET", "k") == b"$1\r\n1\r\n"
    assert "damaged journal" in server.log_text()
    (aside,) = asides(folder)
    assert aside.read_bytes() == damaged[-2 * record :]
    server.once("SET", "k", "4")
    server = start_server(*ALWAYS, directory=crash(server))
    assert server.once("GET", "k") == b"$1\r\n4\r\n"


def test_segment_that_is_missing_ends_the_replay(start_server: StartServer) -> None:
    folder = written(start_server, "1")
    for value in ("2", "3"):
        server = start_server(*ALWAYS, directory=folder)
        server.once("SET", "k", value)
        crash(server)
    segments(folder)[1].unlink()
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("GET", "k") == b"$1\r\n1\r\n"
    assert "is missing" in server.log_text()
    assert len(asides(folder)) == 1


def test_link_to_a_frame_that_is_not_there_is_told_and_all_is_replayed(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.command("SET", "old", "1")
        wire.command("SAVE")
        wire.command("SET", "older", "2")
        wire.command("SAVE")
        wire.command("SET", "new", "3")
    folder = crash(server)
    medium = (folder / "dump.kvs").read_bytes()
    (folder / "dump.kvs").write_bytes(medium[: HEADER_SIZE + int(medium[4:16])])
    server = start_server(*ALWAYS, directory=folder)
    assert "the medium has no such frame" in server.log_text()
    with server.connect() as wire:
        assert [wire.value("GET", key) for key in ("old", "older", "new")] == [b"1", None, b"3"]


def test_segments_without_a_link_are_set_aside(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "dump.kvs.0000000004.journal").write_bytes(journal_frame(("SET", "k", "1")))
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("DBSIZE") == b":0\r\n"
    assert "no segment is linked" in server.log_text()
    assert len(asides(folder)) == 1


def test_value_that_holds_a_whole_frame_is_never_taken_for_one(start_server: StartServer) -> None:
    evil = journal_frame(("SET", "evil", "1"))
    server = start_server(*ALWAYS)
    server.once("SET", "k", evil)
    folder = crash(server)
    segment = segments(folder)[0]
    data = segment.read_bytes()
    position = data.index(evil)
    segment.write_bytes(data[: position - 5] + b"?" + data[position - 4 :])
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("DBSIZE") == b":0\r\n"
