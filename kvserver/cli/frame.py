"""`kvserver get` and `kvserver dump`: the data of one frame of a file, as JSON. Nothing is changed, and nothing is locked."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final

from kvserver.cli.past import add_database, member_of, payload_of
from kvserver.cli.subcommand import USAGE_IS_WRONG, Subcommand
from kvserver.data.databases import Databases
from kvserver.errors import MediumError
from kvserver.formats.scan import Scan, scan
from kvserver.media.filesystem import FileSystem
from kvserver.media.readonly import ReadOnlyFile
from kvserver.persistence.workplace import Here, drive, finish
from kvserver.system import Progress, now_ms
from kvserver.types import TAGGED


def data_of(path: str, frame: str) -> Databases:
    """The data of the last valid frame of a file, or of the one whose digest begins with these hex digits.

    MediumError if the file can't be read, or there is no such frame.
    """
    try:
        file = ReadOnlyFile(path, FileSystem())
    except FileNotFoundError:
        raise MediumError(f"there is no file {path}") from None
    try:
        digest = _digest(path, file, frame) if frame else ""
        result = _scan(path, file, load=True, digest=digest)
    finally:
        file.close()
    if result.loaded is None or result.data is None or (digest and result.loaded.digest != digest):
        raise MediumError(f"{path} has no valid frame: {result.reason or 'it is empty'}")
    databases = Databases(now_ms)
    databases.replace(result.data.shards)
    databases.libraries.replace(result.data.libraries)
    return databases


def _digest(path: str, file: ReadOnlyFile, frame: str) -> str:
    found = {each.digest for each in _scan(path, file, load=False).frames if each.digest.startswith(frame)}
    if len(found) != 1:
        raise MediumError(f"{path} has {len(found)} frames whose digest begins with {frame}: `kvserver check` lists them")
    return found.pop()


def _scan(path: str, file: ReadOnlyFile, *, load: bool, digest: str = "") -> Scan:
    size = file.size()
    with Progress(f"reading {path}", lambda: size) as progress:
        return finish(drive(scan(size, TAGGED, load, digest), file, Here(), progress.update))


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", help="a file of frames, such as kvserver-data/dump.kvs")


def _add_frame(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--frame", metavar="DIGEST", default="", help="the beginning of a frame's digest (default: the last valid frame)"
    )


def _add_get(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    parser.add_argument("key", metavar="KEY")
    _add_frame(parser)
    add_database(parser)


def _get(given: argparse.Namespace) -> int:
    member = member_of(data_of(given.path, given.frame), os.fsencode(given.key), given.database)
    if member is None:
        raise MediumError(f"there is no key {given.key!r} in the frame")
    sys.stdout.buffer.write(member + b"\n")
    sys.stdout.buffer.flush()
    return 0


def _add_dump(parser: argparse.ArgumentParser) -> None:
    _add_file(parser)
    _add_frame(parser)


def _dump(given: argparse.Namespace) -> int:
    for piece in payload_of(data_of(given.path, given.frame)):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    return 0


SUBCOMMANDS: Final = (
    Subcommand(
        "get",
        "print a key of a frame as JSON",
        "Print a key as it stands in the last valid frame of a file, or in another one.",
        ("0 it is printed", "1 there is no such key or frame, or the file can't be read", USAGE_IS_WRONG),
        "kvserver get kvserver-data/dump.kvs user:1",
        _add_get,
        _get,
    ),
    Subcommand(
        "dump",
        "print all data of a frame as JSON",
        "Print the data of the last valid frame of a file, or of another one, as the\nJSON object that the frame holds.",
        ("0 it is printed", "1 there is no such frame, or the file can't be read", USAGE_IS_WRONG),
        "kvserver dump kvserver-data/dump.kvs | python -m json.tool",
        _add_dump,
        _dump,
    ),
)
