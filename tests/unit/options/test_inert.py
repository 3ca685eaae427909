"""The options of Redis that mean nothing here: they are set and shown as there, and what somebody would rely on is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.options import ROWS, SHARED, load_from, load_toml, our_reply, shown
from helpers.servers import ServerProcess, Wire
from kvserver.cli import topics
from kvserver.errors import ConfigError, ConfigSetError
from kvserver.options.config import Config
from kvserver.options.inert import INERT_BY_NAME
from kvserver.patterns import matcher


@pytest.fixture(scope="module")
def oracle(running_redis: ServerProcess) -> Iterator[Wire]:
    with running_redis.connect() as wire:
        yield wire


# Which values are refused although Redis takes them, and in which words.
REFUSED = {
    "aof-load-truncated": "a torn journal never keeps the server from starting",
    "cluster-enabled": "there is no cluster mode",
    "daemonize": "it always stays in the foreground",
    "enable-module-command": "there are no modules",
    "maxmemory-clients": "client eviction is not supported here",
    "min-replicas-to-write": "there are no replicas",
    "min-slaves-to-write": "there are no replicas",
    "pidfile": "there is no file of the process's number",
    "replica-read-only": "a replica takes no writes",
    "slave-read-only": "a replica takes no writes",
    "syslog-enabled": "the log goes to logfile or standard error",
    "tls-cluster": "there is no cluster mode",
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
        load_from(f"--{name}", "1" if "m" in name[0] else "no" if name.endswith(("truncated", "only")) else "yes")
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


def test_help_lists_the_inert_options_and_no_others() -> None:
    topic = (Path(topics.TOPICS) / "configuration.md").read_text(encoding="utf-8")
    (listed,) = topic.split("## Options of Redis that mean nothing here")[1:]
    taken, refused = listed.split("Refused, but")
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
