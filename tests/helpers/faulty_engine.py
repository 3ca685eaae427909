"""An engine with faults around its log, vault and presence: by a seeded random, with no thread and no clock of its own.

    faults = Faults(random.Random(seed), {"delay": 0.1, "lost": 0.05, "late": 0.05})
    engine = faulty(open_memory_engine("name"), faults)

Time is the caller's. With blocking calls on real time, `Faults` waits by `time.sleep` as it comes. A simulation sets `now`
and `wait` to its own clock, and calls `land` when it advances that; `next_landing` says when the next late effect is due. Each
node has `Faults` of its own around the same inner engine, so that one may be cut off while another is not (`is_away`).

What a fault leaves behind is what the contract of `media.shared` allows, so whoever loses data by it is wrong.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from kvserver.errors import MediumError, Refused, Unknown
from kvserver.formats.manifest import Manifest, Position
from kvserver.media.shared import Engine, Entry, Mark, Node, ObjectWriter, Presence, SharedLog, Vault

T = TypeVar("T")

# The faults of a call that changes something:
# - delay    it takes long, before or after its effect
# - lost     it has its effect, and its answer is lost: Unknown
# - late     Unknown now; it has its effect later, if the engine's own condition still allows that
# - nothing  Unknown, and it never has an effect
# - failed   MediumError: it has no effect
# Reads know delay and failed alone. `refused` is not what an engine does by itself, and so it is left out unless it is named.
USUAL: Final[Mapping[str, float]] = {"delay": 0.1, "lost": 0.05, "late": 0.05, "nothing": 0.05, "failed": 0.03}
# A read that waits looks so often (seconds).
POLL_S: Final = 0.005

_OF_READS: Final = ("delay", "failed")


class Faults:
    """Which faults come, and when.

    - `rates` give the chance of each fault, between 0 and 1, for each call. They may be replaced at any time.
    - `longest_s` is the longest delay, and `latest_s` that after which a late effect comes, in seconds.
    - `is_away`: no call reaches the engine. Changes are Unknown, and reads fail.
    - `met` counts the faults that came.
    """

    def __init__(
        self,
        rng: random.Random,
        rates: Mapping[str, float] = USUAL,
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
        longest_s: float = 0.005,
        latest_s: float = 0.05,
    ) -> None:
        self.rng = rng
        self.rates = rates
        self.now, self.wait = now, wait
        self.longest_s, self.latest_s = longest_s, latest_s
        self.is_away = False
        self.met: Counter[str] = Counter()
        # When each late effect comes, and a number which keeps those of the same moment in order.
        self._late: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        # A server calls from several threads. No late effect is made with it.
        self._lock = threading.Lock()

    @property
    def next_landing(self) -> float | None:
        """The time of the next late effect, by `now`, or None."""
        with self._lock:
            return self._late[0][0] if self._late else None

    def land(self) -> None:
        """Let those late effects come that are due. Each call does this, too."""
        self._land(self.now())

    def land_all(self) -> None:
        """Let all late effects come at once, due or not."""
        self._land(math.inf)

    def change(self, call: Callable[[], T]) -> T:
        """Make a call that changes something, or meet a fault."""
        self.land()
        fault = self._away() or self._pick(self.rates)
        match fault:
            case "delay" if self.rng.random() < 0.5:
                fault = ""
                self._delay()
                self.land()
            case "late":
                due = self.now() + self.rng.uniform(0, self.latest_s)
                with self._lock:
                    heapq.heappush(self._late, (due, next(self._numbers), call))
                raise Unknown("the answer did not come in time")
            case "nothing":
                raise Unknown("the connection broke")
            case "failed":
                raise MediumError("the engine can't do that now")
            case "refused":
                raise Refused("somebody else's stands there")
            case "lost":
                # Nobody learns that it was refused, either.
                with suppress(MediumError):
                    call()
                raise Unknown("the answer was lost")
        result = call()
        if fault == "delay":
            self._delay()
        return result

    def look(self, call: Callable[[], T]) -> T:
        """Make a call that only reads, or meet a fault."""
        self.land()
        match "failed" if self.is_away else self._pick(_OF_READS):
            case "delay":
                self._delay()
                self.land()
            case "failed":
                raise MediumError("the engine does not answer")
        return call()

    def _away(self) -> str:
        return "nothing" if self.is_away else ""

    def _pick(self, names: Iterable[str]) -> str:
        """One of these faults, or none."""
        with self._lock:
            place = self.rng.random()
            for name in names:
                if place < (rate := self.rates.get(name, 0)):
                    self.met[name] += 1
                    return name
                place -= rate
            return ""

    def _delay(self) -> None:
        self.wait(self.rng.uniform(0, self.longest_s))

    def _land(self, upto: float) -> None:
        while self._late:
            with self._lock:
                if not self._late or self._late[0][0] > upto:
                    return
                call = heapq.heappop(self._late)[2]
            with suppress(MediumError):
                call()


def faulty(engine: Engine, faults: Faults) -> Engine:
    """The engine with these faults around it."""
    return engine._replace(
        log=FaultyLog(engine.log, faults),
        vault=FaultyVault(engine.vault, faults),
        presence=FaultyPresence(engine.presence, faults),
    )


class FaultyLog:
    """A SharedLog with faults around it."""

    def __init__(self, log: SharedLog, faults: Faults) -> None:
        self._log, self._faults = log, faults

    @property
    def max_append_bytes(self) -> int:
        return self._log.max_append_bytes

    @property
    def most_in_flight(self) -> int:
        return self._log.most_in_flight

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        return self._faults.change(lambda: self._log.append(data, mark, after))

    def read(self, after: Position, wait_s: float) -> list[Entry]:
        """Read, and wait by the caller's clock, so that late effects come meanwhile."""
        deadline = self._faults.now() + wait_s
        found = self._faults.look(lambda: self._log.read(after, 0))
        while not found and (left := deadline - self._faults.now()) > 0:
            self._faults.wait(min(left, POLL_S))
            self._faults.land()
            found = [] if self._faults.is_away else self._log.read(after, 0)
        return found

    def trim(self, upto: Position) -> None:
        self._faults.change(lambda: self._log.trim(upto))

    def close(self) -> None:
        self._log.close()


