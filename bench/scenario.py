"""The form of a scenario, and the run that it is given.

Owns the choice of the servers that take part, their start, and the notes on what is left out. Must never measure.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.dataset import Dataset
from bench.figures import Case, Measurement
from bench.kinds import KINDS, Ability, ServerKind
from bench.load import Batch
from bench.process import ServerProcess
from bench.progress import Progress
from bench.turns import KindT, take_turns
from bench.workload import POOL_REQUESTS, QUICK_REQUESTS, Workload

Extent = TypeVar("Extent")
Subject = TypeVar("Subject")


@dataclass
class Run:
    """One run of a scenario: how much is measured and of which servers, and notes on what could not be."""

    is_quick: bool = False
    # None: as many rounds as the scenario takes by itself.
    wanted_rounds: int | None = None
    kinds: Sequence[ServerKind] = KINDS
    # The folder in which data folders are made; None: the system's temporary folder.
    folder: Path | None = None
    progress: Progress = field(default_factory=Progress)
    notes: list[str] = field(default_factory=list)

    def pick(self, full: Extent, quick: Extent) -> Extent:
        return quick if self.is_quick else full

    def batches(self, workload: Workload) -> list[Batch]:
        """The batches of a workload: fewer for a quick run, which sends a few thousand requests."""
        return workload.batches(self.pick(POOL_REQUESTS, QUICK_REQUESTS))

    def rounds(self, full: int, quick: int = 2) -> int:
        return self.wanted_rounds or self.pick(full, quick)

    def able(self, needs: Ability, among: Iterable[ServerKind] | None = None) -> list[ServerKind]:
        """The servers that can take part, of all or of some; a note says why another one can't."""
        found = []
        for kind in self.kinds if among is None else among:
            if reason := kind.lacks(needs):
                self.note(f"{kind} {reason}")
            else:
                found.append(kind)
        return found

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @contextlib.contextmanager
    def servers(
        self,
        needs: Ability = Ability.NONE,
        options: Mapping[ServerKind, Sequence[str]] | None = None,
        fill: Dataset | None = None,
    ) -> Iterator[dict[ServerKind, ServerProcess]]:
        """Start all servers that can take part, with these options, and fill those that keep data."""
        with contextlib.ExitStack() as stack:
            found = {}
            for kind in self.able(needs):
                self.progress.show(f"start {kind}" + (f", fill {fill.keys} keys" if fill else ""))
                found[kind] = stack.enter_context(ServerProcess(kind, (options or {}).get(kind, ()), self.folder))
                if fill is not None and Ability.DATA in kind.abilities:
                    with found[kind].control() as control:
                        fill.fill(control)
            self.progress.clear()
            yield found

    def measure(
        self,
        case: Case,
        rounds: int,
        subjects: Mapping[KindT, Subject],
        take: Callable[[Subject], Measurement],
    ) -> Case:
        return take_turns(case, rounds, subjects, take, self.progress)


@dataclass(frozen=True)
class Scenario:
    """A scenario of the suite: `measure` yields its cases, each when it is measured."""

    name: str
    summary: str
    measure: Callable[[Run], Iterator[Case]]
