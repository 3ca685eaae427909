"""An engine in virtual time: what it keeps, by one of several conditions, and the way of each node to it, with its faults.

Calls have their effect late, or never, and their answers are lost. What a node hears is what the contract of `media.shared`
allows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, TypeVar

from greenlet import getcurrent

from helpers.virtual_time import Hub, Process
from kvserver.errors import MediumError, Refused, Trimmed, Unknown
from kvserver.formats.manifest import Manifest, Position
from kvserver.media.shared import Entry, Mark

T = TypeVar("T")

TIMEOUT_S: Final = 4.0
LATEST_EFFECT_S: Final = 60.0
# What a call takes each way, where nothing is wrong.
LEAST_S: Final = 0.001
MOST_S: Final = 0.02


class Engine:
    """What an engine keeps. Each call has its effect at once.

    `condition` says which appends are refused:
    - "chain": where something stands at the next place of that epoch. What begins an epoch is a fence, at the end of the one
      before; `keeps_fences` when the rest is trimmed.
    - "names": where something stands at the next number, which is free again once its entry was trimmed.
    - "sequence": where the last entry that there ever was is another one.
    - "nothing": none.
    """

    def __init__(self, condition: str, *, keeps_fences: bool) -> None:
        self.condition = condition
        self.keeps_fences = keeps_fences
        self.entries: dict[Position, Entry] = {}
        self.end = self.trimmed = 0
        self.held: Manifest | None = None
        self.commits = 0
        # Those who wait for the next entry.
        self.waiting: list[Callable[[bool], None]] = []

    def _place_behind(self, after: Position) -> Position:
        return Position(after.epoch if self.condition == "chain" else 0, after.number + 1)

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        place = Position(0, self.end + 1) if self.condition == "nothing" else self._place_behind(after)
        if place in self.entries or (self.condition == "sequence" and after.number != self.end):
            raise Refused(f"something stands at {place} already")
        self.end = max(self.end, place.number)
        is_fence = self.condition == "chain" and mark.epoch > after.epoch
        position = Position(mark.epoch, 0 if is_fence else place.number)
        self.entries[place] = Entry(position, mark, data)
        waiting, self.waiting = self.waiting, []
        for arrive in waiting:
            arrive(False)
        return position

    def read(self, after: Position) -> list[Entry]:
        if self.condition in ("sequence", "nothing") and after.number < self.trimmed:
            raise Trimmed(f"the entry {after.number + 1} is not there any more")
        found: list[Entry] = []
        while entry := self.entries.get(self._place_behind(found[-1].position if found else after)):
            found.append(entry)
        return found

    def trim(self, upto: Position) -> None:
        if self.condition == "chain":
            # Places compare as positions do: by their epochs first.
            gone = [place for place in self.entries if place <= upto]
        else:
            gone = [place for place in self.entries if place.number <= upto.number]
        for place in gone:
            is_fence = self.condition == "chain" and self.entries[place].mark.epoch > place.epoch
            if not (is_fence and self.keeps_fences):
                del self.entries[place]
        self.trimmed = max(self.trimmed, upto.number)

    def manifest(self) -> tuple[Manifest | None, str]:
        return self.held, str(self.commits) if self.commits else ""

    def commit(self, manifest: Manifest, tag: str) -> str:
        if tag != self.manifest()[1]:
            raise Refused("somebody else has replaced the manifest")
        self.held = manifest
        self.commits += 1
        return str(self.commits)


class Weather:
    """The faults of calls: how often one or its answer is lost, how often one is late, and how long the engine is away."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.loss = rng.choice((0.0, 0.01, 0.05))
        self.lateness = rng.choice((0.0, 0.01, 0.05))
        self.away_until = 0.0
        # No call has its effect later than this, but for those to come.
        self.calm_from = 0.0


class Way:
    """The way of a node to the engine."""

    def __init__(self, hub: Hub, engine: Engine, weather: Weather, process: Process) -> None:
        self._hub = hub
        self._engine = engine
        self._weather = weather
        self._process = process
        # Calls arrive in their order, but for late ones.
        self._last_arrival = 0.0

    def _call(self, effect: Callable[[], T], *, is_read: bool = False, wait_s: float = 0.0) -> T:
        """Send a call and wait for its answer, which may not come. A read waits for so long for something to read."""
        hub, weather, rng = self._hub, self._weather, self._weather.rng
        task, process = getcurrent(), self._process
        is_over = False

        def end(result: object) -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                task.switch(result)

        def arrive(may_wait: bool) -> None:
            # What nobody waits for any more is done all the same, unless it changes nothing.
            if is_read and (is_over or process.is_dead):
                return
            try:
                result: object = effect()
            except MediumError as error:
                result = error
            if may_wait and result == []:
                self._engine.waiting.append(arrive)
                hub.at(hub.now + wait_s, arrive, False)
            elif not is_lost:
                hub.at(hub.now + back_s, end, result, process=process)

        back_s = rng.uniform(LEAST_S, MOST_S)
        self._last_arrival = arrives = max(self._last_arrival, hub.now + rng.uniform(LEAST_S, MOST_S), weather.away_until)
        draw = rng.random()
        # The call is lost, or its answer is, or the call is late.
        is_lost = draw < 2 * weather.loss
        if is_lost or draw < 2 * weather.loss + weather.lateness:
            arrives = hub.now + rng.uniform(0, LATEST_EFFECT_S)
            weather.calm_from = max(weather.calm_from, arrives)
        if draw >= weather.loss:
            hub.at(arrives, arrive, wait_s > 0)
        if is_lost or arrives + back_s - hub.now > TIMEOUT_S:
            failure = (MediumError if is_read else Unknown)("no answer in time")
            hub.at(hub.now + TIMEOUT_S + wait_s, end, failure, process=process)
        result = hub.wait()
        if isinstance(result, MediumError):
            raise result
        found: T = result
        return found


class WayToLog(Way):
    """A SharedLog."""

    max_append_bytes = 1 << 20
    most_in_flight = 1

    def __init__(self, hub: Hub, engine: Engine, weather: Weather, process: Process) -> None:
        super().__init__(hub, engine, weather, process)
        # The times of the last tries to append, by the numbers of the entries.
        self.tried_at: dict[int, float] = {}

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        self.tried_at[mark.number] = self._hub.now
        return self._call(lambda: self._engine.append(data, mark, after))

    def read(self, after: Position, wait_s: float) -> list[Entry]:
        return self._call(lambda: self._engine.read(after), is_read=True, wait_s=wait_s)

    def trim(self, upto: Position) -> None:
        self._call(lambda: self._engine.trim(upto))

    def close(self) -> None: ...


class WayToVault(Way):
    """A Vault as far as the manifest goes: of a snapshot, a protocol has but the end of the log up to which it goes."""

    def manifest(self) -> tuple[Manifest | None, str]:
        return self._call(self._engine.manifest, is_read=True)

    def commit(self, manifest: Manifest, tag: str) -> str:
        return self._call(lambda: self._engine.commit(manifest, tag))

    def begin(self) -> Any: ...
    def read(self, name: str, offset: int, length: int) -> Any: ...
    def remove(self, names: list[str]) -> None: ...
    def close(self) -> None: ...
