"""The command line: `kvserver [FILE] [options]` runs a server, `kvserver check` and its like are subcommands.

This module tells one from the other, chooses the event loop, and turns every expected failure into one line on standard error
and an exit code; it does none of the work. What only subcommands need is imported for them, so that a server starts sooner.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence

import kvserver
from kvserver.cli.signals import Signals
from kvserver.errors import ConfigError, KVServerError, UsageError
from kvserver.log import open_log
from kvserver.options.config import Config, load
from kvserver.options.file import find_files, read_bytes_as_text
from kvserver.server import Server
from kvserver.system import open_standard_descriptors

# The names of the subcommands. What each does is in `subcommands`, which a server's start need not import.
SUBCOMMANDS = (
    "check",
    "restore",
    "log",
    "show",
    "diff",
    "backup",
    "get",
    "dump",
    "apply",
    "compact",
    "import",
    "export",
    "replay",
    "help",
    "completion",
)
# Words that people try, in the hope of a subcommand, and the answer to each.
_RUNS = "`kvserver` alone runs the server, and takes options: kvserver -p 6380 --dir data"
_STOPS = "ctrl-C, SIGTERM or the command SHUTDOWN stops a server: redis-cli SHUTDOWN"
ANSWERS = {
    **dict.fromkeys(("daemon", "launch", "run", "serve", "server", "start", "up"), _RUNS),
    **dict.fromkeys(("down", "kill", "quit", "restart", "shutdown", "stop"), _STOPS),
    **dict.fromkeys(
        ("cli", "client", "connect", "shell"), "redis-cli, or any client of Redis, talks to a server: redis-cli -p 6379"
    ),
    **dict.fromkeys(("info", "ping", "status"), "a server tells it to a client: redis-cli INFO"),
    "version": "`kvserver --version` tells it",
}
# Other words for subcommands.
SAID = {
    "verify": "check",
    "fsck": "check",
    "inspect": "check",
    "vacuum": "compact",
    "completions": "completion",
    "man": "help",
}
EXIT_FAILED = 1
EXIT_USAGE = 2
# The event loop gives way to the threads that write and sync after this time. With Python's 5 ms the journal of a busy server
# would fall megabytes behind what is acknowledged. Measured with everysec: the waits become a sixth, for no more CPU.
SWITCH_INTERVAL_S = 0.0005


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the words of the command line (sys.argv's by default). Returns the exit code: 1 for a failure, 2 for wrong words."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        open_standard_descriptors()
        code = _run(words)
        sys.stdout.flush()
        return code
    except (ConfigError, UsageError) as error:
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
    except SystemExit as left:
        # argparse leaves so when it has printed a help, and a subcommand that a signal has ended.
        return int(left.code or 0)


def _run(words: list[str]) -> int:
    first = words[0] if words else ""
    if first in SUBCOMMANDS:
        from kvserver.cli.subcommands import run

        return run(first, words[1:])
    # These two can't be the value of an option.
    if first == "-h" or "--help" in words:
        from kvserver.cli.subcommands import commands
        from kvserver.cli.topics import usage

        print(usage(commands()))
        return 0
    if first == "-v" or "--version" in words:
        print(f"kvserver {kvserver.__version__}")
        return 0
    if words and not first.startswith("-"):
        _check_file(first)
    return _serve(words)


def _check_file(word: str) -> None:
    """Check that the first word names a file of options. UsageError, with what may be meant, if it doesn't look like one."""
    if os.path.isfile(word) or os.sep in word or word.endswith((".conf", ".toml")):
        return
    if os.path.isdir(word):
        raise UsageError(
            f"{word} is a folder: `kvserver --dir {word}` keeps its data there, `kvserver check {word}` looks at it"
        )
    if not word:
        raise UsageError("an empty word names no command and no file of options")
    if word.isdecimal():
        raise UsageError(f"{word!r} is no command and no file of options; did you mean -p {word}?")
    if answer := ANSWERS.get(word.lower()):
        raise UsageError(f"there is no command {word!r}: {answer}")
    from kvserver.options.suggestions import nearest

    guess = nearest(word.lower(), SUBCOMMANDS, {**SAID, **dict.fromkeys(ANSWERS, "")})
    meant = f"; did you mean {guess}?" if guess else ""
    raise UsageError(f"{word!r} is no command and no file of options{meant} (kvserver --help lists the commands)")


def _give_up_output() -> int:
    """Put /dev/null in the place of standard output, so that Python's exit doesn't fail at the text that is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILED


def _fail(line: str, code: int) -> int:
    print(f"kvserver: {line}", file=sys.stderr)
    return code


def _serve(words: list[str]) -> int:
    config = load(words, os.environ, read_bytes_as_text, find_files)
    if config.file:
        config.file = os.path.abspath(config.file)
    open_log(config)
    if config.logfile and sys.stderr.isatty():
        print(f"kvserver: the log is in {config.logfile}", file=sys.stderr)
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
    server = Server(config, owns_process=True)
    Signals(server).attend()
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
