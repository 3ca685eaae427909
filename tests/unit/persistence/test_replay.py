"""The replay of records, and where it pauses."""

from __future__ import annotations

import pytest

from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.dispatch.table import CommandTable
from kvserver.formats.segment import RecordInvalid, Records
from kvserver.options.config import Config
from kvserver.persistence.replay import Replay
from kvserver.state.session import ServerState


def replay_of(records: Records, *, keeps_whole: bool) -> list[int]:
    """The number of keys at each pause."""
    state = ServerState(Config(), Databases(lambda: 0), COMMANDS, lambda: 0)
    replay = Replay(state, CommandTable(COMMANDS, state.usages, lambda: 0), keeps_whole=keeps_whole)
    counts = [state.databases.key_count for _ in replay.run(records)]
    assert replay.records == len(records.starts)
    assert replay.commands == len(records.commands)
    return counts


def records_of(*lengths: int) -> Records:
    ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
    commands = [[b"SET", b"%d" % number, b"x"] for number in range(ends[-1])]
    return Records(0, list(range(len(lengths))), ends, commands, is_exact=True)


def test_replay_of_a_start_pauses_after_so_many_commands() -> None:
    assert replay_of(records_of(150, 300, 1), keeps_whole=False) == [200, 400, 451]


def test_replay_beside_readers_pauses_between_records_alone() -> None:
    assert replay_of(records_of(150, 300, 1), keeps_whole=True) == [450, 451]
    assert replay_of(records_of(200, 1), keeps_whole=True) == [200, 201]


@pytest.mark.parametrize("waits", [False, True])
def test_replay_frees_and_fails_the_same_where_somebody_waits_for_keys(waits: bool) -> None:
    state = ServerState(Config(), Databases(lambda: 0), COMMANDS, lambda: 0)
    if waits:
        state.databases.await_keys()
        state.databases.awaited.add(b"awaited")
    replay = Replay(state, CommandTable(COMMANDS, state.usages, lambda: 0), keeps_whole=True)
    commands = [[b"RPUSH", b"awaited", b"x"], [b"FLUSHALL"]]
    assert len(list(replay.run(Records(0, [0], [2], commands, is_exact=True)))) == 1
    assert bool(state.databases.awaited.touched) is waits
    assert replay.unused
    commands = [[b"RPUSH", b"awaited", b"x"], [b"INCR", b"awaited"]]
    with pytest.raises(RecordInvalid, match="a command fails"):
        list(replay.run(Records(0, [0], [2], commands, is_exact=True)))
