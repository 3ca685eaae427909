"""A setting: the text that one source (command line, environment, file) gives an option. Names are found, texts are parsed.

Modules that only some starts need are imported where they are needed, so that other starts take less time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kvserver.errors import ConfigError
from kvserver.options.table import BY_NAME, Option


class Setting(NamedTuple):
    """The text of an option in one source. `origin` tells in messages how the source writes the name, and which it is."""

    option: Option
    origin: str
    text: str


def normal_name(written: str) -> str:
    """The name as the table of options writes it, for a name in capitals or with `_`."""
    return written.lower().replace("_", "-")


def find(name: str) -> Option | None:
    """The option of this normal name or alias, also an option that means nothing here; or None."""
    if name in BY_NAME:
        return BY_NAME[name]
    return next((option for known, option in inert().items() if normal_name(known) == name), None)


def inert() -> Mapping[str, Option]:
    """The options that mean nothing here, by their names."""
    from kvserver.options.inert import INERT_BY_NAME

    return INERT_BY_NAME


def find_option(written: str, origin: str, known: Mapping[str, Option] = BY_NAME, spell: Callable[[str], str] = str) -> Option:
    """The option of a name in a source. ConfigError, with the one that may be meant as `spell` writes it, if there is none."""
    name = normal_name(written)
    if option := known.get(name) or find(name):
        return option
    raise ConfigError(f"{origin}: unknown option{meant(name, known, spell)}")


def meant(name: str, known: Mapping[str, Option] = BY_NAME, spell: Callable[[str], str] = str) -> str:
    """A question for the option that may be meant, behind a semicolon, or an empty text."""
    from kvserver.options.suggestions import nearest_option

    guess = nearest_option(name, [*known, "help", "version"])
    return f"; did you mean {spell(guess)}?" if guess else ""


def add(settings: dict[str, Setting], setting: Setting) -> None:
    """Put a setting behind those of the same source that come before it.

    A later one takes the place of an earlier one; those of which a source may have several add up, and an empty text clears
    them: as with redis-server.
    """
    option, origin, text = setting
    separator = option.kind.separator
    if separator and text and option.name in settings:
        text = f"{settings[option.name].text}{separator}{text}".lstrip()
    settings[option.name] = Setting(option, origin, text)


def parse(setting: Setting) -> Any:
    """The value of a setting. ConfigError, with the value that may be meant, if its text is none."""
    option, origin, text = setting
    try:
        return option.kind.parse(text)
    except ValueError as error:
        if option.kind.is_secret:
            raise ConfigError(f"{origin}: {error}") from None
        from kvserver.options.suggestions import nearest_value

        guess = nearest_value(text, option.kind)
        raise ConfigError(f"{origin}: {error} (got {text!r}){f'; did you mean {guess}?' if guess else ''}") from None
