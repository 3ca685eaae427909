"""`kvserver import` and `kvserver export`: data is brought in from what others have written, and out as they can read it."""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from kvserver.cli.stored import is_url
from kvserver.data.databases import Databases
from kvserver.errors import TransferError, UsageError
from kvserver.library.folder import DBFILENAME, ServerFolder
from kvserver.options.table import BY_NAME
from kvserver.system import Progress
from kvserver.transfer import outgoing
from kvserver.transfer.connection import Connection, is_server
from kvserver.transfer.exports import EXPORTS
from kvserver.transfer.folder_target import look_at_folder, put_into_folder
from kvserver.transfer.server_target import put_into_server
from kvserver.transfer.sources import load_source
from kvserver.transfer.staging import databases_used, drop_expired

FOLDER: Final = BY_NAME["dir"].default
_MEGABYTE: Final = 1_000_000


def _add_dbfilename(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dbfilename",
        metavar="NAME",
        default=DBFILENAME,
        help="the file of the snapshots in the folder (default: %(default)s)",
    )


# import


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add the words of `kvserver import`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a dump.rdb, an appendonly.aof, an appendonlydir, lines of JSON, - for standard input, or a running redis-server "
        "(redis://, rediss://)",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        default=FOLDER,
        help="a folder of data that no server is using, or a server: redis://, rediss://, unix:// (default: %(default)s)",
    )
    parser.add_argument("--replace", action="store_true", help="replace keys that are there already")
    _add_dbfilename(parser)
    takeover = parser.add_argument_group("where both are servers: the target follows the source, and then takes over")
    takeover.add_argument("--switch", action="store_true", help="take over as soon as the target is near")
    takeover.add_argument(
        "--no-pause", action="store_true", help="let the source take writes meanwhile, the last of which are lost"
    )
    takeover.add_argument(
        "--pause-limit",
        metavar="SECONDS",
        type=_seconds,
        default=10.0,
        help="how long the source holds writes at most (default: 10)",
    )


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text) or not float(text):
        raise argparse.ArgumentTypeError("it takes a number of seconds")
    return float(text)


def _run_takeover(given: argparse.Namespace) -> int:
    from kvserver.cli.takeover import Orders, Terminal, take_over

    orders = Orders(given.switch, not given.no_pause, given.pause_limit, given.replace)
    take_over(given.source, given.target, orders, Terminal())
    return 0


def run_import(given: argparse.Namespace) -> int:
    """Run `kvserver import`."""
    source, target, replaces = given.source, given.target, given.replace
    to_server = is_server(target)
    if to_server and is_server(source):
        return _run_takeover(given)
    if given.switch or given.no_pause:
        raise UsageError("import: a switch is from a running server to another one (kvserver import --help tells more)")
    if not to_server and is_url(target):
        raise UsageError(f"import: {target} is neither a folder nor a server (kvserver import --help tells more)")
    # A target that can't be used is told before a long source is read.
    if to_server:
        Connection(target).close()
    else:
        look_at_folder(target)
    started_at = time.perf_counter()
    # All that comes in is data, and no garbage: to look through it would take most of the time.
    gc.disable()
    try:
        staging, read_bytes = load_source(source)
        databases = staging.databases
        told = _count(databases)
        highest = max((keyspace.number for keyspace in databases if len(keyspace)), default=0)
        if to_server:
            put_into_server(staging, target, replaces=replaces)
        else:
            put_into_folder(staging, target, given.dbfilename, replaces=replaces)
    finally:
        gc.enable()
    seconds = time.perf_counter() - started_at
    for note in staging.notes:
        print(note)
    if staging.expired:
        print(f"left out: {_number(staging.expired, 'key')} that {'has' if staging.expired == 1 else 'have'} expired")
    if not to_server and highest >= int(BY_NAME["databases"].default):
        print(f"there are keys in the database {highest}: a server takes --databases {highest + 1} to select it")
    print(f"imported {told}: {read_bytes / _MEGABYTE:.1f} MB in {seconds:.1f} s, {read_bytes / _MEGABYTE / seconds:.1f} MB/s")
    return 0


def _count(databases: Databases) -> str:
    keys, used, libraries = databases.key_count, databases_used(databases), len(databases.libraries)
    return f"{_number(keys, 'key')} of {_number(used, 'database')} and {_number(libraries, 'function library')}"


def _number(count: int, what: str) -> str:
    if count == 1:
        return f"1 {what}"
    return f"{count} {what[:-1]}ies" if what.endswith("y") and what != "key" else f"{count} {what}s"


# export


def add_export(parser: argparse.ArgumentParser) -> None:
    """Add the words of `kvserver export`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        default=FOLDER,
        help="a folder of data, which a server may be using, or a URL of an engine or of snapshots (default: %(default)s)",
    )
    forms = parser.add_mutually_exclusive_group(required=True)
    for each in EXPORTS:
        forms.add_argument(f"--{each.name}", metavar="FILE", nargs="?", const=outgoing.STANDARD_OUTPUT, help=each.about)
    parser.add_argument("--replace", action="store_true", help="replace a file that is there already")
    parser.add_argument(
        "--snapshots", metavar="URL", default="", help="where an engine's snapshots are, if they are elsewhere"
    )
    _add_dbfilename(parser)


def run_export(given: argparse.Namespace) -> int:
    """Run `kvserver export`."""
    export, path = next((each, getattr(given, each.name)) for each in EXPORTS if getattr(given, each.name) is not None)
    outgoing.look_at_file(path, replaces=given.replace)
    with _data_at(given.source, given.snapshots, given.dbfilename) as databases:
        drop_expired(databases)
        with Progress("writing", lambda: databases.key_count) as progress:
            length = outgoing.write(path, export.pieces(databases, progress.update), replaces=given.replace)
        # Standard output may have the data.
        print(f"exported {_count(databases)}: {length / _MEGABYTE:.1f} MB", file=sys.stderr)
    return 0


@contextmanager
def _data_at(source: str, snapshots: str, dbfilename: str) -> Iterator[Databases]:
    """The data of a folder, or at a URL, as it is at one instant. TransferError or MediumError if there is none."""
    with ExitStack() as stack:
        if is_url(source):
            from kvserver.cli.restore import restore

            place = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(prefix="kvserver-")), "data")
            if not restore(source, snapshots, place, dbfilename, "", lambda line: print(line, file=sys.stderr)):
                raise TransferError(f"the log at {source} is damaged: nothing was exported")
        elif os.path.isdir(source):
            place = source
        else:
            raise TransferError(f"{source} is not a folder of data")
        folder = stack.enter_context(ServerFolder(place, dbfilename, read_only=True))
        if not (folder.recovered.frame or folder.recovered.segments):
            raise TransferError(f"there is no data in {source}")
        yield folder.databases
