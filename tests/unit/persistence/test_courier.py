"""The way to the disk, whose calls end when the test says: who writes and syncs, who waits, what is safe."""

from __future__ import annotations

import asyncio

import pytest

from helpers.journals import NOW_MS, Setting, command, gather, recorded, settle
from kvserver.formats.record import EMPTY_STORE, SHORT_RECORD_BYTES, encode_link, encode_records, pack
from kvserver.persistence import courier as courier_module
from kvserver.persistence import group_commit as group_module


async def test_ticks_that_gather_while_the_disk_is_busy_share_a_sync(threaded: Setting) -> None:
    journal, disk = threaded.journal, threaded.disk
    disk.is_held = True
    journal.append(command(0), 1)
    before = disk.calls
    for number in range(1, 50):
        journal.append(command(number), 1)
    assert journal.synced < journal.sequence
    await disk.let_go()
    assert (journal.sequence - journal.synced, disk.calls - before) == (49, 1)
    await disk.let_go()
    assert journal.synced == journal.sequence
    assert threaded.content(1).count(b"SET") == 50


@pytest.mark.parametrize("commands", [1, 1000])
async def test_commands_are_synced_before_their_tick_ends(setting: Setting, commands: int) -> None:
    journal, disk = setting.journal, setting.disk
    disk.is_held = True
    calls, syncs = disk.calls, setting.state.journal.syncs
    journal.append(command(0) * commands, commands)
    assert (journal.sequence - journal.synced, disk.calls - calls, setting.state.journal.syncs - syncs) == (0, 0, 1)
    assert not setting.log.has_unsynced
    assert setting.content(1).count(b"SET") == commands


