"""A medium that is cut at any byte, or has any bit flipped, is loaded, appended to and loaded again, never wrongly.

What is loaded is always the last frame whose bytes are all as they were written; what lies behind it is set aside if it is
damage, and cut if it is a torn tail; the next flush lands where a strict scan finds it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from helpers.frames import frame
from helpers.simulated_disk import ROOT, SimulatedDisk
from kvserver.data.databases import Databases
from kvserver.library.store import KVStore
from kvserver.media.file import FileMedium
from kvserver.media.memory import MemoryMedium
from kvserver.options.config import Config
from kvserver.persistence.disk import Disk
from kvserver.persistence.snapshots import Snapshots
from kvserver.state.session import ServerState

PATH = f"{ROOT}/dump.kvs"
State = dict[str, object]


# The one frame that stands unescaped in a JSON text: a search for the magic would find it.
INNER = frame({}).decode()
STATES: list[State] = [
    {"a": "1", "only in the first": "x" * 40},
    {"a": "2", "decoy": INNER, "é": "ü", "n": [1, 2.5, None]},
    {"a": "3", "decoy": INNER, "z": "last " * 9},
]
FRAMES = [frame(state) for state in STATES]
MEDIUM = b"".join(FRAMES)
ENDS = [len(b"".join(FRAMES[: count + 1])) for count in range(3)]
NEXT: State = {"appended": "behind it"}


@pytest.fixture(autouse=True)
def few_shards(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of runs: making and folding a thousand shards is most of the time of each, and each logs."""
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 3)
    caplog.set_level(logging.CRITICAL + 1, "kvserver")


@pytest.fixture
def counts() -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    yield counts
    print(dict(counts))


def kept_frames(medium: bytes) -> int:
    """The number of frames that stand at the start of a medium as they were written."""
    return next((count for count, end in enumerate(ENDS) if medium[:end] != MEDIUM[:end]), 3)


def flipped(medium: bytes, bit: int) -> bytes:
    at = bit // 8
    return medium[:at] + bytes([medium[at] ^ 1 << bit % 8]) + medium[at + 1 :]


def check_library(damaged: bytes, medium: MemoryMedium | FileMedium, kept: int) -> None:
    """Load, append, load again."""
    store = KVStore(medium)
    assert store.restore() == (kept > 0)
    expected = STATES[kept - 1] if kept else {}
    names = {name for state in STATES for name in state}
    assert {name: store.get(name) for name in names} == {name: expected.get(name) for name in names}
    assert medium.read_all() == damaged, "a load changes nothing"
    for name, value in NEXT.items():
        store.set(name, value)
    assert store.shutdown() is True
    assert medium.read_all() == b"".join(FRAMES[:kept]) + frame({**expected, **NEXT})
    again = KVStore(medium)
    assert again.restore() is True
    assert {name: again.get(name) for name in {*names, *NEXT}} == {
        name: {**expected, **NEXT}.get(name) for name in {*names, *NEXT}
    }


def check_in_memory(damaged: bytes, aside: list[bytes]) -> int:
    kept = kept_frames(damaged)
    medium = MemoryMedium(damaged)
    check_library(damaged, medium, kept)
    assert medium.asides == aside
    return kept


def check_in_a_file(damaged: bytes, aside: list[bytes]) -> None:
    disk = SimulatedDisk()
    disk.put(PATH, damaged)
    with FileMedium(PATH, disk) as medium:
        check_library(damaged, medium, kept_frames(damaged))
    assert [disk.content(name) for name in disk.names() if name != PATH] == aside


class ServerUnderTest:
    """The server's start over a medium in memory, its flush and another start."""

    def __init__(self) -> None:
        self.disk = Disk()

    async def check(self, damaged: bytes, kept: list[int], aside: list[bytes]) -> None:
        """`kept`: the numbers of the frames that are found, counted from 0."""
        medium = MemoryMedium(damaged)
        base = STATES[kept[-1]] if kept else {}
        expected = dict(base)
        for attempt in range(2):
            config = Config()
            config.keep_frames = 100
            # No client comes here, so that there are no commands: their statistics would take more time than all the rest.
            state = ServerState(config, Databases(lambda: 0), {}, lambda: 0)
            snapshots = Snapshots(state, medium, self.disk)
            assert bool((await snapshots.frames.recover()).loaded) == (bool(kept) or attempt > 0)
            loaded = {key.decode(): entry for key, entry in state.databases[0].members()}
            assert loaded == {
                name: value.encode() if isinstance(value, str) else json.dumps(value, separators=(",", ":")).encode()
                for name, value in expected.items()
            }
            assert medium.asides == aside
            expected[f"appended {attempt}"] = "x"
            state.databases[0].set(f"appended {attempt}".encode(), b"x")
            await snapshots.start_flush()
        assert medium.read_all() == b"".join(FRAMES[number] for number in kept) + b"".join(
            frame({**base, **{f"appended {number}": "x" for number in range(count)}}) for count in (1, 2)
        )


