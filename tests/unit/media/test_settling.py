"""Appends whose outcome an engine leaves open are settled by reading."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

import pytest

from kvserver.errors import EntryTooLong, MediumError, Refused, Unknown
from kvserver.formats.manifest import BEGINNING, Manifest, Position
from kvserver.media.memory_engine import MemoryLog, MemoryVault
from kvserver.media.settling import LONGEST_WAIT_S, TRIES, Counted, Outcomes, replaced, settled, wait_for
from kvserver.media.shared import Entry, Mark

T = TypeVar("T")
OURS, THEIRS = Mark(1, 1, ""), Mark(2, 1, "")


class Doubtful(MemoryLog):
    """A log whose next appends, and reads, do what the test has said."""

    def __init__(self) -> None:
        super().__init__()
        self.appends: list[Callable[[bytes, Mark, Position], Position]] = []
        self.failing_reads = 0

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        return self.appends.pop(0)(data, mark, after) if self.appends else super().append(data, mark, after)

    def read(self, after: Position, wait_s: float, is_over: Callable[[], bool] = lambda: False) -> list[Entry]:
        if self.failing_reads:
            self.failing_reads -= 1
            raise MediumError("away")
        return super().read(after, wait_s, is_over)

    def lands_unheard(self, data: bytes, mark: Mark, after: Position) -> Position:
        super().append(data, mark, after)
        raise Unknown("cut off")

    def is_lost(self, data: bytes, mark: Mark, after: Position) -> Position:
        raise Unknown("cut off")

    def fails(self, data: bytes, mark: Mark, after: Position) -> Position:
        raise MediumError("no")

    def comes_second(self, data: bytes, mark: Mark, after: Position) -> Position:
        super().append(b"rival", THEIRS, after)
        raise Unknown("cut off")

    def is_heard_of_late(self, data: bytes, mark: Mark, after: Position) -> Position:
        """The call before lands between the look and this call."""
        super().append(data, mark, after)
        raise Refused("something stands there")


def finish(steps: Generator[float, None, T]) -> T:
    try:
        while True:
            assert 0 < next(steps) <= LONGEST_WAIT_S
    except StopIteration as stop:
        result: T = stop.value
        return result


def append(log: Doubtful, outcomes: Outcomes) -> Position:
    return finish(settled(log, b"data", OURS, BEGINNING, outcomes))


def test_what_has_landed_is_found_and_not_sent_again() -> None:
    log, outcomes = Doubtful(), Counted()
    log.appends, log.failing_reads = [log.lands_unheard], 2
    assert append(log, outcomes) == Position(1, 1)
    assert len(log.read(BEGINNING, 0)) == 1
    assert (outcomes.unknown, outcomes.unknown_landed, outcomes.unknown_sent_again, outcomes.error) == (1, 1, 0, "")


def test_what_is_not_there_is_sent_again_to_the_same_place() -> None:
    log, outcomes = Doubtful(), Counted()
    log.appends = [log.is_lost, log.is_lost]
    assert append(log, outcomes) == Position(1, 1)
    assert (outcomes.unknown, outcomes.unknown_landed, outcomes.unknown_sent_again) == (2, 0, 2)


def test_first_one_that_lands_late_is_ours_when_the_second_is_refused() -> None:
    log, outcomes = Doubtful(), Counted()
    log.appends = [log.is_lost, log.is_heard_of_late]
    assert append(log, outcomes) == Position(1, 1)
    assert [entry.data for entry in log.read(BEGINNING, 0)] == [b"data"]
    assert outcomes.unknown_landed == 1


def test_somebody_elses_entry_is_a_refusal() -> None:
    log, outcomes = Doubtful(), Counted()
    log.appends = [log.comes_second]
    with pytest.raises(Refused, match="epoch 2"):
        append(log, outcomes)


def test_refusal_of_the_first_call_needs_no_look() -> None:
    log, outcomes = Doubtful(), Counted()
    MemoryLog.append(log, b"rival", THEIRS, BEGINNING)
    log.failing_reads = 1
    with pytest.raises(Refused):
        append(log, outcomes)
    assert log.failing_reads == 1


def test_what_was_trimmed_meanwhile_is_a_refusal() -> None:
    log, outcomes = Doubtful(), Counted()

    def lands_and_goes(data: bytes, mark: Mark, after: Position) -> Position:
        log.trim(MemoryLog.append(log, data, mark, after))
        raise Unknown("cut off")

    log.appends = [lands_and_goes]
    with pytest.raises(Refused):
        append(log, outcomes)


def test_call_that_did_nothing_may_be_given_up_where_no_other_is_open() -> None:
    log, outcomes = Doubtful(), Counted()
    log.appends = [log.fails]
    with pytest.raises(MediumError, match="no"):
        finish(settled(log, b"ours", OURS, BEGINNING, outcomes, may_give_up=True))
    assert (outcomes.failed, outcomes.error) == (1, "no")
    log.appends = [log.is_lost, log.fails]
    assert finish(settled(log, b"ours", OURS, BEGINNING, outcomes, may_give_up=True)).number == 1


@pytest.mark.parametrize("is_open", [False, True])
def test_what_is_too_long_by_now_is_told_of(is_open: bool) -> None:
    log, outcomes = Doubtful(), Counted()
    log.max_append_bytes = 3
    if is_open:
        log.appends = [log.is_lost]
    with pytest.raises(EntryTooLong, match="an entry of 4 bytes is longer than 3"):
        finish(settled(log, b"ours", OURS, BEGINNING, outcomes))
    assert outcomes.error == "an entry of 4 bytes is longer than 3"


def test_call_that_did_nothing_is_made_again_without_a_look() -> None:
    log, outcomes = Doubtful(), Counted()
    log.appends, log.failing_reads = [log.fails, log.fails], 9
    steps = settled(log, b"data", OURS, BEGINNING, outcomes)
    next(steps)
    assert outcomes.error == "no"
    assert finish(steps) == Position(1, 1)
    assert (outcomes.failed, outcomes.unknown, outcomes.error, log.failing_reads) == (2, 0, "", 9)


class DoubtfulVault(MemoryVault):
    def __init__(self, *fates: str) -> None:
        super().__init__()
        self.fates = list(fates)

    def commit(self, manifest: Manifest, tag: str) -> str:
        fate = self.fates.pop(0) if self.fates else ""
        if fate == "failed":
            raise MediumError("no space left")
        if fate == "rival":
            super().commit(Manifest(counter=9), tag)
        elif fate != "lost":
            tag = super().commit(manifest, tag)
        if fate:
            raise Unknown("cut off")
        return tag


@pytest.mark.parametrize("fates", [(), ("landed",), ("lost",), ("lost", "landed")], ids=str)
def test_manifest_is_replaced_once(fates: tuple[str, ...]) -> None:
    vault = DoubtfulVault(*fates)
    tag = finish(replaced(vault, Manifest(counter=1), "", Counted()))
    assert vault.manifest() == (Manifest(counter=1), tag)
    assert tag == "1"


def test_manifest_of_somebody_else_is_a_refusal() -> None:
    with pytest.raises(Refused):
        finish(replaced(DoubtfulVault("rival"), Manifest(counter=1), "", Counted()))


def test_manifest_that_certainly_fails_is_given_up() -> None:
    vault, outcomes = DoubtfulVault(*["failed"] * TRIES), Counted()
    with pytest.raises(MediumError, match="no space left"):
        finish(replaced(vault, Manifest(counter=1), "", outcomes))
    assert (outcomes.failed, outcomes.error, vault.fates) == (TRIES, "no space left", [])
    assert vault.manifest() == (None, "")
    assert finish(replaced(vault, Manifest(counter=1), "", outcomes)) == "1"


@pytest.mark.parametrize("first", ["lost", "landed"])
def test_manifest_whose_outcome_is_open_is_never_given_up(first: str) -> None:
    vault = DoubtfulVault("failed", first, *["failed"] * 2 * TRIES)
    tag = finish(replaced(vault, Manifest(counter=1), "", Counted()))
    assert vault.manifest() == (Manifest(counter=1), tag)


def test_no_call_is_begun_when_it_is_over() -> None:
    vault, outcomes = DoubtfulVault("lost", "lost"), Counted()
    looks = iter([False, True, True])
    with pytest.raises(Unknown, match="closed"):
        wait_for(replaced(vault, Manifest(counter=1), "", outcomes), lambda: next(looks))
    # One commit, and no look.
    assert (vault.fates, outcomes.unknown_sent_again) == (["lost"], 0)
    with pytest.raises(Unknown, match="closed"):
        wait_for(replaced(vault, Manifest(counter=1), "", outcomes), lambda: True)
    assert vault.fates == ["lost"]


def test_who_waits_stops_when_it_is_over() -> None:
    log = Doubtful()
    log.appends, log.failing_reads = [log.is_lost], 1_000_000
    looks = iter([False, False, True])
    with pytest.raises(MediumError, match="closed"):
        wait_for(settled(log, b"data", OURS, BEGINNING, Counted()), lambda: next(looks))
    log.failing_reads = 0
    assert wait_for(settled(log, b"data", OURS, BEGINNING, Counted()), lambda: False) == Position(1, 1)
