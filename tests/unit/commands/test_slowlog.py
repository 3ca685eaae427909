"""SLOWLOG tells which commands were slow."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import START_MS, Server, run, text
from kvserver.commands.slowlog import WRONG_COUNT
from kvserver.dispatch.timing import NEVER_NS, note_slow, slow_from_ns
from kvserver.options.config import Config
from kvserver.resp.reply import OK


def config_of(**values: int) -> Config:
    config = Config()
    config.set([(name.replace("_", "-").encode(), b"%d" % value) for name, value in values.items()])
    return config


@pytest.mark.parametrize(
    ("values", "expected_ns"),
    [
        ({}, 10_000_000),
        ({"slowlog_log_slower_than": 0}, 0),
        ({"slowlog_log_slower_than": -1}, NEVER_NS),
        ({"slowlog_max_len": 0}, NEVER_NS),
        ({"latency_monitor_threshold": 3}, 3_000_000),
        ({"latency_monitor_threshold": 30}, 10_000_000),
        ({"latency_monitor_threshold": 30, "slowlog_log_slower_than": -1}, 30_000_000),
    ],
)
def test_slow_is_what_the_lower_threshold_says(values: dict[str, int], expected_ns: int) -> None:
    assert slow_from_ns(config_of(**values)) == expected_ns


def test_slow_command_is_kept_with_its_client() -> None:
    session = Server().session()
    session.name = b"me"
    note_slow(session, [b"KEYS", b"*"], 10_000_999)
    note_slow(session, [b"KEYS", b"*"], 9_999_999)
    assert run(session, "SLOWLOG", "LEN") == 1
    assert run(session, "SLOWLOG", "GET") == [[0, START_MS // 1000, 10_000, [b"KEYS", b"*"], session.address.encode(), b"me"]]


def test_transaction_is_told_by_its_commands_alone() -> None:
    session = Server().session()
    note_slow(session, [b"EXEC"], 10**9)
    assert run(session, "SLOWLOG", "LEN") == 0


def test_no_password_is_kept() -> None:
    session = Server().session()
    note_slow(session, [b"CONFIG", b"SET", b"requirepass", b"secret"], 10**9)
    assert "secret" not in str(run(session, "SLOWLOG", "GET"))
    assert "redacted" in str(run(session, "SLOWLOG", "GET"))


def test_entries_are_given_up_to_a_count() -> None:
    session = Server().session()
    for _ in range(15):
        note_slow(session, [b"KEYS", b"*"], 10**9)
    counts: dict[tuple[str, ...], int] = {(): 10, ("3",): 3, ("0",): 0, ("-1",): 15, ("99",): 15}
    for words, count in counts.items():
        entries: Any = run(session, "SLOWLOG", "GET", *words)
        assert [entry[0] for entry in entries] == list(range(14, 14 - count, -1))
    for word in ("-2", "x"):
        assert text(run(session, "SLOWLOG", "GET", word)) == WRONG_COUNT
    assert run(session, "SLOWLOG", "RESET") == OK
    assert run(session, "SLOWLOG", "LEN") == 0


def test_off_is_off() -> None:
    server = Server()
    server.state.config = config_of(slowlog_log_slower_than=-1)
    session = server.session()
    note_slow(session, [b"KEYS", b"*"], 10**12)
    assert len(server.state.slowlog) == 0


def test_latency_tells_fast_commands_from_others() -> None:
    server = Server()
    server.state.config = config_of(latency_monitor_threshold=5, slowlog_log_slower_than=-1)
    session = server.session()
    note_slow(session, [b"get", b"k"], 5_000_000)
    note_slow(session, [b"KEYS", b"*"], 7_000_000)
    note_slow(session, [b"KEYS", b"*"], 4_999_999)
    found = {event: list(series.samples) for event, series in server.state.latency.series.items()}
    assert found == {"fast-command": [(START_MS // 1000, 5)], "command": [(START_MS // 1000, 7)]}
    assert len(server.state.slowlog) == 0
