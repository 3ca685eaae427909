"""`kvserver log`, `show`, `diff`, `backup`, and `restore DIR --at`: the history of a folder of data, without a server.

All but the last change nothing in the folder, and a server may be using it. Results are lines of text for `print_line`, or the
bytes of a payload.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from typing import Final

from kvserver import ServerFolder
from kvserver.cli.subcommand import EXIT_DAMAGED, USAGE_IS_WRONG, Subcommand, add_dbfilename
from kvserver.data.databases import Databases
from kvserver.data.differences import differences
from kvserver.errors import HistoryError, MediumError, UsageError
from kvserver.formats.encoder import encode
from kvserver.formats.moment import show_time
from kvserver.formats.names import name_of
from kvserver.library.past import PastFolder
from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.patterns import key_matcher
from kvserver.persistence.changes import Change
from kvserver.persistence.past import Past
from kvserver.system import now_ms
from kvserver.transfer.folder_target import new_folder
from kvserver.types import TAGGED

Print = Callable[[str], None]

# A longer word of a command is cut.
_SHOWN_CHARACTERS: Final = 200
_MOST_DIGITS: Final = 9


def log_frames(history: PastFolder, print_line: Print) -> None:
    """Print a line for each frame that can be gone back to, the newest first. HistoryError if there is none."""
    frames = history.frames()
    if not frames:
        raise HistoryError("there are no frames, and no history")
    for frame in reversed(frames):
        time = show_time(frame.time_ms) if frame.time_ms >= 0 else "-" * len(show_time(0))
        keys = f"{frame.keys} keys" if frame.keys >= 0 else "keys not known"
        then = "any time behind it" if frame.is_linked else "alone"
        print_line(f"{frame.id}  {time}  {keys}, {frame.bytes} bytes, {then}")


def log_key(history: PastFolder, key: bytes, database: int, count: int, print_line: Print) -> None:
    """Print a line for each of the last changes of a key, the newest first."""
    for change in history.changes(key, database, count):
        time = show_time(change.time_ms) if change.time_ms else "-" * len(show_time(0))
        print_line(f"{change.id}  {time}  {_told(change)}")


def _told(change: Change) -> str:
    calls = [" ".join(map(_word, request)) for request in change.requests]
    return "; ".join(calls) or "(all data became that of a frame)"


def _word(word: bytes) -> str:
    text = name_of(word)
    text = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return text if text.isprintable() and text and " " not in text else repr(text)


def drop_due(past: Past) -> Databases:
    """The data of a past without the keys that had expired then."""
    for _ in past.drop_due(past.time_ms):
        pass
    return past.databases


def payload_of(databases: Databases) -> Iterator[bytes]:
    """The payload of a frame that has this data, in pieces."""
    frozen = databases.cut()
    return encode(frozen.cuts, TAGGED, frozen.libraries)


def member_of(databases: Databases, key: bytes, database: int) -> bytes | None:
    """The JSON by which a key's entry stands in a payload, or None if the key is missing."""
    entry = databases[database].peek(key)
    return None if entry is None else b"".join(TAGGED.encode_long(entry))


def diff(history: PastFolder, first: str, second: str, pattern: bytes, database: int, print_line: Print) -> None:
    """Print a line for each key that is not the same at two moments."""
    one, other = history.at(first).databases[database], history.at(second).databases[database]
    found = sorted(change for change in differences(one, other, key_matcher(pattern)) if change)
    for key, what in found:
        print_line(f"{what.decode():7}  {_word(key)}")


def go_back(path: str, dbfilename: str, moment: str, print_line: Print) -> None:
    """Let the data of a folder that nobody uses be what it was at a moment. HistoryError or MediumError, with it as it was."""
    _must_be_folder("restore", path)
    with ServerFolder(path, dbfilename) as folder:
        past = PastFolder(path, dbfilename).at(moment)
        # What has expired since then would go at the next start.
        for _ in past.drop_due(now_ms()):
            pass
        before = folder.databases.key_count
        folder.databases.replace(past.databases.give())
        folder.databases.libraries.replace(past.databases.libraries.copy())
        count = folder.databases.key_count
        folder.append(payload_of(folder.databases), count)
    print_line(f"{path} has {count} keys of {_moment(past)} now, in place of {before}")


def back_up(path: str, dbfilename: str, target: str, print_line: Print) -> None:
    """Write the present data of a folder, as a server has it at one instant, to a new folder. MediumError if that fails.

    The new folder has another name until it is whole and durable, so that nobody ever takes half of it for a backup.
    """
    if not target:
        raise UsageError("backup: an empty word names no folder (kvserver backup --help tells more)")
    _must_be_folder("backup", path)
    if os.path.lexists(target):
        raise MediumError(f"{target} is there already: name a new folder")
    place, name = os.path.split(os.path.abspath(target))
    spare = os.path.join(place, f".{name}.{os.getpid()}.part")
    with ServerFolder(path, dbfilename, read_only=True) as folder, new_folder(spare, dbfilename) as copy:
        copy.databases.replace(folder.databases.give())
        copy.databases.libraries.replace(folder.databases.libraries.copy())
        count = copy.databases.key_count
        copy.append(payload_of(copy.databases), count)
        try:
            os.rename(spare, target)
            sync_names(FileSystem(), place)
        except OSError as error:
            raise MediumError(f"cannot name the new folder {target}: {error.strerror or error}") from None
    print_line(f"{target} has the {count} keys of {path}")


