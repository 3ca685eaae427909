"""Protocols by which nodes share a log, right ones and wrong ones, in virtual time, with a judge over what clients are told.

Nodes are stopped for up to 40 s and killed, calls are late or lost (`simulated_engine`), and clocks run differently fast. The
nodes are models, as small as the protocol is; the lease, the settling of what is open, the handling of the manifest, marks and
tips are the server's own. When all is calm again, somebody leads, and makes snapshots.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Generator
from typing import Final, NamedTuple, TypeVar

from helpers.judge import Judge
from helpers.simulated_engine import Engine, WayToLog, WayToVault, Weather
from helpers.virtual_time import Hub, Process
from kvserver.errors import MediumError, Refused, Trimmed
from kvserver.failover.lease import Lease
from kvserver.formats.manifest import Manifest, Position
from kvserver.media.settling import Counted, settled
from kvserver.media.shared import Entry, Mark, Tip
from kvserver.media.vault_medium import VaultMedium

T = TypeVar("T")

NODES: Final = 3
LEASE_S: Final = 3.0
LONGEST_STOP_S: Final = 40.0
# Clocks run so much too fast or too slow at most. An answering part of 0.7 bears up to 0.17.
DRIFT: Final = 0.1
STORM_S: Final = 50.0
# So long behind the last fault somebody leads.
CALM_S: Final = 4 * LEASE_S


class Protocol(NamedTuple):
    """How nodes share the log.

    - `condition` and `keeps_fences` are the engine's.
    - `in_flight` appends of a writer are on their way at once.
    - `looks` at the manifest, "before" it takes over, or "behind" that: it may have gone on beyond what the node knows.
    - `compares` with the manifest "digests" of the log, or "numbers" alone.
    - `lease_from`: the time from which a writer counts its lease.
    - `has_steady_clock`: the clock of the lease does not jump.
    """

    condition: str
    in_flight: int = 1
    keeps_fences: bool = True
    looks: tuple[str, ...] = ("before", "behind")
    compares: str = "digests"
    lease_from: str = "first try"
    has_steady_clock: bool = True


CHAIN: Final = Protocol("chain", in_flight=4)
SEQUENCE: Final = Protocol("sequence")
RIGHT: Final = {"chain": CHAIN, "sequence": SEQUENCE}
WRONG: Final = {
    "names, deleted behind snapshots": CHAIN._replace(condition="names"),
    "a chain whose fences are deleted": CHAIN._replace(keeps_fences=False),
    "a sequence with several in flight": SEQUENCE._replace(in_flight=8),
    "no condition": SEQUENCE._replace(condition="nothing"),
    "a chain without a look at the manifest": CHAIN._replace(looks=()),
    "a chain with a look behind the fence alone": CHAIN._replace(looks=("behind",)),
    "a chain with a look before the fence alone": CHAIN._replace(looks=("before",)),
    "a lease from the last try": CHAIN._replace(lease_from="last try"),
    "a lease from the answer": SEQUENCE._replace(lease_from="answer"),
    "a lease by a clock that jumps": SEQUENCE._replace(has_steady_clock=False),
}


class Verdict(NamedTuple):
    """The outcome of one seed: what was broken, by kind, with the first case of each; and how much happened."""

    broken: dict[str, str]
    counts: Counter[str]


class Flight(NamedTuple):
    """An append on its way: the end of the log behind it."""

    behind: Tip


class Node:
    """One life of a node: a standby first."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.hub, self.rng, self.judge = world, world.hub, world.rng, world.judge
        self.protocol = world.protocol
        self.process = Process()
        self.log = WayToLog(world.hub, world.engine, world.weather, self.process)
        self.vault = WayToVault(world.hub, world.engine, world.weather, self.process)
        self.outcomes = Counted()
        self.medium = self.open_medium()
        self.number = number
        self.name = b"%d.%d" % (number, self.rng.randrange(1 << 30))
        self.rate = self.rng.uniform(1 - DRIFT, 1 + DRIFT)
        self.jumped_s = 0.0
        self.lease = Lease(LEASE_S, self.clock)
        self.tip = Tip()
        self.epoch = 0
        self.is_leading = False
        # As a writer: the end of the log with all that was sent, what is on its way, and since when what has arrived was; and
        # replies that wait, in order, with what had been shown when their commands were sent.
        self.sent = Tip()
        self.flights: deque[Flight] = deque()
        self.arrived: dict[Flight, float] = {}
        self.held: deque[tuple[str, Tip, int]] = deque()
        self.hub.spawn(self.process, self.live)

    def __str__(self) -> str:
        return f"node {self.number} (epoch {self.epoch})"

    def clock(self) -> float:
        return self.hub.now * self.rate + self.jumped_s

    def sleep(self, seconds: float) -> None:
        self.hub.sleep(seconds, self.process)

    def drive(self, steps: Generator[float, None, T]) -> T:
        """Drive the server's own steps."""
        while True:
            try:
                self.sleep(next(steps))
            except StopIteration as stop:
                result: T = stop.value
                return result

    def open_medium(self) -> VaultMedium:
        return VaultMedium(self.vault, self.outcomes, sleep=self.sleep)

    def live(self) -> None:
        self.sleep(self.rng.random())
        while True:
            # A snapshot may be on its way still, by one who has led, and must not see what this one looks up.
            self.medium = self.open_medium()
            manifest = self.look()
            self.tip = Tip(manifest.position, manifest.mark_number, manifest.mark_digest)
            self.epoch = manifest.position.epoch
            while self.follow() and not self.take_over():
                pass
            if self.is_leading:
                self.lead()

    def look(self) -> Manifest:
        """The manifest, however long it takes."""
        while True:
            try:
                return self.medium.look()
            except MediumError:
                self.sleep(0.1)

    def is_passed_by(self, manifest: Manifest) -> bool:
        """True if a snapshot is not of what this node knows: then what stands behind its own place counts for nothing."""
        if manifest.mark_number == self.tip.number and self.protocol.compares == "digests":
            return manifest.mark_digest != self.tip.digest
        return manifest.mark_number > self.tip.number

    # A standby

    def follow(self) -> bool:
        """Apply what comes. True when nobody was heard of for a lease, False if this has to start over."""
        heard_at = self.clock()
        while self.clock() - heard_at <= self.lease.lease_s:
            try:
                entries = self.log.read(self.tip.position, 0.5)
            except Trimmed:
                return False
            except MediumError:
                continue
            if entries:
                heard_at = self.clock()
            for entry in entries:
                self.apply(entry)
        return True

    def apply(self, entry: Entry) -> None:
        if (entry.mark.number, entry.mark.digest) != (self.tip.number + 1, self.tip.digest):
            self.judge.blame("out of place", f"{self} reads {entry}, which stands behind {self.tip}")
        self.tip = self.tip.behind(entry.position, entry.mark, entry.data)
        self.epoch = max(self.epoch, entry.mark.epoch)

    def take_over(self) -> bool:
        """Try to lead. False if that leads back to following, True if it leads, or has to start over."""
        self.judge.counts["tries"] += 1
        if "before" in self.protocol.looks and self.is_passed_by(self.look()):
            return True
        epoch = self.epoch + 1
        mark, data = self.tip.mark(epoch), b"lead " + self.name
        behind, sent_at = self.world.behind(self.tip, Position(epoch, 0), mark, data), self.clock()
        try:
            position = self.drive(settled(self.log, data, mark, self.tip.position, self.outcomes))
        except Refused:
            return False
        while True:
            manifest = self.look()
            if "behind" in self.protocol.looks and self.is_passed_by(manifest):
                self.judge.counts["void fences"] += 1
                return True
            if manifest.epoch > epoch:
                return True
            try:
                self.medium.lead(epoch)
            except Refused:
                continue
            break
        self.epoch = epoch
        self.tip = self.sent = behind._replace(position=position)
        self.is_leading = True
        self.lease.extend(sent_at)
        self.judge.counts["takeovers"] += 1
        return True

    # The writer

    def lead(self) -> None:
        self.hub.spawn(self.process, self.make_snapshots)
        beat_at = command_at = self.hub.now
        while self.is_leading:
            self.sleep(max(0.0, min(beat_at, command_at) - self.hub.now))
            room = self.protocol.in_flight - len(self.flights)
            if not self.is_leading:
                break
            if self.hub.now >= command_at:
                command_at = self.hub.now + self.rng.expovariate(self.world.pace)
                if self.rng.random() < 0.5:
                    self.held.append(("read", self.sent, self.judge.shown))
                    self.release()
                    continue
                for _ in range(min(self.rng.choice((1, 1, 8)), room)):
                    self.send(b"write %d" % self.rng.randrange(1 << 60))
                    self.held.append(("write", self.sent, self.judge.shown))
            elif room and not self.flights:
                self.send(b"")
            beat_at = self.hub.now + self.lease.beat_s
        self.lease.end()
        # As behind a demotion, where all is made anew.
        self.lease = Lease(LEASE_S, self.clock)
        self.flights.clear()
        self.arrived.clear()
        self.held.clear()

    def send(self, data: bytes) -> None:
        before, epoch = self.sent, self.epoch
        mark, predicted = before.mark(epoch), Position(epoch, before.position.number + 1)
        flight = Flight(self.world.behind(before, predicted, mark, data))
        self.sent = flight.behind
        self.flights.append(flight)

        def append() -> None:
            sent_at, began_at = self.clock(), self.hub.now
            try:
                position = self.drive(settled(self.log, data, mark, before.position, self.outcomes))
            except Refused:
                if epoch == self.epoch:
                    self.is_leading = False
                return
            if not (self.is_leading and epoch == self.epoch):
                return
            if self.protocol.lease_from == "answer":
                sent_at = self.clock()
            elif self.protocol.lease_from == "last try":
                sent_at += (self.log.tried_at[mark.number] - began_at) * self.rate
            self.arrived[flight] = sent_at
            if self.protocol.condition == "nothing":
                self.sent = self.sent._replace(position=position)
            self.acknowledge()

        self.hub.spawn(self.process, append)

    def acknowledge(self) -> None:
        """Take notice of what has arrived, in order."""
        while self.flights and self.flights[0] in self.arrived:
            flight = self.flights.popleft()
            self.lease.extend(self.arrived.pop(flight))
            self.tip = flight.behind
        self.release()

    def release(self) -> None:
        """Let replies leave that may."""
        while self.held and self.held[0][1].number <= self.tip.number and self.lease.is_held:
            command, tip, shown_before = self.held.popleft()
            self.judge.hear(command, str(self), self.epoch, tip, shown_before)

    def make_snapshots(self) -> None:
        epoch, medium = self.epoch, self.medium
        while self.is_leading and self.epoch == epoch:
            self.sleep(self.rng.uniform(0, self.world.snapshots_s))
            if not (self.is_leading and self.epoch == epoch):
                return
            tip = self.tip
            # Here the snapshot is written.
            self.sleep(self.rng.uniform(0, self.world.snapshots_s / 4))
            try:
                medium.link("", tip)
                self.log.trim(tip.position)
            except MediumError:
                continue
            self.judge.counts["snapshots"] += 1


