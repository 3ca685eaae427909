"""The sources: what can be brought in, and how it is told from its content what something is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NamedTuple

from kvserver.errors import SourceInvalid, TransferError
from kvserver.formats import rdb_file
from kvserver.formats.frame import MAGIC
from kvserver.system import Progress
from kvserver.transfer import aof_source, json_lines_source, running_source
from kvserver.transfer.connection import is_server
from kvserver.transfer.incoming import STANDARD_INPUT, Incoming, open_incoming, size_of
from kvserver.transfer.staging import Staging


class Form(NamedTuple):
    """A form in which data is kept in a file: the bytes that a file of it begins with, and what brings it in."""

    first: tuple[bytes, ...]
    load: Callable[[Incoming, Staging], None]


FORMS: Final = (
    Form((rdb_file.MAGIC,), aof_source.load_file),
    Form((b"*", b"#"), aof_source.load_file),
    Form((b"{",), json_lines_source.load),
)
_OURS: Final = "it is a file of kvserver's own: a server starts with it in its folder, as dump.kvs"


def load_source(path: str) -> tuple[Staging, int]:
    """All that a source has, and the number of bytes that were read.

    The source is a file, `-` for standard input, a folder of append-only files, or the URL of a running redis-server.
    TransferError, in one line that names it, if it can't be read, or is none of these.
    """
    if is_server(path):
        return _load_server(path)
    is_folder = path != STANDARD_INPUT and os.path.isdir(path)
    paths = aof_source.files_in(path) if is_folder else [path]
    total_bytes = sum(map(size_of, paths))
    staging, done = Staging(), 0
    with Progress(f"reading {path}", lambda: total_bytes) as progress:

        def report(length: int) -> None:
            nonlocal done
            done += length
            if total_bytes:
                progress.update(done)

        if is_folder:
            aof_source.load_files(paths, staging, report)
        else:
            _load_file(path, staging, report)
        try:
            staging.finish()
        except SourceInvalid as invalid:
            raise SourceInvalid(f"{path}: {invalid}") from None
    return staging, done


def _load_server(url: str) -> tuple[Staging, int]:
    staging, total_bytes = Staging(), 0
    with Progress("reading", lambda: total_bytes) as progress:

        def report(done: int, total: int) -> None:
            nonlocal total_bytes
            total_bytes = total
            if total:
                progress.update(done)

        read_bytes = running_source.load(url, staging, report)
    staging.finish()
    return staging, read_bytes


def _load_file(path: str, staging: Staging, report: Callable[[int], None]) -> None:
    with open_incoming(path, report) as incoming:
        first = incoming.first().lstrip(b" \t\r\n")
        # An export of nothing is an empty file.
        if not first:
            return
        form = next((form for form in FORMS if first.startswith(form.first)), None)
        if form is None:
            reason = _OURS if first.startswith(MAGIC) else "it is no RDB file, no append-only file and no lines of JSON"
            raise TransferError(f"{incoming.name}: {reason}")
        try:
            form.load(incoming, staging)
        except SourceInvalid as invalid:
            raise SourceInvalid(f"{incoming.name}: {invalid}") from None
