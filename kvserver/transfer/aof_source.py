"""An append-only file of redis-server as a source: a single one, or the files of a folder in the order of their manifest.

A single file and a base may begin with an RDB file, or be one. What a crash has left at the very end is left out, with a note,
as redis-server does: a command that is not whole, or a transaction without its end. Damage before that is an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from kvserver.errors import SourceInvalid, TransferError
from kvserver.formats.aof import AOFReader
from kvserver.formats.aof_manifest import MOST_BYTES, files_of
from kvserver.formats.rdb_file import MAGIC
from kvserver.transfer import rdb_source
from kvserver.transfer.aof_run import AOFRun
from kvserver.transfer.incoming import Incoming, open_incoming
from kvserver.transfer.staging import Staging

SUFFIX: Final = ".manifest"
# Where redis-server has its append-only files, below the folder of its data.
SUBFOLDER: Final = "appendonlydir"
# What redis-server puts before the name of a file that is not whole yet. It stays where that is killed.
TEMPORARY: Final = "temp-"


def load_file(incoming: Incoming, staging: Staging) -> None:
    """Bring in a single file. SourceInvalid if it is damaged."""
    run = AOFRun(staging)
    _load_one(incoming, run, staging, is_last=True)
    run.end()


def load_files(paths: list[str], staging: Staging, report: Callable[[int], None]) -> None:
    """Bring in files, each on what is there behind the one before. SourceInvalid, which names the file, if one is damaged."""
    run = AOFRun(staging)
    for place, path in enumerate(paths, 1):
        with open_incoming(path, report) as incoming:
            try:
                _load_one(incoming, run, staging, is_last=place == len(paths))
            except SourceInvalid as invalid:
                raise SourceInvalid(f"{path}: {invalid}") from None
    run.end()


def _load_one(incoming: Incoming, run: AOFRun, staging: Staging, *, is_last: bool) -> None:
    run.begin_file()
    chunks = incoming.chunks()
    reader = AOFReader()
    if incoming.first().startswith(MAGIC):
        rest = rdb_source.load(chunks, staging)
        reader = AOFReader(incoming.read_bytes - len(rest))
        for batch in reader.feed(rest):
            run.run(batch)
    for chunk in chunks:
        for batch in reader.feed(chunk):
            run.run(batch)
    for batch in reader.finish():
        run.run(batch)
    begun_at = run.open_since
    torn_bytes = reader.torn_bytes
    if begun_at is None and not torn_bytes:
        return
    what = "a transaction" if begun_at is not None else "a command"
    start = reader.position if begun_at is None else begun_at
    if not is_last:
        raise SourceInvalid(f"damaged at offset {start}: {what} has no end, and there are files behind this one")
    length = reader.position + torn_bytes - start
    staging.notes.append(
        f"left out: {length} bytes at offset {start} of {incoming.name}, at its end: {what} that is not whole"
    )


def files_in(folder: str) -> list[str]:
    """The paths of the files in a folder, in the order in which they are read. TransferError if it has no manifest."""
    below = os.path.join(folder, SUBFOLDER)
    try:
        found = {name for name in os.listdir(folder) if name.endswith(SUFFIX)}
        names = sorted(found - {TEMPORARY + name for name in found})
        if not names and os.path.isdir(below):
            return files_in(below)
    except OSError as error:
        raise TransferError(f"cannot read {folder}: {error.strerror or error}") from None
    if len(names) != 1:
        reason = f"has several manifests: {', '.join(names)}" if names else f"has no manifest, which ends in {SUFFIX}"
        raise TransferError(f"the folder {folder} {reason}")
    path = os.path.join(folder, names[0])
    with open_incoming(path, lambda length: None) as incoming:
        manifest = b""
        with suppress(StopIteration):
            chunks = incoming.chunks()
            while len(manifest) <= MOST_BYTES:
                manifest += next(chunks)
    try:
        return [os.path.join(folder, name) for name in files_of(manifest[:MOST_BYTES])]
    except SourceInvalid as invalid:
        raise SourceInvalid(f"{path}: {invalid}") from None
