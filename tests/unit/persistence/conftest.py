"""Journals for the tests of the journal and its courier."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from helpers.journals import Setting
from kvserver.formats.record import EMPTY_STORE
from kvserver.persistence import courier as courier_module
from kvserver.persistence import group_commit as group_module


@pytest.fixture
async def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setting]:
    # However slow the disk is that the tests run on.
    monkeypatch.setattr(group_module, "SLOW_SYNC_S", 1e9)
    setting = Setting(tmp_path)
    await setting.journal.begin(1, EMPTY_STORE)
    yield setting
    setting.journal.courier.stop_timers()
    setting.log.close()


@pytest.fixture
async def threaded(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """As if syncs were slow: the disk's thread syncs."""
    monkeypatch.setattr(group_module, "SLOW_SYNC_S", -1.0)
    return setting


@pytest.fixture
def syncing_at_once(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Every write is followed by a sync beside, which is held."""
    monkeypatch.setattr(courier_module, "SYNC_INTERVAL_S", 0.0)
    setting.config.appendfsync = "everysec"
    setting.sync_disk.is_held = True
    return setting


@pytest.fixture(params=["everysec", "no"])
def written(setting: Setting, request: pytest.FixtureRequest) -> Setting:
    """Replies wait for the write alone."""
    setting.config.appendfsync = request.param
    setting.disk.is_held = True
    return setting
