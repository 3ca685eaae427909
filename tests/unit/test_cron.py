"""As time passes, keys that are due go, save points are kept, and idle clients are closed, without anybody asking."""

from __future__ import annotations

from pathlib import Path

import pytest

import kvserver
from helpers.servers import Wire, wait_until
from kvserver import cron


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CRON_S", "REST_S", "EACH_SECOND_S"):
        monkeypatch.setattr(cron, name, 0.01)


def test_what_is_due_happens_by_itself(tmp_path: Path) -> None:
    options = {"appendonly": False, "save": "1 1", "timeout": 1}
    with (
        kvserver.running(dir=tmp_path / "data", **options) as server,
        Wire(server.port) as wire,
        Wire(server.port) as idle,
    ):
        idle.command("PING")
        wire.command("SET", "a", "1", "PX", 1)
        wire.command("SET", "b", "1")
        wait_until(lambda: wire.value("DBSIZE") == 1, "the key expires")
        wait_until(lambda: b"rdb_saves:1" in wire.value("INFO", "persistence"), "the save point is kept")
        assert idle.read_until_eof() == b""
