"""The command line: `kvserver [options]`, `kvserver replay`, `kvserver check`, `kvserver apply`, `kvserver compact`.

This module finds the subcommand, chooses the event loop, and turns every expected failure into one line on standard error
and an exit code; it does none of the work. Each subcommand imports the modules that it needs, so that a server starts sooner.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence

import kvserver
from kvserver.errors import ConfigError, KVServerError, MediumError, UsageError
from kvserver.log import open_log
from kvserver.media.segments import Segments
from kvserver.options.config import Config, load, options_help
from kvserver.options.file import read_text
from kvserver.options.table import BY_NAME
from kvserver.server import Server
from kvserver.system import open_standard_descriptors

USAGE = """usage: kvserver [--OPTION VALUE ...]                 run a server
       kvserver replay FILE.json [--url URL]         run a list of operations, print the results as JSON
       kvserver check DIR [--dbfilename NAME]        list what is in a data folder, and what a start would load;
                                                     exit code 1 if it is damaged
       kvserver check FILE                           the same for one data file, or one segment of a journal
       kvserver apply DIR [--dbfilename NAME]        replay the segments of a journal that a start or RESTORE has put
                                                     aside, after all; no server may be using the folder
       kvserver compact FILE [--keep-frames N]       keep the last N frames (default 3) of a file that no server uses
       kvserver --version | --help

A persistent key-value server that any Redis client can use. Keeps its data in ./kvserver-data.
"""

DBFILENAME = BY_NAME["dbfilename"].default
EXIT_DAMAGED = 1
EXIT_FAILED = 1
EXIT_USAGE = 2
# The event loop gives way to the threads that write and sync after this time. With Python's 5 ms the journal of a busy server
# would fall megabytes behind what is acknowledged. Measured with everysec: the waits become a sixth, for no more CPU.
SWITCH_INTERVAL_S = 0.0005


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the words of the command line (sys.argv's by default), and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = _COMMANDS.get(words[0]) if words else None
    try:
        open_standard_descriptors()
        code = command(words[1:]) if command else _serve(words)
        sys.stdout.flush()
        return code
    except UsageError as error:
        return _fail(f"{error} (kvserver --help tells more)", EXIT_USAGE)
    except ConfigError as error:
        return _fail(str(error), EXIT_USAGE)
    except KVServerError as error:
        return _fail(str(error), EXIT_FAILED)
    except BrokenPipeError:
        # The reader of the output has gone, so that there is nobody to tell.
        return _give_up_output()
    except OSError as error:
        _give_up_output()
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return 130


def _give_up_output() -> int:
    """Put /dev/null in the place of standard output, so that Python's exit doesn't fail at the text that is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILED


def _fail(line: str, code: int) -> int:
    print(f"kvserver: {line}", file=sys.stderr)
    return code


def _serve(words: list[str]) -> int:
    config = load(words, os.environ, read_text)
    if config.file:
        config.file = os.path.abspath(config.file)
    open_log(config)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        return asyncio.Runner(loop_factory=_loop_factory(config)).run(_run_server(config))
    except KVServerError as error:
        # The error goes to the log file, too. Where standard error takes lines of JSON it is one of them, and not told twice.
        if config.logfile or config.log_format == "json":
            logging.getLogger("kvserver").error("%s", error)
        if config.logfile or config.log_format == "text":
            raise
        return EXIT_FAILED


async def _run_server(config: Config) -> int:
    server = Server(config)
    server.stop_on_signals()
    await server.start()
    await server.ended
    return 0


def _loop_factory(config: Config) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if config.uvloop:
        try:
            import uvloop
        except ImportError:
            logging.getLogger("kvserver").info("uvloop is not installed: using asyncio's own event loop")
        else:
            return uvloop.new_event_loop
    return None


def _replay(words: list[str]) -> int:
    from kvserver.cli.replay import replay

    path, url = _one_file(words, "--url")
    try:
        operations = json.loads(read_text(path))
        # The file may be a test vector: an object that has the list, and the expected results.
        if isinstance(operations, dict):
            operations = operations.get("operations")
        if not (isinstance(operations, list) and all(isinstance(operation, list) for operation in operations)):
            raise ValueError('a list of operations is needed, such as [["set", "a", 1], ["get", "a"]]')
        results = replay(operations, url) if url else kvserver.run_operations(operations)
    except (OSError, UnicodeDecodeError) as error:
        return _fail(f"cannot read {path}: {getattr(error, 'strerror', None) or error}", EXIT_FAILED)
    except (ValueError, TypeError) as error:
        return _fail(f"{path}: {error}", EXIT_FAILED)
    print(json.dumps(results, ensure_ascii=False))
    return 0


def _check(words: list[str]) -> int:
    from kvserver.cli.check import check

    path, dbfilename = _one_file(words, "--dbfilename")
    return 0 if check(path, dbfilename or DBFILENAME, print) else EXIT_DAMAGED


def _apply(words: list[str]) -> int:
    path, dbfilename = _one_file(words, "--dbfilename")
    if not os.path.isdir(path):
        raise UsageError(f"{path} is not a folder")
    segments = Segments(os.path.join(path, dbfilename or DBFILENAME))
    # This comes before the opening, which would make a data file in the folder.
    if not (segments.asides() or segments.numbers()):
        raise MediumError(f"no segment of a journal is put aside in {path}")
    with kvserver.ServerFolder(path, dbfilename or DBFILENAME) as folder:
        print(folder.apply_aside())
    return 0


def _compact(words: list[str]) -> int:
    from kvserver.cli.check import compact_file

    path, count = _one_file(words, "--keep-frames")
    if count and not (count.isdecimal() and int(count) > 0):
        raise UsageError("--keep-frames takes a number from 1 on")
    compact_file(path, int(count or "3"), print)
    return 0


def _version(words: list[str]) -> int:
    print(f"kvserver {kvserver.__version__}")
    return 0


def _help(words: list[str]) -> int:
    print(USAGE + "\n" + options_help(), end="")
    return 0


def _one_file(words: list[str], option: str | None) -> tuple[str, str]:
    """The file that the words of a subcommand name, and the value of its option, or an empty text. UsageError otherwise."""
    files, value = [], ""
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        name, equals, given = word.partition("=")
        if option and name == option:
            if not equals and not rest:
                raise UsageError(f"{option} takes a value")
            value = given if equals else rest.pop()
        elif word.startswith("-"):
            raise UsageError(f"unknown option {word}")
        else:
            files.append(word)
    if len(files) != 1:
        raise UsageError(f"one file is needed, not {len(files)}")
    return files[0], value


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "replay": _replay,
    "check": _check,
    "apply": _apply,
    "compact": _compact,
    "--version": _version,
    "--help": _help,
    "-h": _help,
}
