"""CONFIG asks the server to act on the options that changed. (options/test_config is about names and values.)"""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.dispatch.effect import Reconfigure, RewriteConfig
from kvserver.resp.reply import OK


def test_set_changes_the_options_and_names_those_that_are_new() -> None:
    server = Server()
    session = server.session()
    assert run(session, "CONFIG", "SET", "timeout", "5", "maxclients", server.state.config.maxclients) == Reconfigure(
        ["timeout"], OK
    )
    assert run(session, "CONFIG", "GET", "timeout", "maxclients") == {b"timeout": b"5", b"maxclients": b"10000"}


@pytest.mark.parametrize(
    "words", [("timeout", "x"), ("timeout", "5", "nonsense", "1"), ("databases", "2"), ("timeout", "1", "timeout", "2")]
)
def test_refused_set_is_redis_error_and_changes_nothing(words: tuple[str, ...]) -> None:
    session = Server().session()
    assert text(run(session, "CONFIG", "SET", *words)).startswith("ERR ")
    assert run(session, "CONFIG", "GET", "timeout") == {b"timeout": b"0"}


def test_name_without_a_value_is_refused_as_redis_refuses_it() -> None:
    session = Server().session()
    assert text(run(session, "CONFIG", "SET", "timeout", "5", "maxclients")) == "ERR syntax error"
    assert text(run(session, "CONFIG", "SET", "timeout")) == "ERR wrong number of arguments for 'config|set' command"
    assert run(session, "CONFIG", "GET", "timeout") == {b"timeout": b"0"}


def test_reset_statistics_start_again_from_nothing() -> None:
    server = Server()
    session = server.session()
    counters = server.state.counters
    counters.connections_received = counters.connections_rejected = counters.commands_processed = 5
    counters.input_bytes = counters.output_bytes = server.keyspace.expired = 5
    server.state.usages.executed += [b"GET"]
    server.state.usages.count_error("ERR x")
    assert run(session, "CONFIG", "RESETSTAT") == OK
    assert (counters.connections_received, counters.connections_rejected, counters.commands_processed) == (0, 0, 0)
    assert (counters.input_bytes, counters.output_bytes, server.keyspace.expired) == (0, 0, 0)
    assert server.state.usages.errors.total() == 0
    assert server.state.counters is counters


def test_rewrite_needs_a_file() -> None:
    server = Server()
    session = server.session()
    assert text(run(session, "CONFIG", "REWRITE")) == "ERR The server is running without a config file"
    server.state.config.file = "/etc/kvserver.toml"
    assert run(session, "CONFIG", "REWRITE") == RewriteConfig()
