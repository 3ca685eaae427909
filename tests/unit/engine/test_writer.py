"""The writer alone: clients have their turns in the order in which they sent, and what a tick wrote is one record."""

from __future__ import annotations

import pytest

from helpers.servers import encode
from helpers.writers import Setting, settle


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
