"""What is late leaves later in its order, whatever the delay becomes meanwhile, and at once when the lateness ends."""

from __future__ import annotations

import asyncio

from kvserver.engine.lateness import Lateness


async def test_steps_leave_in_their_order_when_the_delay_has_passed() -> None:
    left: list[tuple[str, float]] = []
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def let_go(step: str) -> None:
        left.append((step, loop.time()))
        if step == "last":
            done.set()

    lateness = Lateness(let_go)
    begun = loop.time()
    lateness.delay_s = 0.05
    lateness.take("first")
    lateness.take("second")
    # A shorter delay lets nothing overtake.
    lateness.delay_s = 0.001
    lateness.take("last")
    assert left == []
    await done.wait()
    assert [step for step, _ in left] == ["first", "second", "last"]
    # The loop's timers count in steps of a millisecond.
    assert min(at for _, at in left) - begun > 0.048
    lateness.take("again")
    await asyncio.sleep(0.05)
    assert left[-1][0] == "again"


async def test_at_the_end_all_leave_at_once() -> None:
    left: list[str] = []
    lateness = Lateness(left.append)
    lateness.delay_s = 3600
    for step in ("first", "second"):
        lateness.take(step)
    lateness.end()
    assert left == ["first", "second"]
    assert lateness.delay_s == 0
    lateness.end()
