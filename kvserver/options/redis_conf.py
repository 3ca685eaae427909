"""The options that Redis's own file sets, redis.conf: a directive and its values in each line, quoted as Redis reads them.

What applies here is set. What does not is named in one notice, and does no harm. A directive that keeps data safe, or others
out, and that can't be honoured is an error: who has written it relies on it, and would learn of the loss too late. This
module reads no file: its caller passes how one is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kvserver.errors import ConfigError
from kvserver.options.kinds import decode, encode
from kvserver.options.settings import Setting, add, find, meant, normal_name, parse
from kvserver.options.table import BY_NAME, Option

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
    *("aclfile", "cluster-enabled", "maxmemory-clients", "min-replicas-to-write", "min-slaves-to-write"),
    *("replicaof", "slaveof", "tls-ciphersuites"),
}
BAD_DIRECTIVE = "Bad directive or wrong number of arguments"
WRONG_NUMBER = "wrong number of arguments"
UNBALANCED = "Unbalanced quotes in configuration line"
# The rules of an ACL that leave everything to the one user whom there is.
ALL_IS_ALLOWED = {"on", "sanitize-payload", "~*", "allkeys", "&*", "allchannels", "+@all", "allcommands", "nopass"}
# A file that includes others so deeply, or so many, includes itself.
DEEPEST_INCLUDE = 16
MOST_INCLUDES = 1_000

_PIECE = re.compile(
    rb"""[^\s"']+ | "(?:\\x[0-9a-fA-F]{2} | \\. | [^"\\])*"(?=\s|$) | '(?:\\' | (?!\\')[^'])*'(?=\s|$)""",
    re.VERBOSE | re.DOTALL,
)
# The characters that stand for themselves in double quotes.
_PLAIN = frozenset(map(chr, range(32, 127))) - {'"', "\\"}
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


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


def split_words(line: str) -> list[str] | None:
    """The words of a line, quoted as for Redis's sdssplitargs; none of a comment; None if a quote doesn't end."""
    data, words, at = encode(line.strip(" \t\r\n")), [], 0
    if data.startswith(b"#"):
        return []
    while at < len(data):
        word = b""
        while at < len(data) and not data[at : at + 1].isspace():
            piece = _PIECE.match(data, at)
            if piece is None:
                return None
            word += _unquoted(piece[0])
            at = piece.end()
        words.append(decode(word))
        while data[at : at + 1].isspace():
            at += 1
    return words


def _unquoted(piece: bytes) -> bytes:
    if piece[:1] == b"'":
        return piece[1:-1].replace(rb"\'", b"'")
    if piece[:1] != b'"':
        return piece
    return re.sub(
        rb"\\(?:x([0-9a-fA-F]{2})|(.))",
        lambda escape: bytes.fromhex(escape[1].decode()) if escape[1] else _ESCAPES.get(escape[2], escape[2]),
        piece[1:-1],
        flags=re.DOTALL,
    )


def quoted(value: str) -> str:
    """A value as a word of a line: in quotes, and with escapes, where it needs them."""
    data = encode(value)
    if re.fullmatch(rb"[!$-&(-~][!#-&(-~]*", data):
        return value
    return '"' + "".join(chr(byte) if chr(byte) in _PLAIN else rf"\x{byte:02x}" for byte in data) + '"'


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
        # The SHA-256 (hex) of the default user's password, and the place that says so.
        self._hashed: tuple[str, str] | None = None

    def read(self, path: str, text: str, depth: int = 0) -> None:
        for place, words in lines_of(path, text):
            if words and words[0]:
                self._take(place, words[0].lower(), words[1:], depth)

    def finish(self) -> RedisConf:
        if self._hashed and self._digest_of_password() != self._hashed[1]:
            self._refuse(self._hashed[0], "user default", "there is but a hash of its password: give it by requirepass")
        if self._refused:
            remedy = "somebody may rely on that, so that it is not dropped silently: change or remove it"
            raise ConfigError(f"{'; '.join(self._refused)} ({remedy})")
        if self._dropped:
            told = "; ".join(f"{what} ({why})" if why else what for what, why in self._dropped.items())
            self._notices.insert(0, f"{self._path}: does not apply here: {told}")
        return RedisConf(self._settings, tuple(self._notices))

    def _digest_of_password(self) -> str:
        given = self._settings.get("requirepass")
        return hashlib.sha256(encode(given.text)).hexdigest() if given else ""

    def _take(self, place: str, name: str, values: list[str], depth: int) -> None:
        shown = " ".join([name, *values])
        match name, values:
            case "include", [pattern]:
                self._include(place, pattern, depth)
            case "rename-command", [command, _]:
                self._refuse(place, f"rename-command {command}", "commands have the names that they have")
            case "user", [_, *_]:
                self._take_user(place, values)
            case "loadmodule", [_, *_]:
                self._notices.append(f"{place}: {shown}: there are no modules here, and none of its commands")
            case "sentinel", [_, *_]:
                self._refuse(place, "sentinel", "there is no Sentinel here, and this is the file of one")
            case "replicaof" | "slaveof", [_, _]:
                if [word.lower() for word in values] != ["no", "one"]:
                    self._refuse(place, shown, "there is no replication")
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

    def _take_user(self, place: str, values: list[str]) -> None:
        """Take the one user whom there is, as CONFIG REWRITE of a Redis writes it; refuse all others."""
        name, rules = values[0], values[1:]
        passwords = [rule for rule in rules if rule[:1] in (">", "#")]
        others = {rule.lower() for rule in rules if rule not in passwords} - ALL_IS_ALLOWED
        if name != "default" or others or "on" not in rules or len(passwords) > 1:
            self._refuse(place, f"user {name}", "there is one user, default, with a password (requirepass) and all rights")
        elif passwords and passwords[0].startswith(">"):
            self._set(place, BY_NAME["requirepass"], [passwords[0][1:]])
        elif passwords:
            self._hashed = place, passwords[0][1:].lower()

    def _set(self, place: str, option: Option, values: list[str]) -> None:
        if not values or (len(values) > 1 and option.kind.toml_type is not list):
            comment = "; a comment needs a line of its own" if any(value.startswith("#") for value in values) else ""
            raise ConfigError(f"{place}, {option.name}: {WRONG_NUMBER}{comment}")
        setting = Setting(option, f"{place}, {option.name}", " ".join(values))
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
