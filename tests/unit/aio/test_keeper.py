"""The keeper opens, keeps and lets go whatever becomes of those who wait for it, and tells what is not on the disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from helpers.disks import Disk
from helpers.frames import valid_frames
from kvserver.aio.keeper import Keeper
from kvserver.errors import MediumError, MediumLocked
from kvserver.library.folder import ServerFolder
from kvserver.options.config import Config


def config(*, journal: bool = True, fsync: str = "always") -> Config:
    config = Config()
    config.save = ()
    config.appendonly, config.appendfsync = journal, fsync
    return config


@asynccontextmanager
async def opened(path: Path | None, disk: Disk | None = None, **options: object) -> AsyncIterator[Keeper]:
    keeper = Keeper(path, config(**options), disk)  # type: ignore[arg-type]
    await keeper.open()
    try:
        yield keeper
    finally:
        await keeper.close()


def put(keeper: Keeper, key: str, value: str = "v") -> asyncio.Future[None] | None:
    name, data = key.encode(), value.encode()
    if keeper.records:
        keeper.write([[b"SET", name, data]])
    keeper.databases[0].set(name, data)
    keeper.is_changed = True
    return keeper.settle()


async def kept(keeper: Keeper, key: str) -> None:
    if future := put(keeper, key):
        await future


def keys_in(folder: Path) -> set[bytes]:
    with ServerFolder(folder) as found:
        return {key for key, _ in found.databases[0].members()}


class GatedDisk(Disk):
    """A disk one of whose methods waits until it is let go."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.gate, self.arrived = threading.Event(), threading.Event()
        self._method = method

    def _note(self, method: str, *what: object) -> None:
        if method == self._method and not self.gate.is_set():
            self.arrived.set()
            assert self.gate.wait(10)
        super()._note(method, *what)

    async def until_reached(self) -> None:
        assert await asyncio.get_running_loop().run_in_executor(None, self.arrived.wait, 10)


async def test_what_is_synced_is_there_after_any_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as keeper:
        await asyncio.gather(*(kept(keeper, f"k{number}") for number in range(100)))
        # Nothing more is written: this is what a kill leaves.
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    folder = tmp_path / "killed"
    folder.mkdir()
    for name, data in files.items():
        folder.joinpath(name).write_bytes(data)
    assert keys_in(folder) == {b"k%d" % number for number in range(100)}


async def test_many_tasks_share_a_sync_and_the_loop_never_syncs(tmp_path: Path) -> None:
    threads: set[int] = set()

    class Watching(Disk):
        def append(self, descriptor: int, data: bytes | memoryview, *, synced: bool) -> int:
            threads.update({threading.get_ident()} if synced else ())
            return super().append(descriptor, data, synced=synced)

    async with opened(tmp_path, Watching()) as keeper:
        before = keeper.state.journal.syncs
        for turn in range(10):
            await asyncio.gather(*(kept(keeper, f"{turn}:{number}") for number in range(100)))
        assert keeper.state.journal.syncs - before < 100
    assert threads
    assert threading.get_ident() not in threads


async def test_folder_that_somebody_has_is_refused_and_free_again_at_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(MediumLocked):
            await Keeper(tmp_path, config()).open()
    assert keys_in(tmp_path) == set()


@pytest.mark.parametrize("method", ["lock", "truncate"])
async def test_cancelled_opening_lets_go_of_the_folder(tmp_path: Path, method: str) -> None:
    """In the midst of taking the folder, and of loading."""
    disk = GatedDisk(method)
    opening = asyncio.create_task(Keeper(tmp_path, config(), disk).open())
    await disk.until_reached()
    opening.cancel()
    await asyncio.sleep(0)
    disk.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with opened(tmp_path):
        pass


async def test_flush_goes_on_though_whoever_waits_is_cancelled(tmp_path: Path) -> None:
    disk = GatedDisk("sync")
    disk.gate.set()
    async with opened(tmp_path, disk, journal=False) as keeper:
        put(keeper, "a")
        disk.gate.clear()
        flush = asyncio.create_task(keeper.flush())
        await disk.until_reached()
        flush.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flush
        put(keeper, "b")
        disk.gate.set()
        await keeper.flush()
    assert [sorted(frame) for frame in valid_frames(tmp_path.joinpath("dump.kvs").read_bytes())] == [["a"], ["a", "b"]]


