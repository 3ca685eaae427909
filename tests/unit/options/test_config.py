"""config: the table, the sources and their precedence, CONFIG GET and SET against the real redis-server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.servers import PROJECT, ServerProcess, Wire, encode, parse
from kvserver.errors import ConfigError, ConfigSetError
from kvserver.options.config import Config, load, options_help
from kvserver.options.inert import INERT_BY_NAME
from kvserver.options.kinds import AUTO_PORT, INT_MAX, LONG_MAX
from kvserver.options.table import FIXED, OPTION_GROUPS, OPTIONS, PROTECTED, Option
from kvserver.patterns import matcher

ROWS = {option.name: option for option in OPTIONS}
OUR_OWN = {"keep-frames", "log-format", "shutdown-mode", "uvloop"}
SHARED = sorted(ROWS.keys() - OUR_OWN)


def load_from(*arguments: str, environ: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None) -> Config:
    def read_file(path: str) -> str:
        try:
            return (files or {})[path]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory", path) from None

    return load(arguments, environ or {}, read_file)


def load_toml(text: str) -> Config:
    return load_from("--config", "kvserver.toml", files={"kvserver.toml": text})


def shown(config: Config, name: str) -> bytes:
    return config.get_matching([name.encode()])[name.encode()]


# --- The table ---


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
    assert len(ROWS) == len(OPTIONS)
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", name) for name in ROWS)


def test_help_shows_every_option_with_its_default_and_fits_a_terminal() -> None:
    text = options_help()
    for group, options in OPTION_GROUPS.items():
        assert f"{group}:\n" in text
        for option in options:
            section = text.split(f"\n  --{option.name} {option.kind.placeholder}\n")[1].split("\n  --")[0]
            words = " ".join(section.split())
            assert words.startswith(f"{option.help} (default: {option.default or 'empty'})")
    assert "\n  --config PATH\n" in text
    assert max(map(len, text.splitlines())) <= 100
    assert text.endswith(".\n")


limits = st.tuples(st.integers(0, LONG_MAX), st.integers(0, LONG_MAX), st.integers(0, INT_MAX))
paths = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "port": st.integers(0, 65535),
    "timeout": st.integers(0, INT_MAX),
    "proto-max-bulk-len": st.integers(2**20, LONG_MAX),
    "unixsocketperm": st.integers(0, 0o777),
    "appendonly": st.booleans(),
    "appendfsync": st.sampled_from(["everysec", "always", "no"]),
    "dir": paths,
    "logfile": paths | st.just(""),
    "dbfilename": paths.filter(lambda name: name not in (".", "..") and not set(name) & set("/\\")),
    "requirepass": st.binary(),
    "save": st.lists(st.tuples(st.integers(1, INT_MAX), st.integers(0, INT_MAX))).map(tuple),
    "client-output-buffer-limit": st.dictionaries(st.sampled_from(["normal", "slave", "pubsub"]), limits),
    "latency-tracking-info-percentiles": st.lists(st.integers(0, 10**8)).map(lambda list: tuple(n / 1e6 for n in list)),
    "tls-protocols": st.lists(st.sampled_from(["TLSv1.2", "TLSv1.3"]), unique=True).map(tuple),
    "bind": st.lists(st.from_regex(r"-?[0-9a-f:.*]+", fullmatch=True), max_size=16).map(tuple),
}


def test_round_trips_cover_every_kind() -> None:
    covered = {ROWS[name].kind.parse.__qualname__ for name in VALUES}
    assert covered == {option.kind.parse.__qualname__ for option in OPTIONS}


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_shown_value_parses_to_the_same_value(name: str, data: st.DataObject) -> None:
    kind = ROWS[name].kind
    value = data.draw(VALUES[name])
    assert kind.parse(kind.show(value)) == value


@given(password=st.binary())
def test_config_set_and_get_keep_a_password_byte_for_byte(password: bytes) -> None:
    config = Config()
    config.set([(b"requirepass", password)])
    assert config.requirepass == password
    assert config.get_matching([b"requirepass"]) == {b"requirepass": password}


# --- The command line ---


def test_no_arguments_give_the_defaults() -> None:
    config = load_from()
    assert vars(config) == vars(Config())
    assert (config.port, config.bind, config.dir) == (6379, ("127.0.0.1",), "./kvserver-data")
    assert config.save == ((3600, 1), (300, 100), (60, 10000))
    assert config.auto_aof_rewrite_min_size == 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("arguments", "attribute", "expected"),
    [
        (["--port", "7000"], "port", 7000),
        (["--port=7000"], "port", 7000),
        (["--PORT", "7000"], "port", 7000),
        (["--port", "Auto"], "port", AUTO_PORT),
        (["--tcp_backlog", "7"], "tcp_backlog", 7),
        (["--port", "1", "--port", "2"], "port", 2),
        (["--save", "900 1"], "save", ((900, 1),)),
        (["--save", "900", "1"], "save", ((900, 1),)),
        (["--save", "900", "1", "--save", "300 10"], "save", ((900, 1), (300, 10))),
        (["--save", ""], "save", ()),
        (["--save="], "save", ()),
        (["--save", "900 1", "--save", ""], "save", ()),
        (["--save", "", "--save", "900 1"], "save", ((900, 1),)),
        (["--bind", "127.0.0.1 -::1"], "bind", ("127.0.0.1", "-::1")),
        (["--bind", "127.0.0.1", "-::1", "--port", "0", "--unixsocket", "s"], "bind", ("127.0.0.1", "-::1")),
        (["--bind", "-::1"], "bind", ("-::1",)),
        (["--requirepass", "-x=y"], "requirepass", b"-x=y"),
        (["--requirepass=--x"], "requirepass", b"--x"),
        (["--requirepass", "\udcff"], "requirepass", b"\xff"),  # as Python passes the byte 0xff in argv
        (["--unixsocketperm", "0700"], "unixsocketperm", 0o700),
        (["--appendonly", "No"], "appendonly", False),
        (["--shutdown-mode", "FLUSH"], "shutdown_mode", "flush"),
        (["--tls-protocols", "tlsv1.3", "TLSv1.2"], "tls_protocols", ("TLSv1.3", "TLSv1.2")),
        (
            ["--client-output-buffer-limit", "normal", "1", "2", "3", "--client-output-buffer-limit", "replica 4 5mb 6"],
            "client_output_buffer_limit",
            {"normal": (1, 2, 3), "slave": (4, 5 << 20, 6), "pubsub": (32 << 20, 8 << 20, 60)},
        ),
        (["--auto-aof-rewrite-min-size", "1GB"], "auto_aof_rewrite_min_size", 2**30),
        (["--auto-aof-rewrite-min-size", "2k"], "auto_aof_rewrite_min_size", 2000),
    ],
)
def test_arguments_set_the_value(arguments: Sequence[str], attribute: str, expected: object) -> None:
    assert getattr(load_from(*arguments), attribute) == expected


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--port"], "a value is missing"),
        (["--port", "--bind", "::1"], "a value is missing"),
        (["--port", "1", "2"], "it takes one value, not 2"),
        (["--config", "a", "b"], "it takes one value, not 2"),
        (["--prot", "1"], "unknown option; did you mean port?"),
        (["--max-clients", "1"], "unknown option; did you mean maxclients?"),
        (["--confg", "a"], "unknown option; did you mean config?"),
        (["--qqq", "1"], "unknown option"),
        (["--"], "unknown option"),
        (["--port", "65536"], "argument must be between 0 and 65535 inclusive (got '65536')"),
        (["--port", "1_0"], "argument couldn't be parsed into an integer (got '1_0')"),
        (["--databases", "16"], "argument must be between 1 and 1 inclusive (got '16')"),
        (["--unixsocketperm", "778"], "argument couldn't be parsed as an octal number (got '778')"),
        (["--unixsocketperm", "1000"], "argument must be between 0 and 777 inclusive (got '1000')"),
        (["--dir", ""], "argument must not be empty (got '')"),
        (["--dbfilename", ""], "argument must not be empty (got '')"),
        (["--dbfilename", "a/b"], "dbfilename can't be a path, just a filename (got 'a/b')"),
        (["--dbfilename", ".."], "dbfilename can't be a path, just a filename (got '..')"),
        (["--bind", "-"], "argument must be addresses or host names (got '-')"),
        (["--save", "900"], "Invalid save parameters (got '900')"),
        (
            ["--tls-protocols", "TLSv1.1 TLSv1.2"],
            "argument(s) must be one of the following: TLSv1.2, TLSv1.3 (not tlsv1.1) (got 'TLSv1.1 TLSv1.2')",
        ),
        (["--keep-frames", "0"], f"argument must be between 1 and {INT_MAX} inclusive (got '0')"),
    ],
)
def test_wrong_option_gives_one_clear_line(arguments: Sequence[str], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_from(*arguments)
    assert str(caught.value) == f"{arguments[0]} on the command line: {reason}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["7000"], "'7000' on the command line: options begin with --"),
        (["-p", "7000"], "'-p' on the command line: options begin with --"),
        (["--port=1", "2"], "'2' on the command line: options begin with --"),
        (["--port=x"], "--port on the command line: argument couldn't be parsed into an integer (got 'x')"),
        (["--config", "no.toml"], "the file no.toml can't be read: No such file or directory"),
        (["--port", "0"], "nothing to listen on: port and tls-port are 0 or bind is empty, and unixsocket is empty"),
        (["--bind", ""], "nothing to listen on: port and tls-port are 0 or bind is empty, and unixsocket is empty"),
    ],
)
def test_wrong_command_line_gives_one_clear_line(arguments: Sequence[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_from(*arguments)
    assert str(caught.value) == message


# --- The environment ---


def test_environment_variables_set_values_and_others_are_ignored() -> None:
    environ = {
        "KVSERVER_PORT": "7001",
        "KVSERVER_TCP_BACKLOG": "5",
        "KVSERVER_SAVE": "",
        "PORT": "x",
        "HOME": "/",
    }
    config = load_from(environ=environ)
    assert (config.port, config.tcp_backlog, config.save) == (7001, 5, ())


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("KVSERVER_PORT", "argument couldn't be parsed into an integer (got 'x')"),
        ("KVSERVER_LOG_FORMAT", "argument(s) must be one of the following: text, json (got 'x')"),
    ],
)
def test_wrong_variable_gives_one_clear_line(variable: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_from(environ={variable: "x"})
    assert str(caught.value) == f"{variable} in the environment: {reason}"


def test_variables_that_are_no_options_are_ignored_and_named() -> None:
    environ = {"KVSERVER_PROT": "1", "KVSERVER_QQQ": "", "KVSERVER_": "x", "KVSERVER_\n\u00e4": "x", "KVSERVER_TIMEOUT": "7"}
    config = load_from(environ=environ)
    assert config.timeout == 7
    assert config.ignored == r"KVSERVER_PROT (did you mean KVSERVER_PORT?), KVSERVER_QQQ, KVSERVER_, KVSERVER_\n\xe4"


def test_variables_that_kubernetes_sets_for_a_service_are_no_options() -> None:
    environ = {
        "KVSERVER_PORT": "tcp://10.0.0.1:6379",
        "KVSERVER_PORT_6379_TCP": "tcp://10.0.0.1:6379",
        "KVSERVER_PORT_6379_TCP_ADDR": "10.0.0.1",
        "KVSERVER_SERVICE_HOST": "10.0.0.1",
        "KVSERVER_SERVICE_PORT": "6379",
        "KVSERVER_SERVICE_PORT_REDIS": "6379",
    }
    assert vars(load_from(environ=environ)) == vars(Config())


# --- The file ---


@pytest.mark.parametrize(
    ("text", "attribute", "expected"),
    [
        ("port = 7002", "port", 7002),
        ('port = "7002"', "port", 7002),
        ("tcp_backlog = 5", "tcp_backlog", 5),
        ("Tcp-Backlog = 5", "tcp_backlog", 5),
        ("appendonly = false", "appendonly", False),
        ('appendonly = "no"', "appendonly", False),
        ("enable-debug-command = true", "enable_debug_command", "yes"),
        ("appendfsync = false", "appendfsync", "no"),
        ("proto-max-bulk-len = 1048576", "proto_max_bulk_len", 2**20),
        ('proto-max-bulk-len = "1mb"', "proto_max_bulk_len", 2**20),
        ('save = "900 1 300 10"', "save", ((900, 1), (300, 10))),
        ('save = ["900 1", "300 10"]', "save", ((900, 1), (300, 10))),
        ('save = ""', "save", ()),
        ("save = []", "save", ()),
        ('bind = ["127.0.0.1", "-::1"]', "bind", ("127.0.0.1", "-::1")),
        ('unixsocketperm = "700"', "unixsocketperm", 0o700),
    ],
)
def test_file_sets_the_value(text: str, attribute: str, expected: object) -> None:
    value = getattr(load_toml(text), attribute)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "named", "reason"),
    [
        ("prot = 1", "'prot'", "unknown option; did you mean port?"),
        ('config = "x"', "'config'", "unknown option"),
        ('"a\\nb" = 1', r"'a\nb'", "unknown option"),
        ("[network]\nport = 1", "'network'", "unknown option"),
        ("tcp-backlog = 1\ntcp_backlog = 2", "'tcp_backlog'", "tcp-backlog is there twice"),
        ("port = true", "'port'", "it must be an integer or a string"),
        ("port = 1.5", "'port'", "it must be an integer or a string"),
        ("port = 70000", "'port'", "argument must be between 0 and 65535 inclusive (got '70000')"),
        ("appendonly = 1", "'appendonly'", "it must be true, false or a string"),
        ("save = [900, 1]", "'save'", "it must be an array of strings or a string"),
        ("unixsocketperm = 0o700", "'unixsocketperm'", "it must be a string"),
        ("requirepass = 1234", "'requirepass'", "it must be a string"),
        ("loglevel = true", "'loglevel'", "it must be a string"),
        ('dir = "a\\u0000b"', "'dir'", r"argument must not hold a NUL byte (got 'a\x00b')"),
    ],
)
def test_wrong_value_in_the_file_gives_one_clear_line(text: str, named: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_toml(text)
    assert str(caught.value) == f"{named} in the file kvserver.toml: {reason}"


def _not_utf8(path: str) -> str:
    return b"\xff".decode()


def _not_toml(path: str) -> str:
    return "port 6379\n"


def _no_permission(path: str) -> str:
    raise PermissionError(13, "Permission denied", path)


@pytest.mark.parametrize(
    ("read_file", "message"),
    [
        (_not_utf8, "the file a.toml is not TOML: 'utf-8' codec can't decode byte 0xff in position 0"),
        (_not_toml, "the file a.toml is not TOML: Expected '=' after a key in a key/value pair (at line 1"),
        (_no_permission, "the file a.toml can't be read: Permission denied"),
    ],
)
def test_unreadable_file_gives_one_clear_line(read_file: Callable[[str], str], message: str) -> None:
    with pytest.raises(ConfigError, match="^" + re.escape(message)) as caught:
        load(["--config", "a.toml"], {}, read_file)
    assert "\n" not in str(caught.value)


def test_command_line_over_environment_over_file_over_default() -> None:
    files = {"a.toml": "port = 1\ntimeout = 1\nmaxclients = 1"}
    environ = {"KVSERVER_CONFIG": "a.toml", "KVSERVER_PORT": "2", "KVSERVER_TIMEOUT": "2"}
    config = load_from("--port", "3", environ=environ, files=files)
    assert (config.port, config.timeout, config.maxclients, config.tcp_backlog) == (3, 2, 1, 511)


def test_config_file_of_the_command_line_replaces_that_of_the_environment() -> None:
    files = {"a.toml": "port = 1", "b.toml": "timeout = 5"}
    config = load_from("--config", "b.toml", environ={"KVSERVER_CONFIG": "a.toml"}, files=files)
    assert (config.port, config.timeout) == (6379, 5)


def test_no_file_is_read_unless_one_is_named() -> None:
    load([], {}, _no_permission)
    load([], {"KVSERVER_CONFIG": ""}, _no_permission)


def test_wrong_value_is_reported_even_where_it_is_overridden() -> None:
    with pytest.raises(ConfigError, match=r"'port' in the file a\.toml"):
        load_from("--config", "a.toml", "--port", "1", files={"a.toml": 'port = "x"'})


def test_save_of_the_command_line_replaces_that_of_the_file() -> None:
    config = load_from("--config", "a.toml", "--save", "5 5", files={"a.toml": 'save = "900 1"'})
    assert config.save == ((5, 5),)


# --- CONFIG SET and CONFIG GET, alone ---


def test_config_set_returns_the_names_of_what_changed_only() -> None:
    config = Config()
    assert config.set([(b"timeout", b"5"), (b"MAXCLIENTS", b"10000"), (b"save", b"")]) == ["timeout", "save"]
    assert (config.timeout, config.save) == (5, ())
    assert config.set([(b"timeout", b"5")]) == []
    assert config.set([]) == []


def test_config_set_changes_all_or_nothing() -> None:
    config = Config()
    before = dict(vars(config))
    with pytest.raises(ConfigSetError, match="argument 'loglevel'"):
        config.set([(b"timeout", b"5"), (b"loglevel", b"loud"), (b"save", b"")])
    assert vars(config) == before


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].change is FIXED])
def test_fixed_option_is_refused_at_run_time(name: str) -> None:
    with pytest.raises(ConfigSetError) as caught:
        Config().set([(name.encode(), ROWS[name].default.encode())])
    kind = "protected" if name in ("dir", "dbfilename") else "immutable"
    assert str(caught.value) == f"ERR CONFIG SET failed (possibly related to argument '{name}') - can't set {kind} config"


@pytest.mark.parametrize(
    ("allowed", "is_local", "may"),
    [
        ("no", True, False),
        ("local", True, True),
        ("local", False, False),
        ("yes", False, True),
    ],
)
@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].change is PROTECTED])
def test_which_file_is_read_changes_only_where_that_is_allowed(name: str, allowed: str, is_local: bool, may: bool) -> None:
    config = load_from("--enable-protected-configs", allowed)
    if may:
        assert config.set([(name.encode(), b"elsewhere")], is_local=is_local) == [name]
        assert config.set([(name.encode(), b"elsewhere")], is_local=is_local) == [name]  # it may have a new content
    else:
        with pytest.raises(ConfigSetError, match="can't set protected config"):
            config.set([(name.encode(), b"elsewhere")], is_local=is_local)
        assert shown(config, name) == b""


@pytest.mark.parametrize("allowed", ["no", "yes"])
@pytest.mark.parametrize("name", ["dir", "dbfilename", "logfile", "unixsocket"])
def test_where_data_and_log_are_never_changes(name: str, allowed: str) -> None:
    with pytest.raises(ConfigSetError, match=r"can't set (protected|immutable) config"):
        load_from("--enable-protected-configs", allowed).set([(name.encode(), b"elsewhere")], is_local=True)


def test_no_option_that_names_a_file_is_simply_live() -> None:
    paths = {name for name, option in ROWS.items() if option.kind.placeholder == "PATH" or "file" in name}
    assert {name for name in paths if ROWS[name].change not in (FIXED, PROTECTED)} == {"tls-ciphers", "tls-key-file-pass"}


def test_log_is_told_no_password() -> None:
    config = load_from("--requirepass", "secret", "--tls-key-file-pass", "secret", "--save", "")
    told = [config.describe(name) for name in ROWS]
    assert not any("secret" in line for line in told)
    assert {"requirepass", "timeout 0", "save"} <= set(told)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"auto-aof-rewrite-min-size", b"mb"),
        (b"auto-aof-rewrite-min-size", b""),
        (b"auto-aof-rewrite-min-size", b"17179869184gb"),  # 2**64 bytes, which Redis takes for 0
        (b"save", b"5 "),
        (b"save", b"+9 1"),
        (b"maxmemory", b"17179869184gb"),
        (b"maxmemory-policy", b"allkeys-ttl"),
        (b"client-output-buffer-limit", b"normal mb 1 1"),
        (b"client-output-buffer-limit", b"normal 17179869184gb 1 1"),
        (b"timeout", b"9" * 5000),  # more digits than int() takes
        (b"auto-aof-rewrite-min-size", b"9" * 5000),
        (b"save", b"9" * 5000 + b" 1"),
        (b"timeout", "٣".encode()),  # a digit to str.isdigit() and int()
        (b"auto-aof-rewrite-min-size", "٣".encode()),
        (b"save", "٣ ٣".encode()),
        (b"appendonly", b"\xff"),
    ],
)
def test_value_that_means_nothing_good_is_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(ConfigSetError):
        Config().set([(name, value)])


def test_config_set_of_one_class_leaves_the_others() -> None:
    config = Config()
    before = config.client_output_buffer_limit
    name = b"client-output-buffer-limit"
    assert config.set([(name, b"normal 1 2 3")]) == [name.decode()]
    assert config.client_output_buffer_limit == {**before, "normal": (1, 2, 3)}
    assert config.set([(name, b"normal 1 2 3")]) == config.set([(name, b"")]) == []
    assert Config().client_output_buffer_limit == before


def test_line_ends_of_a_client_never_reach_the_error_line() -> None:
    with pytest.raises(ConfigSetError) as caught:
        Config().set([(b"a\r\n+OK\r\n", b"1")])
    assert str(caught.value) == "ERR Unknown option or number of arguments for CONFIG SET - 'a  +OK  '"


def test_config_get_of_everything_shows_every_option() -> None:
    names = [*ROWS, *INERT_BY_NAME]
    assert list(Config().get_matching([b"*"])) == [name.encode() for name in names]
    assert shown(Config(), "hz") == b"10"
    assert shown(Config(), "save") == b"3600 1 300 100 60 10000"
    assert shown(Config(), "maxmemory") == b"0"


def test_expensive_pattern_costs_next_to_nothing() -> None:
    started_at = time.process_time()
    stars = (b"*?" * 20 + b"q", b"*a" * 400 + b"q", b"[a-z]*" * 150 + b"q", b"*" * 1_000_000 + b"q")
    assert Config().get_matching(stars) == {}
    assert time.process_time() - started_at < 1


# --- The same as the real redis-server ---


@pytest.fixture(scope="module")
def oracle(running_redis: ServerProcess) -> Iterator[Wire]:
    with running_redis.connect() as wire:
        yield wire


def our_reply(config: Config, *pairs: bytes) -> bytes:
    try:
        config.set(list(zip(pairs[::2], pairs[1::2], strict=True)))
    except ConfigSetError as error:
        return f"-{error}\r\n".encode("utf-8", "surrogateescape")
    return b"+OK\r\n"


def oracle_get(oracle: Wire, *patterns: bytes) -> dict[bytes, bytes]:
    return shared_options(oracle.value("CONFIG", "GET", *patterns))


def shared_options(flat: list[bytes]) -> dict[bytes, bytes]:
    everything = dict(zip(flat[::2], flat[1::2], strict=True))
    return {name: value for name, value in everything.items() if name.lower().decode() in SHARED}


def oracle_set(oracle: Wire, pairs: Sequence[bytes], names: Sequence[bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    """What CONFIG SET says, and what CONFIG GET of these names shows then.

    Sent at once with what sets the timeout back: a short one would end this connection where the machine is busy for so long.
    """
    oracle.send(encode("CONFIG", "SET", *pairs) + encode("CONFIG", "GET", *names) + encode("CONFIG", "SET", "timeout", 0))
    said, shown, _ = (oracle.read_reply() for _ in range(3))
    return said, shared_options(parse(shown))


def test_defaults_are_those_of_redis(start_server: Callable[..., ServerProcess]) -> None:
    different = {"port", "bind", "dir", "dbfilename", "databases", "appendonly", "enable-debug-command"}
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
    ours = {name for name in SHARED if ROWS[name].change is FIXED}
    assert ours - fixed == {"dir", "dbfilename"}
    assert fixed - ours == set()


INTEGERS = (
    "|abc|-1|0|7|1b|0x10|010| 5|5 |+5|1_0|-0|1.0|2147483647|2147483648|9223372036854775807"
    "|9223372036854775808|-9223372036854775808|-9223372036854775809|99999999999999999999"
)
SIZES = (
    "abc|-1|0|1|1b|010| 5|5 |+5|1_0|1.5mb|1mb|1MB|3m|2Gb|2g|1k|1kb|1kk|1tb|-1mb|9223372036854775807"
    "|9223372036854775808|99999999999999999999|9999999999gb"
)
SAVES = (
    "|abc|1|1 2 3|900 1 300 10|900 1 900 2|0 1|1 0|-1 1|1 -1|900 01| | 900 1|900  1|0x10 1|900 1x|900\t1"
    '|"900" 1|2147483648 2147483647'
)
OUTPUT_LIMITS = (
    "normal 0 0 0||normal|normal 1 1|normal 1 1 x|normal 1mb 1kb 5|foo 1 1 1|master 1 1 1|replica 1 2 3|NORMAL 1 1 1"
    "|normal 1 1 1 pubsub 2 2 2|normal 1 1 1 normal 2 2 2|normal  1 1 1| normal 1 1 1|normal 1 1 1 |normal -1 1 1"
    "|normal 1 1 -1|normal 1 1 99999999999999999999|normal 1 1 1.5|'normal' 1 1 1|normal 1 1 2147483648|normal 1 1 0x10"
    "|normal 9223372036854775807 1 1|normal 1 1 ''|slave 1gb 1gb 2147483647"
)
CHOICES = "|abc|No|always|EverySec|no |WARNING|debug|notice"
PERCENTILES = "|50|50 99 99.9|0 100|101|-1|a|1 a|50  99| 50|50 |1.5.5|.5|5.|99.123456789|1e1|nan"
SET_CASES = {
    "latency-tracking-info-percentiles": PERCENTILES,
    "slowlog-log-slower-than": INTEGERS,
    "slowlog-max-len": "|abc|-1|0|128|99999999999999999999",
    "latency-monitor-threshold": INTEGERS,
    "timeout": INTEGERS,
    "tcp-keepalive": INTEGERS,
    "auto-aof-rewrite-percentage": INTEGERS,
    "maxclients": "|0|-1|1|500|4294967296|99999999999999999999",  # redis-server 7.0.15 dies of 2147483648
    "auto-aof-rewrite-min-size": SIZES,
    "proto-max-bulk-len": SIZES,
    "client-query-buffer-limit": SIZES,
    "appendfsync": CHOICES,
    "loglevel": CHOICES,
    "stop-writes-on-bgsave-error": "|YES|no|1|true|on|yes ",
    "appendonly": "|No|maybe",
    "save": SAVES,
    "requirepass": "p\udcff\0w|two words|",
    "client-output-buffer-limit": OUTPUT_LIMITS,
    "protected-mode": "|YES|no|1",
    "tls-auth-clients": "|optional|maybe",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, os.fsencode(text)) for name, texts in SET_CASES.items() for text in texts.split("|")],
)
def test_config_set_replies_and_shows_as_redis_does(oracle: Wire, name: str, value: bytes) -> None:
    config = Config()
    config.set([(b"appendonly", b"no")])  # redis-server would start a rewrite
    assert oracle.command("CONFIG", "SET", name, shown(config, name)) == b"+OK\r\n"
    try:
        said, shows = oracle_set(oracle, [name.encode(), value], [name.encode()])
        assert our_reply(config, name.encode(), value) == said
        assert config.get_matching([name.encode()]) == shows
    finally:
        if name in ("requirepass", "client-output-buffer-limit"):
            oracle.command("CONFIG", "SET", name, shown(Config(), name))


@pytest.mark.parametrize(
    "pairs",
    [
        [b"nosuch", b"1"],
        [b"NoSuch\xff", b"1"],
        [b"nosuch\r\nx", b"1"],
        [b"nosuch\0x", b"1"],
        [b"*", b"1"],
        [b"", b""],
        [b"tcp_keepalive", b"1"],
        [b"databases", b"1"],
        [b"DataBases", b"1"],
        [b"databases", b"1", b"databases", b"1"],
        [b"databases", b"1", b"nosuch", b"1"],
        [b"nosuch", b"1", b"databases", b"1"],
        [b"timeout", b"1", b"timeout", b"2"],
        [b"timeout", b"1", b"TimeOut", b"2"],
        [b"timeout", b"1", b"nosuch", b"1", b"timeout", b"1"],
        [b"timeout", b"1", b"timeout", b"1", b"nosuch", b"1"],
        [b"timeout", b"x", b"databases", b"1"],
        [b"timeout", b"x", b"timeout", b"1"],
        [b"TIMEOUT", b"x"],
        [b"tcp-keepalive", b"y", b"timeout", b"x"],
        [b"timeout", b"1", b"loglevel", b"x"],
        [b"timeout", b"3", b"LogLevel", b"Warning", b"tcp-keepalive", b"9"],
    ],
)
def test_config_set_of_many_replies_and_changes_as_redis_does(oracle: Wire, pairs: list[bytes]) -> None:
    names = [b"timeout", b"loglevel", b"tcp-keepalive"]
    config = Config()
    oracle.command("CONFIG", "SET", *[part for pair in config.get_matching(names).items() for part in pair])
    said, shows = oracle_set(oracle, pairs, names)
    assert our_reply(config, *pairs) == said
    assert config.get_matching(names) == shows


def test_config_set_of_a_name_with_a_nul_is_unknown() -> None:
    """Not compared: redis-server hashes the whole name and compares it up to the NUL, so that it takes one name of 256."""
    error = b"-ERR Unknown option or number of arguments for CONFIG SET - 'timeout'\r\n"
    assert our_reply(Config(), b"timeout\0x", b"1") == error


def test_too_many_bind_addresses_is_worded_as_by_redis(oracle: Wire) -> None:
    addresses = " ".join(["127.0.0.1"] * 17)
    reply = oracle.command("CONFIG", "SET", "bind", addresses).decode()
    with pytest.raises(ConfigError) as caught:
        load_from("--bind", addresses)
    assert "Too many bind addresses specified." in reply
    assert "Too many bind addresses specified." in str(caught.value)


near_numbers = st.text("0123456789 -+_xkKmMgGbBt", max_size=6).map(str.encode)


@pytest.mark.parametrize("name", ["timeout", "auto-aof-rewrite-min-size", "proto-max-bulk-len", "save"])
@given(value=near_numbers)
def test_config_set_of_anything_is_as_in_redis_or_stricter(oracle: Wire, name: str, value: bytes) -> None:
    config = Config()
    ours = our_reply(config, name.encode(), value)
    theirs, shows = oracle_set(oracle, [name.encode(), value], [name.encode()])
    if ours == b"+OK\r\n":
        assert theirs == b"+OK\r\n"
        assert config.get_matching([name.encode()]) == shows
    elif theirs == b"+OK\r\n":
        assert name != "timeout"
        assert not re.fullmatch(rb"[0-9]+([kmg]?b)?|[1-9][0-9]* [0-9]+", value.lower())
    else:
        assert ours == theirs or not re.match(rb"[0-9]", value)


@pytest.mark.parametrize(
    "patterns",
    [
        [b"PORT"],
        [b"timeout", b"TimeOut", b"time*"],
        [b"TIME*", b"Timeout"],
        [b"[P]ort", b"data\\bases*", b"por\\t"],
        [b"port*", b"*port*", b"**", b"?ort"],
        [b"[^a]ort"],
        [b"[r-p]ort"],
        [b"[a-]ort"],
        [b"[q-]x]ort"],
        [b"[p-", b"*[t", b"*[st"],
        [b"[]*", b"tim[^]out"],
        [b"tim[\\e]out", b"[\\]*", b"\\[*", b"*\\"],
        [b"\\\\[p]ort", b"\\?ort", b"\\*"],
        [b"nosuch", b"", b"*nosuch*"],
        [b"time*o*u*t", b"*e*e*", b"auto-aof-*-*"],
        [b"t*\xff", b"\0*"],
    ],
)
def test_config_get_matches_as_redis_does(oracle: Wire, patterns: list[bytes]) -> None:
    ours = Config().get_matching(patterns)
    assert {name for name in ours if name.lower().decode() in SHARED} == oracle_get(oracle, *patterns).keys()


@settings(max_examples=300)
@given(patterns=st.lists(st.text("portimeuPT**??[]^-\\", max_size=8).map(str.encode), min_size=1, max_size=3))
def test_config_get_of_any_pattern_matches_as_redis_does(oracle: Wire, patterns: list[bytes]) -> None:
    ours = Config().get_matching(patterns)
    assert {name for name in ours if name.lower().decode() in SHARED} == oracle_get(oracle, *patterns).keys()


# --- Options of Redis that mean nothing here ---

# Which values are refused although Redis takes them, and in which words.
REFUSED = {
    "aclfile": "there is one user, and no file of others",
    "aof-load-truncated": "a torn journal never keeps the server from starting",
    "cluster-enabled": "there is no cluster mode",
    "daemonize": "it always stays in the foreground",
    "maxmemory-clients": "client eviction is not supported here",
    "min-replicas-to-write": "there are no replicas",
    "min-slaves-to-write": "there are no replicas",
    "notify-keyspace-events": "there are no keyspace notifications here",
    "pidfile": "there is no file of the process's number",
    "replicaof": "there is no replication",
    "slaveof": "there is no replication",
    "syslog-enabled": "the log goes to logfile or standard error",
    "tls-cluster": "there is no cluster mode",
    "tls-replication": "there is no replication",
    "tls-ciphersuites": "the cipher suites of TLSv1.3 are OpenSSL's",
}
INERT_VALUES = (
    "|abc|-1|0|1|7|010|100|101|1000|65535|65536|2147483648|9223372036854775807|9223372036854775808|yes|NO|1mb|10%|101%"
    "|1 2 3|-2001 0 0|1 2 x|swapdb|no-such|ip|panic|clients|relative|now force|save nosave|SAVE|a_b|a.b|{title} {port}|{title"
)


def test_every_option_of_redis_is_here_with_its_default(start_server: Callable[..., ServerProcess]) -> None:
    with start_server(kind="redis-server").connect() as wire:
        flat = wire.value("CONFIG", "GET", "*")
    theirs = dict(zip(flat[::2], flat[1::2], strict=True))
    assert {name.decode() for name in theirs} == {*SHARED, *INERT_BY_NAME}
    assert not INERT_BY_NAME.keys() & ROWS.keys()
    ours = Config().get_matching([name.encode() for name in INERT_BY_NAME])
    assert ours == {name: value for name, value in theirs.items() if name.decode() in INERT_BY_NAME}


@pytest.mark.parametrize("name", sorted(INERT_BY_NAME))
def test_inert_option_is_set_and_shown_as_in_redis(oracle: Wire, name: str) -> None:
    default = shown(Config(), name)
    values = [os.fsencode(text) for text in INERT_VALUES.split("|")]
    if name == "maxmemory-clients":  # too little, and redis-server drops the oracle's connection
        values = [b"", b"abc", b"-1", b"10%", b"101%", b"x%", b"5gb"]
    option, config = INERT_BY_NAME[name], Config()
    names = [each.encode() for each in (option.name, option.alias) if each]
    for value in values:
        ours, theirs = our_reply(config, name.encode(), value), oracle.command("CONFIG", "SET", name, value)
        flat = oracle.value("CONFIG", "GET", *names)
        if ours == theirs:
            assert config.get_matching(names) == dict(zip(flat[::2], flat[1::2], strict=True))
            continue
        oracle.command("CONFIG", "SET", name, default)
        config.set([(name.encode(), default)])
        reason = ours.decode().removeprefix(f"-ERR CONFIG SET failed (possibly related to argument '{name}') - ").rstrip()
        if value == b"" and option.kind.placeholder == "BYTES":  # 0 bytes to redis-server, by accident
            assert reason.startswith("argument must be a memory")
        else:
            assert reason == REFUSED[name], value
            assert theirs == b"+OK\r\n" or name.startswith("tls-")  # which wants certificates
    oracle.command("CONFIG", "SET", name, default)


@pytest.mark.parametrize("name", sorted(INERT_BY_NAME))
def test_inert_option_comes_from_the_command_line_the_environment_and_the_file(name: str) -> None:
    default = shown(Config(), name).decode()
    option = INERT_BY_NAME[name]
    for value in (
        "7",
        "no",
        "yes",
        "a.b",
        "now",
        "ip",
        "swapdb",
        "panic",
        "systemd",
        "local1",
        "allchannels",
        "1 2 3",
        "{port}",
    ):
        try:
            option.kind.parse(value)
        except ValueError:
            continue
        break
    else:
        value = default  # the one that it takes
    variable = "KVSERVER_" + name.upper().replace("-", "_")
    expected = {
        each.encode(): option.kind.show(option.kind.parse(value)).encode() for each in (option.name, option.alias) if each
    }
    for config in (
        load_from(f"--{name}", value),
        load_from(environ={variable: value}),
        load_toml(f'{name} = "{value}"'),
        load_toml(f'{name.replace("-", "_").upper()} = "{value}"'),
    ):
        assert config.get_matching(list(expected)) == expected


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_somebody_would_rely_on_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_from(
            f"--{name}", "KEA" if "notify" in name else "1" if "m" in name[0] else "no" if "truncated" in name else "yes"
        )
    assert str(caught.value).startswith(f"--{name} on the command line: {REFUSED[name]} (got ")


def test_option_by_two_of_its_names_is_there_twice() -> None:
    with pytest.raises(ConfigError, match="hash-max-listpack-value is there twice"):
        load_toml("hash-max-listpack-value = 1\nhash-max-ziplist-value = 2")


def test_config_set_that_fails_leaves_inert_options_as_well() -> None:
    config = Config()
    with pytest.raises(ConfigSetError):
        config.set([(b"hz", b"100"), (b"timeout", b"x")])
    assert shown(config, "hz") == b"10"
    assert config.set([(b"hz", b"100"), (b"timeout", b"5")]) == ["timeout"], "nobody has to act on the other one"
    assert shown(config, "hz") == b"100"


def test_readme_lists_the_inert_options_and_no_others() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    taken, refused = readme.split("Options of Redis that mean nothing here")[1].split("- No pickle")[0].split("Refused, but")
    patterns = {text: matcher(text.encode()) for text in re.findall(r"`([^`]+)`", taken)}
    refused_names = {text.partition(" ")[0] for text in re.findall(r"`([^`]+)`", refused)}
    assert refused_names == {*REFUSED, "activedefrag"}
    for text, matches in patterns.items():
        found = {name for name in INERT_BY_NAME if matches(name.encode())}
        assert found - refused_names, f"{text} is none of them"
        assert not any(matches(name.encode()) and name not in INERT_BY_NAME for name in ROWS), text
    unlisted = {name for name in INERT_BY_NAME if not any(matches(name.encode()) for matches in patterns.values())}
    assert unlisted - refused_names == set()


def test_no_start_reads_the_inert_options_unless_one_is_named() -> None:
    program = (
        "import sys; from kvserver.options.config import load; load(sys.argv[1:], {}, open); "
        "print('kvserver.options.inert' in sys.modules)"
    )
    for arguments, expected in (((), "False"), (("--port", "7"), "False"), (("--hz", "20"), "True")):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.strip() == expected
