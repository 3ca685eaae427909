"""The option, value or word that somebody may have meant: what others call it, what it begins with, what it is spelled like.

What people say for an option that has another name here stands in this module alone. It is imported when something is wrong.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from kvserver.options.kinds import Kind

# The least likeness by difflib's ratio. "prot" and "port" have 0.75.
LIKE = 0.72

_CALLED: dict[str, tuple[str, ...]] = {
    "appendfsync": ("aof-fsync", "durability", "fsync", "sync"),
    "appendonly": ("aof", "append", "journal", "persist", "persistence", "wal"),
    "bind": ("address", "addr", "host", "hostname", "interface", "ip", "listen"),
    "config": ("cfg", "conf", "config-file", "configuration", "settings"),
    "databases": ("database", "db", "dbs"),
    "dbfilename": ("data-file", "db-file", "db-name", "file", "filename", "rdb"),
    "dir": ("data", "data-dir", "data-directory", "directory", "folder", "path", "storage", "workdir"),
    "enable-debug-command": ("debug-command",),
    "http-port": ("health", "healthz", "http", "metrics", "metrics-port", "prometheus"),
    "log-format": ("json", "json-log", "log-json"),
    "logfile": ("log", "log-path"),
    "lease-milliseconds": ("lease", "lease-ms"),
    "loglevel": ("level", "verbosity"),
    "loglevel verbose": ("debug", "verbose"),
    "loglevel warning": ("quiet", "silent"),
    "maxclients": ("clients", "connections", "max-connections"),
    "maxmemory": ("maxmem", "mem", "memory", "memory-limit"),
    "maxmemory-policy": ("evict", "eviction", "eviction-policy", "policy"),
    "medium": ("engine",),
    "port": ("listen-port", "p", "tcp", "tcp-port"),
    "requirepass": ("a", "auth", "pass", "passwd", "password", "secret"),
    "save": ("rdb-save", "snapshot"),
    "slowlog-log-slower-than": ("slow", "slowlog"),
    "tls-ca-cert-file": ("ca", "ca-file", "cafile", "ca-cert", "tls-ca"),
    "tls-cert-file": ("cert", "certfile", "certificate", "ssl-cert", "ssl-certfile", "tls-cert"),
    "tls-key-file": ("key", "keyfile", "ssl-key", "ssl-keyfile", "tls-key"),
    "tls-port": ("ssl", "ssl-port", "tls"),
    "unixsocket": ("sock", "socket", "uds", "unix", "unix-socket"),
    "unixsocketperm": ("perm", "socket-mode", "unix-socket-mode"),
}
# An option, perhaps with a value, by what others call it.
OPTIONS_SAID = {word: meant for meant, words in _CALLED.items() for word in words}

_VALUES_CALLED: dict[str, tuple[str, ...]] = {
    "yes": ("1", "enable", "enabled", "on", "true", "y"),
    "no": ("0", "disable", "disabled", "false", "n", "never", "none", "off"),
    "notice": ("info", "normal"),
    "warning": ("critical", "error", "fatal", "warn"),
    "debug": ("all", "trace"),
    "everysec": ("1s", "every-second", "second"),
    "always": ("each", "every"),
    "noeviction": ("no", "none", "off"),
    "allkeys-lru": ("lru",),
    "allkeys-lfu": ("lfu",),
    "allkeys-random": ("random",),
}


def nearest(word: str, known: Iterable[str], said: Mapping[str, str]) -> str:
    """The name among `known` that `word` may stand for, or what `said` has for such a word, or an empty text."""
    if word in said:
        return said[word]
    sought, known = word.replace("-", ""), list(known)
    begun = [name for name in known if len(sought) > 2 and name.replace("-", "").startswith(sought)]
    if begun and all(name.startswith(begun[0]) for name in begun):
        return begun[0]
    # What is spelled like a name of ours is more likely than what is spelled like another's word for it.
    for names in ({name: name for name in known}, said):
        plain = {name.replace("-", ""): meant for name, meant in names.items()}
        for like in difflib.get_close_matches(sought, plain, n=1, cutoff=LIKE):
            return plain[like]
    return ""


def nearest_option(name: str, known: Iterable[str]) -> str:
    """The option among `known` that a normal name may stand for, perhaps with a value behind a blank, or an empty text."""
    known = list(known)
    return nearest(name, known, {word: meant for word, meant in OPTIONS_SAID.items() if meant.partition(" ")[0] in known})


def nearest_value(text: str, kind: Kind) -> str:
    """The value of that kind that a wrong text may stand for, or an empty text."""
    if kind.placeholder == "BYTES":
        size = re.fullmatch(r"([0-9]+) *([kmg])(i?b|ytes)?", text.lower())
        return f"{size[1]}{size[2]}b" if size else ""
    said = {word: value for value in kind.choices for word in _VALUES_CALLED.get(value, ())}
    return nearest(text.lower(), kind.choices, said)
