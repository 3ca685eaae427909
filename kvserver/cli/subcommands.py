"""The subcommands: the words that each takes, its help, and what runs it.

Only a command line that names one imports this module, and argparse with it: a server starts without.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType

import kvserver
from kvserver.cli import frame, past
from kvserver.cli.signals import unwinding
from kvserver.cli.subcommand import EXIT_DAMAGED, USAGE_IS_WRONG, Subcommand, add_dbfilename, parser_of
from kvserver.errors import MediumError, ReplayError, UsageError
from kvserver.media.segments import Segments
from kvserver.options.config import SHORT
from kvserver.options.file import read_text

SHELLS = ("bash", "zsh", "tcsh")


def run(name: str, words: Sequence[str]) -> int:
    """Run a subcommand with these words, and return the exit code."""
    (subcommand,) = (each for each in SUBCOMMANDS if each.name == name)
    if name == "help":
        # What is asked about may be an option, as it is written on a command line.
        words = [word if word in ("-h", "--help") else SHORT.get(word, word.lstrip("-")) for word in words]
    with unwinding():
        return subcommand.run(parser_of(subcommand).parse(words))


# check


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        metavar="PATH",
        help="a folder of data, a file of it, a segment of its journal, or a URL: of an engine or snapshots",
    )
    add_dbfilename(parser)
    _add_snapshots(parser)


def _add_snapshots(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--snapshots", metavar="URL", default="", help="where an engine's snapshots are, if they are elsewhere"
    )


def _check(given: argparse.Namespace) -> int:
    from kvserver.cli.stored import is_url

    if is_url(given.path):
        from kvserver.cli.check_url import check_url

        return 0 if check_url(given.path, given.snapshots, print) else EXIT_DAMAGED
    from kvserver.cli.check import check

    return 0 if check(given.path, given.dbfilename, print) else EXIT_DAMAGED


# restore


def _add_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="URL|DIR",
        help="an engine (nats://, s3://, file:), a place of snapshots (s3://), or a folder of data with its history",
    )
    parser.add_argument("folder", metavar="NEW", nargs="?", default="", help="a new folder of data, for what is at a URL")
    parser.add_argument(
        "--at",
        metavar="MOMENT",
        default="",
        help="the moment that the folder goes back to: a time, 15m for so long ago, a record or a frame, as log lists them",
    )
    parser.add_argument(
        "--snapshot",
        metavar="NUMBER",
        default="",
        help="an older snapshot, as check lists them, or the beginning of its digest",
    )
    _add_snapshots(parser)
    add_dbfilename(parser)


def _restore(given: argparse.Namespace) -> int:
    from kvserver.cli.restore import restore
    from kvserver.cli.stored import is_url

    if is_url(given.source) and given.folder and not given.at:
        is_whole = restore(given.source, given.snapshots, given.folder, given.dbfilename, given.snapshot, print)
        return 0 if is_whole else EXIT_DAMAGED
    if is_url(given.source) or given.folder or not given.at:
        raise UsageError(
            "restore: it takes the URL of an engine and a new folder, or a folder of data and --at MOMENT "
            "(kvserver restore --help tells more)"
        )
    past.go_back(given.source, given.dbfilename, given.at, print)
    return 0


# apply


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="DIR", help="a folder of data that no server is using")
    add_dbfilename(parser)


def _apply(given: argparse.Namespace) -> int:
    if not os.path.isdir(given.path):
        raise UsageError(f"apply: {given.path} is not a folder (kvserver apply --help tells more)")
    segments = Segments(os.path.join(given.path, given.dbfilename))
    # This comes before the opening, which would make a data file in the folder.
    if not (segments.asides() or segments.numbers()):
        raise MediumError(f"no segment of a journal is put aside in {given.path}")
    with kvserver.ServerFolder(given.path, given.dbfilename) as folder:
        print(folder.apply_aside())
    return 0


# compact


def _add_compact(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", help="a file of snapshots that no server is using")
    parser.add_argument(
        "--keep-frames", metavar="NUMBER", type=_from_one_on, default=3, help="snapshots to keep (default: %(default)s)"
    )


def _from_one_on(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError("it takes a number from 1 on")
    return int(text)


def _compact(given: argparse.Namespace) -> int:
    from kvserver.cli.check import compact_file

    compact_file(given.path, given.keep_frames, print)
    return 0


# import and export


def _moving() -> ModuleType:
    from kvserver.cli import moving

    return moving


# replay


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", help="a JSON file with the list of operations")
    parser.add_argument(
        "--url", help="a server, as redis://127.0.0.1:6379 or unix:///path (default: none, but in this process)"
    )


def _replay(given: argparse.Namespace) -> int:
    path = given.path
    try:
        operations = json.loads(read_text(path))
        # The file may be a test vector: an object that has the list, and the expected results.
        if isinstance(operations, dict):
            operations = operations.get("operations")
        if not (isinstance(operations, list) and all(isinstance(operation, list) for operation in operations)):
            raise ValueError('a list of operations is needed, such as [["set", "a", 1], ["get", "a"]]')
        if given.url:
            from kvserver.cli.replay import replay

            results = replay(operations, given.url)
        else:
            results = kvserver.run_operations(operations)
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except (ValueError, TypeError) as error:
        raise ReplayError(f"{path}: {error}") from None
    print(json.dumps(results, ensure_ascii=False))
    return 0


# help


def _add_help(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "topic", metavar="TOPIC", nargs="?", help="a topic, a command or an option (default: a list of the topics)"
    )


def _help(given: argparse.Namespace) -> int:
    from kvserver.cli.topics import TOPICS, find_topic, list_of_topics

    if given.topic is None:
        show(list_of_topics(TOPICS, commands()))
    elif subcommand := next((each for each in SUBCOMMANDS if each.name == given.topic), None):
        show(parser_of(subcommand).format_help())
    else:
        show(find_topic(given.topic, TOPICS, commands()))
    return 0


def show(text: str) -> None:
    """Print a text; on a terminal, through a pager."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(text)
        return
    import pydoc

    pydoc.pager(text)


