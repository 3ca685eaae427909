"""Files of options on the disk: their texts are read, and replaced as a whole. Calls block; no text is looked into."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable


def read_text(path: str) -> str:
    """The text of a file, with its line ends as they are. OSError, or UnicodeDecodeError if the file is not UTF-8."""
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def read_bytes_as_text(path: str) -> str:
    """The same, where bytes that are not UTF-8 come as lone surrogates, and without a mark of the order of bytes (BOM).

    Redis's own files may hold any bytes, and editors put such a mark at the beginning.
    """
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        return file.read()


def read_bytes(path: str) -> bytes:
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def find_files(pattern: str) -> list[str]:
    """The paths that a pattern with wildcards stands for, in the order of their names."""
    import glob

    return sorted(glob.glob(pattern))


def replace_text(path: str, text: str, sync_folder: Callable[[str], None], *, may_be_new: bool = False) -> None:
    """Give an existing file another text. A reader finds the old text or the new one, also after a crash.

    `sync_folder` makes the names in a folder durable. Symbolic links are followed. Owner and mode are kept; a file that
    `may_be_new` is made, for its owner alone. OSError, with the file as it was, if the new text can't be put in its place.
    """
    target = os.path.realpath(path)
    try:
        before = os.stat(target)
    except FileNotFoundError:
        if not may_be_new:
            raise
        before = None
    folder = os.path.dirname(target)
    # Measured: with the modules that tempfile imports, a start would take some 10 ms longer.
    import tempfile

    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=folder)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            if before:
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_folder(folder)