@pytest.fixture
def server() -> Iterator[ServerUnderTest]:
    server = ServerUnderTest()
    yield server
    server.disk.close()


def test_medium_cut_at_every_byte_gives_its_whole_frames(counts: Counter[str]) -> None:
    for length in range(len(MEDIUM) + 1):
        kept = check_in_memory(MEDIUM[:length], [])
        counts["cuts"] += 1
        counts[f"{kept} frames left"] += 1
    assert [counts[f"{kept} frames left"] for kept in range(4)] == [ENDS[0], len(FRAMES[1]), len(FRAMES[2]), 1]


def test_file_cut_at_every_byte_gives_its_whole_frames(counts: Counter[str]) -> None:
    for length in range(len(MEDIUM) + 1):
        check_in_a_file(MEDIUM[:length], [])
        counts["cuts"] += 1


def test_every_flipped_bit_of_the_last_frame_is_damage_that_is_set_aside(counts: Counter[str]) -> None:
    for bit in range(ENDS[1] * 8, ENDS[2] * 8):
        damaged = flipped(MEDIUM, bit)
        assert check_in_memory(damaged, [damaged[ENDS[1] :]]) == 2
        counts["bits"] += 1
    assert counts["bits"] == len(FRAMES[2]) * 8


def test_every_flipped_byte_of_a_file_is_damage_that_is_set_aside(counts: Counter[str]) -> None:
    for at in range(len(MEDIUM)):
        damaged = flipped(MEDIUM, at * 8 + at % 8)
        check_in_a_file(damaged, [damaged[[0, *ENDS][kept_frames(damaged)] :]])
        counts["bytes"] += 1


def test_every_flipped_bit_of_a_middle_frame_ends_the_medium_before_it(counts: Counter[str]) -> None:
    """The last frame is whole, but no scan from the left reaches it: it is set aside with the damage, and not destroyed."""
    for bit in range(ENDS[0] * 8, ENDS[1] * 8):
        damaged = flipped(MEDIUM, bit)
        assert check_in_memory(damaged, [damaged[ENDS[0] :]]) == 1
        counts["bits"] += 1


def test_bytes_lost_from_a_middle_frame_end_the_medium_before_it(counts: Counter[str]) -> None:
    for at in range(ENDS[0] + 1, ENDS[1]):
        for damaged in (
            MEDIUM[:at] + MEDIUM[at + 1 :],
            MEDIUM[:at] + b"\0" + MEDIUM[at:],
            MEDIUM[:at] + bytes(ENDS[1] - at) + MEDIUM[ENDS[1] :],
        ):
            assert check_in_memory(damaged, [damaged[ENDS[0] :]]) == 1
            counts["media"] += 1


def test_zeros_over_the_header_of_a_middle_frame_are_damage_since_something_whole_is_behind_it() -> None:
    """They are no flush that a crash cut short: nothing is ever written behind one of those."""
    damaged = MEDIUM[: ENDS[0]] + bytes(80) + MEDIUM[ENDS[0] + 80 :]
    assert check_in_memory(damaged, [damaged[ENDS[0] :]]) == 1


async def test_server_starts_on_a_medium_cut_at_every_byte(server: ServerUnderTest, counts: Counter[str]) -> None:
    asyncio.get_running_loop().set_debug(False)
    for length in range(len(MEDIUM) + 1):
        await server.check(MEDIUM[:length], list(range(kept_frames(MEDIUM[:length]))), [])
        counts["cuts"] += 1


async def test_flipped_byte_costs_a_server_that_frame_alone_as_long_as_its_header_tells_where_it_ends(
    server: ServerUnderTest, counts: Counter[str]
) -> None:
    asyncio.get_running_loop().set_debug(False)
    for at in range(len(MEDIUM)):
        damaged = flipped(MEDIUM, at * 8 + at % 8)
        hit = kept_frames(damaged)
        start = [0, *ENDS][hit]
        is_header_whole = at - start >= len(b"KVS1") + 12 and re.fullmatch(rb"[0-9a-f]{64}", damaged[start + 16 : start + 80])
        if is_header_whole:
            await server.check(damaged, [number for number in range(3) if number != hit], [damaged[start : ENDS[hit]]])
        else:
            await server.check(damaged, list(range(hit)), [damaged[start:]])
        counts["stepped over" if is_header_whole else "not stepped over"] += 1
    assert counts["stepped over"] > counts["not stepped over"] > 3 * 16
