"""An engine in a folder that several processes of one machine share: `file:PATH`, or `file:///path`.

For a warm standby beside the server, and for an upgrade without a pause. The folder has

    log.lock, log-….entries             the log (`folder_log`)
    snapshot-….json                     the snapshots, plain JSON
    manifest.lock, manifest.json        which of them count
    node-….json                         who is there

What has another name is nobody's business here, but for a `.tmp` behind one of these, which a process that was killed left.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import unquote, urlsplit

from kvserver.errors import ManifestInvalid, MediumError, Refused
from kvserver.formats.manifest import Manifest, decode_manifest
from kvserver.media.filesystem import FileSystem, make_folders, sync_names
from kvserver.media.folder_log import LOCK_WAIT_S, POLL_S, FolderLog
from kvserver.media.shared import ABANDONED_S, Engine, Node, decode_node, manifest_bytes

LEASE_S: Final = 3.0
# A node that has told nothing for so long is not there. It tells again if it is.
GONE_S: Final = 15.0
PROMISES: Final = (
    "an acknowledged write survives the end of each server, and a power loss as far as the disk keeps what it syncs",
    "nothing survives the loss of this machine's disk",
)

_MANIFEST: Final = "manifest.json"
_NAME = re.compile(r"snapshot-[0-9a-f]{32}\.json")
_NODE = re.compile(r"node-([0-9A-Za-z_-]{1,64})\.json")


def open_folder_engine(url: str, filesystem: FileSystem | None = None, *, is_made: bool = True) -> Engine:
    """Open the engine in the folder that this URL names. MediumError.

    `is_made`: the folder is made if there is none. Else nothing is written there, and the engine is for one who only reads.
    """
    filesystem = filesystem or FileSystem()
    folder = _found(url, filesystem, is_made=is_made)
    log = FolderLog(folder, filesystem, is_reader=not is_made)
    vault, presence = FolderVault(folder, filesystem), FolderPresence(folder, filesystem)
    name = os.path.basename(folder) or "kvserver"
    return Engine(f"file://{folder}", name, log, vault, presence, LEASE_S, promises=PROMISES)


def open_folder_vault(url: str, filesystem: FileSystem | None = None) -> FolderVault:
    """Open the vault alone in the folder that this URL names, which is made if there is none. MediumError."""
    filesystem = filesystem or FileSystem()
    return FolderVault(_found(url, filesystem, is_made=True), filesystem)


def _found(url: str, filesystem: FileSystem, *, is_made: bool) -> str:
    folder = _folder_of(url)
    try:
        if is_made:
            make_folders(filesystem, folder)
        # It tells of what is there, but is no folder.
        filesystem.list(folder)
    except OSError as error:
        raise MediumError(f"cannot use the directory {folder}: {error.strerror or error}") from error
    return folder


def _folder_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise MediumError(f"{url} names a machine: file:///path is a folder of this one")
    # In file:PATH, without slashes before it, a path is taken as it is.
    path = unquote(parts.path) if url[5:].startswith("//") else url[5:]
    if not path:
        raise MediumError(f"{url} has no path: file:PATH, or file:///path")
    return os.path.abspath(path)


class _FolderObject:
    """A snapshot on its way, under a name that becomes its own when it is whole and synced."""

    def __init__(self, vault: FolderVault, filesystem: FileSystem) -> None:
        self.name = f"snapshot-{secrets.token_hex(16)}.json"
        self._vault, self._filesystem = vault, filesystem
        self._path = vault.path(self.name)
        self._length = 0
        self._descriptor = -1
        self._is_whole = False
        with vault.told("write", self._path):
            self._descriptor = filesystem.open(f"{self._path}.tmp", exclusive=True)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        with self._vault.told("write", self._path):
            while view:
                written = self._filesystem.write(self._descriptor, view, self._length)
                self._length += written
                view = view[written:]

    def commit(self) -> None:
        with self._vault.told("write", self._path):
            self._filesystem.sync(self._descriptor)
            self._close()
            self._filesystem.rename(f"{self._path}.tmp", self._path)
            sync_names(self._filesystem, self._vault.folder)
            self._is_whole = True

    def abort(self) -> None:
        if self._is_whole:
            return
        self._close()
        for path in (f"{self._path}.tmp", self._path):
            with suppress(OSError):
                self._filesystem.remove(path)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._filesystem.close(descriptor)


class FolderVault:
    """Snapshots, and the manifest, in a folder that is there. A tag is the digest of the manifest's bytes."""

    def __init__(self, folder: str, filesystem: FileSystem) -> None:
        self.folder = folder
        self._filesystem = filesystem

    def begin(self) -> _FolderObject:
        return _FolderObject(self, self._filesystem)

    def manifest(self) -> tuple[Manifest | None, str]:
        path = self.path(_MANIFEST)
        with self.told("read", path):
            data = self._manifest_bytes()
        try:
            return (None, "") if data is None else (decode_manifest(data), _tag_of(data))
        except ManifestInvalid as error:
            raise MediumError(f"{path} is no manifest: {error}") from error

    def commit(self, manifest: Manifest, tag: str) -> str:
        path, data = self.path(_MANIFEST), manifest_bytes(manifest, secrets.token_hex(8))
        temporary = f"{path}.tmp"
        with self.told("write", path), self._locked():
            if _tag_of(self._manifest_bytes()) != tag:
                raise Refused(f"somebody else has replaced {path}")
            # Who was killed before the rename may have left one.
            with suppress(FileNotFoundError):
                self._filesystem.remove(temporary)
            descriptor = self._filesystem.open(temporary, exclusive=True)
            try:
                written = 0
                while written < len(data):
                    written += self._filesystem.write(descriptor, data[written:], written)
                self._filesystem.sync(descriptor)
            finally:
                self._filesystem.close(descriptor)
            self._filesystem.rename(temporary, path)
            sync_names(self._filesystem, self.folder)
        return _tag_of(data)

    def read(self, name: str, offset: int, length: int) -> bytes:
        if not _NAME.fullmatch(name):
            raise MediumError(f"{name!r} is no name of a snapshot in {self.folder}")
        with self.told("read", self.path(name)):
            descriptor = self._filesystem.open_to_read(self.path(name))
            try:
                return self._read_all(descriptor, offset, length)
            finally:
                self._filesystem.close(descriptor)

    def remove(self, names: list[str]) -> None:
        for name in names:
            if _NAME.fullmatch(name):
                with self.told("remove", self.path(name)), suppress(FileNotFoundError):
                    self._filesystem.remove(self.path(name))

    def sweep(self, named: Collection[str]) -> None:
        with self.told("tidy up", self.folder):
            for name in self._filesystem.list(self.folder):
                if not _NAME.fullmatch(name.removesuffix(".tmp")) or name in named:
                    continue
                # Its writer, or another node, may remove it, too.
                with suppress(FileNotFoundError):
                    if self._filesystem.age_s(self.path(name)) > ABANDONED_S:
                        self._filesystem.remove(self.path(name))

    def close(self) -> None:
        """Do nothing: no file is open."""

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    @contextmanager
    def told(self, what: str, path: str) -> Iterator[None]:
        """Let errors of the system become a MediumError that names the file."""
        try:
            yield
        except MediumError:
            raise
        except OSError as error:
            raise MediumError(f"cannot {what} {path}: {error.strerror or error}") from error

    def _manifest_bytes(self) -> bytes | None:
        """The bytes of the manifest, or None if there is none. No writer leaves one without bytes."""
        try:
            descriptor = self._filesystem.open_to_read(self.path(_MANIFEST))
        except FileNotFoundError:
            return None
        try:
            return self._read_all(descriptor, 0, self._filesystem.size(descriptor))
        finally:
            self._filesystem.close(descriptor)

    def _read_all(self, descriptor: int, offset: int, length: int) -> bytes:
        pieces: list[bytes] = []
        while length > 0 and (piece := self._filesystem.read(descriptor, length, offset)):
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.path("manifest.lock")
        descriptor = self._filesystem.open(path, create=True)
        try:
            deadline = time.monotonic() + LOCK_WAIT_S
            while True:
                try:
                    self._filesystem.lock(descriptor)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise MediumError(f"{path} is locked by somebody{self._filesystem.holder(path)}") from None
                time.sleep(POLL_S[0])
            yield
        finally:
            self._filesystem.close(descriptor)


