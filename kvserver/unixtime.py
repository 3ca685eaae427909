"""The time of day, as whole numbers: what is passed in as a clock to those who must not look at one themselves."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def now_us() -> int:
    """Unix time in microseconds."""
    return time.time_ns() // 1_000
