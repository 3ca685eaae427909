"""KVStore: the store as a Python library, blocking, for one thread at a time (SPEC 3). Uses no tags and no sockets."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator

from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import new_shards
from kvserver.formats.codec import JSON, JSONText, canonical_strict
from kvserver.formats.encoder import encode
from kvserver.formats.frame import encode_frame, encode_header
from kvserver.formats.scan import CHUNK_BYTES, Scan, Tail, scan
from kvserver.formats.tags import PLAIN, Mapping
from kvserver.media.medium import CoreMedium, FrameWriter, Medium, as_medium
from kvserver.persistence.repair import repair
from kvserver.unixtime import now_ms

_log = logging.getLogger("kvserver")


class KVStore:
    """Keys (str) and JSON values in memory, flushed as one frame by `shutdown`, loaded by `restore`.

    Starts empty, whatever the medium holds: `restore` loads it.
    """

    def __init__(self, medium: CoreMedium) -> None:
        self._medium = as_medium(medium)
        self._can_repair = isinstance(medium, Medium)
        self._keyspace = Keyspace(now_ms)
        self._valid_length: int | None = None  # of the medium; None: not known, so it has to be scanned

    def set(self, key: str, value: JSON) -> None:
        """Store a value as it is now. TypeError or ValueError, with nothing changed, if it is not JSON or key no str."""
        self._keyspace.set(_encode_key(key), _encode_value(value))

    def get(self, key: str) -> JSON:
        """A new copy of the value, or None where the key is missing."""
        entry = self._keyspace.get(key.encode("utf-8", "surrogatepass"))
        if entry is None:
            return None
        return json.loads(entry) if type(entry) is JSONText else entry.decode()

    def shutdown(self) -> bool:
        """Append one frame with the present data and sync it: True. The store stays usable.

        OSError (MediumError) if that fails: then the medium's earlier frames and the store are as they were.
        """
        medium = self._medium
        if medium.poisoned:
            self._write_frame(self._begin_recovery())
        else:
            if self._can_repair and self._valid_length != medium.size():
                self._valid_length = repair(medium, run(medium, PLAIN, load=False))
            self._write_frame(medium.begin_frame())
        self._valid_length = medium.size()
        return True

    def restore(self) -> bool:
        """Replace the data by the last valid frame: True. Without a valid frame the store is cleared: False."""
        result = run(self._medium, PLAIN, load=True)
        self._keyspace.replace(result.data or new_shards())
        self._valid_length = result.valid_length if result.tail is Tail.NONE else None
        return bool(result.frames)

    def _begin_recovery(self) -> FrameWriter:
        """A new file, with the valid frames of the one that is not to be believed any more."""
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
        cut = self._keyspace.cut()
        try:
            for chunk in _chunks(encode(cut, PLAIN)):
                hasher.update(chunk)
                frame.write(chunk)
                length += len(chunk)
            frame.commit(encode_header(length, hasher.hexdigest()))
        except BaseException:
            self._valid_length = None
            frame.abort()
            raise
        finally:
            for _ in self._keyspace.fold(cut):
                pass

    def frame(self) -> bytes:
        """The frame that `shutdown` would append now."""
        cut = self._keyspace.cut()
        payload = b"".join(encode(cut, PLAIN))
        for _ in self._keyspace.fold(cut):
            pass
        return encode_frame(payload)


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def run(medium: Medium, mapping: Mapping, load: bool) -> Scan:
    """Drive a scan of a medium to its end, blocking."""
    steps = scan(medium.size(), mapping, load)
    answer = b""
    try:
        request = next(steps)
        while True:
            if request is not None:
                answer = medium.read(request.offset, request.length)
                if request.hasher:
                    request.hasher.update(answer)
            request = steps.send(answer)
    except StopIteration as stop:
        result: Scan = stop.value
        return result


def _encode_key(key: str) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"keys must be str, not {type(key).__name__}")
    return key.encode()


def _encode_value(value: object) -> bytes | JSONText:
    if isinstance(value, str):
        return value.encode()
    return JSONText(canonical_strict(value))
