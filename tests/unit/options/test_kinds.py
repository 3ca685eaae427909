"""Kinds of values: a text is parsed and shown, or refused, as by redis-server, or more strictly."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.options import ROWS, load_from, oracle_set, our_reply, shown
from helpers.servers import ServerProcess, Wire
from kvserver.errors import ConfigError, ConfigSetError
from kvserver.options.config import Config
from kvserver.options.kinds import INT_MAX, LONG_MAX
from kvserver.options.retention import parse_retention
from kvserver.options.table import OPTIONS


@pytest.fixture(scope="module")
def oracle(running_redis: ServerProcess) -> Iterator[Wire]:
    with running_redis.connect() as wire:
        yield wire


# --- Parsed and shown ---

limits = st.tuples(st.integers(0, LONG_MAX), st.integers(0, LONG_MAX), st.integers(0, INT_MAX))
paths = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "port": st.integers(0, 65535),
    "timeout": st.integers(0, INT_MAX),
    "proto-max-bulk-len": st.integers(2**20, LONG_MAX),
    "unixsocketperm": st.integers(0, 0o777),
    "history": st.sampled_from(["0", "7", "30s", "12h", "7d"]).map(parse_retention),
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
    "notify-keyspace-events": st.text("Ag$lshzxetdKEm").map(ROWS["notify-keyspace-events"].kind.parse),
    "medium": st.from_regex(r"[a-z0-9]+:[^\s\0]+", fullmatch=True).filter(lambda url: url[0].isalpha()) | st.just(""),
    "lease-milliseconds": st.integers(100, INT_MAX) | st.just(0),
    "replicaof": st.from_regex(r"[a-z0-9.:]+ (0|[1-9][0-9]{0,3})", fullmatch=True) | st.just(""),
    "announce-ip": st.from_regex(r"[0-9a-f:.]*", fullmatch=True),
    "user": st.lists(st.lists(st.from_regex(rb"[A-Za-z0-9+@~&*|#%-]+", fullmatch=True), min_size=1).map(tuple)).map(tuple),
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


# --- The same as redis-server ---

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
    "notify-keyspace-events": "|A|EKA|mKnEA|KEg$lshzxetd|ndtexzhsl$gEK|n|m|mnEKlg$|K|Kx|q|KEAq|A |kea",
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
