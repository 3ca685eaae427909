"""The folder of a server's data as a target: what comes in is one new frame at the end, there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from kvserver.data.databases import Databases, Frozen
from kvserver.data.entries import Expiring
from kvserver.errors import MediumLocked, TransferError, UsageError
from kvserver.formats.encoder import encode
from kvserver.library.folder import ServerFolder
from kvserver.media.lease import FolderLease
from kvserver.system import Progress
from kvserver.transfer.staging import Staging, shown
from kvserver.types import TAGGED

TAKEN: Final = "nothing was imported; --replace replaces what is there"


def look_at_folder(path: str) -> None:
    """Find out at once if a folder can't be a target, since a server or somebody else is using it. MediumError then.

    Nothing is made, and nothing in the folder is touched. UsageError for an empty word, which is no name of a folder.
    """
    if not path:
        raise UsageError("import: an empty word names no folder (kvserver import --help tells more)")
    if not os.path.lexists(path):
        return
    try:
        FolderLease(path).release()
    except MediumLocked as locked:
        raise MediumLocked(f"{locked}: the URL of a server is a target, too") from None


@contextmanager
def new_folder(path: str, dbfilename: str) -> Iterator[ServerFolder]:
    """The folder of data at a path, opened. If the block fails, it is removed, unless it was there before."""
    is_new = not os.path.lexists(path)
    with ServerFolder(path, dbfilename) as folder:
        # Somebody else may have made it meanwhile.
        is_new = is_new and not (folder.recovered.frame or folder.recovered.segments)
        try:
            yield folder
        except BaseException:
            # Nobody else comes in here, since the folder is still locked.
            if is_new:
                _remove(folder.path, dbfilename)
            raise


def _remove(path: str, dbfilename: str) -> None:
    with suppress(OSError):
        for name in os.listdir(path):
            if name == dbfilename or name.startswith(f"{dbfilename}."):
                os.remove(os.path.join(path, name))
        os.rmdir(path)


def put_into_folder(staging: Staging, path: str, dbfilename: str, *, replaces: bool) -> None:
    """Add what has come in to the data in a folder, which is created if there is none. The staging is used up.

    TransferError for a key that is there already, unless it `replaces` such ones; MediumError if the folder can't be read or
    written. Either way its data is as it was.
    """
    with new_folder(path, dbfilename) as folder:
        if not replaces:
            _refuse_taken(staging.databases, folder.databases)
        _move(staging, folder.databases)
        frozen = folder.cut()
        try:
            with Progress(f"writing to {path}", lambda: len(frozen)) as progress:
                folder.append(_pieces(frozen, progress), len(frozen))
        finally:
            for _ in frozen.fold():
                pass


def _pieces(frozen: Frozen, progress: Progress) -> Iterator[bytes]:
    for piece in encode(frozen.cuts, TAGGED, frozen.libraries):
        progress.update(frozen.keys_encoded)
        yield piece


def _refuse_taken(coming: Databases, present: Databases) -> None:
    for name, text in coming.libraries.copy().items():
        if present.libraries.get(name) not in (None, text):
            raise TransferError(f"there is a function library {shown(name)} already: {TAKEN}")
    for keyspace in coming:
        there = present[keyspace.number]
        taken = [key for key, _ in keyspace.members() if there.peek_live(key) is not None] if len(there) else []
        if taken:
            raise TransferError(f"there is a key {shown(min(taken))} in the database {keyspace.number} already: {TAKEN}")


def _move(staging: Staging, present: Databases) -> None:
    present.libraries.replace(present.libraries.copy() | staging.databases.libraries.copy())
    for keyspace in staging.databases:
        target = present[keyspace.number]
        for shard in keyspace.replace([{} for _ in range(keyspace.shard_count)]):
            # The entries leave the one dict as they come into the other.
            while shard:
                key, entry = shard.popitem()
                if type(entry) is Expiring:
                    target.set_expiring(key, entry.value, entry.expires_at_ms)
                else:
                    target.set(key, entry)
