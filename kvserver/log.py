"""The log of a server: standard error or a file, in lines of text or of JSON.

A line that can't be written is lost, and that is told once on standard error: whoever logs never fails because of it.
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
JSON_TIME = "%Y-%m-%dT%H:%M:%S"
LEVELS = {"debug": logging.DEBUG, "verbose": logging.DEBUG, "notice": logging.INFO, "warning": logging.WARNING}


def open_log(config: Config) -> None:
    """Let all that is logged from here on go where, and in the form that, the options say. ConfigError if that can't be."""
    try:
        handler = LogFile(config.logfile) if config.logfile else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise ConfigError(f"cannot open the log file {config.logfile}: {error.strerror}") from None
    handler.setFormatter(JSONLines() if config.log_format == "json" else text_lines())
    for name in ("kvserver", "asyncio"):
        log = logging.getLogger(name)
        log.addHandler(handler)
        log.propagate = False
    set_level(config.loglevel)


def set_level(name: str) -> None:
    """Log from this level on. The names are Redis's."""
    logging.getLogger("kvserver").setLevel(LEVELS[name])


def text_lines() -> logging.Formatter:
    """Lines for people, near to Redis's."""
    return logging.Formatter(f"{os.getpid()} %(asctime)s.%(msecs)03d %(levelname)s %(message)s", TEXT_TIME)


class JSONLines(logging.Formatter):
    """Each record as one JSON object in a line of its own. Times are UTC."""

    def format(self, record: logging.LogRecord) -> str:
        import json  # which takes a start longer than text does

        seconds = time.strftime(JSON_TIME, time.gmtime(record.created))
        fields = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        # ASCII, so that neither a line's end of Unicode nor half a surrogate pair gets into the file.
        return json.dumps(fields)


class LogFile(logging.FileHandler):
    """A file that is opened anew when its path names another one, or none: when it was rotated."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._has_told = False  # that it can't be written

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._follow()
        except OSError as error:  # its folder is gone, for one: better the file that has no name any more than none
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
