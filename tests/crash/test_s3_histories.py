"""Random histories of nodes that share the log in an object store, with its real code over a store in memory.

Nodes follow, take over, write with several entries in flight, make snapshots, trim, pause and lag. Requests of theirs come
late (also after others have taken over, and have trimmed), lose their answers, and trims end amid their deletions. What was
acknowledged is there in the end, once, and behind what its writer had before it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple, cast

from helpers.faulty_engine import Faults
from kvserver.errors import MediumError, Refused, Trimmed, Unknown
from kvserver.formats.manifest import BEGINNING, Position
from kvserver.media.s3_bucket import Bucket, Found, Listed, Taken
from kvserver.media.s3_log import MOST_IN_FLIGHT, S3Log, path_of
from kvserver.media.settling import Counted, settled, wait_for
from kvserver.media.shared import Entry, Mark, digest_of

# A campaign sets more.
SEEDS = int(os.environ.get("KVSERVER_S3_SEEDS", "30"))
STEPS = 150
RATES = {"lost": 0.05, "late": 0.2, "nothing": 0.03, "failed": 0.03}


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


class Objects:
    """The objects of a store, and the snapshot that counts."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[Found, int]] = {}
        self.puts = 0
        self.snapshot = Snapshot()

    def put(self, path: str, data: bytes, metadata: dict[str, str]) -> str:
        self.puts += 1
        self.objects[path] = Found(data, metadata, str(self.puts)), self.puts
        return str(self.puts)


class Snapshot(NamedTuple):
    """What a manifest names, as far as it matters here: all data up to a position, and the mark behind it."""

    epoch: int = 0
    position: Position = BEGINNING
    number: int = 0
    digest: str = ""
    data: tuple[bytes, ...] = ()


class StoreOfOneNode:
    """A Bucket, with faults at what changes something."""

    url = "s3://memory"

    def __init__(self, store: Objects, faults: Faults) -> None:
        self.store, self.faults = store, faults

    def create(self, path: str, data: bytes, metadata: dict[str, str] | None = None) -> str | Taken:
        def put() -> str | Taken:
            return Taken(is_conflict=False) if path in self.store.objects else self.store.put(path, data, metadata or {})

        return self.faults.change(put)

    def replace(self, path: str, data: bytes, tag: str) -> str | Taken:
        def put() -> str | Taken:
            found = self.get(path)
            return self.store.put(path, data, {}) if found and found.tag == tag else Taken(is_conflict=False)

        return self.faults.change(put)

    def get(self, path: str) -> Found | None:
        found = self.store.objects.get(path)
        return found[0] if found else None

    def look(self, path: str) -> dict[str, str] | None:
        found = self.get(path)
        return found.metadata if found else None

    def list(self, folder: str) -> Iterator[Listed]:
        for path in sorted(self.store.objects):
            if path.startswith(f"{folder}/"):
                yield Listed(path, datetime.now(UTC))

    def delete(self, paths: Iterable[str]) -> None:
        for path in list(paths):
            # It may end anywhere, and what was to be removed may go much later.
            self.faults.change(lambda path=path: self.store.objects.pop(path, None))  # type: ignore[misc]