async def test_cancelled_closing_has_ended_all_the_same(tmp_path: Path) -> None:
    disk = GatedDisk("sync")
    disk.gate.set()
    keeper = Keeper(tmp_path, config(journal=False), disk)
    await keeper.open()
    put(keeper, "a")
    disk.gate.clear()
    closing = asyncio.create_task(keeper.close())
    await disk.until_reached()
    for _ in range(3):
        closing.cancel()
        await asyncio.sleep(0)
    disk.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert keys_in(tmp_path) == {b"a"}


@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_write_that_the_disk_refuses_is_told_and_a_flush_heals(tmp_path: Path, fsync: str) -> None:
    """Where the disk's thread finds out, the data has changed; where the loop does, it has not."""

    class Full(Disk):
        is_full = False

        def append(self, descriptor: int, data: bytes | memoryview, *, synced: bool) -> int:
            self._refuse()
            return super().append(descriptor, data, synced=synced)

        def append_now(self, descriptor: int, data: bytes | memoryview) -> int:
            self._refuse()
            return super().append_now(descriptor, data)

        def _refuse(self) -> None:
            if self.is_full:
                raise OSError(28, "No space left on device")

    disk = Full()
    async with opened(tmp_path, disk, fsync=fsync) as keeper:
        await kept(keeper, "before")
        # Nothing is on its way to the disk then, so that the loop writes.
        await keeper._journal.sync()
        disk.is_full = True
        with pytest.raises(MediumError, match=r"(in memory alone|nothing was changed), .*No space left"):
            await kept(keeper, "refused")
        in_memory = {key for key, _ in keeper.databases[0].members()}
        assert (b"refused" in in_memory) == (fsync == "always")
        assert not keeper.begins_write()
        with pytest.raises(MediumError, match=r"nothing was changed, .*No space left"):
            await keeper.until_writable()
        disk.is_full = False
        await keeper.flush()
        await keeper.until_writable()
        await kept(keeper, "after")
    assert keys_in(tmp_path) == in_memory | {b"after"}


async def test_close_without_a_journal_appends_a_frame_if_something_has_changed(tmp_path: Path) -> None:
    for _ in range(2):
        async with opened(tmp_path, journal=False) as keeper:
            if not len(keeper.databases[0]):
                put(keeper, "a")
    assert len(valid_frames(tmp_path.joinpath("dump.kvs").read_bytes())) == 1


@pytest.mark.parametrize("journal", [False, True])
async def test_restore_gives_what_a_start_would(tmp_path: Path, journal: bool) -> None:
    async with opened(tmp_path, journal=True) as keeper:
        await kept(keeper, "recorded")
    async with opened(tmp_path, journal=journal) as keeper:
        put(keeper, "new")
        assert await keeper.restore() is True
        found = {key for key, _ in keeper.databases[0].members()}
        assert found == ({b"recorded", b"new"} if journal else {b"recorded"})


async def test_restore_goes_on_though_whoever_waits_is_cancelled(tmp_path: Path) -> None:
    async with opened(tmp_path, journal=True) as keeper:
        await kept(keeper, "recorded")
    disk = GatedDisk("truncate")
    disk.gate.set()
    async with opened(tmp_path, disk, journal=False) as keeper:
        put(keeper, "new")
        # Before the journal is replayed.
        disk.gate.clear()
        restoring = asyncio.create_task(keeper.restore())
        await disk.until_reached()
        restoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await restoring
        assert not keeper.begins_write()
        disk.gate.set()
        await keeper.until_writable()
        assert {key for key, _ in keeper.databases[0].members()} == {b"recorded"}


async def test_memory_alone_has_frames_and_no_files() -> None:
    async with opened(None, journal=False) as keeper:
        assert await keeper.restore() is False
        put(keeper, "a")
        await keeper.flush()
        put(keeper, "b")
        assert await keeper.restore() is True
        assert {key for key, _ in keeper.databases[0].members()} == {b"a"}
