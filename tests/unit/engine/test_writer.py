"""The writer alone: clients have their turns in the order in which they sent, and what a tick wrote is one record."""

from __future__ import annotations

import re

import pytest

from helpers.servers import encode
from helpers.writers import Setting, settle

CALLS_STEPS = """SET k v|GET k|get k|GET|NOSUCH|SET k v x|INFO commandstats|GET k|MULTI|GET k|PING x y|DISCARD
INFO commandstats
MULTI|GET k|GET k|INFO commandstats|CONFIG GET x|CONFIG|EXEC|MULTI|SET k v|INFO commandstats|GET k|INFO commandstats|EXEC
INFO commandstats|GET k|CONFIG RESETSTAT|GET k|GET k|GET|INFO commandstats|GET k|SET k v|SET k v|SET k v|SET k v|GET k"""
# What redis-server tells of these: calls and refused calls.
CALLS_TOLD = [
    {"get": (2, 1), "set": (2, 0)},
    {"get": (3, 1), "set": (2, 0), "info": (1, 0), "multi": (1, 0), "discard": (1, 0)},
    {"get": (3, 1), "set": (3, 0), "info": (2, 0), "multi": (3, 0), "discard": (1, 0), "exec": (1, 0), "config": (0, 1)},
    {"get": (4, 1), "set": (3, 0), "info": (3, 0), "multi": (3, 0), "discard": (1, 0), "exec": (1, 0), "config": (0, 1)},
    {"get": (4, 1), "set": (3, 0), "info": (4, 0), "multi": (3, 0), "discard": (1, 0), "exec": (2, 0), "config": (0, 1)},
    {"get": (2, 1), "config|resetstat": (1, 0)},
]


@pytest.fixture
async def setting() -> Setting:
    return Setting()


async def test_what_clients_sent_runs_in_the_order_in_which_it_came(setting: Setting) -> None:
    first, second = setting.client(), setting.client()
    setting.send(first, encode("SET", "k", "1"), encode("GET", "k"))
    setting.send(second, encode("GET", "k"), encode("SET", "k", "2"))
    setting.send(first, encode("GET", "k"))
    await settle()
    assert first.said == b"+OK\r\n$1\r\n1\r\n$1\r\n1\r\n", "its third command came before its turn"
    assert second.said == b"$1\r\n1\r\n+OK\r\n"
    assert setting.recording.sequence == 1, "one tick, one record"


async def test_client_whose_turn_fails_is_closed_and_the_others_are_served(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = setting.client(), setting.client()
    bad.fails = True
    setting.send(bad, encode("PING"))
    setting.send(good, encode("PING"))
    await settle()
    assert good.said == b"+PONG\r\n"
    assert bad.is_aborted
    assert not good.is_aborted
    assert "a client's turn failed" in caplog.text


async def test_replies_of_a_tick_leave_behind_the_write_of_its_record(setting: Setting) -> None:
    setting.hold_replies()
    client, said_before = setting.client(), []

    def write() -> None:
        said_before.append(client.said)
        setting.recording.safe = setting.recording.sequence

    setting.recording.on_record = write
    setting.send(client, encode("SET", "k", "v"))
    await settle()
    assert said_before == [b""]
    assert client.said == b"+OK\r\n"


async def test_replies_of_a_tick_whose_write_fails_are_never_sent(setting: Setting) -> None:
    outbox, client = setting.hold_replies(), setting.client()

    def fail() -> None:
        outbox.abort()
        setting.recording.safe = setting.recording.sequence

    setting.recording.on_record = fail
    setting.send(client, encode("SET", "k", "v"))
    await settle()
    assert client.is_aborted
    assert client.said == b""


def told_calls(info: str) -> dict[str, tuple[int, int]]:
    """The calls and the refused ones that INFO tells of each command."""
    found = re.findall(r"cmdstat_(.*?):calls=(\d+),.*?,rejected_calls=(\d+)", info)
    return {name: (int(calls), int(rejected)) for name, calls, rejected in found}


@pytest.mark.parametrize("together", [1, 2, 3, 64])
async def test_calls_are_those_before_whatever_comes_together_and_no_request_is_changed(
    setting: Setting, together: int
) -> None:
    client = setting.client()
    requests = [step.encode().split(b" ") for step in CALLS_STEPS.replace("\n", "|").split("|")]
    kept = [[*request] for request in requests]
    for start in range(0, len(requests), together):
        client.queue += requests[start : start + together]
        setting.writer.enqueue(client)
        await settle()
        setting.server.state.usages.fold_all()  # as the server does now and then
    assert requests == kept
    told = [told_calls(section) for section in client.said.decode().split("# Commandstats")[1:]]
    assert told == CALLS_TOLD


async def test_calls_of_others_are_counted_whatever_has_failed_before_them(setting: Setting) -> None:
    bad, good = setting.client(), setting.client()
    bad.fails = True
    setting.send(bad, encode("GET", "k"), encode("INFO"), encode("PING"))
    setting.send(good, encode("GET", "k"), encode("GET", "k"))
    await settle()
    usages = setting.server.state.usages
    usages.fold_all()
    assert usages.by_name[b"get"].calls == 3, "the first one was counted by INFO"
