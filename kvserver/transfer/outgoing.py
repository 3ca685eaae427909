"""Outgoing: bytes on their way to a file, which is there as a whole or not at all, or to standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from kvserver.errors import TransferError
from kvserver.formats.encoder import chunks
from kvserver.media.filesystem import FileSystem, sync_names

STANDARD_OUTPUT: Final = "-"


def look_at_file(path: str, *, replaces: bool) -> None:
    """Find out at once if a file can't be written. TransferError if there is one already, unless it is to be replaced."""
    if path == STANDARD_OUTPUT or not os.path.lexists(path):
        return
    if not os.path.isfile(path):
        raise TransferError(f"{path} is not a regular file: `-` writes to standard output")
    if not replaces:
        raise TransferError(f"{path} is there already: --replace replaces it")


def write(path: str, pieces: Iterable[bytes], *, replaces: bool) -> int:
    """Write pieces to a file, or to standard output. Return the number of bytes. TransferError if that fails.

    The file has another name until it is whole and durable, so that nobody ever finds half of it.
    """
    if path == STANDARD_OUTPUT:
        # Whoever runs the program tells of an output that nobody reads.
        return _copy(pieces, sys.stdout.buffer.write)
    look_at_file(path, replaces=replaces)
    folder = os.path.dirname(os.path.abspath(path))
    spare = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}.part")
    try:
        try:
            with open(spare, "xb") as file:
                length = _copy(pieces, file.write)
                file.flush()
                os.fsync(file.fileno())
            if replaces:
                os.replace(spare, path)
            else:
                # Unlike a renaming, this fails where somebody has made a file of this name meanwhile.
                os.link(spare, path)
                os.unlink(spare)
            sync_names(FileSystem(), folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(spare)
            raise
    except FileExistsError as error:
        raise TransferError(f"{error.filename2 or error.filename} is there already") from None
    except (OSError, ValueError) as error:
        raise TransferError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None
    return length


def _copy(pieces: Iterable[bytes], write_bytes: Callable[[bytes], object]) -> int:
    length = 0
    for chunk in chunks(pieces):
        write_bytes(chunk)
        length += len(chunk)
    return length
