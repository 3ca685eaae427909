"""The writer alone: clients have their turns in the order in which they sent, and what a tick wrote is one record."""

from __future__ import annotations

import asyncio

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


async def test_work_beside_the_ticks_is_one_record_and_feeds_who_waits(setting: Setting) -> None:
    setting.hold_replies()
    client = setting.client()
    setting.send(client, encode("BLPOP", "l", 0))
    await settle()
    session = setting.server.session()

    def work() -> None:
        for words in ([b"SET", b"k", b"v"], [b"RPUSH", b"l", b"a"]):
            setting.server.table.call(session, words)

    setting.writer.run_beside(work)
    assert setting.recording.sequence == 1
    assert client.said == b"", "it is not safe yet"
    setting.recording.safe = 1
    outbox = setting.writer.results.outbox
    assert outbox
    outbox.release()
    assert client.said == b"*2\r\n$1\r\nl\r\n$1\r\na\r\n"
    assert not client.is_waiting


async def test_work_that_fails_is_recorded_as_far_as_it_came(setting: Setting) -> None:
    session = setting.server.session()

    def work() -> None:
        setting.server.table.call(session, [b"SET", b"k", b"v"])
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        setting.writer.run_beside(work)
    assert setting.recording.sequence == 1


async def test_nobody_writes_beside_the_ticks_during_a_pause(setting: Setting) -> None:
    setting.writer.pause()
    setting.writer.pause()
    waiting = asyncio.get_running_loop().create_task(setting.writer.until_free())
    await settle()
    setting.writer.resume()
    await settle()
    assert not waiting.done()
    setting.writer.resume()
    await waiting
