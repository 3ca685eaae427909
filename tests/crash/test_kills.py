"""kill -9 under load, again and again on one folder: each start has a state that the last life had, and nothing promised lost.

Many writers, flushes, compactions, torn frames, policies and the journal itself switched at run time. Each writer has keys
of its own and one connection, so that what a start finds of them must be what they were after some number of its writes:
no fewer than were acknowledged while the journal was on, whatever its policy, and half of a write never.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest

from helpers.servers import ServerProcess, Wire, encode, info

KILLS = int(os.environ.get("KVSERVER_KILLS", "30"))
SEED = int(os.environ.get("KVSERVER_KILLS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
WRITERS = 8
LONG_LIFE_S = 1.3
# A server's idea of the present time may be so much older than the client's.
CLOCK_MS = 20
OPTIONS = ("--save", "", "--keep-frames", "2", "--auto-aof-rewrite-min-size", "100kb")


@dataclass
class Held:
    """The value that a key was given, and the bounds of its expiry in Unix milliseconds; `px` is 0 if it never expires."""

    value: bytes
    px: int = 0
    earliest_ms: int = 0
    latest_ms: int = 0

    def matches(self, value: bytes | None, pttl: int, asked_ms: tuple[int, int]) -> bool:
        """True if GET and PTTL may have replied so, between these two moments."""
        if not self.px:
            return (value, pttl) == (self.value, -1)
        may_be_gone = asked_ms[1] >= self.earliest_ms - CLOCK_MS
        may_be_there = asked_ms[0] <= self.latest_ms + CLOCK_MS
        if value is None:
            return may_be_gone
        if pttl == -2:
            return value == self.value and may_be_gone
        latest_pttl, earliest_pttl = self.latest_ms - asked_ms[0], self.earliest_ms - asked_ms[1]
        return value == self.value and may_be_there and earliest_pttl - CLOCK_MS <= pttl <= latest_pttl + CLOCK_MS


@dataclass
class Mode:
    """The promise that the server gives, from one change of its settings to the next.

    `name` is a policy, "off" without a journal, or "changing" while a change is under way.
    """

    name: str


@dataclass
class Write:
    """One command or transaction."""

    changes: dict[bytes, Held | None]
    replies: int
    mode: Mode
    sent_at: float
    # The mode's name, if it did not change between the write and its answer.
    promise: str = ""


@dataclass
class Figures:
    kills: int = 0
    # The counters are by promise.
    acknowledged: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lost = ", ".join(f"{name}: lost {self.lost[name]} of {count}" for name, count in sorted(self.acknowledged.items()))
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))
        return f"{self.kills} kills; acknowledged writes by promise: {lost}; {done}"


class Writer:
    """One client with keys of its own, over all lives."""

    def __init__(self, number: int) -> None:
        name = b"writer:%d:" % number
        self.plain = [name + b"plain:%d" % index for index in range(4)]
        self.counters = [name + b"counter:%d" % index for index in range(2)]
        self.expiring = [name + b"expiring:%d" % index for index in range(3)]
        self.together = [name + b"together:%d" % index for index in range(3)]
        self.documents = [name + b"document:%d" % index for index in range(2)]
        self.keys = [*self.plain, *self.counters, *self.expiring, *self.together, *self.documents]
        # The data of the last start.
        self.base: dict[bytes, Held] = {}
        self.now: dict[bytes, Held] = {}
        # The writes of this life.
        self.writes: list[Write] = []
        self.answered = 0
        # It is a part of every value, so that no two are the same.
        self.count = 0

    def begin(self) -> None:
        self.now, self.writes, self.answered = dict(self.base), [], 0

    def live(self, port: int, rng: random.Random, campaign: Campaign) -> None:
        with suppress(OSError, EOFError), Wire(port) as wire:
            while True:
                self.write_some(wire, rng, campaign)

    def write_some(self, wire: Wire, rng: random.Random, campaign: Campaign) -> None:
        requests = b""
        for _ in range(rng.choice((1, 1, 1, 5, 40))):
            commands, changes = self.draw(rng)
            if rng.random() < 0.1 and campaign.knows_transactions:
                for _ in range(rng.randrange(3)):
                    more, changed = self.draw(rng)
                    commands += more
                    changes |= changed
                commands = [[b"MULTI"], *commands, [b"EXEC"]]
            requests += b"".join(encode(*command) for command in commands)
            self.writes.append(Write(changes, len(commands), campaign.mode, time.time()))
        wire.send(requests)
        while self.answered < len(self.writes):
            write = self.writes[self.answered]
            for _ in range(write.replies):
                reply = wire.read_reply()
                assert reply[:1] in b"+:*", reply
            self.answered += 1
            self.answer(write, time.time())
            names = {write.mode.name, campaign.mode.name}
            write.promise = "off" if "off" in names else write.mode.name if campaign.mode is write.mode else "changing"

    def answer(self, write: Write, at: float) -> None:
        """Take notice that the server has done the write by now."""
        for held in write.changes.values():
            if held and held.px:
                held.earliest_ms = int(write.sent_at * 1000) + held.px
                held.latest_ms = int(at * 1000) + held.px

    def draw(self, rng: random.Random) -> tuple[list[list[bytes]], dict[bytes, Held | None]]:
        """Commands that are one write, and what they change."""
        self.count += 1
        value = b"%d:%s" % (self.count, b"x" * rng.choice((0, 10, 3000)))
        key = rng.choice(self.plain)
        changes: dict[bytes, Held | None]
        match rng.randrange(8):
            case 0:
                key = rng.choice((*self.plain, *self.documents))
                command, changes = [b"DEL", key], {key: None}
            case 1:
                key, value = rng.choice(self.documents), b"%d" % self.count
                command, changes = [b"JSON.SET", key, b"$", value], {key: Held(value)}
            case 2:
                value = b"%d:\xff\r\n$3\r\nKVJ1" % self.count
                command, changes = [b"SET", key, value], {key: Held(value)}
            case 3:
                key = rng.choice(self.counters)
                value = b"%d" % (int(self.now[key].value) + 1 if key in self.now else 1)
                command, changes = [b"INCR", key], {key: Held(value)}
            case 4:
                key, px = rng.choice(self.expiring), rng.choice((1, 30, 300, 1000, 100_000))
                command, changes = [b"SET", key, value, b"PX", b"%d" % px], {key: Held(value, px)}
            case 5:
                keys = rng.sample(self.together, 2)
                command = [b"MSET", *(part for key in keys for part in (key, value))]
                changes = {key: Held(value) for key in keys}
            case 6 if len(self.now[key].value if key in self.now else b"") < 3000:
                before = self.now[key].value if key in self.now else b""
                command, changes = [b"APPEND", key, b"+%d" % self.count], {key: Held(before + b"+%d" % self.count)}
            case _:
                command, changes = [b"SET", key, value], {key: Held(value)}
        for changed, held in changes.items():
            if held:
                self.now[changed] = held
            else:
                self.now.pop(changed, None)
        return [command], changes

    def end(self, killed_at: float) -> None:
        """Take writes without an answer for done at the latest when the server was killed, if they were done."""
        for write in self.writes[self.answered :]:
            self.answer(write, killed_at)

    def ask(self, wire: Wire) -> tuple[dict[bytes, tuple[bytes | None, int]], tuple[int, int]]:
        """The value and PTTL of every key of this writer, and the two moments between which the server had them."""
        begun_ms = int(time.time() * 1000)
        wire.send(b"".join(encode("GET", key) + encode("PTTL", key) for key in self.keys))
        found = {}
        for key in self.keys:
            reply, pttl = wire.read_reply(), int(wire.read_reply()[1:])
            found[key] = (None if reply == b"$-1\r\n" else reply.partition(b"\r\n")[2][:-2], pttl)
        return found, (begun_ms, int(time.time() * 1000))

    def states(self) -> Iterator[dict[bytes, Held]]:
        """The data of the keys after no write of this life, after one, and so on; the same dict each time."""
        state = dict(self.base)
        yield state
        for write in self.writes:
            for key, held in write.changes.items():
                if held:
                    state[key] = held
                else:
                    state.pop(key, None)
            yield state

    def settle(self, wire: Wire, figures: Figures) -> None:
        """Find the number of writes, from the first on, that this start has."""
        found, asked_ms = self.ask(wire)

        def is_wrong(key: bytes, state: dict[bytes, Held]) -> bool:
            held = state.get(key)
            return not held.matches(*found[key], asked_ms) if held else found[key] != (None, -2)

        least = max(
            (index + 1 for index, write in enumerate(self.writes[: self.answered]) if write.promise != "off"), default=0
        )
        last = -1
        wrong: set[bytes] = set()
        kept: dict[bytes, Held] = {}
        for index, state in enumerate(self.states()):
            for key in self.writes[index - 1].changes if index else self.keys:
                (wrong.add if is_wrong(key, state) else wrong.discard)(key)
            if not wrong:
                last, kept = index, dict(state)
        promises = [(name, len(list(group))) for name, group in groupby(write.promise for write in self.writes)]
        assert last >= 0, f"a state that never was: {found}, after {promises}"
        assert last >= least, f"{last} writes of {self.answered} acknowledged are there, {least} were promised: {promises}"
        self.base = kept
        for write in self.writes[: self.answered]:
            figures.acknowledged[write.promise] += 1
        for write in self.writes[last : self.answered]:
            figures.lost[write.promise] += 1


class Campaign:
    """One folder, killed again and again under load."""

    def __init__(self, folder: Path, policy: str) -> None:
        self.folder = folder
        self.policy = policy
        self.rng = random.Random(f"{SEED} {policy}")
        self.options = (*OPTIONS, "--appendfsync", policy)
        self.writers = [Writer(number) for number in range(WRITERS)]
        self.figures = Figures()
        self.mode = Mode(policy)
        # The figures of INFO before the kill.
        self.facts: dict[str, str] = {}
        self.crashes = 0
        # True if the last life ended without a journal, or while the journal was switched.
        self.was_off = False
        self.knows_transactions = False

    def run(self, kills: int) -> None:
        for kill in range(kills):
            if kill and kill % 50 == 0:
                print(f"appendfsync {self.policy}, so far: {self.figures}", flush=True)
            with ServerProcess("kvserver", self.folder, *self.options) as server:
                self.verify(server)
                self.live_and_die(server)
        with ServerProcess("kvserver", self.folder, *self.options) as server:
            self.verify(server)

    def verify(self, server: ServerProcess) -> None:
        log = server.log_text()
        # What was being switched on may never have been linked to a snapshot.
        assert self.was_off or ("set aside" not in log and "damaged journal" not in log), log
        # Two halves of frames in a row may be as long as the first of them should be.
        assert self.crashes > 1 or "damaged medium" not in log, log
        self.figures.done["torn frames cut"] += "torn tail" in log
        with server.connect() as wire:
            self.knows_transactions = wire.value("COMMAND", "INFO", "multi") != [None]
            try:
                for writer in self.writers:
                    writer.settle(wire, self.figures)
            except AssertionError:
                print(log)
                raise

    def live_and_die(self, server: ServerProcess) -> None:
        self.mode = Mode(self.policy)
        self.crashes, self.facts = 0, {}
        threads = []
        for writer in self.writers:
            writer.begin()
            arguments = (server.port, random.Random(self.rng.random()), self)
            threads.append(threading.Thread(target=writer.live, args=arguments, daemon=True))
            threads[-1].start()
        # Some live for so long that some syncs of `everysec` fall into it.
        dies_at = time.monotonic() + (self.rng.uniform(0.01, 0.3) if self.rng.random() < 0.9 else LONG_LIFE_S)
        with suppress(OSError, EOFError), server.connect() as wire:
            while time.monotonic() < dies_at:
                self.disturb(wire)
                for _ in range(self.rng.randrange(12)):
                    self.facts = info(wire)
        self.figures.done["flushes"] += int(self.facts.get("rdb_saves", 0))
        self.figures.done["compactions"] += int(self.facts.get("compactions", 0))
        self.figures.done["syncs"] += int(self.facts.get("aof_syncs", 0))
        killed_at = time.time()
        server.kill()
        self.was_off = self.mode.name == "off"
        self.figures.kills += 1
        for writer, thread in zip(self.writers, threads, strict=True):
            thread.join(20)
            assert not thread.is_alive()
            writer.end(killed_at)

    def disturb(self, wire: Wire) -> None:
        flushes = ("SAVE", "BGSAVE", "BGREWRITEAOF")
        choice = self.rng.choice((*flushes, *flushes, "DEBUG CRASH", "policy", "journal", *("PING",) * 8))
        if choice == "policy":
            self.figures.done["changes of the policy"] += 1
            self.switch(wire, "appendfsync", self.rng.choice(("always", "everysec", "no")))
            if self.rng.random() < 0.8:
                self.switch(wire, "appendfsync", self.policy)
        elif choice == "journal" and self.rng.random() < 0.5:
            self.figures.done["times without the journal"] += 1
            policy = self.mode.name
            self.switch(wire, "appendonly", "no", "off")
            for _ in range(self.rng.randrange(12)):
                wire.command("PING")
            if self.rng.random() < 0.8:
                self.switch(wire, "appendonly", "yes", policy)
        else:
            self.crashes += choice == "DEBUG CRASH"
            wire.command(*choice.split())

    def switch(self, wire: Wire, option: str, value: str, name: str = "") -> None:
        was_off = self.mode.name == "off"
        self.mode = Mode("off" if option == "appendonly" or was_off else "changing")
        assert wire.command("CONFIG", "SET", option, value) == b"+OK\r\n"
        self.mode = Mode("off" if was_off and option == "appendfsync" else name or value)


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_kill_under_load_loses_nothing_acknowledged(tmp_path: Path, policy: str) -> None:
    print(f"KVSERVER_KILLS_SEED={SEED} KVSERVER_KILLS={KILLS}")
    folder = tmp_path / "data"
    folder.mkdir()
    campaign = Campaign(folder, policy)
    try:
        campaign.run(KILLS)
    finally:
        print(f"appendfsync {policy}: {campaign.figures}")
    assert campaign.figures.acknowledged[policy] > KILLS
    assert [name for name, count in campaign.figures.lost.items() if count] in ([], ["off"])
