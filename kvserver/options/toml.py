"""The options that a TOML text sets: `port = 6380`, a line each. This module reads no file."""

from __future__ import annotations

import tomllib

from kvserver.errors import ConfigError
from kvserver.options.kinds import YES_NO, Kind, encode
from kvserver.options.settings import Setting, find_option


def read_toml(text: str, source: str) -> dict[str, Setting]:
    """The options that a TOML text sets, by name. ConfigError, naming the source, if the text holds anything else."""
    try:
        # A text with lone surrogates is that of a file which is not UTF-8: this error says where.
        encode(text).decode()
        table = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from None
    settings: dict[str, Setting] = {}
    for written, value in table.items():
        origin = f"{written!r} in {source}"
        if isinstance(value, dict):
            raise ConfigError(f"{origin}: it is a table: options stand before all tables, such as port = 6379")
        option = find_option(written, origin)
        if option.name in settings:
            raise ConfigError(f"{origin}: {option.name} is there twice")
        settings[option.name] = Setting(option, origin, _text_of(value, option.kind, origin))
    return settings


def _text_of(value: object, kind: Kind, origin: str) -> str:
    """A TOML value as the text that an option's kind parses."""
    wanted = kind.toml_type
    if isinstance(value, str):
        return value
    # isinstance would take True for an integer.
    if type(value) is wanted:
        if isinstance(value, bool):
            return YES_NO.show(value)
        if isinstance(value, int):
            return str(value)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return (kind.separator or " ").join(value)
    also = {int: "an integer or ", bool: "true, false or ", list: "an array of strings or "}.get(wanted, "")
    raise ConfigError(f"{origin}: it must be {also}a string")
