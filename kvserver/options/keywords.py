"""Options as keywords of a Python program: `Server(dir="data", appendonly=True)`. Names have `_` for `-`.

Values are Python's or the texts of Redis: `maxmemory="1mb"` or `maxmemory=1_048_576`. The defaults are those of a server
within a program: on a free port of 127.0.0.1, and in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from kvserver.errors import ConfigError
from kvserver.options.config import Config
from kvserver.options.engine import settle_engine
from kvserver.options.kinds import AUTO_PORT, PERMISSION, YES_NO, decode
from kvserver.options.settings import Setting, find_option, normal_name, parse
from kvserver.options.table import BY_NAME, IN_MEMORY, Option

# The defaults that differ from those of the program. Where there is nothing to come back to, nothing is kept.
DEFAULTS: Mapping[str, str] = {"dir": IN_MEMORY, "port": "auto"}
DEFAULTS_IN_MEMORY: Mapping[str, str] = {"appendonly": "no", "save": ""}
# A program that names one of these has said where to listen.
_LISTENING = ("port", "unixsocket", "tls-port")
# These are the program's own business.
_OF_THE_PROGRAM = ("config", "uvloop", "loglevel", "logfile", "log-format")


@runtime_checkable
class PathLike(Protocol):
    """A path, such as those of pathlib."""

    def __fspath__(self) -> str | bytes: ...


def from_keywords(options: Mapping[str, object]) -> Config:
    """The configuration that these keywords make. None as a value leaves an option at its default.

    - `port=0` is any free port. With `unixsocket` or `tls_port` and no `port`, there is no other socket than that.
    - In memory `appendonly` and `save` are off, unless they are given. With `appendfsync`, `appendonly` is on.
    - With `medium` the data is in an engine, and nothing is said of `dir`.

    ConfigError, in one line, for a name that is no option (with the one that may be meant), or a value that is none for it.
    """
    texts: dict[Option, str] = {}
    origins: dict[str, str] = {}
    for keyword, value in options.items():
        if value is not None:
            option = _option_of(keyword)
            if option in texts:
                raise ConfigError(f"{keyword}: {option.name} is there twice")
            texts[option] = _text_of(option, keyword, value)
            origins[option.name] = keyword
    given = origins.keys()
    # Who says how often the journal is synced means that there is one.
    if "appendfsync" in given and "appendonly" not in given:
        texts[BY_NAME["appendonly"]] = "yes"
    config = Config()
    listens = any(name in given for name in _LISTENING)
    defaults = {**DEFAULTS, "port": "0" if listens else DEFAULTS["port"]}
    if texts.get(BY_NAME["medium"]):
        del defaults["dir"]
    elif texts.get(BY_NAME["dir"], IN_MEMORY) == IN_MEMORY:
        defaults |= DEFAULTS_IN_MEMORY
    for option, text in {**{BY_NAME[name]: text for name, text in defaults.items()}, **texts}.items():
        config.put(option, option.kind.join(config.value(option), parse(Setting(option, option.attribute, text))))
    if config.medium:
        settle_engine(config, origins)
    if "port" in given and not config.port:
        config.port = AUTO_PORT
    if not config.unixsocket and not ((config.port or config.tls_port) and config.bind):
        raise ConfigError("nothing to listen on: bind is empty, and so is unixsocket")
    return config


def _option_of(keyword: str) -> Option:
    name = normal_name(keyword)
    if name in _OF_THE_PROGRAM:
        raise ConfigError(f"{keyword}: a server within a program has no such option, since the program itself decides that")
    known = {name: option for name, option in BY_NAME.items() if name not in _OF_THE_PROGRAM}
    return find_option(keyword, keyword, known, lambda meant: meant.replace("-", "_"))


def _text_of(option: Option, keyword: str, value: Any) -> str:
    """The text of a value that a Python program gives."""
    if isinstance(value, bool):
        return YES_NO.show(value)
    if isinstance(value, int):
        # Modes of files are octal numbers, in Python as here.
        return f"{value:o}" if option.kind is PERMISSION else str(value)
    if isinstance(value, bytes):
        return decode(value)
    if isinstance(value, str | PathLike):
        return value if isinstance(value, str) else _text_of(option, keyword, value.__fspath__())
    if isinstance(value, float):
        return str(value)
    if isinstance(value, Iterable):
        # [(60, 1), (10, 100)], ["127.0.0.1", "::1"] or {"pubsub": (0, 0, 0)}.
        items = value.items() if isinstance(value, Mapping) else value
        separator = option.kind.separator or " "
        return separator.join(_text_of(option, keyword, item) for item in items)
    raise ConfigError(f"{keyword}: a text, a number, True or False is needed (got {value!r})")
