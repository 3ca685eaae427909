"""The frames of a server's medium: which are kept, and what a start or the next flush makes of what is behind them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest

import kvserver
from helpers.frames import frame
from helpers.node_parts import fresh_engine
from helpers.slow_medium import Setting
from kvserver.errors import MediumError
from kvserver.persistence.disk import Disk
from kvserver.persistence.frames import Frames
from kvserver.persistence.journal import Journal
from kvserver.persistence.snapshots import Snapshots


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.close()


# --- what is behind the last valid frame


async def test_torn_tail_is_cut_and_damage_is_set_aside_at_the_start_alone(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kvserver")
    good, torn, damage = frame({"k": "v"}), frame({"k": "w"})[:-3], b"not a frame"
    for tail, asides in ((torn, []), (damage, [damage])):
        setting = Setting(disk, good + tail)
        await setting.snapshots.load()
        assert setting.medium.read_all() == good + tail
        frames: Frames = setting.snapshots.frames
        await frames.recover()
        assert setting.medium.read_all() == good
        assert setting.medium.asides == asides


async def test_half_frame_of_a_crash_is_cut_before_the_next_flush(disk: Disk) -> None:
    setting = Setting(disk)
    setting.set("k", "v" * 100)
    await setting.snapshots.start_flush()
    whole = setting.medium.read_all()
    await setting.snapshots.crash()
    assert setting.medium.read_all() == whole + whole[: len(whole) // 2]
    await setting.snapshots.start_flush()
    assert setting.medium.read_all() == whole + whole


# --- compaction


@pytest.mark.parametrize("keep_frames", [1, 2, 3])
async def test_compaction_keeps_the_last_frames_and_bounds_the_medium(disk: Disk, keep_frames: int) -> None:
    setting = Setting(disk, keep_frames=keep_frames)
    most = 0
    for number in range(20):
        setting.set("k", f"{number:08}")
        await setting.snapshots.start_flush()
        numbers = [int(state["k"]) for state in setting.frames()]
        assert numbers == list(range(number + 1))[-len(numbers) :]
        assert len(numbers) >= min(number + 1, keep_frames)
        most = max(most, len(numbers))
        assert (setting.facts.medium_frames, setting.facts.medium_bytes) == (len(numbers), setting.medium.size())
    assert most <= 2 * keep_frames
    assert setting.facts.compactions >= 20 // (2 * keep_frames)


@pytest.mark.parametrize(("keep_frames", "growth"), [(1_000_000_000, 1), (1, 4)])
async def test_frames_in_a_vault_are_bounded_whatever_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, keep_frames: int, growth: int
) -> None:
    monkeypatch.setattr("kvserver.persistence.frames.MOST_FRAMES", 3)
    engine = fresh_engine()
    counts = []
    async with kvserver.Server(medium=engine.url, keep_frames=keep_frames, announce_ip="192.0.2.1") as server:
        for number in range(8):
            server.state.databases[0].put(b"k", b"v" * 100 * growth**number)
            await server._parts.data.snapshots.start_flush()
            manifest, _ = engine.vault.manifest()
            assert manifest
            counts.append(len(manifest.frames))
            assert manifest.linked == manifest.frames[-1].digest
    # As many as are to be kept, and then as many again.
    assert max(counts) == 5
    assert min(counts[5:]) == min(keep_frames, 3)


class OvertakenJournal:
    """A journal that goes on from the first snapshot, whatever is flushed later: as if each link came too late."""

    def __init__(self) -> None:
        self.links = 0

    def cut(self) -> int:
        return 0

    async def link(self, token: int, digest: str, base_bytes: int, *, drops: bool = False) -> bool:
        self.links += 1
        return self.links == 1


async def test_compaction_keeps_the_frame_that_the_journal_goes_on_from(disk: Disk) -> None:
    setting = Setting(disk, keep_frames=1)
    journal = OvertakenJournal()
    snapshots = Snapshots(setting.state, setting.medium, disk, cast(Journal, journal))
    for number in range(10):
        setting.set("k", f"{number:08}")
        await snapshots.start_flush()
    assert journal.links == 10
    assert setting.frames()[0] == {"k": "00000000"}


async def test_compaction_that_fails_leaves_the_medium_and_the_flush_before_it(disk: Disk) -> None:
    setting = Setting(disk, keep_frames=1)
    setting.set("k", "0")
    await setting.snapshots.start_flush()

    def fail() -> Any:
        raise MediumError("no room for a copy")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setting.medium, "begin_rewrite", fail)
        setting.set("k", "1")
        await setting.snapshots.start_flush()
    assert setting.frames() == [{"k": "0"}, {"k": "1"}]
    assert setting.facts.last_save_ok
    assert not setting.facts.compaction_in_progress
    await setting.snapshots.start_flush()
    assert setting.frames() == [{"k": "1"}], "the next one succeeds"
