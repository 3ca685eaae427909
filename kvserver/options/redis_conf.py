"""The options that Redis's own file sets, redis.conf: a directive and its values in each line, quoted as Redis reads them.

What applies here is set. What does not is named in one notice, and does no harm. A directive that keeps data safe, or others
out, and that can't be honoured is an error: who has written it relies on it, and would learn of the loss too late. This
module reads no file: its caller passes how one is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kvserver.errors import ConfigError
from kvserver.options.settings import Setting, add, find, meant, normal_name, parse
from kvserver.options.table import BY_NAME, Option
from kvserver.options.words import split_words

ReadFile = Callable[[str], str]
FindFiles = Callable[[str], Sequence[str]]

# Redis itself takes these older directives and drops them.
DEPRECATED = {"list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"}
# Directives of Redis 7.2 and newer that mean nothing here.
NEWER = {
    *("cluster-announce-human-nodename", "cluster-compatibility-sample-ratio", "cluster-slot-stats-enabled"),
    *("locale-collate", "lookahead", "repl-rdb-channel", "replica-full-sync-buffer-limit"),
    *("set-max-listpack-entries", "set-max-listpack-value", "tls-auth-clients-user"),
}
# The directives without which data is lost, or open to others, in the place where Redis would have kept it.
GUARDS = {
    *("cluster-enabled", "maxmemory-clients", "min-replicas-to-write", "min-slaves-to-write"),
    *("replica-read-only", "slave-read-only", "tls-ciphersuites"),
}
BAD_DIRECTIVE = "Bad directive or wrong number of arguments"
WRONG_NUMBER = "wrong number of arguments"
UNBALANCED = "Unbalanced quotes in configuration line"
# A file that includes others so deeply, or so many, includes itself.
DEEPEST_INCLUDE = 16
MOST_INCLUDES = 1_000


class RedisConf(NamedTuple):
    """The settings by their options' names, and a notice for each thing that the log has to tell of the file."""

    settings: dict[str, Setting]
    notices: tuple[str, ...]


class Line(NamedTuple):
    """A line of a file. `place` names the file and the line, `words` are its directive and values, none if it says nothing."""

    place: str
    words: list[str]


def is_redis_conf(path: str, text: str) -> bool:
    """True for a file in Redis's form, False for TOML: by the name, or else by the first line that says something."""
    if path.endswith(".toml"):
        return False
    said = re.search(r"^[ \t]*([^#\s].*)", text, re.MULTILINE)
    return not re.match(r"""\[|["'\w.-]+\s*=""", said[1]) if said else path.endswith(".conf")


def read_redis_conf(path: str, text: str, read_file: ReadFile, find_files: FindFiles) -> RedisConf:
    """The options that a file of Redis's form sets, with the files that it includes. ConfigError that names the line.

    `read_file` returns the text of an included file, `find_files` the paths that a pattern with wildcards stands for.
    """
    reader = _Reader(path, read_file, find_files)
    reader.read(path, text)
    return reader.finish()


def lines_of(path: str, text: str) -> list[Line]:
    """The lines of a text. ConfigError for one whose quotes don't end."""
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{path}, line {number}"
        words = split_words(line)
        if words is None:
            raise ConfigError(f"{place}: {UNBALANCED}")
        lines.append(Line(place, words))
    return lines


class _Reader:
    """The settings so far, and what there is to tell of the lines that set none."""

    def __init__(self, path: str, read_file: ReadFile, find_files: FindFiles) -> None:
        self._path = path
        self._read_file = read_file
        self._find_files = find_files
        self._settings: dict[str, Setting] = {}
        self._includes = 0
        # Why each of these directives does not apply.
        self._dropped: dict[str, str] = {}
        self._notices: list[str] = []
        self._refused: list[str] = []

    def read(self, path: str, text: str, depth: int = 0) -> None:
        for place, words in lines_of(path, text):
            if words and words[0]:
                self._take(place, words[0].lower(), words[1:], depth)

    def finish(self) -> RedisConf:
        if self._refused:
            remedy = "somebody may rely on that, so that it is not dropped silently: change or remove it"
            raise ConfigError(f"{'; '.join(self._refused)} ({remedy})")
        if self._dropped:
            told = "; ".join(f"{what} ({why})" if why else what for what, why in self._dropped.items())
            self._notices.insert(0, f"{self._path}: does not apply here: {told}")
        return RedisConf(self._settings, tuple(self._notices))

    def _take(self, place: str, name: str, values: list[str], depth: int) -> None:
        shown = " ".join([name, *values])
        match name, values:
            case "include", [pattern]:
                self._include(place, pattern, depth)
            case "rename-command", [command, _]:
                self._refuse(place, f"rename-command {command}", "commands have the names that they have")
            case "user", [_, *_]:
                self._set(place, BY_NAME["user"], values)
            case "loadmodule", [_, *_]:
                self._notices.append(f"{place}: {shown}: there are no modules here, and none of its commands")
            case "sentinel", [_, *_]:
                self._refuse(place, "sentinel", "there is no Sentinel here, and this is the file of one")
            case "dbfilename", [file] if file.endswith(".rdb"):
                # In that folder there may be the file of a Redis, which nothing here can read and nothing must replace.
                kept = f"{file.removesuffix('.rdb')}.kvs"
                self._dropped[shown] = f"snapshots are no RDB: they are kept in {kept}, and a file of Redis is not read"
                self._set(place, BY_NAME["dbfilename"], [kept])
            case _ if name in DEPRECATED:
                pass
            case _ if name in NEWER:
                self._dropped[shown] = ""
            case _:
                option = find(normal_name(name))
                if option is None or name in ("include", "rename-command", "user", "loadmodule", "sentinel"):
                    raise ConfigError(f"{place}: {BAD_DIRECTIVE}: {name}{meant(name)}")
                self._set(place, option, values)

    def _include(self, place: str, pattern: str, depth: int) -> None:
        if depth == DEEPEST_INCLUDE:
            raise ConfigError(f"{place}: files include each other without an end")
        for path in self._find_files(pattern) if re.search(r"[*?[]", pattern) else [pattern]:
            self._includes += 1
            if self._includes > MOST_INCLUDES:
                raise ConfigError(f"{place}: more than {MOST_INCLUDES} files are included")
            try:
                text = self._read_file(path)
            except OSError as error:
                raise ConfigError(f"{place}: can't open config file {path!r}: {error.strerror or error}") from None
            self.read(path, text, depth + 1)

    def _refuse(self, place: str, directive: str, reason: str) -> None:
        self._refused.append(f"{place}: {directive}: {reason}")

    def _set(self, place: str, option: Option, values: list[str]) -> None:
        if not values or (len(values) > 1 and option.kind.toml_type is not list):
            comment = "; a comment needs a line of its own" if any(value.startswith("#") for value in values) else ""
            raise ConfigError(f"{place}, {option.name}: {WRONG_NUMBER}{comment}")
        setting = Setting(option, f"{place}, {option.name}", option.kind.put_together(values))
        if not _is_refused(setting):
            parse(setting)
            add(self._settings, setting)
        elif option.name in GUARDS:
            self._refuse(place, f"{option.name} {setting.text}", option.kind.refusal)
        else:
            self._dropped[f"{option.name} {setting.text}"] = option.kind.refusal


def _is_refused(setting: Setting) -> bool:
    """True for a value that is right in Redis, and that this server does not take."""
    kind = setting.option.kind
    try:
        kind.parse(setting.text)
    except ValueError as error:
        return str(error) == kind.refusal
    return False
