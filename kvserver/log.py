"""The log of a server: lines of text or of JSON, on standard error or in a file.

A line that can't be written is lost, which is told once on standard error. No code that logs ever fails because of the log.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import suppress

from kvserver.errors import ConfigError
from kvserver.options.config import Config

TEXT_TIME = "%d %b %Y %H:%M:%S"
TERMINAL_TIME = "%H:%M:%S"
JSON_TIME = "%Y-%m-%dT%H:%M:%S"
LEVELS = {"debug": logging.DEBUG, "verbose": logging.DEBUG, "notice": logging.INFO, "warning": logging.WARNING}


def open_log(config: Config) -> None:
    """Begin the log at the place and in the form of the options. ConfigError if the file can't be opened."""
    try:
        handler = LogFile(config.logfile) if config.logfile else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise ConfigError(f"cannot open the log file {config.logfile}: {error.strerror}") from None
    handler.setFormatter(
        JSONLines() if config.log_format == "json" else terminal_lines() if is_on_terminal(config) else text_lines()
    )
    for name in ("kvserver", "asyncio"):
        log = logging.getLogger(name)
        log.addHandler(handler)
        log.propagate = False
    set_level(config.loglevel)


def set_level(name: str) -> None:
    """Log records of this level and above. The names of levels are Redis's."""
    logging.getLogger("kvserver").setLevel(LEVELS[name])


def is_on_terminal(config: Config) -> bool:
    """True if somebody reads the log while it is written: it is text, and goes to a terminal."""
    return config.log_format == "text" and not config.logfile and sys.stderr.isatty()


def terminal_lines() -> logging.Formatter:
    """The format of lines on a terminal. Who has started the server there knows the day and the process."""
    return logging.Formatter("%(asctime)s %(levelname)s %(message)s", TERMINAL_TIME)


def text_lines() -> logging.Formatter:
    """The format of lines for people, which are much like Redis's."""
    return logging.Formatter(f"{os.getpid()} %(asctime)s.%(msecs)03d %(levelname)s %(message)s", TEXT_TIME)


class JSONLines(logging.Formatter):
    """The format of lines for programs: each record is a JSON object. Times are UTC."""

    def format(self, record: logging.LogRecord) -> str:
        # A log of text lines starts sooner without this module.
        import json

        seconds = time.strftime(JSON_TIME, time.gmtime(record.created))
        fields = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        # dumps writes ASCII, so that neither Unicode's line ends nor half a surrogate pair gets into the file.
        return json.dumps(fields)


class LogFile(logging.FileHandler):
    """A log file. It is opened again when its path names another file or none, as after a rotation."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        # Standard error was told that the file can't be written.
        self._has_told = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._follow()
        except OSError as error:
            # The folder may be gone, for example. Then the log goes on in the file that has no name any more.
            self._tell(error)
        super().emit(record)

    def _follow(self) -> None:
        before = self.stream
        if before is None:
            return
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(before.fileno()), os.stat(self.baseFilename)):
                return
        self.stream = self._open()
        before.close()
        self._has_told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._tell(error)
        else:
            super().handleError(record)

    def _tell(self, error: OSError) -> None:
        if not self._has_told:
            self._has_told = True
            print(f"kvserver: cannot write the log file {self.baseFilename}: {error.strerror or error}", file=sys.stderr)
