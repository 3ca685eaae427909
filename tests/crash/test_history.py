"""Random histories beside a model: the data of each noted moment is the model's of then, over restarts, kills and compaction.

What a moment was is asked over the wire (KVS.AT), read from the folder while the server runs, and brought back by KVS.RESTORE,
whose undo and whose undo's undo are moments like all others. Keys of every type take part, fields and keys whose time comes,
and function libraries, which belong to no database: they go back with all data, and stay where some keys do.
"""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers import models
from helpers.models import Data
from helpers.readings import read_held
from helpers.servers import ServerProcess, StartServer, Wire, encode, info, wait_until
from kvserver.cli.past import back_up, drop_due, payload_of
from kvserver.data.databases import Databases
from kvserver.library.folder import ServerFolder
from kvserver.library.past import PastFolder

HISTORIES = int(os.environ.get("KVSERVER_HISTORIES", "3"))
SEED = int(os.environ.get("KVSERVER_HISTORIES_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
STEPS = 60
DATABASES = 3
NAME = "dump.kvs"
LETTERS = "bghjklstxz"
KEYS_OF = {letter: [b"%b%d" % (letter.encode(), number) for number in range(2)] for letter in LETTERS}
KEYS_OF["any"] = [key for keys in KEYS_OF.values() for key in keys]
NAMES = (b"one", b"other")
# Their outcome is random, or a long way to work out: the model takes over what they have made of the keys that they name.
TAKEN_OVER = [
    row.split()
    for row in """
        SPOP s count
        PFADD k member value
        PFMERGE k k k
        GEOADD z 13.4 52.5 member
        GEOADD z -0.1 51.5 member 2.35 48.86 member
        BITOP XOR b k b
    """.strip().splitlines()
]
# So are those about one group of one stream, of which some follow each other.
OF_GROUPS = [
    row.split()
    for row in """
        XADD key 9-* member value
        XADD key 9-* member value member value
        XADD key MAXLEN 4 9-* member value
        XDEL key early
        XGROUP CREATE key group early
        XGROUP CREATE key group $ ENTRIESREAD count
        XGROUP SETID key group early
        XGROUP DESTROY key group
        XGROUP CREATECONSUMER key group consumer
        XGROUP DELCONSUMER key group consumer
        XREADGROUP GROUP group consumer COUNT 3 STREAMS key >
        XREADGROUP GROUP group consumer COUNT 3 STREAMS key >
        XREADGROUP GROUP group consumer COUNT 3 NOACK STREAMS key >
        XREADGROUP GROUP group consumer COUNT 3 STREAMS key 0
        XACK key group early early early
        XCLAIM key group consumer 0 early early
        XCLAIM key group consumer 0 early FORCE JUSTID
        XAUTOCLAIM key group consumer 0 0 COUNT 2
    """.strip().splitlines()
]
# So long before its time something that is due soon is given it. On a machine that is slower no moment before is noted.
SOON_MS = 60
OPTIONS = ("--history", "1d", "--keep-frames", "1", "--save", "", "--shutdown-mode", "exit")


class Noted(NamedTuple):
    """A moment and the data of then, and the texts of the function libraries by their names."""

    time_ms: int
    data: Data
    libraries: dict[bytes, bytes]

    @property
    def payload(self) -> bytes:
        return models.payload(self.data, self.libraries)


class Life:
    """A server whose data is known by a model, and the moments that were noted."""

    def __init__(self, start_server: StartServer, rng: random.Random, directory: Path) -> None:
        self.start_server, self.rng, self.directory = start_server, rng, directory
        self.data: Data = {}
        self.libraries: dict[bytes, bytes] = {}
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
        number = self.select()
        draw = rng.random()
        if draw < 0.05:
            request = [b"SET", rng.choice(KEYS_OF["k"]), self.value()]
        elif draw < 0.08:
            expiry = [b"PXAT", b"%d" % (9_000_000_000_000 + rng.randrange(9))]
            request = [b"SET", rng.choice(KEYS_OF["any"]), self.value(), *expiry]
        elif draw < 0.084:
            request = rng.choice(([b"FLUSHALL"], [b"FLUSHDB"], [b"SWAPDB", b"0", b"1"]))
        elif draw < 0.11:
            self.write_library()
            return
        elif draw < 0.2:
            self.write_otherwise(number)
            return
        else:
            request = models.random_call(rng, KEYS_OF, self.value)
            while request[0] in models.RANDOM:
                request = models.random_call(rng, KEYS_OF, self.value)
        reply = self.wire.command(*request)
        try:
            models.apply_in(self.data, number, request)
        except models.Refused:
            pass
        else:
            assert not reply.startswith(b"-"), (request, reply)

    def select(self) -> int:
        """Select a database, mostly the first."""
        number = self.rng.choice((0, 0, 0, 0, 0, 0, 1, 2))
        assert self.wire.command("SELECT", number) == b"+OK\r\n"
        return number

    def write_library(self) -> None:
        """Load a function library, or remove some."""
        name, draw = self.rng.choice(NAMES), self.rng.random()
        if draw < 0.7:
            said = b"redis.register_function('f_%b', function() return %d end)" % (name, self.rng.randrange(9))
            text = b"#!lua name=%b\n%b" % (name, said)
            assert self.wire.value("FUNCTION", "LOAD", "REPLACE", text) == name
            self.libraries[name] = text
        elif draw < 0.95:
            assert self.wire.command("FUNCTION", "DELETE", name).startswith(b"+" if name in self.libraries else b"-")
            self.libraries.pop(name, None)
        else:
            assert self.wire.command("FUNCTION", "FLUSH") == b"+OK\r\n"
            self.libraries.clear()

    def write_otherwise(self, number: int) -> None:
        """Do random writes whose outcome the model takes over."""
        rng = self.rng
        if rng.random() < 0.3:
            requests = [models.draw(rng, rng.choice(TAKEN_OVER), KEYS_OF, {"value": self.value})]
        else:
            key, group = rng.choice(KEYS_OF["g"]), rng.choice(NAMES)
            makers = {
                "key": lambda: key,
                "group": lambda: group,
                "value": self.value,
                "consumer": lambda: rng.choice(NAMES),
                "early": lambda: b"9-%d" % rng.randrange(6),
            }
            requests = [[b"XGROUP", b"CREATE", key, group, b"0", b"MKSTREAM"]]
            requests += [models.draw(rng, rng.choice(OF_GROUPS), {}, makers) for _ in range(rng.randrange(8))]
        for request in requests:
            self.wire.command(*request)
        for key in {word for request in requests for word in request} & {*KEYS_OF["any"]}:
            held = read_held(self.wire, key)
            state = self.data.setdefault(number, {})
            if held is None:
                state.pop(key, None)
            else:
                state[key] = held

    def transaction(self) -> None:
        """Write some keys as one record."""
        assert self.wire.command("SELECT", 0) == b"+OK\r\n"
        requests = [[b"SET", key, self.value()] for key in self.rng.sample(KEYS_OF["k"], 2)]
        requests += [
            [b"DEL", self.rng.choice(KEYS_OF["any"])],
            [b"PEXPIREAT", self.rng.choice(KEYS_OF["any"]), b"9000000000009"],
        ]
        self.wire.command("MULTI")
        for request in requests:
            self.wire.command(*request)
        assert self.wire.command("EXEC").startswith(b"*4")
        for request in requests:
            models.apply_in(self.data, 0, request)

    def note(self) -> None:
        """Note the present moment: all that was written is before it, and what comes is behind it."""
        now_ms = self.now_ms()
        self.note_as(now_ms)
        wait_until(lambda: self.now_ms() > now_ms, "the next millisecond")

    def note_as(self, time_ms: int) -> None:
        """Note that the data is the present one at a time."""
        self.noted.append(Noted(time_ms, models.copied(self.data), {**self.libraries}))

    def let_time_come(self) -> None:
        """Let the time come for some keys and fields. The moments around it are noted: nothing else is written meanwhile."""
        rng = self.rng
        self.note()
        assert self.wire.command("SELECT", 0) == b"+OK\r\n"
        state = self.data.setdefault(0, {})
        due_ms = self.now_ms() + SOON_MS
        for key in (*KEYS_OF["h"], *KEYS_OF["t"], *rng.sample(KEYS_OF["any"], 5)):
            request = [b"PEXPIREAT", key, b"%d" % due_ms]
            if key in state and type(state[key].value) is dict and rng.random() < 0.8:
                fields = rng.sample(sorted(state[key].value), rng.randint(1, len(state[key].value)))
                request = [b"HPEXPIREAT", key, b"%d" % due_ms, b"FIELDS", b"%d" % len(fields), *fields]
            assert not self.wire.command(*request).startswith(b"-")
            models.apply(state, request)
        written_ms = self.now_ms()
        if written_ms < due_ms:
            self.note_as(due_ms - 1)
        if rng.random() < 0.3:
            self.snapshot()
        if rng.random() < 0.3:
            self.restart()
        gone = {*state}
        self.data = models.living(self.data, due_ms)
        gone -= {*self.data[0]}
        if written_ms < due_ms:
            self.note_as(due_ms)
        wait_until(lambda: self.now_ms() > due_ms, "the time that is to come")
        self.note()
        # As in Redis, a hash is a key until somebody takes the last of its fields out whose time has come.
        assert self.wire.command("SELECT", 0) == b"+OK\r\n"
        wait_until(lambda: not gone or self.wire.value("EXISTS", *gone) == 0, "the end of hashes without fields")

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

    def draw_noted(self) -> Noted:
        """A noted moment, which is often one of the last."""
        return self.rng.choice(self.noted[-6:] if self.rng.random() < 0.5 else self.noted)

    def go_back(self) -> None:
        """Let the data be what it was at a noted moment."""
        noted = self.draw_noted()
        self.note()
        # What has expired since then stays away.
        self.data = models.living(noted.data, self.now_ms())
        self.libraries = {**noted.libraries}
        assert self.wire.value("KVS.RESTORE", noted.time_ms) == sum(map(len, self.data.values()))
        self.check_present()
        self.note()

    def bring_back(self) -> None:
        """Let some keys be what they were at a noted moment, by one record."""
        noted, begin = self.draw_noted(), self.rng.choice((*LETTERS, "", "", "")).encode()
        number = self.select()
        alive = models.living(noted.data, self.now_ms())
        then = {key: held for key, held in alive.get(number, {}).items() if key.startswith(begin)}
        assert self.wire.value("KVS.RESTORE", noted.time_ms, "KEYS", begin + b"*") == len(then)
        now = {key: held for key, held in self.data.get(number, {}).items() if not key.startswith(begin)}
        self.data[number] = {**now, **then}
        self.check_present()

    def check_present(self) -> None:
        with ServerFolder(self.directory, read_only=True) as folder:
            assert payload_now(folder.databases) == models.payload(self.data, self.libraries)

    def check_over_the_wire(self, noted: Noted) -> None:
        for number in range(DATABASES):
            assert self.wire.command("SELECT", number) == b"+OK\r\n"
            state = noted.data.get(number, {})
            keys = set(self.wire.value("KVS.AT", noted.time_ms, "KEYS", "*"))
            # Such a hash was a key, too.
            emptied = {key for key in keys - set(state) if self.wire.value("KVS.AT", noted.time_ms, "HLEN", key) == 0}
            assert keys - emptied == set(state)
            assert {key: read_held(self.wire, key, "KVS.AT", noted.time_ms) for key in state} == state

    def check(self, moments: list[Noted]) -> None:
        """See that each of these moments is what the model was."""
        folder = PastFolder(str(self.directory), NAME)
        for noted in moments:
            # Sometimes it is reached from another moment, which may be on the way.
            other = self.rng.choice(self.noted)
            before = folder.at(str(other.time_ms)) if self.rng.random() < 0.3 else None
            past = folder.at(str(noted.time_ms), before)
            assert b"".join(payload_of(drop_due(past))) == noted.payload, noted.time_ms
        for noted in self.rng.sample(moments, min(4, len(moments))):
            self.check_over_the_wire(noted)


def payload_now(databases: Databases) -> bytes:
    """The payload of the data without what is due now."""
    while databases.sweep():
        pass
    return b"".join(payload_of(databases))


@pytest.mark.parametrize("number", range(HISTORIES))
def test_each_moment_is_what_the_model_was(start_server: StartServer, tmp_path: Path, number: int) -> None:
    seed = SEED + number
    print(f"KVSERVER_HISTORIES_SEED={seed}")
    rng = random.Random(seed)
    life = Life(start_server, rng, tmp_path)
    try:
        live(life)
    finally:
        life.wire.close()


def live(life: Life) -> None:
    rng = life.rng
    life.note()
    for _ in range(STEPS):
        draw = rng.random()
        if draw < 0.62:
            for _ in range(rng.randrange(1, 20)):
                life.write()
            life.note()
        elif draw < 0.7:
            life.transaction()
            life.note()
        elif draw < 0.78:
            life.snapshot()
        elif draw < 0.84:
            life.restart()
        elif draw < 0.88:
            life.go_back()
        elif draw < 0.94:
            life.bring_back()
        else:
            life.let_time_come()
    life.check_present()
    life.check(life.noted)
    life.restart()
    life.check(rng.sample(life.noted, len(life.noted) // 4))
    assert info(life.wire)["history_last_status"] == "ok"


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
