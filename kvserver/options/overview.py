"""The options as texts for people at a terminal of 80 columns: those most used, all of them, or one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from kvserver.options.config import SHORT
from kvserver.options.table import BY_NAME, CONFIG_FILE, OPTION_GROUPS, Change, Option

WIDTH = 80
GROUPS: dict[str, tuple[Option, ...]] = {**OPTION_GROUPS, "Configuration file": (CONFIG_FILE,)}
# Those that a first start may ask for.
MOST_USED = {
    *("port", "bind", "tls-port", "dir", "appendonly", "appendfsync", "save", "config"),
    *("maxmemory", "maxmemory-policy", "requirepass", "http-port", "loglevel"),
}
_CHANGES = {
    Change.LIVE: "CONFIG SET changes it.",
    Change.PROTECTED: "CONFIG SET changes it, if enable-protected-configs allows that.",
    Change.FIXED: "It is fixed at the start.",
    Change.COMMANDED: "REPLICAOF changes it.",
    Change.UNSEEN: "ACL changes it, and tells of it.",
}
# The column in which the meaning begins, where it stands beside the option.
_MEANING = 27


def most_used() -> str:
    """The groups of options, with those that are most used."""
    lines = []
    for group, options in GROUPS.items():
        shown = [option for option in options if option.name in MOST_USED]
        left = len(options) - len(shown)
        count = f"{left} more" if shown and left else f"{left} options" if left else ""
        lines.append(f"{group}{f' ({count})' if count else ''}{':' if shown else ''}")
        for option in shown:
            words = _words(option)
            beside = len(words) + 2 < _MEANING - 1
            lines += [] if beside else [f"  {words}"]
            first = f"  {words}".ljust(_MEANING) if beside else " " * _MEANING
            lines += _wrapped(f"{option.help} (default: {option.default or 'empty'})", first, " " * _MEANING)
    return "\n".join(lines)


def all_options() -> str:
    """All options that have an effect, in Markdown: each option with its values, its meaning and its default."""
    lines = ["# Options: all of them, with their defaults", ""]
    lines += _wrapped(
        "They have the names, the values and the meaning of redis-server's, as far as it has them. `--save 900 1` on the "
        "command line is `KVSERVER_SAVE='900 1'` in the environment, and in a file `save = \"900 1\"` (TOML) or `save 900 1` "
        "(as redis.conf). The command line overrides the environment, and that overrides the file. BYTES may have a unit: 1kb "
        "is 1024 bytes, 1k is 1000. The other options of redis-server are taken as well, and mean nothing here."
    )
    for group, options in GROUPS.items():
        lines += ["", f"## {group}"]
        for option in options:
            lines += ["", *one_option(option)]
    return "\n".join(lines)


def one_option(option: Option) -> list[str]:
    """The lines about an option."""
    also = f" Redis's older name for it is {option.alias}." if option.alias else ""
    about = f"{option.help[:1].upper()}{option.help[1:]}.{also} Default: {option.default or 'empty'}. "
    return [f"    {_words(option)}", "", *_wrapped(f"{about}{_CHANGES[option.change]}")]


def named(name: str) -> Option | None:
    """The option that a reader means by this name, with or without `--`, or None."""
    return {**BY_NAME, CONFIG_FILE.name: CONFIG_FILE}.get(name.removeprefix("--"))


def _words(option: Option) -> str:
    short = "".join(f"{letter}, " for letter, name in SHORT.items() if name == option.name)
    return f"{short}--{option.name} {option.kind.placeholder}"


def _wrapped(text: str, first: str = "", others: str = "") -> Iterable[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False, break_long_words=False
    )
