"""The table of options: its rows agree with the attributes of Config, the help, and what redis-server has."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator

import pytest

from helpers.options import ROWS, SHARED, oracle_get
from helpers.servers import ServerProcess, Wire
from kvserver.options.config import Config
from kvserver.options.table import COMMANDED, FIXED, OPTIONS, PROTECTED, Option


@pytest.fixture(scope="module")
def oracle(running_redis: ServerProcess) -> Iterator[Wire]:
    with running_redis.connect() as wire:
        yield wire


def test_attributes_of_config_are_exactly_the_rows() -> None:
    hints = typing.get_type_hints(Config)
    assert list(hints) == [option.attribute for option in OPTIONS]
    assert list(vars(Config())) == [*hints, "inert"]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_default_has_the_annotated_type_and_shows_itself(option: Option) -> None:
    hint = typing.get_type_hints(Config)[option.attribute]
    value = option.kind.parse(option.default)
    assert type(value) is (typing.get_origin(hint) or hint)
    assert option.kind.parse(option.kind.show(value)) == value


def test_names_are_unique_and_lower_case_with_dashes() -> None:
    assert len(ROWS) == len(OPTIONS) + sum(bool(option.alias) for option in OPTIONS)
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", name) for name in ROWS)


def test_no_option_that_names_a_file_is_simply_live() -> None:
    paths = {name for name, option in ROWS.items() if option.kind.placeholder == "PATH" or "file" in name}
    assert {name for name in paths if ROWS[name].change not in (FIXED, PROTECTED)} == {
        *("tls-ciphers", "tls-key-file-pass", "tls-client-key-file-pass")
    }


def test_defaults_are_those_of_redis(start_server: Callable[..., ServerProcess]) -> None:
    different = {"port", "bind", "dir", "dbfilename", "appendonly", "enable-debug-command"}
    different |= {"client-output-buffer-limit"}  # Redis lets normal clients leave anything unread
    with start_server(kind="redis-server").connect() as wire:
        theirs = oracle_get(wire, b"*")
    ours = Config().get_matching([name.encode() for name in SHARED])
    assert theirs.keys() == ours.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == {name.encode() for name in different}


def test_fixed_options_are_those_of_redis(oracle: Wire) -> None:
    fixed = set()
    for name, value in oracle_get(oracle, b"*").items():
        if b"immutable" in oracle.command("CONFIG", "SET", name, value):
            fixed.add(name.decode())
    ours = {name for name in SHARED if ROWS[name].change in (FIXED, COMMANDED)}
    assert ours - fixed == {"dir", "dbfilename"}
    assert fixed - ours == set()
