"""The faults around an engine are those that they are called, come again by their seed, and break who guesses."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping

import pytest

from helpers.faulty_engine import USUAL, Faults, faulty
from kvserver.errors import MediumError, Refused, Unknown
from kvserver.formats.manifest import BEGINNING, Manifest, Position
from kvserver.media.memory_engine import MemoryLog, MemoryPresence, MemoryVault
from kvserver.media.shared import Engine, Entry, Mark, digest_of

# A campaign sets more.
SEEDS = int(os.environ.get("KVSERVER_FAULTY_ENGINE_SEEDS", "200"))


def engine() -> Engine:
    return Engine("memory://faulty", "faulty", MemoryLog(), MemoryVault(), MemoryPresence(), 3.0)


class Clock:
    """A clock that stands still until somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


def faults(clock: Clock, rates: Mapping[str, float], seed: int = 1) -> Faults:
    return Faults(random.Random(seed), rates, now=clock.now, wait=clock.wait, longest_s=1.0, latest_s=5.0)


FIRST = Mark(1, 1, "")


def test_lost_answer_has_its_effect() -> None:
    inner = engine()
    log = faulty(inner, faults(Clock(), {"lost": 1})).log
    for _ in range(2):
        # The second one is refused, and nobody learns that.
        with pytest.raises(Unknown):
            log.append(b"data", FIRST, BEGINNING)
    assert [entry.data for entry in inner.log.read(BEGINNING, 0)] == [b"data"]


@pytest.mark.parametrize(("fault", "error"), [("nothing", Unknown), ("failed", MediumError), ("refused", Refused)])
def test_other_faults_have_no_effect(fault: str, error: type[MediumError]) -> None:
    inner = engine()
    outer = faulty(inner, faults(Clock(), {fault: 1}))
    with pytest.raises(MediumError) as failure:
        outer.log.append(b"data", FIRST, BEGINNING)
    assert type(failure.value) is error
    with pytest.raises(error):
        outer.vault.commit(Manifest(), "")
    assert inner.log.read(BEGINNING, 0) == []
    assert inner.vault.manifest() == (None, "")


def test_delay_takes_time_and_nothing_else() -> None:
    clock = Clock()
    met = faults(clock, {"delay": 1})
    log = faulty(engine(), met).log
    position = log.append(b"data", FIRST, BEGINNING)
    assert clock.now_s > 0
    assert log.read(BEGINNING, 0) == [Entry(position, FIRST, b"data")]
    assert met.met == {"delay": 2}


def test_late_effect_comes_while_a_reader_waits() -> None:
    clock = Clock()
    met = faults(clock, {"late": 1})
    log = faulty(engine(), met).log
    with pytest.raises(Unknown):
        log.append(b"data", FIRST, BEGINNING)
    due = met.next_landing
    assert due is not None
    assert log.read(BEGINNING, due / 2) == []
    assert [entry.data for entry in log.read(BEGINNING, due)] == [b"data"]
    assert met.next_landing is None


def test_late_effect_is_refused_by_the_engine_if_others_were_faster() -> None:
    inner = engine()
    met = faults(Clock(), {"late": 1})
    outer = faulty(inner, met)
    with pytest.raises(Unknown):
        outer.log.append(b"late", FIRST, BEGINNING)
    with pytest.raises(Unknown):
        outer.vault.commit(Manifest(counter=1), "")
    inner.log.append(b"faster", FIRST, BEGINNING)
    inner.vault.commit(Manifest(counter=2), "")
    met.land_all()
    assert [entry.data for entry in inner.log.read(BEGINNING, 0)] == [b"faster"]
    assert inner.vault.manifest()[0] == Manifest(counter=2)


def test_who_is_away_reaches_nothing() -> None:
    inner = engine()
    met = faults(Clock(), {})
    outer = faulty(inner, met)
    met.is_away = True
    with pytest.raises(Unknown):
        outer.log.append(b"data", FIRST, BEGINNING)
    for call in (outer.vault.manifest, outer.presence.nodes, lambda: outer.log.read(BEGINNING, 0)):
        with pytest.raises(MediumError):
            call()
    met.is_away = False
    assert outer.log.append(b"data", FIRST, BEGINNING)


