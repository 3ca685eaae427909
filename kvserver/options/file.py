"""The configuration file: a text that is read, and replaced as a whole. Blocks."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable


def read_text(path: str) -> str:
    """The text of a file. OSError, or UnicodeDecodeError for what is not UTF-8."""
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def replace_text(path: str, text: str, sync_folder: Callable[[str], None]) -> None:
    """Give an existing file another text: whoever opens it, also after a crash, finds the old one or the new one.

    `sync_folder` makes the names in a folder durable. OSError, with the file as it was, if that can't be.
    Links are followed; owner and mode stay where the system allows it.
    """
    target = os.path.realpath(path)
    before = os.stat(target)
    folder = os.path.dirname(target)
    import tempfile  # not before it is needed: with all that it imports it takes a start some 10 ms

    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=folder)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
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
