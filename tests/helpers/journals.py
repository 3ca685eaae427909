"""A journal on a disk whose calls end when the test says."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.formats.record import encode_records, pack
from kvserver.media.filesystem import FileSystem
from kvserver.media.segments import FileLog, Segments
from kvserver.options.config import Config
from kvserver.persistence import group_commit as group_module
from kvserver.persistence.disk import Disk
from kvserver.persistence.journal import Journal
from kvserver.state.session import ServerState

NOW_MS = 1_700_000_000_123
T = TypeVar("T")


class Failing(FileSystem):
    fails = False  # to sync
    is_full = False

    def __init__(self) -> None:
        self.takes: list[int] = []  # how many bytes each next write on the loop's thread takes without waiting; then all

    def append_now(self, descriptor: int, data: bytes | memoryview) -> int:
        if self.takes and (length := self.takes.pop(0)) < len(data):
            if not length:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            data = data[:length]
        return super().append_now(descriptor, data)

    def append(self, descriptor: int, data: bytes | memoryview, *, synced: bool) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        length = super().append(descriptor, data, synced=False)
        if synced:
            self.sync(descriptor)
        return length

    def sync(self, descriptor: int) -> None:
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(descriptor)


class HeldDisk(Disk):
    """Calls wait for `let_go`, or what they give does (`is_early`); `calls` counts them."""

    def __init__(self) -> None:
        self.is_held = self.is_early = False
        self.calls = 0
        self._waiting: list[Callable[[], None]] = []

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.calls += 1

        result = call() if self.is_early else None

        def carry_out() -> None:
            future.set_result(call() if result is None else result)

        if self.is_held:
            self._waiting.append(carry_out)
        else:
            carry_out()
        return future

    async def let_go(self) -> None:
        waiting, self._waiting = self._waiting, []
        for carry_out in waiting:
            carry_out()
        await asyncio.sleep(0)


class Setting:
    def __init__(self, folder: Path) -> None:
        self.config = Config()
        self.config.appendfsync = "always"
        self.filesystem = Failing()
        self.segments = Segments(str(folder / "dump.kvs"), self.filesystem)
        self.disk, self.sync_disk = HeldDisk(), HeldDisk()
        self.state = ServerState(self.config, Databases(lambda: 0), COMMANDS, lambda: NOW_MS)
        self.log = FileLog(str(folder / "dump.kvs"), self.filesystem)
        self.journal = Journal(self.state, self.log, self.disk, self.sync_disk)
        self.told: list[str] = []
        self.journal.courier.on_safe = lambda: None
        self.journal.courier.on_lost = lambda: self.told.append("lost")
        self.journal.courier.pause = lambda: self.told.append("pause")
        self.journal.courier.resume = lambda: self.told.append("resume")

    def content(self, number: int) -> bytes:
        return Path(self.segments.path(number)).read_bytes()


def command(number: int) -> list[list[bytes]]:
    return [[b"SET", b"k", b"%d" % number]]


def recorded(*numbers: int) -> bytes:
    return b"".join(encode_records([pack(command(number))], [NOW_MS]) for number in numbers)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def gather() -> None:
    """Until what gathers now for the clients that a sync has released is with the disk.

    That is no luck, however busy the machine is: the loop runs timers in the order of their times, and this one is set after
    the journal's, for longer. What the disk's answer leads to is done then, too, but for what gathers because of it.
    """
    await asyncio.sleep(2 * group_module.LEAST_WAIT_S)
    await settle()