class Node:
    """A node, that plays its part as `failover` does."""

    def __init__(self, name: int, store: Objects, faults: Faults, kind: type[S3Log]) -> None:
        self.name, self.store, self.faults = name, store, faults
        self.log = kind(cast(Bucket, StoreOfOneNode(store, faults)))
        self.acknowledged: list[tuple[bytes, bytes]] = []
        self.written = 0
        self.takeovers = 0
        self.is_primary = False
        self.life = 0
        self.load()

    def load(self) -> None:
        """Start over from the snapshot."""
        self.life += 1
        snapshot = self.store.snapshot
        self.epoch, self.position = snapshot.position.epoch, snapshot.position
        self.number, self.digest = snapshot.number, snapshot.digest
        self.data = list(snapshot.data)
        self.is_primary = False

    def mark(self, epoch: int) -> Mark:
        return Mark(epoch, self.number + 1, self.digest)

    def apply(self, entry: Entry) -> None:
        assert entry.mark[1:] == (self.number + 1, self.digest), "the chain is broken"
        assert entry.mark.epoch >= self.epoch
        self.position, self.epoch = entry.position, entry.mark.epoch
        self.number, self.digest = entry.mark.number, digest_of(entry.mark, entry.data)
        self.data.append(entry.data)

    def follow(self, most: int = 1 << 30) -> None:
        while most > 0 and (found := self.log.read(self.position, 0)):
            for entry in found:
                self.apply(entry)
            most -= 1

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        steps = settled(self.log, data, mark, after, Counted())
        return wait_for(steps, sleep=self.faults.wait)

    def take_over(self) -> None:
        epoch = self.epoch + 1
        # As in `failover`, a node has another name in each of its lives: its fence of an earlier one is somebody else's.
        mark, data = self.mark(epoch), b"lead %d %d %d" % (self.name, self.life, epoch)
        position = self.append(data, mark, self.position)
        # Somebody's snapshot has gone on beyond this place: what was put there counts for nothing.
        if self.store.snapshot.number > self.number:
            raise Trimmed("lags")
        self.store.snapshot = self.store.snapshot._replace(epoch=epoch)
        self.apply(Entry(position, mark, data))
        self.is_primary = True
        self.takeovers += 1

    def write(self, count: int) -> None:
        """Send some entries, each behind the one before, and then settle them in order."""
        after, number, digest = self.position, self.number, self.digest
        sent: list[tuple[Entry, Position, bool]] = []
        for _ in range(count):
            self.written += 1
            data = b"%d %d" % (self.name, self.written)
            entry = Entry(Position(self.epoch, after.number + 1), Mark(self.epoch, number + 1, digest), data)
            is_there = False
            try:
                is_there = self.log.append(data, entry.mark, after) == entry.position
            except Unknown:
                pass
            except Refused:
                # Others have it, and nobody acknowledges those behind it.
                self.settle(sent)
                raise
            except MediumError:
                pass
            sent.append((entry, after, is_there))
            after, number, digest = entry.position, number + 1, digest_of(entry.mark, data)
        self.settle(sent)

    def settle(self, sent: list[tuple[Entry, Position, bool]]) -> None:
        for entry, after, is_there in sent:
            if not is_there:
                assert self.append(entry.data, entry.mark, after) == entry.position
            before = self.data[-1]
            self.apply(entry)
            self.acknowledged.append((before, entry.data))

    def save(self) -> None:
        """Make a snapshot, and trim what it has, unless somebody of a later epoch has made one."""
        if self.store.snapshot.epoch > self.epoch:
            raise Refused("somebody else leads")
        self.store.snapshot = Snapshot(self.epoch, self.position, self.number, self.digest, tuple(self.data))
        self.log.trim(self.position)

    def step(self, rng: random.Random) -> None:
        try:
            chance = rng.random()
            if not self.is_primary:
                # It may be far behind, and try to lead even so.
                self.follow(most=rng.choice((0, 1, 1 << 30)))
                if chance < 0.25:
                    self.take_over()
            elif chance < 0.2:
                self.save()
            else:
                self.write(rng.randint(1, MOST_IN_FLIGHT))
        except (Refused, Trimmed):
            # Whoever is demoted throws its data away.
            self.load()
        except MediumError:
            pass


class ForgetfulLog(S3Log):
    """A log that trims fences, too."""

    def _superfluous(self, upto: Position) -> Iterator[str]:
        for listed in self._bucket.list("log"):
            if listed.path < path_of(upto.epoch, upto.number + 1):
                yield listed.path


class Figures(NamedTuple):
    """What became of a history: the reason why it is wrong, if it is, and how much has happened."""

    reason: str
    acknowledged: int
    takeovers: int


def history(seed: int, kind: type[S3Log] = S3Log) -> Figures:
    """Run a history by this seed."""
    rng, clock, store = random.Random(seed), Clock(), Objects()
    nodes = []
    for number in range(3):
        faults = Faults(random.Random(seed * 7 + number), RATES, now=clock.now, wait=clock.wait, latest_s=60.0)
        nodes.append(Node(number, store, faults, kind))
    reader = Node(9, store, Faults(random.Random(0), {}, now=clock.now, wait=clock.wait), kind)
    awake = list(nodes)
    try:
        for _ in range(STEPS):
            if rng.random() < 0.05:
                # Some pause for a while.
                awake = rng.sample(nodes, rng.randint(1, 3))
            rng.choice(awake).step(rng)
            clock.wait(rng.random())
        for node in nodes:
            node.faults.rates = {}
            node.faults.land_all()
        reader.load()
        reader.follow()
        reason = wrong_in(reader.data, [pair for node in nodes for pair in node.acknowledged])
    except AssertionError as error:
        reason = str(error).partition("\n")[0]
    finally:
        for node in (*nodes, reader):
            node.log.close()
    return Figures(reason, sum(len(node.acknowledged) for node in nodes), sum(node.takeovers for node in nodes))


def wrong_in(there: list[bytes], acknowledged: list[tuple[bytes, bytes]]) -> str:
    """The reason why this can't be what is there in the end, or nothing."""
    places = {data: place for place, data in enumerate(there)}
    if len(places) != len(there):
        return "something is there twice"
    for before, data in acknowledged:
        if data not in places:
            return f"{data!r} is lost"
        if places.get(before) != places[data] - 1:
            return f"{data!r} does not stand behind {before!r}"
    return ""


def test_nothing_that_was_acknowledged_is_lost() -> None:
    first = random.randrange(1 << 32)
    print(f"seeds {first} to {first + SEEDS - 1}")
    found = [history(seed) for seed in range(first, first + SEEDS)]
    acknowledged = sum(figures.acknowledged for figures in found)
    takeovers = sum(figures.takeovers for figures in found)
    print(f"{acknowledged} acknowledged, {takeovers} takeovers")
    assert not [(seed, figures.reason) for seed, figures in enumerate(found, first) if figures.reason]
    assert acknowledged > 10 * SEEDS
    assert takeovers > 2 * SEEDS


def test_log_that_trims_its_fences_loses_something() -> None:
    assert any(history(seed, ForgetfulLog).reason for seed in range(100))