async def test_client_that_writes_much_at_once_is_one_that_is_waited_for(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transactions are of many commands. Nobody else would come."""
    journal, facts = setting.journal, setting.state.journal
    monkeypatch.setattr(group_module, "COMMAND_S", 0)
    for count in (10, 1, 1, 10, 1):
        syncs = facts.syncs
        journal.append(command(0) * count, 1)
        assert (journal.synced, facts.syncs) == (journal.sequence, syncs + 1)


async def test_long_record_has_the_thread_and_what_comes_behind_it_waits_for_its_turn(setting: Setting) -> None:
    journal, disk = setting.journal, setting.disk
    disk.is_held = True
    calls = disk.calls
    journal.append([[b"SET", b"k", b"x" * SHORT_RECORD_BYTES]])
    assert (journal.sequence - journal.synced, disk.calls - calls) == (1, 1)
    journal.append(command(2), 1)
    assert (journal.sequence - journal.synced, disk.calls - calls) == (2, 1)
    await disk.let_go()
    await gather()
    assert (journal.sequence - journal.synced, disk.calls - calls) == (0, 1), "the loop has synced the second one"
    assert setting.content(1).endswith(recorded(2))


async def test_loop_syncs_for_a_group_when_it_is_whole_or_has_waited_long_enough(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, disk, facts = setting.journal, setting.disk, setting.state.journal
    # As if the disk took long, compared to the loop.
    monkeypatch.setattr(group_module, "COMMAND_S", 0)
    told: list[int] = []
    journal.courier.on_safe = lambda: told.append(journal.safe)
    calls = disk.calls
    journal.append(command(0) * 8, 8)
    assert (journal.safe, facts.syncs) == (1, 1)
    for number in range(1, 7):
        journal.append(command(number), 1)
    assert (journal.sequence, journal.safe, facts.syncs) == (7, 1, 1), "six of eight are there"
    assert not told
    journal.append(command(7), 1)
    assert (journal.safe, facts.syncs, told) == (8, 2, [8])
    journal.append(command(8), 1)
    assert journal.safe == 8
    await gather()
    assert (journal.safe, facts.syncs, told) == (9, 3, [8, 9]), "nobody else has come"
    assert setting.content(1).endswith(recorded(*range(1, 9)))
    assert disk.calls == calls


async def test_writer_goes_on_when_what_it_waited_for_is_synced(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "COMMAND_S", 0)
    monkeypatch.setattr(courier_module, "PENDING_BYTES", 100)
    setting.journal.append(command(0) * 50, 50)
    for number in range(3):
        setting.journal.append(command(number), 1)
    assert setting.told == ["pause"]
    await gather()
    assert setting.told == ["pause", "resume"]
    assert setting.journal.synced == setting.journal.sequence


async def test_sync_that_fails_in_a_tick_is_told_before_its_end(setting: Setting) -> None:
    calls = setting.disk.calls
    setting.filesystem.fails = True
    setting.journal.append(command(0), 1)
    assert (setting.told, setting.disk.calls - calls) == (["lost"], 0)
    assert setting.state.journal.error


async def test_loop_leaves_syncing_to_the_thread_while_syncs_are_slow(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, disk, calls = setting.journal, setting.disk, setting.disk.calls
    monkeypatch.setattr(group_module, "SLOW_SYNC_S", 0.0)
    journal.append(command(0), 1)
    assert (journal.synced, disk.calls - calls) == (journal.sequence, 0)
    journal.append(command(1), 1)
    await settle()
    assert (journal.synced, disk.calls - calls) == (journal.sequence, 1)
    monkeypatch.setattr(group_module, "SLOW_SYNC_S", 1e9)
    journal.append(command(2), 1)
    assert (journal.synced, disk.calls - calls) == (journal.sequence, 1)


async def test_syncs_of_the_thread_tell_how_slow_they_are_too(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, disk, calls = setting.journal, setting.disk, setting.disk.calls
    monkeypatch.setattr(group_module, "SLOW_SYNC_S", 1.0)
    journal.courier._group.note(30.0)
    tries = 0
    while disk.calls - calls == tries:
        tries += 1
        journal.append(command(tries), 1)
        await settle()
        assert journal.synced == journal.sequence
        assert tries < 1000
    assert tries > 5, "quick syncs have not outweighed a slow one yet"


async def test_sync_waits_for_those_whom_the_last_one_has_released(threaded: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, disk = threaded.journal, threaded.disk
    monkeypatch.setattr(group_module, "COMMAND_S", 0)  # as if the disk took long, compared to the loop
    disk.is_held = True
    for number in range(9):
        journal.append(command(number), 1)
    await disk.let_go()
    before = disk.calls
    journal.append(command(9), 1)
    await disk.let_go()
    assert (journal.sequence - journal.synced, disk.calls) == (1, before), "the tenth waits for the eight before it"
    for number in range(10, 17):
        journal.append(command(number), 1)
    assert disk.calls == before + 1, "eight of nine are there"
    await disk.let_go()
    assert (journal.sequence - journal.synced, disk.calls) == (0, before + 1)
    journal.append(command(17), 1)
    assert disk.calls == before + 1
    await gather()
    assert disk.calls == before + 2, "nobody else has come"


async def test_writer_waits_while_the_disk_is_far_behind(threaded: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "PENDING_BYTES", 1000)
    threaded.disk.is_held = True
    for number in range(50):
        threaded.journal.append(command(number), 1)
    assert threaded.told == ["pause"]
    assert threaded.state.journal.delayed_writes == 1
    for _ in range(5):
        await threaded.disk.let_go()
        await gather()
    assert threaded.told == ["pause", "resume"]


async def test_one_long_value_makes_nobody_wait_but_many_do(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "PENDING_BYTES", 1000)
    monkeypatch.setattr(courier_module, "LONG_PENDING_BYTES", 1 << 20)
    setting.disk.is_held = True
    long = [[b"SET", b"k", b"x" * 300_000]]
    for _ in range(3):
        setting.journal.append(long)
        setting.journal.append(command(1), 1)
    assert setting.told == []
    setting.journal.append(long)
    assert setting.told == ["pause"]
    for _ in range(5):
        await setting.disk.let_go()
        await gather()
    assert setting.told == ["pause", "resume"]
    payloads = [*[pack(long), pack(command(1))] * 3, pack(long)]
    assert setting.content(1).endswith(encode_records(payloads, [NOW_MS] * len(payloads)))
    assert setting.journal.synced == setting.journal.sequence


async def test_everysec_syncs_once_a_second_and_no_never(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, facts = setting.journal, setting.state.journal
    assert courier_module.SYNC_INTERVAL_S == 1
    monkeypatch.setattr(courier_module, "SYNC_INTERVAL_S", 0.05)
    setting.config.appendfsync = "everysec"
    loop = asyncio.get_running_loop()
    started_at, count = loop.time(), 0
    while facts.syncs < 4:
        count += 1
        journal.append(command(count), 1)
        await gather()
        assert setting.content(1).endswith(encode_records([pack(command(count))], [NOW_MS])), "it waits for more than a moment"
    assert loop.time() - started_at >= 3 * 0.05
    while journal.synced < journal.sequence:  # by the timer, without another write
        await gather()
    facts.syncs = 0
    setting.config.appendfsync = "no"
    journal.append(command(0), 1)
    for _ in range(50):  # for longer than an interval
        await gather()
    assert setting.content(1).count(b"SET") == count + 1
    assert facts.syncs == 0


async def test_slow_sync_under_everysec_keeps_no_write_from_the_system(syncing_at_once: Setting) -> None:
    setting = syncing_at_once
    journal = setting.journal
    setting.sync_disk.is_early = True
    journal.append(command(1), 1)
    await gather()
    journal.append(command(2), 1)
    await gather()
    assert setting.content(1).endswith(encode_records([pack(command(2))], [NOW_MS]))
    assert (journal.sequence, journal.synced) == (2, 0)
    await setting.sync_disk.let_go()
    assert journal.synced == 1, "the sync began before the second write"


async def test_sync_that_fails_beside_a_write_is_told(syncing_at_once: Setting) -> None:
    setting = syncing_at_once
    journal = setting.journal
    journal.append(command(1), 1)
    await gather()
    setting.filesystem.fails = True
    journal.append(command(2), 1)
    await gather()
    await setting.sync_disk.let_go()
    assert setting.told == ["lost"]
    assert "Input/output error" in setting.state.journal.error


async def test_policy_that_becomes_always_during_a_sync_beside_lets_its_replies_go(syncing_at_once: Setting) -> None:
    setting = syncing_at_once
    journal = setting.journal
    journal.append(command(1), 1)
    await gather()
    setting.config.appendfsync = "always"
    journal.append(command(2), 1)
    await gather()
    assert journal.synced == 0, "a sync that has not ended was believed"
    await setting.sync_disk.let_go()
    assert journal.synced == 2


async def test_record_is_with_the_system_before_its_tick_ends(written: Setting) -> None:
    journal, before = written.journal, written.disk.calls
    for number in range(3):
        journal.append(command(number), 1)
        assert written.content(1).endswith(recorded(*range(number + 1)))
        assert journal.safe == journal.sequence
    assert written.disk.calls == before, "a thread was woken"


async def test_long_record_is_safe_when_the_thread_has_written_it(written: Setting) -> None:
    journal = written.journal
    journal.append([[b"SET", b"k", b"x" * SHORT_RECORD_BYTES]])
    journal.append(command(1), 1)
    assert written.content(1) == encode_link(EMPTY_STORE, NOW_MS)
    assert (journal.sequence, journal.safe) == (2, 0)
    await written.disk.let_go()
    assert (journal.sequence, journal.safe) == (2, 1), "what came behind it has yet to follow"
    await written.disk.let_go()
    assert written.content(1).endswith(recorded(1))
    assert (journal.safe, written.state.journal.queued_bytes + written.state.journal.writing_bytes) == (2, 0)
    journal.append(command(2), 1)
    assert written.content(1).endswith(recorded(1, 2)), "the loop does not write again"


@pytest.mark.parametrize("takes", [0, 50])
async def test_what_would_wait_is_left_to_the_thread_and_is_not_safe_yet(written: Setting, takes: int) -> None:
    journal, facts, filesystem = written.journal, written.state.journal, written.filesystem
    filesystem.takes = [takes]
    journal.append(command(1), 1)
    journal.append(command(2), 1)
    assert written.content(1) == encode_link(EMPTY_STORE, NOW_MS) + recorded(1)[:takes]
    assert (journal.sequence, journal.safe) == (2, 0)
    assert facts.writing_bytes == len(recorded(1)) - takes
    await written.disk.let_go()
    assert journal.safe == 1
    await written.disk.let_go()
    assert written.content(1) == encode_link(EMPTY_STORE, NOW_MS) + recorded(1, 2)
    assert journal.safe == 2


async def test_failed_write_is_told_before_the_tick_ends(written: Setting) -> None:
    journal, facts = written.journal, written.state.journal
    journal.append(command(1), 1)
    written.filesystem.is_full = True
    journal.append(command(2), 1)
    assert written.told == ["lost"]
    assert "No space left on device" in facts.error
    assert journal.safe == journal.sequence, "who is told of the failure would wait for ever"
    written.disk.is_held = False
    written.filesystem.is_full = False
    token = journal.cut()
    assert await journal.link(token, "0" * 64, 10)
    assert written.told == ["lost"]
    journal.append(command(3), 1)
    assert written.content(token) == encode_link("0" * 64, NOW_MS) + recorded(3)


async def test_failed_write_of_the_thread_loses_the_replies_that_waited_for_it(written: Setting) -> None:
    journal = written.journal
    journal.cut()
    journal.append(command(1), 1)
    await written.disk.let_go()
    written.filesystem.is_full = True
    safe_when_lost: list[int] = []
    journal.courier.on_lost = lambda: safe_when_lost.append(journal.safe)
    await written.disk.let_go()
    assert safe_when_lost == [0]
    assert "No space left on device" in written.state.journal.error


async def test_loop_leaves_writing_to_the_thread_for_a_while_after_a_slow_write(
    written: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, disk = written.journal, written.disk
    disk.is_held = False
    monkeypatch.setattr(courier_module, "SLOW_WRITE_S", 0.0)
    journal.append(command(1), 1)
    monkeypatch.setattr(courier_module, "SLOW_WRITE_S", 1e9)
    before = disk.calls
    journal.append(command(2), 1)
    assert disk.calls == before + 1
    while disk.calls > before:  # its time is over
        await asyncio.sleep(0.001)
        before = disk.calls
        journal.append(command(3), 1)
    assert written.content(1).endswith(recorded(3))


async def test_every_tick_has_a_record_with_its_time(threaded: Setting) -> None:
    journal, state = threaded.journal, threaded.state
    threaded.disk.is_held = True
    journal.append(command(0), 1)
    for number in (1, 2, 3):
        state.now_ms = lambda: NOW_MS + number  # noqa: B023
        journal.append(command(number), 1)
    for _ in range(3):
        await gather()
        await threaded.disk.let_go()
    later = encode_records([pack(command(number)) for number in (1, 2, 3)], [NOW_MS + number for number in (1, 2, 3)])
    assert threaded.content(1) == encode_link(EMPTY_STORE, NOW_MS) + recorded(0) + later


async def test_halted_journal_writes_nothing_more(threaded: Setting) -> None:
    journal, disk = threaded.journal, threaded.disk
    disk.is_held = True
    for number in range(3):
        journal.append(command(number), 1)
    journal.halt()
    journal.append(command(3), 1)
    for _ in range(3):
        await disk.let_go()
        await gather()
    assert threaded.content(1).endswith(recorded(0))
