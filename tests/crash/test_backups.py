"""Servers that copy their snapshots elsewhere: what is there behind a SAVE, a SHUTDOWN and a crash, and who may not start."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import kvserver
from helpers.nats_servers import NatsServers
from helpers.s3_servers import S3Server
from helpers.servers import StartServer, info, wait_until
from kvserver.cli.check_url import check_url
from kvserver.cli.restore import restore
from kvserver.errors import MediumError, StartError
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


# --- with an object store, an engine and processes


def told(url: str) -> list[str]:
    """What a check tells of what is at a URL, where all has to be well."""
    lines: list[str] = []
    assert check_url(url, "", lines.append), lines
    return lines


def test_backup_in_an_object_store_brings_the_data_back(
    start_server: StartServer, s3_server: S3Server, tmp_path: Path
) -> None:
    url = s3_server.url(f"kvserver/{secrets.token_hex(8)}")
    first = start_server("--snapshots", url)
    with first.connect() as wire:
        for number in range(4):
            wire.command("SET", f"key:{number}", "value" * 1000)
            wire.command("SAVE")
        wait_until(lambda: info(wire)["snapshots_last_time"] != "0", "a snapshot is there")
        assert info(wire)["snapshots_last_status"] == "ok"
        wire.command("SET", "last", "one")
    first.process.send_signal(signal.SIGTERM)
    assert first.wait() == 0
    assert "backups of the server" in told(url)[0]
    folder = tmp_path / "restored"
    assert restore(url, "", str(folder), "dump.kvs", "", print)
    assert (first.directory / "dump.kvs").read_bytes().endswith((folder / "dump.kvs").read_bytes())
    second = start_server(directory=folder)
    assert second.once("GET", "last") == b"$3\r\none\r\n"
    assert second.once("DBSIZE") == b":5\r\n"


def test_server_starts_and_saves_though_no_store_is_there(start_server: StartServer, s3_server: S3Server) -> None:
    server = start_server("--snapshots", s3_server.url("no-such-bucket/backups"))
    with server.connect() as wire:
        assert wire.command("SET", "key", "value") == b"+OK\r\n"
        assert wire.command("SAVE") == b"+OK\r\n"
        wait_until(lambda: info(wire)["snapshots_last_status"] == "err", "the failure is told")
        assert "there is no bucket no-such-bucket" in info(wire)["snapshots_last_error"]
    assert server.stop() == 0
    assert "leaving without a copy of the last snapshot" in server.log_text()


async def test_all_that_an_engine_has_acknowledged_is_restored_from_it(nats_node: NatsServers, tmp_path: Path) -> None:
    url = nats_node.url(f"restore-{secrets.token_hex(8)}")
    first = kvserver.Server(medium=url, save="")
    await first.start()
    async with redis.asyncio.Redis.from_url(first.url) as client:
        for number in range(300):
            if number == 100:
                await client.save()
            assert await client.set(f"key:{number}", "v" * number)
    first.faults.crash()
    lines = told(url)
    assert "checksum ok" in lines[1]
    assert lines[-1] == "a start would load the snapshot 1 and run 200 commands"
    folder = tmp_path / "restored"
    assert restore(url, "", str(folder), "dump.kvs", "", print)
    async with kvserver.Server(dir=str(folder)) as second:
        assert await call(second, "DBSIZE") == 300
        assert await call(second, "STRLEN", "key:299") == 299
    await first.stop()


def test_nothing_is_made_where_nothing_is(nats_node: NatsServers, s3_server: S3Server, tmp_path: Path) -> None:
    name = secrets.token_hex(8)
    for url, reason in (
        (nats_node.url(name), f"there is no stream KVSERVER_{name}"),
        (s3_server.url(f"kvserver/{name}"), "there is nothing at s3://kvserver/"),
        (f"file:{tmp_path / name}", "cannot use the directory"),
    ):
        # Looking a second time finds nothing that the first time has left.
        for _ in range(2):
            with pytest.raises(MediumError, match=reason):
                told(url)
    assert not (tmp_path / name).exists()