class FaultyVault:
    """A Vault with faults around it."""

    def __init__(self, vault: Vault, faults: Faults) -> None:
        self._vault, self._faults = vault, faults

    def begin(self) -> ObjectWriter:
        return FaultyObject(self._faults.look(self._vault.begin), self._faults)

    def manifest(self) -> tuple[Manifest | None, str]:
        return self._faults.look(self._vault.manifest)

    def commit(self, manifest: Manifest, tag: str) -> str:
        return self._faults.change(lambda: self._vault.commit(manifest, tag))

    def read(self, name: str, offset: int, length: int) -> bytes:
        return self._faults.look(lambda: self._vault.read(name, offset, length))

    def remove(self, names: list[str]) -> None:
        kept = list(names)
        self._faults.change(lambda: self._vault.remove(kept))

    def close(self) -> None:
        self._vault.close()


class FaultyObject:
    """An ObjectWriter with faults around it."""

    def __init__(self, writer: ObjectWriter, faults: Faults) -> None:
        self._writer, self._faults = writer, faults

    @property
    def name(self) -> str:
        return self._writer.name

    def write(self, data: bytes) -> None:
        self._faults.look(lambda: self._writer.write(data))

    def commit(self) -> None:
        self._faults.change(self._writer.commit)

    def abort(self) -> None:
        self._writer.abort()


class FaultyPresence:
    """A Presence with faults around it."""

    def __init__(self, presence: Presence, faults: Faults) -> None:
        self._presence, self._faults = presence, faults

    def tell(self, node: Node) -> None:
        self._faults.change(lambda: self._presence.tell(node))

    def nodes(self) -> list[Node]:
        return self._faults.look(self._presence.nodes)

    def leave(self, node_id: str) -> None:
        self._faults.change(lambda: self._presence.leave(node_id))

    def close(self) -> None:
        self._presence.close()
