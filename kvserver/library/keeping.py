"""Keeping: the contract of a place that keeps the data of a KVStore, and the places: a medium, memory, a server's folder.

The last one is in `folder`. A place never locks: the store sees to it that one thread at a time is in it.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from os import PathLike
from typing import Protocol, cast

from kvserver.data.databases import Databases, Frozen
from kvserver.errors import MediumError, MediumLocked
from kvserver.formats.encoder import chunks
from kvserver.formats.frame import encode_frame, encode_header
from kvserver.formats.scan import Scan, Tail, scan
from kvserver.formats.tags import Mapping
from kvserver.library.folder import ServerFolder
from kvserver.media.medium import CoreMedium, FrameWriter, Medium, as_medium, repair
from kvserver.media.memory import MemoryMedium
from kvserver.persistence.workplace import Here, drive, finish
from kvserver.system import now_ms
from kvserver.types import PLAIN, TAGGED

_log = logging.getLogger("kvserver")


class Keeping(Protocol):
    """A place that keeps the data of a KVStore.

    - `mapping` is TAGGED where values may be bytes and keys may expire, else PLAIN.
    - `keeps`: what is appended outlives the store.
    - `read_only`: nothing can be appended.
    """

    databases: Databases
    mapping: Mapping
    keeps: bool
    read_only: bool

    def prepare(self) -> None:
        """Do before a `cut`, and without the store's lock, what others would have to wait for. Never raises."""

    def cut(self) -> Frozen:
        """Freeze the data as it is now, for `append`. The caller holds the store's lock, and folds what was frozen.

        OSError, with nothing frozen, if that fails.
        """

    def append(self, payload: Iterable[bytes], key_count: int) -> None:
        """Append a frame with this payload, that of a cut of so many keys, and sync it.

        OSError if that fails: then everything is as it was.
        """

    def recover(self) -> bool:
        """Replace the data by what is kept, or by nothing. Return True if anything was kept."""

    def close(self) -> None:
        """Let go of it. Nothing is written. May be called again."""


class InMemory:
    """The last frame, in memory, and nothing that outlives the store."""

    mapping = TAGGED
    keeps = False
    read_only = False

    def __init__(self) -> None:
        self.databases = Databases(now_ms)
        self._frame = b""

    def prepare(self) -> None:
        """Do nothing: nobody waits."""

    def cut(self) -> Frozen:
        return self.databases.cut()

    def append(self, payload: Iterable[bytes], key_count: int) -> None:
        self._frame = encode_frame(b"".join(payload))

    def recover(self) -> bool:
        result = run(MemoryMedium(self._frame), TAGGED, load=True)
        self.databases.replace(result.data.shards if result.data else {})
        return bool(result.frames)

    def close(self) -> None:
        """Do nothing: memory has nothing to let go of."""


class OwnFrames:
    """The frames of a medium that is the library's own, in which no tags are used."""

    mapping = PLAIN
    keeps = True
    read_only = False

    def __init__(self, medium: CoreMedium) -> None:
        self.databases = Databases(now_ms)
        self._medium = as_medium(medium)
        self._can_repair = isinstance(medium, Medium)
        # The length of the medium's valid frames together; None: a scan has to tell.
        self._valid_length: int | None = None

    def prepare(self) -> None:
        """Do nothing: nobody waits."""

    def cut(self) -> Frozen:
        return self.databases.cut()

    def append(self, payload: Iterable[bytes], key_count: int) -> None:
        medium = self._medium
        medium.prove()
        if medium.poisoned:
            self._write_frame(self._begin_recovery(), payload)
        else:
            if self._can_repair and self._valid_length != medium.size():
                self._valid_length = repair(medium, run(medium, PLAIN, load=False))
            self._write_frame(medium.begin_frame(), payload)
        self._valid_length = medium.size()

    def recover(self) -> bool:
        self._medium.prove_place()
        result = run(self._medium, PLAIN, load=True)
        self.databases.replace(result.data.shards if result.data else {})
        self._valid_length = result.valid_length if result.tail is Tail.NONE else None
        return bool(result.frames)

    def close(self) -> None:
        self._medium.close()

    def _begin_recovery(self) -> FrameWriter:
        """Begin a new file with the valid frames of the present one, which can't be believed any more."""
        rewrite = self._medium.begin_rewrite()
        try:
            try:
                length = run(self._medium, PLAIN, load=False).valid_length
            except OSError as error:
                _log.error("the earlier frames are lost: %s", error)
                length = 0
            for _ in rewrite.copy(0, length):
                pass
        except BaseException:
            rewrite.abort()
            raise
        return rewrite

    def _write_frame(self, frame: FrameWriter, payload: Iterable[bytes]) -> None:
        length = 0
        hasher = hashlib.sha256()
        try:
            for chunk in chunks(payload):
                hasher.update(chunk)
                frame.write(chunk)
                length += len(chunk)
            frame.commit(encode_header(length, hasher.hexdigest()))
        except BaseException:
            self._valid_length = None
            frame.abort()
            raise


def run(medium: Medium, mapping: Mapping, load: bool) -> Scan:
    """Scan a medium strictly, blocking, and `load` its last valid frame if that is asked for."""
    return finish(drive(scan(medium.size(), mapping, load), medium, Here()))


def open_place(place: CoreMedium | Keeping | str | PathLike[str] | None, *, read_only: bool = False) -> Keeping:
    """The place that is meant: a path, which may be opened `read_only`, a medium, a place already, or None for memory alone.

    MediumError if the path is that of a file, or its folder can't be opened (MediumLocked: somebody else has it open).
    TypeError for what is none of these.
    """
    if place is None:
        return InMemory()
    if isinstance(place, str | PathLike):
        path = os.fspath(place)
        if os.path.isfile(path):
            raise MediumError(
                f"{path} is a file, and KVStore takes the path of a folder: for a file with frames of plain JSON, "
                f"KVStore(FileMedium({path!r}))"
            )
        try:
            return ServerFolder(path, read_only=read_only)
        except MediumLocked as locked:
            raise MediumLocked(f"{locked}; meanwhile, KVStore({path!r}, read_only=True) reads what is there") from None
    # One attribute is asked for: `isinstance` asks for all of a Protocol's, which takes longer than to open a small store.
    if hasattr(place, "databases"):
        return cast(Keeping, place)
    if not hasattr(place, "read_all"):
        raise TypeError(f"a KVStore takes the path of a folder, a medium or a ServerFolder, not {type(place).__name__}")
    return OwnFrames(place)
