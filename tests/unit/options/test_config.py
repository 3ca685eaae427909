"""The settings of a server: where they come from and which source wins, and CONFIG GET and SET beside redis-server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.options import ROWS, SHARED, load_from, load_toml, oracle_get, oracle_set, our_reply, shown
from helpers.servers import ServerProcess, Wire
from kvserver.errors import ConfigError, ConfigSetError
from kvserver.options.config import NOTHING_TO_LISTEN_ON, Config, load
from kvserver.options.inert import INERT_BY_NAME
from kvserver.options.kinds import AUTO_PORT, INT_MAX
from kvserver.options.table import COMMANDED, FIXED, PROTECTED


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
        (["-p", "7000"], "port", 7000),
        (["-p7000"], "port", 7000),
        (["-p=7000"], "port", 7000),
        (["--bind", "127.0.0.1", "-::1", "-p", "7000"], "bind", ("127.0.0.1", "-::1")),
        (["--requirepass", "-p"], "requirepass", b"-p"),
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
        (["--port"], "a value is missing: NUMBER|auto"),
        (["--port", "--bind", "::1"], "a value is missing: NUMBER|auto"),
        (["--save"], "a value is missing: SECONDS CHANGES ..."),
        (["-p"], "a value is missing: NUMBER|auto"),
        (["-p", "abc"], "argument couldn't be parsed into an integer (got 'abc')"),
        (["--port", "1", "2"], "it takes one value, not 2"),
        (["--config", "a", "b"], "it takes one value, not 2"),
        (["--prot", "1"], "unknown option; did you mean --port?"),
        (["--max-clients", "1"], "unknown option; did you mean --maxclients?"),
        (["--confg", "a"], "unknown option; did you mean --config?"),
        (["--qqq", "1"], "unknown option"),
        (["--"], "unknown option"),
        (["--port", "65536"], "argument must be between 0 and 65535 inclusive (got '65536')"),
        (["--port", "1_0"], "argument couldn't be parsed into an integer (got '1_0')"),
        (["--databases", "1025"], "argument must be between 1 and 1024 inclusive (got '1025')"),
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
        (["7000"], "the file 7000 can't be read: No such file or directory"),
        (["-q", "7000"], "'-q' on the command line: options begin with --"),
        (["no.conf"], "the file no.conf can't be read: No such file or directory"),
        (["a", "--config", "b"], "--config on the command line: there is another file before it: a"),
        (["--port", "1", "a.conf"], "--port on the command line: it takes one value, not 2"),
        (["--port=1", "2"], "'2' on the command line: options begin with --"),
        (["--port=x"], "--port on the command line: argument couldn't be parsed into an integer (got 'x')"),
        (["--config", "no.toml"], "the file no.toml can't be read: No such file or directory"),
        (["--port", "0"], NOTHING_TO_LISTEN_ON),
        (["--bind", ""], NOTHING_TO_LISTEN_ON),
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
    environ = {
        "KVSERVER_PROT": "1",
        "KVSERVER_QQQ": "",
        "KVSERVER_PURE": "1",
        "KVSERVER_": "x",
        "KVSERVER_\n\u00e4": "x",
        "KVSERVER_TIMEOUT": "7",
    }
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
        ("[network]\nport = 1", "'network'", "it is a table: options stand before all tables, such as port = 6379"),
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
    return "\udcff"


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


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].change in (FIXED, COMMANDED)])
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


def test_log_is_told_no_password() -> None:
    config = load_from("--requirepass", "secret", "--tls-key-file-pass", "secret", "--save", "")
    told = [config.describe(name) for name in ROWS]
    assert not any("secret" in line for line in told)
    assert {"requirepass", "timeout 0", "save"} <= set(told)


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
    names = [*(name for name in ROWS if name != "user"), *INERT_BY_NAME]
    assert list(Config().get_matching([b"*"])) == [name.encode() for name in names]
    assert shown(Config(), "hz") == b"10"
    assert shown(Config(), "save") == b"3600 1 300 100 60 10000"
    assert shown(Config(), "maxmemory") == b"0"


def test_expensive_pattern_costs_next_to_nothing() -> None:
    started_at = time.process_time()
    stars = (b"*?" * 20 + b"q", b"*a" * 400 + b"q", b"[a-z]*" * 150 + b"q", b"*" * 1_000_000 + b"q")
    assert Config().get_matching(stars) == {}
    assert time.process_time() - started_at < 1


# --- The same as redis-server ---


@pytest.fixture(scope="module")
def oracle(running_redis: ServerProcess) -> Iterator[Wire]:
    with running_redis.connect() as wire:
        yield wire


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
