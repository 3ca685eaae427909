"""The journal on a disk whose calls end when the test says: order, segments, failure, and the way back."""

from __future__ import annotations

import asyncio

import pytest

from helpers.journals import NOW_MS, Setting, command, gather, recorded, settle
from kvserver.errors import MediumError
from kvserver.formats.record import EMPTY_STORE, encode_link, encode_records, pack
from kvserver.persistence.timeline import REPLACED


async def test_cut_stands_between_what_was_before_and_after_it(setting: Setting) -> None:
    journal, keyspace = setting.journal, setting.state.databases[0]
    setting.disk.is_held = True
    journal.append(command(1))
    keyspace.put_sets(command(2))  # of the tick that is under way
    token = journal.cut()
    journal.append(command(3))
    for _ in range(4):
        await setting.disk.let_go()
    await gather()
    await setting.disk.let_go()
    assert setting.content(1).endswith(encode_records([pack(command(2))], [NOW_MS]))
    assert setting.content(2) == encode_records([pack(command(3))], [NOW_MS])
    link = asyncio.create_task(journal.link(token, "0" * 64, 10))
    await asyncio.sleep(0)
    await setting.disk.let_go()
    assert await link
    assert setting.segments.numbers() == [2]
    assert setting.content(2).endswith(encode_link("0" * 64, NOW_MS))


async def test_link_of_a_flush_that_a_restore_has_overtaken_is_not_written(setting: Setting) -> None:
    journal = setting.journal
    flush = journal.cut()
    restore = journal.cut()
    assert await journal.link(restore, EMPTY_STORE, 0)
    assert not await journal.link(flush, "0" * 64, 10)
    assert setting.content(3) == encode_link(EMPTY_STORE, NOW_MS)


async def test_cut_where_the_data_becomes_another_leaves_numbers_out(setting: Setting) -> None:
    journal = setting.journal
    before = journal.cut()
    assert await journal.link(before, EMPTY_STORE, 0)
    token = journal.cut(breaks=True)
    assert token == before + REPLACED
    await gather()
    assert setting.segments.numbers() == [before, token]


async def test_failed_sync_is_told_and_a_linked_snapshot_is_the_way_back(setting: Setting) -> None:
    journal, facts = setting.journal, setting.state.journal
    setting.filesystem.fails = True
    journal.append(command(1))
    await settle()
    assert setting.told == ["lost"]
    assert "Input/output error" in facts.error
    with pytest.raises(MediumError):
        await journal.sync()
    token = journal.cut()
    with pytest.raises(MediumError):
        await journal.link(token, "0" * 64, 10)
    setting.filesystem.fails = False
    token = journal.cut()
    assert facts.error
    assert await journal.link(token, "0" * 64, 10)
    assert not facts.error
    journal.append(command(2))
    await gather()
    assert setting.content(token) == encode_link("0" * 64, NOW_MS) + encode_records([pack(command(2))], [NOW_MS])
    assert setting.segments.numbers() == [token]


async def test_cut_that_began_before_the_failure_was_known_heals_nothing(setting: Setting) -> None:
    journal = setting.journal
    setting.disk.is_held = True
    setting.filesystem.fails = True
    journal.append(command(1))
    token = journal.cut()
    journal.append(command(2))
    link = asyncio.create_task(journal.link(token, "0" * 64, 10))
    for _ in range(5):
        await gather()
        await setting.disk.let_go()
        setting.filesystem.fails = False
    with pytest.raises(MediumError):
        await link
    assert setting.state.journal.error


async def test_cut_waits_for_the_sync_that_runs(syncing_at_once: Setting) -> None:
    setting = syncing_at_once
    journal = setting.journal
    journal.append(command(1))
    await gather()
    journal.cut()
    await gather()
    assert setting.segments.numbers() == [1], "the file of a running sync was closed"
    await setting.sync_disk.let_go()
    await settle()
    assert setting.segments.numbers() == [1, 2]
    assert journal.synced == 1


async def test_off_and_on_again_leaves_a_gap_that_no_start_replays_across(setting: Setting) -> None:
    journal = setting.journal
    journal.switch_off()
    journal.append(command(1))
    journal.switch_on()
    token = journal.cut()
    await settle()
    assert setting.segments.numbers() == [1, 3]
    assert await journal.link(token, "0" * 64, 10)
    assert setting.segments.numbers() == [3]


async def test_failure_of_before_drops_nothing_behind_the_cut_that_heals_it(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """Off while it has failed, then told to sync, and on again: what is written from there on is in no snapshot."""
    journal, facts = setting.journal, setting.state.journal
    setting.filesystem.fails = True
    journal.append(command(1))
    await gather()
    setting.filesystem.fails = False
    journal.switch_off()
    setting.disk.is_held = True
    journal.sync_soon()  # which the failure of before refuses
    journal.switch_on()
    token = journal.cut()
    journal.append(command(2))
    before = journal.synced
    await setting.disk.let_go()
    assert facts.error == ""
    journal.append(command(3))
    assert journal.synced == before, "what waits behind the cut counts as durable"
    for _ in range(4):
        await setting.disk.let_go()
        await gather()
    assert caplog.text.count("the journal failed") == 1, "a failure that is about to be healed was news"
    assert not facts.error
    assert (journal.synced, facts.queued_bytes) == (journal.sequence, 0)
    setting.disk.is_held = False
    assert await journal.link(token, "0" * 64, 10)
    assert setting.content(3) == b"".join(
        [
            encode_records([pack(command(2))], [NOW_MS]),
            encode_records([pack(command(3))], [NOW_MS]),
            encode_link("0" * 64, NOW_MS),
        ]
    )


async def test_segments_of_a_journal_that_is_off_go_with_the_next_snapshot(setting: Setting) -> None:
    journal = setting.journal
    journal.switch_off()
    assert await journal.link(journal.cut(), "0" * 64, 10)
    assert await journal.link(journal.cut(), "0" * 64, 10)
    assert setting.segments.numbers() == []


async def test_record_waits_for_the_new_segment_of_a_snapshot(written: Setting) -> None:
    journal = written.journal
    journal.cut()
    journal.append(command(1))
    assert journal.safe == 0
    for _ in range(2):
        await written.disk.let_go()
    assert written.content(2) == recorded(1)
    assert journal.safe == 1


async def test_what_was_written_before_the_journal_was_switched_on_is_left_to_the_snapshot(setting: Setting) -> None:
    journal = setting.journal
    journal.switch_off()
    await journal.close()  # as if it had never been on
    setting.state.databases[0].put_sets(command(1))
    journal.switch_on()
    token = journal.cut()
    assert await journal.link(token, "0" * 64, 10)
    assert setting.content(token) == encode_link("0" * 64, NOW_MS)
    assert not setting.state.journal.error


async def test_nobody_waits_until_a_link_is_durable_and_what_it_replaces_is_gone(setting: Setting) -> None:
    journal = setting.journal
    setting.config.appendfsync = "everysec"
    await settle()
    token = journal.cut()
    setting.sync_disk.is_held = True
    link = asyncio.create_task(journal.link(token, "0" * 64, 0))
    await settle()
    journal.append(command(1))
    await settle()
    assert journal.courier.written == journal.sequence
    assert not link.done()
    assert setting.segments.numbers() == [1, token]
    while not link.done():
        await setting.sync_disk.let_go()
        await settle()
    assert await link is True
    assert setting.segments.numbers() == [token]
