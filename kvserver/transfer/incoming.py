"""Incoming: the bytes of a file, or of standard input, on their way in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, Self

from kvserver.errors import TransferError

CHUNK_BYTES: Final = 1 << 18
STANDARD_INPUT: Final = "-"


class Incoming:
    """Bytes that are read once, in chunks. `name` is what messages call it. Use it in a `with` statement.

    `report` is told the number of bytes that were read, again and again. TransferError if they can't be read.
    """

    def __init__(self, name: str, file: BinaryIO, report: Callable[[int], None]) -> None:
        self.name = name
        self.read_bytes = 0
        self._file = file
        self._report = report
        self._first: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def first(self) -> bytes:
        """The first bytes, by which it is told what this is; empty if there are none. They come again in `chunks`."""
        if self._first is None:
            self._first = self._read()
        return self._first

    def chunks(self) -> Iterator[bytes]:
        """Yield all bytes."""
        chunk, self._first = self.first(), b""
        while chunk:
            self.read_bytes += len(chunk)
            yield chunk
            self._report(len(chunk))
            chunk = self._read()

    def _read(self) -> bytes:
        try:
            return self._file.read(CHUNK_BYTES)
        except OSError as error:
            raise TransferError(f"cannot read {self.name}: {error.strerror or error}") from None


def open_incoming(path: str, report: Callable[[int], None]) -> Incoming:
    """The bytes of the file at a path, or of standard input. TransferError if it is no file, or can't be read."""
    if path == STANDARD_INPUT:
        return Incoming("standard input", sys.stdin.buffer, report)
    try:
        # This comes before the opening, since to open a FIFO waits for its other end.
        if os.path.exists(path) and not os.path.isfile(path):
            raise TransferError(f"{path} is not a regular file")
        return Incoming(path, open(path, "rb"), report)
    except OSError as error:
        raise TransferError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise TransferError(f"cannot read {path!r}: this is no name of a file") from None


def size_of(path: str) -> int:
    """The size in bytes of the file at a path, or 0 if nobody knows it."""
    try:
        return 0 if path == STANDARD_INPUT else os.path.getsize(path)
    except (OSError, ValueError):
        return 0