class World:
    """Some nodes over one engine, and the weather."""

    def __init__(self, protocol: Protocol, seed: int) -> None:
        self.protocol = protocol
        self.hub = Hub()
        self.rng = rng = random.Random(seed)
        self.engine = Engine(protocol.condition, keeps_fences=protocol.keeps_fences)
        self.weather = Weather(rng)
        self.judge = Judge(self.hub)
        # In a second: the commands of clients, and the faults of nodes. The longest time between two snapshots.
        self.pace = rng.choice((1.5, 5.0))
        self.faults = rng.choice((0.2, 0.6))
        self.snapshots_s = rng.choice((4.0, 20.0))
        # What each writer had before its entry, by the digest behind the entry.
        self.before: dict[str, Tip] = {}
        self.nodes = [Node(self, number) for number in range(NODES)]

    def behind(self, before: Tip, position: Position, mark: Mark, data: bytes) -> Tip:
        tip = before.behind(position, mark, data)
        self.before[tip.digest] = before
        return tip

    def run(self) -> Verdict:
        while self.hub.now < STORM_S and not self.judge.broken:
            self.hub.run(self.hub.now + self.rng.expovariate(self.faults))
            self.disturb()
        if not self.judge.broken:
            self.calm_down()
        for node in self.nodes:
            node.process.kill()
        return Verdict(self.judge.broken, self.judge.counts)

    def disturb(self) -> None:
        rng, now = self.rng, self.hub.now
        leaders = [node for node in self.nodes if node.is_leading]
        node = rng.choice(leaders if leaders and rng.random() < 0.5 else self.nodes)
        draw = rng.random()
        if not self.protocol.has_steady_clock:
            node.jumped_s += rng.choice((-1, 1)) * 10 * rng.random()
        elif draw < 0.6:
            node.process.stop(now + rng.choice((1.0, LEASE_S, 8.0, LONGEST_STOP_S)) * rng.random())
        elif draw < 0.85:
            node.process.kill()
            self.nodes[node.number] = Node(self, node.number)
            self.nodes[node.number].process.stop(now + 10 * rng.random())
        else:
            self.weather.away_until = now + 10 * rng.random()

    def calm_down(self) -> None:
        """No new faults: all that is late has its effect, somebody leads, and what clients were told of is there."""
        hub, weather, counts = self.hub, self.weather, self.judge.counts
        weather.loss = weather.lateness = 0.0
        stops = [node.process.stopped_until for node in self.nodes]
        self.pace, self.snapshots_s = 1.0, CALM_S
        hub.run(max(hub.now, weather.calm_from, weather.away_until, *stops) + CALM_S)
        before = counts.copy()
        hub.run(hub.now + 2 * CALM_S)
        for done in ("write", "read", "snapshots"):
            if counts[done] == before[done]:
                self.judge.blame("stuck", f"no {done}, with no fault for long")
        self.judge.close(self.path())

    def path(self) -> dict[int, str]:
        """The digests behind the entries of the log that a reader finds now, by their numbers."""
        manifest = self.engine.held or Manifest()
        reader = self.nodes[0]
        reader.tip = Tip(manifest.position, manifest.mark_number, manifest.mark_digest)
        for entry in self.engine.read(reader.tip.position):
            reader.apply(entry)
        tip, path = reader.tip, {}
        while tip.number:
            path[tip.number] = tip.digest
            tip = self.before[tip.digest]
        return path


def simulate(protocol: Protocol, seed: int) -> Verdict:
    """Run one seed of a protocol. It reproduces exactly."""
    return World(protocol, seed).run()
