"""Random histories beside a model: the data of each noted moment is the model's of then, over restarts, kills and compaction.

What a moment was is asked over the wire (KVS.AT), read from the folder while the server runs, and brought back by KVS.RESTORE,
whose undo and whose undo's undo are moments like all others.
"""

from __future__ import annotations

import copy
import json
import os
import random
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers import models
from helpers.models import Data
from helpers.servers import ServerProcess, StartServer, Wire, encode, info, wait_until
from kvserver.cli.past import back_up, payload_of
from kvserver.library.folder import ServerFolder
from kvserver.library.past import PastFolder

HISTORIES = int(os.environ.get("KVSERVER_HISTORIES", "3"))
SEED = int(os.environ.get("KVSERVER_HISTORIES_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
STEPS = 60
DATABASES = 3
NAME = "dump.kvs"
KEYS_OF = {letter: [b"%b%d" % (letter.encode(), number) for number in range(3)] for letter in "khlszx"}
KEYS_OF["any"] = [key for keys in KEYS_OF.values() for key in keys]
OPTIONS = ("--history", "1d", "--keep-frames", "1", "--save", "", "--shutdown-mode", "exit")


class Noted(NamedTuple):
    """A moment and the data of then."""

    time_ms: int
    data: Data


class Life:
    """A server whose data is known by a model, and the moments that were noted."""

    def __init__(self, start_server: StartServer, rng: random.Random, directory: Path) -> None:
        self.start_server, self.rng, self.directory = start_server, rng, directory
        self.data: Data = {}
        self.noted: list[Noted] = []
        self.start()

    def start(self) -> None:
        fsync = self.rng.choice(("everysec", "always", "no"))
        self.server: ServerProcess = self.start_server(*OPTIONS, "--appendfsync", fsync, directory=self.directory)
        self.wire: Wire = self.server.connect()

    def value(self) -> bytes:
        rng = self.rng
        return rng.choice((b"%d" % rng.randrange(1000), b"\xff\x00", b"text " * rng.randrange(40), b"x" * rng.randrange(3000)))

    def write(self) -> None:
        """Do a random write, and let the model follow where it succeeds."""
        rng = self.rng
        number = rng.choice((0, 0, 0, 1, 2))
        assert self.wire.command("SELECT", number) == b"+OK\r\n"
        draw = rng.random()
        if draw < 0.3:
            request = [b"SET", rng.choice(KEYS_OF["k"]), self.value()]
        elif draw < 0.35:
            request = [
                b"SET",
                rng.choice(KEYS_OF["any"]),
                self.value(),
                b"PXAT",
                b"%d" % (9_000_000_000_000 + rng.randrange(9)),
            ]
        elif draw < 0.37:
            request = rng.choice(([b"FLUSHALL"], [b"FLUSHDB"], [b"SWAPDB", b"0", b"1"]))
        else:
            request = models.random_call(rng, KEYS_OF, self.value)
            while request[0] in models.RANDOM:
                request = models.random_call(rng, KEYS_OF, self.value)
        reply = self.wire.command(*request)
        before = copy.deepcopy(self.data)
        try:
            models.apply_in(self.data, number, request)
        except models.Refused:
            self.data = before
        else:
            assert not reply.startswith(b"-"), (request, reply)

    def transaction(self) -> None:
        """Write some keys as one record."""
        assert self.wire.command("SELECT", 0) == b"+OK\r\n"
        requests = [[b"SET", rng_key, self.value()] for rng_key in self.rng.sample(KEYS_OF["any"], 4)]
        self.wire.command("MULTI")
        for request in requests:
            self.wire.command(*request)
        assert self.wire.command("EXEC").startswith(b"*4")
        for request in requests:
            models.apply_in(self.data, 0, request)

    def note(self) -> None:
        """Note the present moment: all that was written is before it, and what comes is behind it."""
        now_ms = self.now_ms()
        self.noted.append(Noted(now_ms, copy.deepcopy(self.data)))
        wait_until(lambda: self.now_ms() > now_ms, "the next millisecond")

    def now_ms(self) -> int:
        seconds, microseconds = map(int, self.wire.value("TIME"))
        return seconds * 1000 + microseconds // 1000

    def snapshot(self) -> None:
        """Begin a snapshot; sometimes wait for its end, else writes come meanwhile."""
        if self.rng.random() < 0.5:
            wait_until(lambda: info(self.wire)["rdb_bgsave_in_progress"] == "0", "the end of the snapshot before")
            assert self.wire.command("SAVE") == b"+OK\r\n"
        else:
            self.wire.command("BGSAVE", "SCHEDULE")

    def restart(self) -> None:
        """Kill the server, or let it leave, and start it again."""
        if self.rng.random() < 0.6:
            self.server.kill()
        else:
            self.server.stop()
        self.wire.close()
        self.start()

    def go_back(self) -> None:
        """Let the data be what it was at a noted moment."""
        if not self.noted:
            return
        noted = self.rng.choice(self.noted)
        self.note()
        expected = sum(map(len, noted.data.values()))
        assert self.wire.value("KVS.RESTORE", noted.time_ms) == expected
        self.data = copy.deepcopy(noted.data)
        self.check_present()
        self.note()

    def bring_back(self) -> None:
        """Let some keys be what they were at a noted moment, by one record."""
        if not self.noted:
            return
        noted, letter = self.rng.choice(self.noted), self.rng.choice("khlszx")
        number = self.rng.randrange(DATABASES)
        assert self.wire.command("SELECT", number) == b"+OK\r\n"
        then = {key: held for key, held in noted.data.get(number, {}).items() if key.startswith(letter.encode())}
        assert self.wire.value("KVS.RESTORE", noted.time_ms, "KEYS", f"{letter}*") == len(then)
        now = {key: held for key, held in self.data.get(number, {}).items() if not key.startswith(letter.encode())}
        self.data[number] = {**now, **copy.deepcopy(then)}
        self.check_present()

    def check_present(self) -> None:
        with ServerFolder(self.directory, read_only=True) as folder:
            assert b"".join(payload_of(folder.databases)) == models.payload(self.data)

    def check_over_the_wire(self, noted: Noted) -> None:
        for number in range(DATABASES):
            assert self.wire.command("SELECT", number) == b"+OK\r\n"
            state = noted.data.get(number, {})
            assert set(self.wire.value("KVS.AT", noted.time_ms, "KEYS", "*")) == set(state)
            for key, held in state.items():
                if isinstance(held.value, bytes):
                    assert self.wire.value("KVS.AT", noted.time_ms, "GET", key) == held.value
                elif isinstance(held.value, set):
                    assert set(self.wire.value("KVS.AT", noted.time_ms, "SMEMBERS", key)) == held.value
                elif isinstance(held.value, list):
                    assert self.wire.value("KVS.AT", noted.time_ms, "LRANGE", key, 0, -1) == held.value
                expected = -1 if held.expires_at_ms is None else held.expires_at_ms
                assert self.wire.value("KVS.AT", noted.time_ms, "PEXPIRETIME", key) == expected

    def check_all(self) -> None:
        """See that each noted moment is what the model was."""
        folder = PastFolder(str(self.directory), NAME)
        past = None
        for noted in self.noted:
            past = folder.at(str(noted.time_ms), past)
            assert b"".join(payload_of(past.databases)) == models.payload(noted.data), noted.time_ms
            if past.databases[0].is_frozen:
                past = None
        for noted in self.rng.sample(self.noted, min(4, len(self.noted))):
            self.check_over_the_wire(noted)


@pytest.mark.parametrize("number", range(HISTORIES))
def test_each_moment_is_what_the_model_was(start_server: StartServer, tmp_path: Path, number: int) -> None:
    seed = SEED + number
    print(f"KVSERVER_HISTORIES_SEED={seed}")
    rng = random.Random(seed)
    life = Life(start_server, rng, tmp_path)
    life.note()
    for _ in range(STEPS):
        draw = rng.random()
        if draw < 0.62:
            for _ in range(rng.randrange(1, 12)):
                life.write()
            life.note()
        elif draw < 0.7:
            life.transaction()
            life.note()
        elif draw < 0.84:
            life.snapshot()
        elif draw < 0.9:
            life.restart()
        elif draw < 0.95:
            life.go_back()
        else:
            life.bring_back()
    life.check_present()
    life.check_all()
    life.restart()
    life.check_all()
    assert info(life.wire)["history_last_status"] == "ok"
    life.wire.close()


def test_backup_under_load_is_one_instant(start_server: StartServer, tmp_path: Path) -> None:
    accounts = [f"account:{number}" for number in range(50)]
    server = start_server("--save", "", directory=tmp_path)
    over = threading.Event()
    began = threading.Barrier(4, timeout=20)

    def transfer(seed: int) -> None:
        rng = random.Random(seed)
        with server.connect() as wire:
            began.wait()
            while not over.is_set():
                giver, taker = rng.sample(accounts, 2)
                wire.send(encode("MULTI") + encode("DECR", giver) + encode("INCR", taker) + encode("EXEC"))
                for _ in range(4):
                    wire.read_reply()

    with server.connect() as wire:
        wire.command("MSET", *(word for name in accounts for word in (name, 100)))
        wire.command("SAVE")
        writers = [threading.Thread(target=transfer, args=(seed,)) for seed in range(3)]
        for writer in writers:
            writer.start()
        try:
            began.wait()
            totals = []
            for number in range(4):
                target = str(tmp_path.parent / f"{tmp_path.name}-backup-{number}")
                back_up(str(tmp_path), NAME, target, lambda line: None)
                with ServerFolder(target, read_only=True) as folder:
                    held = json.loads(b"".join(payload_of(folder.databases)))
                totals.append([int(held[name]) for name in accounts])
        finally:
            over.set()
            for writer in writers:
                writer.join()
    assert [sum(balances) for balances in totals] == [100 * len(accounts)] * 4
    # Money was moved meanwhile.
    assert len(set(map(tuple, totals))) == 4