# completion


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def _completion(given: argparse.Namespace) -> int:
    from kvserver.cli.completion import script
    from kvserver.cli.topics import TOPICS, list_topics

    rows = [(each.name, each.summary, each.add_arguments) for each in SUBCOMMANDS]
    print(script(given.shell, rows, list_topics(TOPICS)))
    return 0


SUBCOMMANDS = (
    Subcommand(
        "check",
        "list what a folder or a URL has, and what a start would load",
        "List what is in a folder of data, or at a URL, and what a start would load.\n"
        "Nothing is changed, and a server may be using it: what it writes is a torn\n"
        "tail then.",
        ("0 all is well", f"{EXIT_DAMAGED} something is damaged, or can't be read", USAGE_IS_WRONG),
        "kvserver check kvserver-data",
        _add_check,
        _check,
    ),
    Subcommand(
        "restore",
        "bring a backup into a new folder, or go back in time",
        "Bring the newest state that an engine or a store of snapshots has into a new\n"
        "folder, from which a server starts. Nothing is changed where it comes from.\n"
        "Or let the data of a folder that no server is using be what it was at a\n"
        "moment of its history; what is newer stays there, so that this can be undone.",
        (
            "0 the data is there",
            "1 the log is damaged, and the folder has what is before that; or it failed",
            USAGE_IS_WRONG,
        ),
        "kvserver restore s3://bucket/prefix kvserver-data\nkvserver restore kvserver-data --at 2026-11-29T22:54:14Z",
        _add_restore,
        _restore,
    ),
    *past.SUBCOMMANDS,
    *frame.SUBCOMMANDS,
    Subcommand(
        "apply",
        "replay the segments of a journal that were put aside, after all",
        "Replay the segments of a journal that a start or RESTORE has put aside. Of\n"
        "several journals it is the newest, and the next one when this runs again.",
        ("0 they are replayed, and a snapshot is taken of it", "1 there are none, or it failed", USAGE_IS_WRONG),
        "kvserver apply kvserver-data",
        _add_apply,
        _apply,
    ),
    Subcommand(
        "compact",
        "keep the last snapshots of a file",
        "Rewrite a file with its last snapshots, back to the one that the journal\n"
        "beside it goes on from. What a server writes is compacted without this.",
        ("0 the file is rewritten", "1 it failed: the file is as it was", USAGE_IS_WRONG),
        "kvserver compact kvserver-data/dump.kvs --keep-frames 1",
        _add_compact,
        _compact,
    ),
    Subcommand(
        "import",
        "bring in data that Redis has written, or lines of JSON",
        "Bring in a dump.rdb, an appendonly.aof, an appendonlydir or lines of JSON,\n"
        "whose form is told from what is in them, to a folder or a running server.\n"
        "In a folder, all of it is there behind that, or nothing has changed.",
        ("0 it is there", "1 it failed", USAGE_IS_WRONG),
        "kvserver import /var/lib/redis/dump.rdb kvserver-data",
        lambda parser: _moving().add_import(parser),
        lambda given: _moving().run_import(given),
    ),
    Subcommand(
        "export",
        "bring out data as lines of JSON or as commands",
        "Bring out the data of a folder, beside a server that may be using it, or of\n"
        "an engine, as it is at one instant. Each form can be imported again.",
        ("0 it is written", "1 it failed", USAGE_IS_WRONG),
        "kvserver export kvserver-data --jsonl data.jsonl",
        lambda parser: _moving().add_export(parser),
        lambda given: _moving().run_export(given),
    ),
    Subcommand(
        "replay",
        "run a list of operations, print the results as JSON",
        'Run a list of operations, such as [["set", "a", 1], ["get", "a"]], and print\n'
        "the list of results as JSON. The operations are set, get, shutdown, restore\n"
        "and crash, as run_operations of the Python package has them.",
        ("0 the results are printed", "1 an operation, the file or the server failed", USAGE_IS_WRONG),
        "kvserver replay operations.json --url redis://127.0.0.1:6379",
        _add_replay,
        _replay,
    ),
    Subcommand(
        "help",
        "list the topics of help, or show one",
        "List the topics of help, or show one of them. The name of a command shows\n"
        "the command's help, the name of an option what it means.",
        ("0 the text is printed", USAGE_IS_WRONG),
        "kvserver help options",
        _add_help,
        _help,
    ),
    Subcommand(
        "completion",
        "print what lets a shell complete kvserver's words",
        "Print a script that lets a shell complete the words of kvserver. It takes\n"
        "the extra `completion`: pip install 'kvserver[completion]'.",
        ("0 the script is printed", "1 the extra is not installed", USAGE_IS_WRONG),
        "kvserver completion bash > ~/.local/share/bash-completion/completions/kvserver\n"
        "kvserver completion zsh > ~/.zfunc/_kvserver",
        _add_completion,
        _completion,
    ),
)


def commands() -> Iterable[tuple[str, str]]:
    """The names of the subcommands, and a line about each."""
    return [(each.name, each.summary) for each in SUBCOMMANDS]
