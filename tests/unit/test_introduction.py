"""A server warns of a network at its start, and a port in use comes with the way to another one; the rest: test_server."""

from __future__ import annotations

import errno

import pytest

from helpers.sessions import Server
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.introduction import another_port, introduce, warn_of_network
from kvserver.options.config import Config, load
from kvserver.state.session import ServerState


def config_of(*words: str) -> Config:
    return load(words, {}, str)


def in_use(port: int) -> OSError:
    error = OSError(f"cannot listen on 127.0.0.1:{port}: Address already in use")
    error.__cause__ = OSError(errno.EADDRINUSE, "Address already in use")
    return error


def state_of(*words: str) -> ServerState:
    state = Server().state
    state.config = config_of(*words)
    state.users.default.set_password(state.config.requirepass)
    return state


def test_server_on_a_network_warns_of_whoever_may_get_there(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_network(state_of("--protected-mode", "no"), ["10.0.0.9:6379: no such address"], "0.0.0.0:6379")
    warn_of_network(state_of(), [], "0.0.0.0:6379")
    assert caplog.messages == [
        "10.0.0.9:6379: no such address; going on without it",
        "0.0.0.0:6379 is on a network: whoever gets there has all data, since protected-mode is off and requirepass is empty",
        "0.0.0.0:6379 is on a network: clients of other machines are turned away, since protected-mode is on and requirepass "
        "is empty",
    ]


def test_password_and_a_server_of_this_machine_need_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_network(state_of("--requirepass", "x", "--protected-mode", "no"), [], "0.0.0.0:6379")
    warn_of_network(state_of("--protected-mode", "no"), [], "")
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("port", "in_words_of_the_shell", "way"),
    [
        (7000, True, "; -p takes another port, -p auto any that is free"),
        (7000, False, '; port="auto" takes any that is free'),
        (7001, True, "; --tls-port takes another port, --tls-port auto any that is free"),
        (7001, False, '; tls_port="auto" takes any that is free'),
        (7002, False, '; http_port="auto" takes any that is free'),
        (7003, True, ""),
    ],
)
def test_port_in_use_comes_with_the_way_to_another(port: int, in_words_of_the_shell: bool, way: str) -> None:
    config = config_of("--port", "7000", "--tls-port", "7001", "--http-port", "7002")
    assert another_port(in_use(port), config, in_words_of_the_shell=in_words_of_the_shell) == way


def test_failure_of_another_kind_has_no_way_to_another_port() -> None:
    error = OSError("cannot listen on 127.0.0.1:7000: Permission denied")
    error.__cause__ = OSError(errno.EACCES, "Permission denied")
    assert another_port(error, config_of("--port", "7000"), in_words_of_the_shell=True) == ""


def test_engine_and_what_it_promises_are_told(caplog: pytest.LogCaptureFixture) -> None:
    state = ServerState(Config(), Databases(lambda: 0), COMMANDS, lambda: 0)
    state.config.medium = "nats://user:secret@host/kv"
    state.config.appendfsync = "always"
    engine = state.replication.engine
    engine.url, engine.lease_ms = "nats://host/kv", 3000
    engine.promises, engine.warnings = ["a kill of one node"], ["a power cut of all"]
    with caplog.at_level("INFO", logger="kvserver"):
        introduce(state, ["redis://127.0.0.1:1"])
    lines = [record.message for record in caplog.records]
    assert "data on nats://host/kv, a lease of 3 s" in lines
    assert "the engine: a kill of one node" in lines
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == ["the engine: a power cut of all"]
    assert not any("secret" in line or "data in" in line for line in lines)
