"""Work stands aside in the carrier and goes on, and what it raises comes out where it was run."""

from __future__ import annotations

import pytest
from greenlet import GreenletExit

from kvserver.engine.carrier import Carrier


def test_work_stands_aside_and_goes_on() -> None:
    carrier, done = Carrier(), list[str]()

    def work() -> None:
        done.append(f"inside {carrier.is_inside}")
        for _ in range(2):
            carrier.stand_aside()
            done.append("on")

    assert not carrier.run(work)
    assert not carrier.is_inside
    assert not carrier.go_on()
    assert carrier.go_on()
    assert done == ["inside True", "on", "on"]
    assert carrier.run(lambda: done.append("next"))
    assert done[-1] == "next"


def test_failure_comes_out_and_the_next_work_runs() -> None:
    carrier, done = Carrier(), list[int]()

    def fail() -> None:
        raise KeyError("x")

    for _ in range(2):
        with pytest.raises(KeyError):
            carrier.run(fail)
        assert not carrier.is_inside
        assert carrier.run(lambda: done.append(1))
    assert done == [1, 1]


def test_what_stands_aside_is_ended_where_it_stands() -> None:
    carrier, ends = Carrier(), list[BaseException]()

    def work() -> None:
        try:
            carrier.stand_aside()
        except BaseException as end:
            ends.append(end)
            raise

    carrier.end()
    assert not carrier.run(work)
    carrier.end()
    assert [type(end) for end in ends] == [GreenletExit]
    assert carrier.go_on()
