"""`kvserver restore URL DIR`: the newest state of an engine, or a snapshot of a store, as a new folder of data.

The folder gets the frame byte for byte, and the records behind it as one segment that is linked to it: a server starts there
as it would after a crash. Nothing is written to where it comes from.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from kvserver.cli.entries import Taken
from kvserver.cli.stored import NO_ENTRY, TRIES, Stored, open_stored, tip_of
from kvserver.errors import ChainBroken, MediumError, Trimmed
from kvserver.formats.control import Control, Relink
from kvserver.formats.manifest import BEGINNING, Manifest
from kvserver.formats.record import EMPTY_STORE, encode_link
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.media.frame_bytes import FrameBytes
from kvserver.media.lease import FolderLease
from kvserver.media.medium import FrameWriter
from kvserver.media.names import owner_path, restoring_path, spare_path
from kvserver.media.segments import SegmentFile, Segments
from kvserver.system import Progress, now_ms

# The number of the segment. Whatever a server writes there has a greater one.
SEGMENT: Final = 1
# What has more digits than this is the beginning of a digest.
MOST_DIGITS: Final = 4

_DIGEST_START = re.compile(r"[0-9a-f]{8,64}")

Print = Callable[[str], None]


def restore(url: str, snapshots: str, folder: str, dbfilename: str, snapshot: str, print_line: Print) -> bool:
    """Bring what is at a URL into a folder, which is made if there is none, and must have no data of this name.

    `snapshots` is the URL of the snapshots, if they are elsewhere, or empty. `snapshot` is the number of one, as `check` lists
    them, or the beginning of its digest; empty for the newest state. Return False if the log is damaged: then the folder has
    what is before that. MediumError, with the folder as it was, if nothing could be brought.
    """
    stored = open_stored(url, snapshots)
    try:
        return restore_stored(stored, folder, dbfilename, snapshot, print_line)
    finally:
        stored.close()


def restore_stored(stored: Stored, folder: str, dbfilename: str, snapshot: str, print_line: Print) -> bool:
    """Bring what is stored into a folder. Returns and raises as `restore`."""
    was_there = os.path.isdir(folder)
    lease = FolderLease(folder)
    try:
        path = os.path.join(lease.path, dbfilename)
        _remove_left(path)
        _refuse_data(path)
        for last in range(TRIES - 1, -1, -1):
            manifest = stored.manifest()
            try:
                return _bring(stored, manifest, path, snapshot, print_line)
            except BaseException as error:
                _remove_data(path)
                if not isinstance(error, MediumError) or not last or stored.manifest() == manifest:
                    raise
    except BaseException:
        if not was_there:
            with suppress(OSError):
                os.rmdir(lease.path)
        raise
    finally:
        lease.release()
    raise AssertionError("the last try raises")


def _names(path: str) -> list[str]:
    """The paths of the medium, and of what belongs to it, that are there. An owner of backups is no data."""
    folder, name = os.path.split(path)
    try:
        paths = [os.path.join(folder, found) for found in os.listdir(folder) if found == name or found.startswith(f"{name}.")]
    except OSError as error:
        raise MediumError(f"cannot read the directory {folder}: {error.strerror or error}") from error
    return [found for found in paths if found != owner_path(path)]


def _refuse_data(path: str) -> None:
    if names := _names(path):
        raise MediumError(f"{os.path.dirname(path)} has data already ({os.path.basename(min(names))}): name a new folder")


def _remove_left(path: str) -> None:
    """Remove what a restore has left that was killed, unless there is data beside it that came later."""
    left = [restoring_path(path), spare_path(path)]
    if os.path.exists(left[0]) and set(_names(path)) <= set(left):
        _remove_data(path)


def _remove_data(path: str) -> None:
    """Remove what was written so far: nothing of it was there before."""
    with suppress(OSError):
        for name in _names(path):
            os.remove(name)


def _choose(stored: Stored, manifest: Manifest, snapshot: str) -> str:
    """The digest of the frame that is asked for. MediumError if there is none such, or more than one."""
    digests = [frame.digest for frame in manifest.frames]
    if not snapshot:
        return manifest.linked
    if snapshot.isdecimal() and len(snapshot) <= MOST_DIGITS:
        if not 1 <= int(snapshot) <= len(digests):
            raise MediumError(
                f"there is no snapshot {snapshot} at {stored.url}: `kvserver check` lists the {len(digests)} there are"
            )
        return digests[int(snapshot) - 1]
    found = {digest for digest in digests if digest.startswith(snapshot)} if _DIGEST_START.fullmatch(snapshot) else set()
    if len(found) != 1:
        raise MediumError(
            f"{snapshot!r} is neither the number of a snapshot at {stored.url} nor 8 hex digits or more of its digest"
        )
    return found.pop()


def _bring(stored: Stored, manifest: Manifest, path: str, snapshot: str, print_line: Print) -> bool:
    digest = _choose(stored, manifest, snapshot)
    if digest == manifest.linked and stored.has_log(manifest):
        return _bring_all(stored, manifest, path, print_line)
    if digest == EMPTY_STORE:
        raise MediumError(f"there are no snapshots at {stored.url}")
    with FileMedium(restoring_path(path), with_journal=True) as medium:
        frame, header = _copy(stored, manifest, digest, medium)
        frame.commit(header)
    _name_medium(path)
    print_line(f"restored {_describe(manifest, digest)} to {os.path.dirname(path)}")
    return True


def _bring_all(stored: Stored, manifest: Manifest, path: str, print_line: Print) -> bool:
    """Bring the snapshot that the log goes on from, and what the log has behind it."""
    with FileMedium(restoring_path(path), with_journal=True) as medium, _Segment(Segments(path), manifest.linked) as segment:
        tip = tip_of(manifest)
        entries = Taken(tip, segment.take, segment.hear)
        # The log comes first, since it may be trimmed at any time.
        damage = _read_log(stored, entries)
        if not (entries.count or manifest.frames or damage) and tip.position == BEGINNING:
            raise MediumError(f"there is nothing at {stored.url}")
        if segment.digest != EMPTY_STORE:
            frame, header = _copy(stored, manifest, segment.digest, medium)
            frame.commit(header)
        segment.finish()
        _name_medium(path)
    print_line(
        f"restored {_describe(manifest, segment.digest)} to {os.path.dirname(path)}, and {segment.records} records "
        f"({segment.bytes} bytes) behind it"
    )
    if not entries.count and not damage and tip.position != BEGINNING:
        print_line(NO_ENTRY)
    if entries.rest_bytes:
        print_line(f"left out: {entries.rest_bytes} bytes of a record that is not whole, at the end of the log")
    if damage:
        print_line(f"DAMAGED: the log behind the entry {entries.tip.number}, which is the last that was restored: {damage}")
    return not damage


def _name_medium(path: str) -> None:
    """Let what was restored be the medium: from here on, a server starts with it."""
    os.rename(restoring_path(path), path)
    sync_names(FileSystem(), os.path.dirname(path))


def _describe(manifest: Manifest, digest: str) -> str:
    if digest == EMPTY_STORE:
        return "the empty store"
    frame = next(frame for frame in manifest.frames if frame.digest == digest)
    return f"the snapshot {digest[:16]}… ({frame.length} bytes)"


def _read_log(stored: Stored, entries: Taken) -> str:
    """Read the log to its end. Return the damage at which that is, or nothing."""
    assert stored.log
    try:
        while found := stored.log.read(entries.tip.position, 0):
            entries.follow(found)
    except ChainBroken as broken:
        return str(broken)
    return ""


def _copy(stored: Stored, manifest: Manifest, digest: str, medium: FileMedium) -> tuple[FrameWriter, bytes]:
    """Write the payload of a frame, and return what takes its header, and that. MediumError if it is not whole."""
    frame = next((frame for frame in manifest.frames if frame.digest == digest), None)
    if frame is None:
        raise Trimmed(f"the log goes on from the snapshot {digest[:16]}…, which newer ones have replaced")
    writer, hasher, done = medium.begin_frame(), hashlib.sha256(), 0
    contents = FrameBytes(stored.vault, frame)
    with Progress(f"restoring {frame.name}", lambda: frame.length) as progress:
        for piece in contents.payload():
            hasher.update(piece)
            writer.write(piece)
            done += len(piece)
            progress.update(done)
    if done < frame.length or contents.wrong_length() or hasher.hexdigest() != digest:
        raise MediumError(f"the snapshot {frame.name} at {stored.url} is damaged: --snapshot takes another one")
    return writer, frame.header


class _Segment:
    """The segment in the making that goes on from the snapshot with this digest. It has no segment's name until `finish`."""

    def __init__(self, segments: Segments, digest: str) -> None:
        self._segments = segments
        self._file: SegmentFile | None = None
        self._begin(digest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _begin(self, digest: str) -> None:
        self.close()
        self.digest = digest
        self.records = self.bytes = 0
        self._file = self._segments.create_spare()
        self._file.extend(encode_link(digest, now_ms()), synced=False)

    def take(self, data: bytes, records: int) -> None:
        """Add whole records."""
        assert self._file
        self._file.extend(data, synced=False)
        self.records += records
        self.bytes += len(data)

    def hear(self, control: Control, number: int) -> None:
        """What was before counts no more if the data is that of another snapshot from here on."""
        if isinstance(control, Relink):
            self._begin(control.digest)

    def finish(self) -> None:
        """Make it durable, and the segment of its number."""
        assert self._file
        self._file.sync()
        self._segments.name_spare(self._file, SEGMENT)
        self._segments.sync_names()

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None
