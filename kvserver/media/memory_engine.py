"""An engine in memory: it is lost with the process, and shared by all servers in it that name it (`--medium memory://NAME`).

It shows what the contracts ask for, without a network, and tests put faults around it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from kvserver.errors import EntryTooLong, MediumError, Refused, Trimmed
from kvserver.formats.manifest import BEGINNING, Manifest, Position
from kvserver.media.shared import Engine, Entry, Mark, Node, manifest_bytes

MAX_APPEND_BYTES: Final = 1 << 20
READ_BYTES: Final = 4 << 20
LEASE_S: Final = 3.0


class MemoryLog:
    """The entries of a log, by the numbers 1, 2, …; a position has the number of its entry."""

    def __init__(self, max_append_bytes: int = MAX_APPEND_BYTES) -> None:
        self.max_append_bytes = max_append_bytes
        self.most_in_flight = 1
        self._entries: list[Entry] = []
        # The number of the last entry that was removed, and the position of the last one that was appended.
        self._trimmed = 0
        self._last = BEGINNING
        self._change = threading.Condition()
        self._is_closed = False

    @property
    def last(self) -> Position:
        """The position of the last entry, which may be trimmed already."""
        return self._last

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        if len(data) > self.max_append_bytes:
            raise EntryTooLong(f"an entry of {len(data)} bytes is longer than {self.max_append_bytes}")
        with self._change:
            if after != self._last:
                raise Refused(f"the entry {after.number} of epoch {after.epoch} is not the last one")
            if mark.epoch < after.epoch:
                raise Refused(f"epoch {mark.epoch} has ended")
            self._last = Position(mark.epoch, after.number + 1)
            self._entries.append(Entry(self._last, mark, bytes(data)))
            self._change.notify_all()
            return self._last

    def read(self, after: Position, wait_s: float, is_over: Callable[[], bool] = lambda: False) -> list[Entry]:
        """Read as the contract has it. `is_over`, looked at when `wake` is called, ends the wait."""
        with self._change:
            self._change.wait_for(lambda: self._is_closed or is_over() or self._last.number > after.number, wait_s)
            if after.number < self._trimmed:
                raise Trimmed(f"the entry {after.number + 1} is not there any more")
            found: list[Entry] = []
            size = 0
            for entry in self._entries[after.number - self._trimmed :]:
                if found and size + len(entry.data) > READ_BYTES:
                    break
                found.append(entry)
                size += len(entry.data)
            return found

    def wake(self) -> None:
        """Let each read that waits look if it is over."""
        with self._change:
            self._change.notify_all()

    def trim(self, upto: Position) -> None:
        with self._change:
            count = min(upto.number - self._trimmed, len(self._entries))
            if count > 0:
                del self._entries[:count]
                self._trimmed += count

    def close(self) -> None:
        with self._change:
            self._is_closed = True
            self._change.notify_all()


class _MemoryObject:
    def __init__(self, objects: dict[str, bytes], name: str) -> None:
        self.name = name
        self._objects = objects
        self._pieces: list[bytes] = []
        self._is_whole = False

    def write(self, data: bytes) -> None:
        self._pieces.append(data)

    def commit(self) -> None:
        self._objects[self.name] = b"".join(self._pieces)
        self._is_whole = True

    def abort(self) -> None:
        if not self._is_whole:
            self._objects.pop(self.name, None)


class MemoryVault:
    """Objects by their names, and a manifest whose tag is a count."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._manifest: Manifest | None = None
        self._commits = 0
        self._begun = 0
        self._lock = threading.Lock()

    def begin(self) -> _MemoryObject:
        with self._lock:
            self._begun += 1
            return _MemoryObject(self.objects, f"snapshot-{self._begun}")

    def manifest(self) -> tuple[Manifest | None, str]:
        with self._lock:
            return self._manifest, self._tag

    @property
    def _tag(self) -> str:
        return str(self._commits) if self._commits else ""

    def commit(self, manifest: Manifest, tag: str) -> str:
        with self._lock:
            manifest_bytes(manifest)
            if tag != self._tag:
                raise Refused("somebody else has replaced the manifest")
            self._manifest = manifest
            self._commits += 1
            return self._tag

    def read(self, name: str, offset: int, length: int) -> bytes:
        try:
            return self.objects[name][offset : offset + length]
        except KeyError:
            raise MediumError(f"there is no object {name}") from None

    def remove(self, names: list[str]) -> None:
        for name in names:
            self.objects.pop(name, None)

    def close(self) -> None:
        """Do nothing: the next server finds what is there."""


class MemoryPresence:
    """The nodes, by their ids."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def tell(self, node: Node) -> None:
        self._nodes[node.id] = node

    def nodes(self) -> list[Node]:
        return list(self._nodes.values())

    def leave(self, node_id: str) -> None:
        self._nodes.pop(node_id, None)

    def close(self) -> None:
        """Do nothing: others are there."""


class _View:
    """The log as one server has it: to close that does not close it for others."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.max_append_bytes, self.most_in_flight = log.max_append_bytes, log.most_in_flight
        self._is_closed = False

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        self._must_be_open()
        return self._log.append(data, mark, after)

    def read(self, after: Position, wait_s: float) -> list[Entry]:
        self._must_be_open()
        return self._log.read(after, wait_s, lambda: self._is_closed)

    def trim(self, upto: Position) -> None:
        self._must_be_open()
        self._log.trim(upto)

    def close(self) -> None:
        self._is_closed = True
        self._log.wake()

    def _must_be_open(self) -> None:
        if self._is_closed:
            raise MediumError("the engine is closed")


_engines: dict[str, tuple[MemoryLog, MemoryVault, MemoryPresence]] = {}
_lock = threading.Lock()


def open_memory_engine(name: str) -> Engine:
    """The engine of this name in this process, made if there is none."""
    with _lock:
        if name not in _engines:
            _engines[name] = MemoryLog(), MemoryVault(), MemoryPresence()
    log, vault, presence = _engines[name]
    return Engine(f"memory://{name}", name, _View(log), vault, presence, LEASE_S, promises=("nothing survives the process",))