class FolderPresence:
    """The nodes, each by a small file of its own, with the time at which it was written."""

    def __init__(self, folder: str, filesystem: FileSystem) -> None:
        self._folder = folder
        self._filesystem = filesystem
        self._lock = threading.Lock()

    def tell(self, node: Node) -> None:
        path = self._path(node.id)
        data = json.dumps({**node._asdict(), "told_at": time.time()}, sort_keys=True).encode() + b"\n"
        try:
            with self._lock:
                descriptor = self._filesystem.open(f"{path}.tmp", create=True)
                try:
                    self._filesystem.truncate(descriptor, 0)
                    self._filesystem.write(descriptor, data, 0)
                finally:
                    self._filesystem.close(descriptor)
                self._filesystem.rename(f"{path}.tmp", path)
        except OSError as error:
            raise MediumError(f"cannot write {path}: {error.strerror or error}") from error

    def nodes(self) -> list[Node]:
        try:
            ids = [match[1] for match in map(_NODE.fullmatch, self._filesystem.list(self._folder)) if match]
        except OSError as error:
            raise MediumError(f"cannot read the directory {self._folder}: {error.strerror or error}") from error
        return [node for node in map(self._node, ids) if node]

    def leave(self, node_id: str) -> None:
        try:
            with suppress(FileNotFoundError):
                self._filesystem.remove(self._path(node_id))
        except OSError as error:
            raise MediumError(f"cannot remove {self._path(node_id)}: {error.strerror or error}") from error

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _node(self, node_id: str) -> Node | None:
        path = self._path(node_id)
        # It may go, or be replaced, at any time, and a power loss leaves it empty.
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            descriptor = self._filesystem.open_to_read(path)
            try:
                data = self._filesystem.read(descriptor, 4096, 0)
            finally:
                self._filesystem.close(descriptor)
            if abs(time.time() - json.loads(data)["told_at"]) < GONE_S:
                return decode_node(data)
            self._filesystem.remove(path)
        return None

    def _path(self, node_id: str) -> str:
        name = f"node-{node_id}.json"
        if not _NODE.fullmatch(name):
            raise MediumError(f"{node_id!r} can't be a node's name")
        return os.path.join(self._folder, name)


def _tag_of(data: bytes | None) -> str:
    return "" if data is None else hashlib.blake2b(data, digest_size=16).hexdigest()