# Some writers in turn, each of which takes the log over whenever it likes


class Node:
    """A writer. It appends behind the last entry that it knows, and takes an Unknown append for what `settle` makes of it."""

    def __init__(self, number: int, engine: Engine, settle: Callable[[Node, Entry, Position], Position | None]) -> None:
        self.number, self.log, self.settle = number, engine.log, settle
        self.last: Entry | None = None
        self.epoch = 0
        self.acknowledged: list[bytes] = []
        self.written = 0

    @property
    def after(self) -> Position:
        return self.last.position if self.last else BEGINNING

    def step(self, rng: random.Random) -> None:
        try:
            if not self.epoch or rng.random() < 0.05:
                self.catch_up()
                self.append(b"lead %d %d" % (self.number, self.written), self.after.epoch + 1)
            self.append(b"write %d %d" % (self.number, self.written), self.epoch)
        except Refused:
            self.epoch = 0
        except MediumError:
            pass

    def catch_up(self) -> None:
        while found := self.log.read(self.after, 0):
            self.last = found[-1]

    def append(self, data: bytes, epoch: int) -> None:
        self.written += 1
        mark = (
            Mark(epoch, self.last.mark.number + 1, digest_of(self.last.mark, self.last.data)) if self.last else Mark(1, 1, "")
        )
        entry = Entry(Position(0, 0), mark, data)
        position: Position | None
        try:
            position = self.log.append(data, mark, self.after)
        except Unknown:
            position = self.settle(self, entry, self.after)
        if position:
            self.last, self.epoch = entry._replace(position=position), epoch
            self.acknowledged.append(data)


def by_reading(node: Node, entry: Entry, after: Position) -> Position | None:
    """Read what stands there, and send it again while that is nothing."""
    while True:
        try:
            if found := node.log.read(after, 0.5):
                if found[0][1:] == entry[1:]:
                    return found[0].position
                raise Refused("somebody else's stands there")
            return node.log.append(entry.data, entry.mark, after)
        except Refused:
            # Our own, if it came between the look and the append.
            if not (found := node.log.read(after, 0)) or found[0][1:] != entry[1:]:
                raise
        except MediumError:
            continue


def as_landed(node: Node, entry: Entry, after: Position) -> Position | None:
    return Position(entry.mark.epoch, after.number + 1)


def as_not_landed(node: Node, entry: Entry, after: Position) -> Position | None:
    return None


def is_broken(seed: int, settle: Callable[[Node, Entry, Position], Position | None]) -> bool:
    """True if, by this seed, what was acknowledged does not stand in the log once, or a writer did not go on."""
    rng, clock, inner = random.Random(seed), Clock(), engine()
    nodes = [Node(number, faulty(inner, faults(clock, USUAL, seed + number)), settle) for number in range(3)]
    for _ in range(60):
        rng.choice(nodes).step(rng)
        clock.wait(rng.random())
    there = [entry.data for entry in inner.log.read(BEGINNING, 0)]
    acknowledged = [data for node in nodes for data in node.acknowledged]
    return len(set(there)) != len(there) or not set(acknowledged) <= set(there) or len(acknowledged) < len(there) * 0.9


@pytest.mark.parametrize(("settle", "least", "most"), [(by_reading, 0, 0), (as_landed, 0.5, 1), (as_not_landed, 0.01, 1)])
def test_who_settles_by_reading_loses_nothing_and_who_guesses_does(
    settle: Callable[[Node, Entry, Position], Position | None], least: float, most: float
) -> None:
    first = random.randrange(1 << 32)
    print(f"seeds {first} to {first + SEEDS - 1}")
    broken = [seed for seed in range(first, first + SEEDS) if is_broken(seed, settle)]
    print(f"{len(broken)} of {SEEDS} broken")
    assert least * SEEDS <= len(broken) <= most * SEEDS, broken[:5]


def test_same_seed_makes_the_same_history() -> None:
    def history() -> list[Entry]:
        inner, rng, clock = engine(), random.Random(7), Clock()
        nodes = [Node(number, faulty(inner, faults(clock, USUAL, number)), by_reading) for number in range(3)]
        for _ in range(100):
            rng.choice(nodes).step(rng)
        return inner.log.read(BEGINNING, 0)

    assert history() == history()
