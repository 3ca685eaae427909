"""Snapshots of a keyspace on a medium in memory. A test lets it go on write by write, so that it has any interleaving."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from helpers.documents import bytes_of
from helpers.frames import valid_frames
from kvserver.data.databases import Databases
from kvserver.data.entries import Expiring
from kvserver.data.keyspace import Keyspace
from kvserver.errors import MediumError
from kvserver.media.medium import FrameWriter
from kvserver.media.memory import MemoryMedium
from kvserver.options.config import Config
from kvserver.persistence.disk import Disk
from kvserver.persistence.snapshots import Snapshots
from kvserver.state.session import ServerState

NOW_MS = 1_000_000
# Beyond this, a test has failed while its gate was shut.
GATE_TIMEOUT_S = 10

State = dict[str, Any]


def entries(keyspace: Keyspace) -> State:
    """The object that the payload of a keyspace must be."""
    state: State = {}
    for key, entry in keyspace.members():
        if isinstance(entry, Expiring):
            tag = {"expires_at_ms": entry.expires_at_ms, "value": bytes_of(entry.value).decode()}
            state[key.decode()] = {"$kvs": tag}
        else:
            state[key.decode()] = bytes_of(entry).decode()
    return state


class SlowMedium(MemoryMedium):
    """Waits before each write until it is let go; counts the bytes that were handed to it and are not written yet."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(data)
        self.gate = threading.Event()
        self.gate.set()
        self.writes: list[int] = []
        self.fails = False

    def begin_frame(self) -> Any:
        return _SlowFrame(self, super().begin_frame())


class _SlowFrame:
    def __init__(self, medium: SlowMedium, frame: FrameWriter) -> None:
        self._medium = medium
        self._frame = frame

    def write(self, data: bytes) -> None:
        assert self._medium.gate.wait(GATE_TIMEOUT_S)
        if self._medium.fails:
            raise MediumError("the medium fails")
        self._medium.writes.append(len(data))
        self._frame.write(data)

    def commit(self, header: bytes) -> None:
        assert self._medium.gate.wait(GATE_TIMEOUT_S)
        self._frame.commit(header)

    def abort(self) -> None:
        self._frame.abort()


class Setting:
    """A keyspace, its Snapshots and their medium."""

    def __init__(self, disk: Disk, data: bytes = b"", keep_frames: int = 100) -> None:
        config = Config()
        config.keep_frames = keep_frames
        # No client comes here, so that there are no commands: their statistics would take more time than all the rest.
        self.state = ServerState(config, Databases(lambda: NOW_MS), {}, lambda: NOW_MS)
        self.keyspace = self.state.databases[0]
        self.facts = self.state.persistence
        self.medium = SlowMedium(data)
        self.snapshots = Snapshots(self.state, self.medium, disk)

    def set(self, key: str, value: str) -> None:
        self.keyspace.put(key.encode(), value.encode())

    def frames(self) -> list[State]:
        return valid_frames(self.medium.read_all())


async def loop_steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
