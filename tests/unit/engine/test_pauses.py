"""A pause holds commands back until it ends, by itself or by a command, and keys do not go by themselves meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from helpers.writers import Noting, Setting
from kvserver.engine.pauses import Pauses
from kvserver.state.session import Pause


class Paused:
    """Pauses of a server, and the clients that went on."""

    def __init__(self) -> None:
        self.setting = Setting()
        self.state = self.setting.server.state
        self.went_on: list[Noting] = []
        self.went_on_any = asyncio.Event()
        self.pauses = Pauses(self.state)

    def _note(self, client: Noting) -> None:
        assert not client.session.is_postponed
        self.went_on.append(client)
        self.went_on_any.set()

    def postponed(self) -> Noting:
        client = self.setting.client()
        client.on_go_on = partial(self._note, client)
        self.pauses.postpone(client)
        assert client.is_waiting
        assert client.session.is_postponed
        return client


@pytest.fixture
async def paused() -> Paused:
    return Paused()


async def test_those_who_wait_go_on_in_order_when_the_pause_is_ended(paused: Paused) -> None:
    paused.pauses.begin(Pause.ALL, paused.state.now_ms() + 100_000, holds_keys=True)
    assert (paused.state.pause, paused.state.databases.is_held) == (Pause.ALL, True)
    first, gone, last = (paused.postponed() for _ in range(3))
    paused.pauses.forget(gone)
    paused.pauses.end()
    assert paused.went_on == [first, last]
    assert (paused.state.pause, paused.state.databases.is_held) == (Pause.NONE, False)
    paused.pauses.end()
    assert len(paused.went_on) == 2


async def test_pause_ends_by_itself(paused: Paused) -> None:
    paused.pauses.begin(Pause.WRITES, paused.state.now_ms() + 1, holds_keys=True)
    client = paused.postponed()
    await paused.went_on_any.wait()
    assert paused.went_on == [client]
    assert paused.state.pause is Pause.NONE


async def test_pause_becomes_neither_shorter_nor_weaker(paused: Paused) -> None:
    now_ms = paused.state.now_ms()
    paused.pauses.begin(Pause.ALL, now_ms + 100_000, holds_keys=True)
    paused.pauses.begin(Pause.WRITES, now_ms + 1, holds_keys=True)
    assert paused.state.pause is Pause.ALL
    assert paused.pauses._ends_at_ms == now_ms + 100_000
    paused.pauses.end()


async def test_pause_of_a_transaction_holds_keys_when_it_is_told_to(paused: Paused) -> None:
    paused.pauses.begin(Pause.ALL, paused.state.now_ms() + 100_000, holds_keys=False)
    assert not paused.state.databases.is_held
    paused.pauses.hold_keys()
    assert paused.state.databases.is_held
    paused.pauses.end()
