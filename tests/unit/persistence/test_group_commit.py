"""A sync begins when what has gathered is worth one."""

from __future__ import annotations

import pytest

from kvserver.persistence.group_commit import (
    COMMAND_S,
    HERE_COMMANDS,
    LEAST_WAIT_S,
    SLOW_SYNC_S,
    SYNCS_AFTER_VAIN,
    WORTH_WAITING,
    Group,
)

SLOW_S = 0.1


def test_first_sync_waits_for_nobody() -> None:
    assert Group().is_enough(1)


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


def test_wait_in_vain_makes_the_next_syncs_hasty() -> None:
    group = Group()
    group.expect(50, 0, SLOW_S)
    assert not group.is_enough(1)
    group.give_up()
    assert group.is_enough(1)
    for _ in range(SYNCS_AFTER_VAIN):
        group.expect(50, 0, SLOW_S)
        assert group.is_enough(1)
    group.expect(50, 0, SLOW_S)
    assert not group.is_enough(1)


def test_loop_syncs_for_few_commands() -> None:
    assert Group().is_for_loop(HERE_COMMANDS)
    assert not Group().is_for_loop(HERE_COMMANDS + 1)


def test_loop_syncs_while_syncs_are_quick_and_one_slow_one_changes_nothing() -> None:
    group = Group()
    for _ in range(100):
        group.note(SLOW_SYNC_S / 4)
    group.note(2 * SLOW_SYNC_S)
    assert group.is_for_loop(1)
    for _ in range(10):
        group.note(2 * SLOW_SYNC_S)
    assert not group.is_for_loop(1)
    for _ in range(10):
        group.note(SLOW_SYNC_S / 4)
    assert group.is_for_loop(1)


def test_sync_that_takes_very_long_keeps_the_loop_from_the_next_ones() -> None:
    group = Group()
    group.note(100 * SLOW_SYNC_S)
    assert not group.is_for_loop(1)
    for _ in range(40):
        group.note(SLOW_SYNC_S / 4)
    assert group.is_for_loop(1)
