"""unixtime: each clock tells the system's time in its unit."""

from __future__ import annotations

import time

from kvserver.system import now_ms, now_us


def test_clocks_tell_the_time_of_day_in_their_units() -> None:
    before_ns = time.time_ns()
    found_ms, found_us = now_ms(), now_us()
    assert before_ns // 1_000_000 <= found_ms <= found_us // 1_000 <= time.time_ns() // 1_000_000
