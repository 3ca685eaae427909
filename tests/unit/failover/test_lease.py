"""The lease of the node that writes."""

from __future__ import annotations

from kvserver.failover.lease import Lease


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_replies_may_leave_for_a_part_of_the_lease_after_the_sending() -> None:
    clock = Clock()
    lease = Lease(10, clock)
    assert lease.lease_ms == 10_000
    assert not lease.is_held
    assert lease.left_s == 0
    sent_at = clock.now
    # The acknowledgement comes late: what counts is when the entry was sent.
    clock.now += 5
    lease.extend(sent_at)
    assert lease.is_held
    assert lease.left_s == 2
    clock.now += 1.9
    assert lease.is_held
    clock.now += 0.1
    assert not lease.is_held


def test_an_older_sending_shortens_nothing() -> None:
    clock = Clock()
    lease = Lease(10, clock)
    lease.extend(clock.now)
    lease.extend(clock.now - 3)
    assert lease.left_s == 7


def test_ended_lease_stays_so_whatever_arrives_late() -> None:
    clock = Clock()
    lease = Lease(10, clock)
    lease.extend(clock.now)
    lease.end()
    assert not lease.is_held
    lease.extend(clock.now)
    assert not lease.is_held
    assert lease.left_s == 0


def test_writer_is_heard_some_times_in_a_lease() -> None:
    assert Lease(3, Clock()).beat_s == 1