def _moment(past: Past) -> str:
    return show_time(past.time_ms) if past.time_ms else "the frame"


def _must_be_folder(name: str, path: str) -> None:
    if not os.path.isdir(path):
        raise UsageError(f"{name}: {path} is not a folder (kvserver {name} --help tells more)")


def _key_of(word: str) -> bytes:
    """The key that a word of the command line means."""
    return os.fsencode(word)


# The words


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="DIR", help="a folder of data")
    add_dbfilename(parser)


def add_database(parser: argparse.ArgumentParser) -> None:
    """Let a subcommand take the number of a database."""
    parser.add_argument(
        "-n", "--database", metavar="NUMBER", type=_number, default=0, help="a database (default: %(default)s)"
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise argparse.ArgumentTypeError("it takes a number")
    return int(text)


def _add_log(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    parser.add_argument("key", metavar="KEY", nargs="?", help="a key (default: a list of the frames)")
    parser.add_argument("--count", metavar="NUMBER", type=_number, default=10, help="changes to list (default: %(default)s)")
    add_database(parser)


def _log(given: argparse.Namespace) -> int:
    _must_be_folder("log", given.path)
    history = PastFolder(given.path, given.dbfilename)
    if given.key is None:
        log_frames(history, print)
    else:
        log_key(history, _key_of(given.key), given.database, max(given.count, 1), print)
    return 0


def _add_show(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    parser.add_argument("moment", metavar="MOMENT", help="a time, 15m for so long ago, a record or a frame, as log lists them")
    parser.add_argument("key", metavar="KEY", nargs="?", help="a key (default: all data)")
    add_database(parser)


def _show(given: argparse.Namespace) -> int:
    _must_be_folder("show", given.path)
    databases = drop_due(PastFolder(given.path, given.dbfilename).at(given.moment))
    out = sys.stdout.buffer
    if given.key is None:
        for piece in payload_of(databases):
            out.write(piece)
    else:
        member = member_of(databases, _key_of(given.key), given.database)
        if member is None:
            raise HistoryError(f"there is no key {given.key!r} at that moment")
        out.write(member)
    out.write(b"\n")
    out.flush()
    return 0


def _add_diff(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    parser.add_argument("first", metavar="MOMENT", help="a time, 15m for so long ago, a record or a frame, as log lists them")
    parser.add_argument("second", metavar="MOMENT", help="a later one, or an earlier")
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", default="*", help="the keys to look at (default: all)")
    add_database(parser)


def _diff(given: argparse.Namespace) -> int:
    _must_be_folder("diff", given.path)
    history = PastFolder(given.path, given.dbfilename)
    diff(history, given.first, given.second, _key_of(given.pattern), given.database, print)
    return 0


def _add_backup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="URL|DIR", help="a folder of data, or an engine (nats://, s3://, file:)")
    parser.add_argument("target", metavar="NEW", help="a new folder of data")
    add_dbfilename(parser)


def _backup(given: argparse.Namespace) -> int:
    from kvserver.cli.stored import is_url

    if is_url(given.path):
        from kvserver.cli.restore import restore

        return 0 if restore(given.path, "", given.target, given.dbfilename, "", print) else EXIT_DAMAGED
    back_up(given.path, given.dbfilename, given.target, print)
    return 0


SUBCOMMANDS: Final = (
    Subcommand(
        "log",
        "list the frames of a folder's history, or the changes of a key",
        "List the frames that a folder of data can go back to, the newest first, or\n"
        "what was written to a key. A server may be using the folder.",
        ("0 they are listed", "1 there is no history, or it is damaged", USAGE_IS_WRONG),
        "kvserver log kvserver-data\nkvserver log kvserver-data user:1 --count 3",
        _add_log,
        _log,
    ),
    Subcommand(
        "show",
        "print the data of a moment, or a key of it, as JSON",
        "Print the data of a folder as it was at a moment, or one key of it, as it\n"
        "stands in a frame. A server may be using the folder.",
        ("0 it is printed", "1 there is no such moment or key, or it can't be read", USAGE_IS_WRONG),
        "kvserver show kvserver-data 15m user:1",
        _add_show,
        _show,
    ),
    Subcommand(
        "diff",
        "list the keys that are not the same at two moments",
        "List the keys of a folder of data that are not the same at two moments of its\n"
        "history. A server may be using the folder.",
        ("0 they are listed", "1 there is no such moment, or it can't be read", USAGE_IS_WRONG),
        "kvserver diff kvserver-data 2026-11-29T22:54:14Z 0s 'user:*'",
        _add_diff,
        _diff,
    ),
    Subcommand(
        "backup",
        "copy the data of one instant into a new folder",
        "Copy the data of a folder, which a server may be using, or that of an engine,\n"
        "into a new folder, from which a server starts: the data of one instant.",
        ("0 the new folder is there", "1 it failed, or an engine's log is damaged", USAGE_IS_WRONG),
        "kvserver backup kvserver-data /backups/today",
        _add_backup,
        _backup,
    ),
)
