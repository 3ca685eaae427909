"""The data of a server in memory: it is brought back, and let go of."""

from __future__ import annotations

from helpers.node_parts import table_of
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.media.medium import Place
from kvserver.media.memory import new_place
from kvserver.options.config import Config
from kvserver.persistence.local_data import LocalData
from kvserver.state.session import ServerState


async def loaded(place: Place) -> tuple[LocalData, ServerState]:
    state = ServerState(Config(), Databases(lambda: 0), COMMANDS, lambda: 0)
    data = LocalData(state, table_of(state), place)
    await data.begin()
    data.journal.courier.on_safe = lambda: None
    await data.load()
    return data, state


async def test_what_was_recorded_comes_back_after_a_crash() -> None:
    place = new_place()
    data, state = await loaded(place)
    assert data.journal.is_on
    data.journal.append([[b"SET", b"k", b"v"]], 1)
    await data.journal.sync()
    data.halt()
    assert not data.journal.is_on
    data.abandon()
    data, state = await loaded(place)
    assert state.databases[0].live(b"k") == b"v"
    await data.close()
