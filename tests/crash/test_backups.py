"""Servers that copy their snapshots elsewhere: what is there behind a SAVE, a SHUTDOWN and a crash, and who may not start."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import kvserver
from kvserver.errors import StartError
from kvserver.formats.manifest import Manifest
from kvserver.media.memory_engine import MemoryVault, open_memory_engine

DEADLINE_S = 20


@pytest.fixture
def vault(tmp_path: Path) -> MemoryVault:
    vault = open_memory_engine(str(tmp_path)).vault
    assert isinstance(vault, MemoryVault)
    return vault


@pytest.fixture
async def server(tmp_path: Path, vault: MemoryVault) -> AsyncIterator[kvserver.Server]:
    async with kvserver.Server(dir=str(tmp_path / "data"), snapshots=f"memory://{tmp_path}", save="") as server:
        yield server


async def call(server: kvserver.Server, *words: str) -> Any:
    async with redis.asyncio.Redis.from_url(server.url) as client:
        return await client.execute_command(*words)  # type: ignore[no-untyped-call]


def kept(vault: MemoryVault) -> list[dict[str, Any]]:
    """The data of each snapshot that the manifest names, the oldest first."""
    manifest = vault.manifest()[0] or Manifest()
    return [json.loads(vault.objects[frame.name]) for frame in manifest.frames]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        # Each turn of the loop brings the copy on.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_snapshot_is_there_soon_behind_a_save(server: kvserver.Server, vault: MemoryVault) -> None:
    await call(server, "SET", "key", "value")
    await call(server, "SAVE")
    await until(lambda: kept(vault) == [{"key": "value"}])
    await until(lambda: server.state.backup.waiting_since == 0)
    fields = await call(server, "INFO", "persistence")
    assert fields["snapshots_url"].startswith("memory://")
    assert fields["snapshots_last_time"] > 0
    shown = {name: fields[f"snapshots_{name}"] for name in ("in_progress", "last_status", "last_error", "lag")}
    assert shown == {"in_progress": 0, "last_status": "ok", "last_error": "", "lag": 0}


async def test_copy_stays_right_while_compaction_moves_the_snapshots(server: kvserver.Server, vault: MemoryVault) -> None:
    await call(server, "CONFIG", "SET", "keep-frames", "1")
    for number in range(8):
        await call(server, "SET", "key", str(number) * 1000)
        await call(server, "SAVE")
    await until(lambda: kept(vault) == [{"key": "7" * 1000}])
    assert server.state.persistence.compactions > 2
    await until(lambda: len(vault.objects) == 1)


async def test_save_succeeds_while_the_vault_fails(
    server: kvserver.Server, vault: MemoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("no route to it")

    monkeypatch.setattr(vault, "begin", fail)
    await call(server, "SET", "key", "value")
    assert await call(server, "SAVE")
    await until(lambda: server.state.backup.error != "")
    fields = await call(server, "INFO", "persistence")
    assert (fields["snapshots_last_status"], fields["snapshots_last_error"]) == ("err", "no route to it")
    assert fields["rdb_last_bgsave_status"] == "ok"
    monkeypatch.undo()
    await call(server, "SET", "key", "another")
    await call(server, "SAVE")
    await until(lambda: kept(vault) == [{"key": "another"}])


async def test_last_snapshot_is_there_behind_a_shutdown(server: kvserver.Server, vault: MemoryVault) -> None:
    await call(server, "SET", "key", "value")
    await server.stop()
    assert kept(vault) == [{"key": "value"}]


async def test_server_goes_on_with_its_backups_behind_a_crash(server: kvserver.Server, vault: MemoryVault) -> None:
    await call(server, "SET", "key", "value")
    await call(server, "SAVE")
    await call(server, "SET", "key", "more")
    server.faults.crash()
    await server.restart()
    assert await call(server, "GET", "key") == b"more"
    await call(server, "SAVE")
    await until(lambda: kept(vault)[-1:] == [{"key": "more"}])


async def test_server_in_another_directory_does_not_start(server: kvserver.Server, vault: MemoryVault, tmp_path: Path) -> None:
    await call(server, "SAVE")
    await until(lambda: kept(vault) == [{}])
    other = kvserver.Server(dir=str(tmp_path / "other"), snapshots=f"memory://{tmp_path}", save="")
    with pytest.raises(StartError, match=r"has the backups of another server, .* or, if") as caught:
        await other.start()
    # What it says helps.
    owner, path = str(caught.value).rpartition("echo ")[2].split(" > ")
    await server.stop()
    Path(path).write_text(owner)
    async with other:
        await call(other, "SET", "key", "value")
    assert kept(vault)[-1] == {"key": "value"}


async def test_server_in_memory_has_nothing_to_copy(tmp_path: Path) -> None:
    server = kvserver.Server(snapshots=f"memory://{tmp_path}")
    with pytest.raises(StartError, match="--dir memory: has none"):
        await server.start()


async def test_server_without_the_option_has_no_such_fields(tmp_path: Path) -> None:
    async with kvserver.Server(dir=str(tmp_path / "data")) as server:
        assert not [name for name in await call(server, "INFO") if name.startswith("snapshots_")]
    assert not (tmp_path / "data" / "dump.kvs.owner").exists()
