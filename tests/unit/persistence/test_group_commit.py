"""A sync begins when what has gathered is worth one."""

from __future__ import annotations

import pytest

from kvserver.persistence.group_commit import (
    COMMAND_S,
    LEAST_AFTER_VAIN,
    LEAST_WAIT_S,
    MOST_AFTER_VAIN,
    MOST_PATIENCE_S,
    SLOW_SYNC_S,
    WORTH_WAITING,
    Group,
)

SLOW_S = 0.1


def test_first_sync_waits_for_nobody() -> None:
    assert Group().is_enough(1)


def test_loop_that_may_not_sync_never_does_however_quick_syncs_are() -> None:
    assert Group().is_for_loop
    assert not Group(loop_may_sync=False).is_for_loop


def test_sync_waits_for_nearly_all_who_share_it_then() -> None:
    group = Group()
    group.expect(60, 20, SLOW_S)
    assert not group.is_enough(69)
    assert group.is_enough(70)


def test_one_client_never_waits() -> None:
    group = Group()
    group.expect(1, 0, SLOW_S)
    assert group.is_enough(1)


def test_clients_whose_commands_take_longer_than_some_syncs_are_not_waited_for() -> None:
    group = Group()
    sync_s = 1000 * COMMAND_S / WORTH_WAITING
    group.expect(900, 99, sync_s)
    assert not group.is_enough(1)
    group.expect(900, 101, sync_s)
    assert group.is_enough(1)


@pytest.mark.parametrize("clients", [2, 1000])
def test_wait_is_long_enough_for_all_to_come(clients: int) -> None:
    group = Group()
    group.expect(clients, 0, 1.0)
    assert group.wait_s == max(LEAST_WAIT_S, 2 * clients * COMMAND_S)


@pytest.mark.parametrize(("usual_s", "wait_s"), [(MOST_PATIENCE_S, MOST_PATIENCE_S / 2), (8.0, MOST_PATIENCE_S)])
def test_wait_may_be_as_long_as_half_a_usual_sync_but_not_for_ever(usual_s: float, wait_s: float) -> None:
    group = Group()
    for _ in range(100):
        group.note(usual_s)
    group.expect(2, 0, SLOW_S)
    assert group.wait_s == pytest.approx(wait_s, rel=1e-3)


def test_crowd_that_has_left_keeps_nobody_from_groups() -> None:
    group = Group()
    sync_s = 60 * COMMAND_S / WORTH_WAITING
    group.expect(5000, 0, sync_s)
    assert group.is_enough(1)
    for _ in range(3):
        group.arrive(50)
        group.expect(50, 0, sync_s)
    assert not group.is_enough(40)


def test_group_of_halves_that_take_turns_becomes_whole() -> None:
    group = Group()
    group.arrive(5)
    group.expect(5, 0, SLOW_S)
    group.arrive(5)  # the other half, which sent while the first one's sync ran
    group.expect(5, 0, SLOW_S)
    group.arrive(6)  # one of the first half comes with them
    group.expect(6, 0, SLOW_S)
    assert not group.is_enough(5)
    group.arrive(10)
    group.expect(10, 0, SLOW_S)
    assert not group.is_enough(8)
    assert group.is_enough(9)


def _sync(group: Group, clients: int) -> None:
    group.arrive(clients)
    group.expect(clients, 0, SLOW_S)


def _count_hasty(group: Group) -> int:
    """The number of syncs that do not wait, after one that waited in vain."""
    count = 0
    group.give_up()
    while group.is_enough(1) and count <= 1000:
        _sync(group, 100)
        count += 1
    return count - 1


def test_waits_in_vain_make_the_next_syncs_hasty_more_and_more_until_one_is_not() -> None:
    group = Group()
    _sync(group, 100)
    counts = [_count_hasty(group) for _ in range(8)]
    assert counts[:3] == [LEAST_AFTER_VAIN, 2 * LEAST_AFTER_VAIN, 4 * LEAST_AFTER_VAIN]
    assert counts[-2:] == [MOST_AFTER_VAIN] * 2
    _sync(group, 100)
    assert _count_hasty(group) == LEAST_AFTER_VAIN


def test_clients_that_have_left_are_waited_for_a_few_times() -> None:
    group = Group()
    group.expect(1000, 0, SLOW_S)
    vain = 0
    for _ in range(1000):
        group.arrive(10)
        if not group.is_enough(10):
            group.give_up()
            vain += 1
        group.expect(10, 0, SLOW_S)
    assert 1 <= vain <= 10
    assert group.is_enough(10)


def test_loop_syncs_while_syncs_are_quick_and_one_slow_one_changes_nothing() -> None:
    group = Group()
    for _ in range(100):
        group.note(SLOW_SYNC_S / 4)
    group.note(2 * SLOW_SYNC_S)
    assert group.is_for_loop
    for _ in range(10):
        group.note(2 * SLOW_SYNC_S)
    assert not group.is_for_loop
    for _ in range(10):
        group.note(SLOW_SYNC_S / 4)
    assert group.is_for_loop


def test_sync_that_takes_very_long_keeps_the_loop_from_the_next_ones() -> None:
    group = Group()
    group.note(100 * SLOW_SYNC_S)
    assert not group.is_for_loop
    for _ in range(40):
        group.note(SLOW_SYNC_S / 4)
    assert group.is_for_loop
