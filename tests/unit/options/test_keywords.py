"""Options as keywords: names with `_`, values of Python or texts of Redis, and the defaults of a server within a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvserver.errors import ConfigError
from kvserver.options.keywords import from_keywords
from kvserver.options.kinds import AUTO_PORT
from kvserver.options.table import IN_MEMORY


def test_defaults_are_a_free_port_and_memory_alone() -> None:
    config = from_keywords({})
    assert (config.port, config.bind, config.dir) == (AUTO_PORT, ("127.0.0.1",), IN_MEMORY)
    assert (config.appendonly, config.save) == (False, ())


def test_with_a_folder_the_defaults_are_those_of_the_program() -> None:
    config = from_keywords({"dir": Path("data")})
    assert (config.dir, config.appendonly, config.save[0]) == ("data", True, (3600, 1))


@pytest.mark.parametrize(
    ("keyword", "value", "text"),
    [
        ("appendonly", True, "yes"),
        ("appendonly", False, "no"),
        ("appendonly", "yes", "yes"),
        ("maxmemory", 1_000_000, "1000000"),
        ("maxmemory", "1mb", "1048576"),
        ("save", [(60, 1), (10, 100)], "60 1 10 100"),
        ("save", "", ""),
        ("bind", ["127.0.0.1", "::1"], "127.0.0.1 ::1"),
        ("client_output_buffer_limit", {"pubsub": (0, 0, 0)},
         "normal 1073741824 268435456 60 slave 268435456 67108864 60 pubsub 0 0 0"),
        ("unixsocketperm", 0o700, "700"),
        ("unixsocketperm", "700", "700"),
        ("requirepass", b"\xff", "\udcff"),
        ("dir", Path("a folder"), "a folder"),
        ("latency_tracking_info_percentiles", [50, 99.9], "50 99.9"),
        ("lua_time_limit", 7, None),
        ("repl_diskless_sync", True, None),
    ],
)  # fmt: skip
def test_value_is_pythons_or_a_text_of_redis(keyword: str, value: object, text: str | None) -> None:
    config = from_keywords({keyword: value})
    name = keyword.replace("_", "-").encode()
    if text is not None:
        assert config.get_matching([name]) == {name: text.encode("utf-8", "surrogateescape")}
    assert config.lua_memory_limit == 256 << 20


def test_none_is_the_default() -> None:
    assert vars(from_keywords({"dir": None, "maxmemory": None})) == vars(from_keywords({}))


@pytest.mark.parametrize(
    ("options", "ports"),
    [
        ({"port": 0}, (AUTO_PORT, 0)),
        ({"port": "0"}, (AUTO_PORT, 0)),
        ({"port": 6379}, (6379, 0)),
        ({"unixsocket": "s"}, (0, 0)),
        ({"unixsocket": "s", "port": 0}, (AUTO_PORT, 0)),
        ({"tls_port": "auto"}, (0, AUTO_PORT)),
    ],
)
def test_port_0_is_a_free_one_and_who_names_another_socket_has_that_alone(
    options: dict[str, Any], ports: tuple[int, int]
) -> None:
    config = from_keywords(options)
    assert (config.port, config.tls_port) == ports


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"maxmemry": 1}, "maxmemry: unknown option; did you mean maxmemory?"),
        ({"append_only": True}, "append_only: unknown option; did you mean appendonly?"),
        ({"qqqqqq": 1}, "qqqqqq: unknown option"),
        ({"appendonly": 1}, "appendonly: argument must be 'yes' or 'no' (got '1'); did you mean yes?"),
        ({"maxmemory": "much"}, "maxmemory: argument must be a memory value (got 'much')"),
        ({"maxmemory": object}, "maxmemory: a text, a number, True or False is needed (got <class 'object'>)"),
        ({"port": 70000}, "port: argument must be between 0 and 65535 inclusive (got '70000')"),
        ({"bind": []}, "nothing to listen on: bind is empty, and so is unixsocket"),
        ({"logfile": "x"},
         "logfile: a server within a program has no such option, since the program itself decides that"),
        ({"hash_max_ziplist_value": 1, "hash_max_listpack_value": 2},
         "hash_max_listpack_value: hash-max-listpack-value is there twice"),
    ],
)  # fmt: skip
def test_wrong_option_is_one_line_that_names_it(options: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        from_keywords(options)
    assert str(raised.value) == line
