"""progress: seen on a terminal, a few times a second, and nowhere else."""

from __future__ import annotations

import io
import sys
import time
from contextlib import suppress

import pytest

from kvserver.system import Progress


class Screen(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def show(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> Screen:
    screen = Screen(is_terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_long_work_shows_its_share_now_and_then_and_wipes_it(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    screen = show(monkeypatch, is_terminal=True)
    with Progress("copying", lambda: 2_000) as progress:
        for done in range(0, 2_000, 20):
            clock.now_s += 0.05
            progress.update(done)
        shown = screen.getvalue().split("\r\033[Kcopying: ")[1:]
        assert 5 < len(shown) < 50
        assert all(part.endswith(" %") for part in shown)
        percents = [int(part.removesuffix(" %")) for part in shown]
        assert percents == sorted(set(percents))
        assert percents[0] < 10
        assert percents[-1] > 90
    assert screen.getvalue().endswith("\r\033[K")


@pytest.mark.parametrize(("is_terminal", "seconds"), [(True, 0.1), (False, 10)], ids=["short work", "nobody looks"])
def test_nothing_is_shown_of_short_work_or_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, is_terminal: bool, seconds: float
) -> None:
    screen = show(monkeypatch, is_terminal)
    with Progress("copying", lambda: 2) as progress:
        clock.now_s += seconds
        progress.update(1)
    assert screen.getvalue() == ""


def test_nothing_to_do_is_all_done(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    screen = show(monkeypatch, is_terminal=True)
    with Progress("copying", lambda: 0) as progress:
        clock.now_s += 1
        progress.update(0)
    assert "copying: 100 %" in screen.getvalue()


def test_line_is_wiped_when_the_work_fails(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    screen = show(monkeypatch, is_terminal=True)
    with suppress(KeyError), Progress("copying", lambda: 2) as progress:
        clock.now_s += 1
        progress.update(1)
        raise KeyError
    assert "copying: 50 %" in screen.getvalue()
    assert screen.getvalue().endswith("\r\033[K")
