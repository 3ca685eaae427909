"""What people say for an option, a value or a word is understood; what may be anything is not guessed at."""

from __future__ import annotations

import pytest

from kvserver.options.suggestions import OPTIONS_SAID, nearest, nearest_option, nearest_value
from kvserver.options.table import BY_NAME, CONFIG_FILE, OPTIONS

KNOWN = [option.name for option in (*OPTIONS, CONFIG_FILE)]

# What a newcomer types, and what must be suggested.
MEANT = {
    "adress": "bind",
    "aof": "appendonly",
    "append-only": "appendonly",
    "appendfs": "appendfsync",
    "cert": "tls-cert-file",
    "clients": "maxclients",
    "conf": "config",
    "confg": "config",
    "data": "dir",
    "data-dir": "dir",
    "datadir": "dir",
    "databse": "databases",
    "db": "databases",
    "folder": "dir",
    "fsync": "appendfsync",
    "host": "bind",
    "engine": "medium",
    "lease": "lease-milliseconds",
    "listen": "bind",
    "log": "logfile",
    "log-file": "logfile",
    "log-level": "loglevel",
    "max-clients": "maxclients",
    "metrics": "http-port",
    "max-memory": "maxmemory",
    "maxmem": "maxmemory",
    "maxmemory-polcy": "maxmemory-policy",
    "pasword": "requirepass",
    "passwd": "requirepass",
    "password": "requirepass",
    "prot": "port",
    "require-pass": "requirepass",
    "socket": "unixsocket",
    "ssl": "tls-port",
    "verbose": "loglevel verbose",
}


@pytest.mark.parametrize(("word", "option"), MEANT.items())
def test_what_people_say_names_the_option(word: str, option: str) -> None:
    assert nearest_option(word, KNOWN) == option


@pytest.mark.parametrize("word", ["qqq", "kills", "x", "", "quic", "-"])
def test_what_may_be_anything_is_not_guessed_at(word: str) -> None:
    assert nearest_option(word, KNOWN) == ""


def test_words_of_others_are_no_options_of_ours_and_mean_one() -> None:
    assert not OPTIONS_SAID.keys() & BY_NAME.keys()
    assert {meant.partition(" ")[0] for meant in OPTIONS_SAID.values()} <= set(KNOWN)


def test_only_known_options_are_suggested() -> None:
    assert nearest_option("conf", BY_NAME) == ""


def test_values_are_suggested_where_there_are_few() -> None:
    assert nearest_value("1", BY_NAME["appendonly"].kind) == "yes"
    assert nearest_value("never", BY_NAME["appendfsync"].kind) == "no"
    assert nearest_value("LRU", BY_NAME["maxmemory-policy"].kind) == "allkeys-lru"
    assert nearest_value("volatile-lruu", BY_NAME["maxmemory-policy"].kind) == "volatile-lru"
    assert nearest_value("none", BY_NAME["maxmemory-policy"].kind) == "noeviction"
    assert nearest_value("sideways", BY_NAME["shutdown-mode"].kind) == ""
    assert nearest_value("abc", BY_NAME["port"].kind) == ""


def test_beginning_of_names_means_the_one_that_all_of_them_begin_with() -> None:
    assert nearest("app", ["append", "append-more", "append-most"], {}) == "append"
    assert nearest("app", ["append-one", "appendix-two"], {}) == ""
    assert nearest("ap", ["append"], {}) == ""
