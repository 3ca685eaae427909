"""KVStore: the store as a Python library, blocking, for one thread at a time. It never opens a socket.

Its data is kept in the frames of a medium of its own, in which no tags are used, or by a ServerFolder, as a server keeps it.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Protocol, TypeGuard, cast

from kvserver.data.databases import Databases
from kvserver.data.keyspace import Keyspace
from kvserver.data.kinds import kind_of
from kvserver.formats.codec import JSON, JSONText, canonical_strict
from kvserver.formats.encoder import chunks, encode
from kvserver.formats.frame import encode_frame, encode_header
from kvserver.formats.scan import Scan, Tail, scan
from kvserver.formats.tags import Mapping
from kvserver.media.medium import CoreMedium, FrameWriter, Medium, as_medium, repair
from kvserver.persistence.workplace import Here, drive, finish
from kvserver.system import now_ms
from kvserver.types import PLAIN, TAGGED

_log = logging.getLogger("kvserver")


class Keeping(Protocol):
    """A place that keeps the data of a KVStore. ServerFolder is one; the other is `_Frames`, over a medium."""

    databases: Databases
    # TAGGED where values may be bytes.
    mapping: Mapping

    def recover(self) -> bool:
        """Replace the data by what is kept, or by nothing. Return True if anything was kept."""

    def append(self) -> None:
        """Append a frame with the present data. OSError if that fails: then everything is as it was."""

    def close(self) -> None:
        """Let go of it. Nothing is written."""


class KVStore:
    """Keys (str) and JSON values in memory, flushed as one frame by `shutdown`, loaded by `restore`.

    On a medium the store starts empty, whatever the medium holds: `restore` loads that. On a ServerFolder it starts with what
    is there: of a server's collections `get` gives a dict, a list, a set, or a dict of scores. Strings that are not UTF-8, in
    these as well, are bytes.
    """

    def __init__(self, medium: CoreMedium | Keeping) -> None:
        self._kept: Keeping = medium if _is_keeping(medium) else _Frames(cast(CoreMedium, medium))
        self._databases = self._kept.databases

    def __enter__(self) -> KVStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the medium or the folder, as leaving a `with` statement does. Nothing is written."""
        self._kept.close()

    def set(self, key: str, value: JSON) -> None:
        """Store a value as it is now. TypeError or ValueError, with nothing changed, if it is no JSON or the key no str."""
        if isinstance(value, bytes) and self._kept.mapping is TAGGED:
            self._keyspace.set(_encode_key(key), bytes(value))
        else:
            self._keyspace.set(_encode_key(key), _encode_value(value))

    def get(self, key: str) -> JSON:
        """Return a new copy of the value, or None if the key is missing or has expired."""
        name = key.encode("utf-8", "surrogatepass")
        value = self._keyspace.live(name)
        if value is not None:
            value = self._keyspace.living(value)
        # What has expired is recorded, and nobody takes records here.
        if self._databases.records.has_any:
            self._databases.records.take()
        return None if value is None else kind_of(value).python(value)

    def shutdown(self) -> bool:
        """Append one frame with the present data and sync it. Return True. The store stays usable.

        OSError (MediumError) if that fails: then the earlier frames and the store are as they were. If others have moved,
        removed, replaced or cut the medium's file, the frame goes to a new file at its path, and the log says so.
        """
        self._kept.append()
        return True

    @property
    def _keyspace(self) -> Keyspace:
        # A journal that `restore` replays may swap databases.
        return self._databases[0]

    def restore(self) -> bool:
        """Replace the data by what is kept and return True. If nothing is kept, clear the store and return False.

        A medium keeps its last valid frame, a ServerFolder what a server would start with. OSError, with the data as it was,
        if the medium can't be read, or if others have moved, removed or replaced its file (MediumDisplaced).
        """
        return self._kept.recover()

    def frame(self) -> bytes:
        """The frame that `shutdown` would append now, as bytes."""
        frozen = self._databases.cut()
        payload = b"".join(encode(frozen.cuts, self._kept.mapping, frozen.libraries))
        for _ in frozen.fold():
            pass
        return encode_frame(payload)


class _Frames:
    """The frames of a medium that is the library's own."""

    mapping = PLAIN

    def __init__(self, medium: CoreMedium) -> None:
        self.databases = Databases(now_ms)
        self._medium = as_medium(medium)
        self._can_repair = isinstance(medium, Medium)
        # The length of the medium's valid frames together; None: a scan has to tell.
        self._valid_length: int | None = None

    def append(self) -> None:
        medium = self._medium
        medium.prove()
        if medium.poisoned:
            self._write_frame(self._begin_recovery())
        else:
            if self._can_repair and self._valid_length != medium.size():
                self._valid_length = repair(medium, run(medium, PLAIN, load=False))
            self._write_frame(medium.begin_frame())
        self._valid_length = medium.size()

    def close(self) -> None:
        self._medium.close()

    def recover(self) -> bool:
        self._medium.prove_place()
        result = run(self._medium, PLAIN, load=True)
        self.databases.replace(result.data.shards if result.data else {})
        self._valid_length = result.valid_length if result.tail is Tail.NONE else None
        return bool(result.frames)

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

    def _write_frame(self, frame: FrameWriter) -> None:
        length = 0
        hasher = hashlib.sha256()
        frozen = self.databases.cut()
        try:
            for chunk in chunks(encode(frozen.cuts, PLAIN)):
                hasher.update(chunk)
                frame.write(chunk)
                length += len(chunk)
            frame.commit(encode_header(length, hasher.hexdigest()))
        except BaseException:
            self._valid_length = None
            frame.abort()
            raise
        finally:
            for _ in frozen.fold():
                pass


def run(medium: Medium, mapping: Mapping, load: bool) -> Scan:
    """Scan a medium strictly, blocking, and `load` its last valid frame if that is asked for."""
    return finish(drive(scan(medium.size(), mapping, load), medium, Here()))


def _is_keeping(medium: CoreMedium | Keeping) -> TypeGuard[Keeping]:
    # One attribute is asked for: `isinstance` asks for all of a Protocol's, which takes longer than to open a small store.
    return hasattr(medium, "databases")


def _encode_key(key: str) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"keys must be str, not {type(key).__name__}")
    return key.encode()


def _encode_value(value: object) -> bytes | JSONText:
    if isinstance(value, str):
        return value.encode()
    return JSONText(canonical_strict(value))
