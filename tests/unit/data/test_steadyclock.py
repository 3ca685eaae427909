"""A clock that is held tells one time, and goes on when it is released."""

from __future__ import annotations

from itertools import count

from kvserver.data.steadyclock import SteadyClock


def test_clock_stands_from_its_first_look_until_it_is_released_or_held_anew() -> None:
    clock = SteadyClock(count().__next__)
    assert [clock.now_ms(), clock.now_ms()] == [0, 1]
    clock.hold()
    assert [clock.now_ms(), clock.now_ms()] == [2, 2]
    clock.hold()
    assert [clock.now_ms(), clock.now_ms()] == [3, 3]
    clock.release()
    assert [clock.now_ms(), clock.now_ms()] == [4, 5]


def test_nobody_is_asked_for_a_time_that_is_not_looked_at() -> None:
    looks = count()
    clock = SteadyClock(looks.__next__)
    clock.hold()
    clock.release()
    assert next(looks) == 0
