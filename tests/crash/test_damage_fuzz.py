"""Segments and media of random records and frames, damaged anywhere: what is found is what stands there as it was written.

KVSERVER_RECORD_FUZZ_COUNT segments and KVSERVER_FRAME_FUZZ_COUNT media are made, some thousands a second, from
KVSERVER_DAMAGE_FUZZ_SEED on. No frame that is here begins as another one does, and no damage makes a valid one of one that
was not written, but by a chance of one in some billions. So the model takes from the left what was written.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from typing import TypeVar

from helpers.frames import as_older, frame
from helpers.leaves import same
from kvserver.formats.record import EMPTY_STORE, encode_link, encode_records, pack
from kvserver.formats.scan import Tail
from kvserver.formats.segment import Records, Steps, read_records, scan_segment
from kvserver.library.keeping import run
from kvserver.media.memory import MemoryMedium
from kvserver.persistence.workplace import Here, drive, finish
from kvserver.resp.request import Request
from kvserver.types import PLAIN

RECORDS = int(os.environ.get("KVSERVER_RECORD_FUZZ_COUNT", "500"))
FRAMES = int(os.environ.get("KVSERVER_FRAME_FUZZ_COUNT", "500"))
SEED = int(os.environ.get("KVSERVER_DAMAGE_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)

# A record or a frame that was written, and what is in it.
Content = TypeVar("Content")
Written = tuple[bytes, Content]


def some_bytes(rng: random.Random) -> bytes:
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(5_000))
    return rng.choice(
        (b"", b"\r\n", b"*1\r\n", b"$1\r\n", b"KVJ2", b"KVS1", b"#EXACT:1\r\n", rng.randbytes(rng.randrange(20)))
    )


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes lost, doubled, changed, brought in or overwritten by zeros, or the end lost."""
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(7)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[at + rng.randrange(1, 30) :]
    if kind == 2:
        return data[:at] + data[max(0, at - rng.randrange(1, 30)) :]
    if kind == 3:
        return data[:at] + some_bytes(rng) + data[at:]
    if kind == 4:
        zeros = bytes(rng.randrange(1, 100))
        return data[:at] + zeros + data[at + len(zeros) :]
    return data[:at] + bytes([rng.choice(b"0123456789abcdefKVJS12*$\r\n\0\xff")]) + data[at + (kind == 5) :]


def laid_out(rng: random.Random, written: Sequence[Written[Content]]) -> bytes:
    data = b"".join(rng.choice(written)[0] for _ in range(rng.randrange(7)))
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 3))):
        data = damaged(rng, data)
    return data


def taken(data: bytes, written: Sequence[Written[Content]]) -> tuple[list[Content], list[int]]:
    """The contents of what stands at the start as it was written, and where each ends."""
    contents: list[Content] = []
    ends = [0]
    while found := next((each for each in written if data.startswith(each[0], ends[-1])), None):
        contents.append(found[1])
        ends.append(ends[-1] + len(found[0]))
    return contents, ends


# --- records


def a_record(rng: random.Random) -> Written[list[Request]]:
    if rng.random() < 0.1:
        link = encode_link(rng.choice((EMPTY_STORE, rng.randbytes(32).hex())), rng.randrange(1 << 41))
        return (link if rng.random() < 0.7 else as_older(link)), []
    tick = [[b"SET", *(some_bytes(rng) for _ in range(rng.randrange(4)))] for _ in range(rng.randrange(1, 4))]
    record = encode_records([pack(tick)], [rng.randrange(1 << 41)])
    return (record if rng.random() < 0.9 else as_older(record)), tick


def drive_over(data: bytes, steps: Steps[Content]) -> Content:
    return finish(drive(steps, MemoryMedium(data), Here()))


def read(data: bytes, length: int) -> list[Request]:
    found: list[Request] = []

    def keep(records: Records) -> tuple[()]:
        found.extend(records.commands)
        return ()

    drive_over(data, read_records(length, keep))
    return found


def test_records_are_found_as_they_were_written_whatever_is_damaged() -> None:
    rng = random.Random(SEED)
    found = 0
    for index in range(RECORDS):
        # They serve for some segments.
        if index % 20 == 0:
            written = [a_record(rng) for _ in range(5)]
        data = laid_out(rng, written)
        ticks, ends = taken(data, written)
        label = f"KVSERVER_DAMAGE_FUZZ_SEED={SEED}, segment {index}: {data!r}"
        result = drive_over(data, scan_segment(len(data)))
        assert (result.records, result.valid_length) == (len(ticks), ends[-1]), label
        assert (result.tail is Tail.NONE) == (ends[-1] == len(data)), label
        assert read(data, ends[-1]) == [request for tick in ticks for request in tick], label
        start = rng.choice((*ends, rng.randrange(len(data) + 1)))
        same("check_records", data, start)
        same("split_records", data, start, rng.randrange(9))
        found += len(ticks)
        if index % 100_000 == 99_999:
            print(f"{index + 1} segments so far", flush=True)
    print(f"{RECORDS} segments, {found} records in them, seed {SEED}")
    assert found > RECORDS // 2


# --- frames


def a_frame(rng: random.Random) -> Written[dict[bytes, bytes]]:
    """A frame of the library, and its members as they are held in memory."""
    names = ("a", "b", "$kvs:", "$kvs:gA==", "é", "\0", 'x"', "k" * rng.randrange(300))
    values = ("", "text", 'é\n"\\', 1, 2.5, None, True, [1, {"a": []}], {"$kvs": 0}, frame({"b": 1}).decode())
    state = {rng.choice(names): rng.choice(values) for _ in range(rng.randrange(5))}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for name, value in state.items()
    }
    return frame(state), {name.encode(): text.encode() for name, text in texts.items()}


def test_frames_are_loaded_as_they_were_written_whatever_is_damaged() -> None:
    rng = random.Random(SEED)
    found = 0
    for index in range(FRAMES):
        if index % 20 == 0:
            written = [a_frame(rng) for _ in range(4)]
        data = laid_out(rng, written)
        states, ends = taken(data, written)
        label = f"KVSERVER_DAMAGE_FUZZ_SEED={SEED}, medium {index}: {data!r}"
        result = run(MemoryMedium(data), PLAIN, load=True)
        assert [each.end for each in result.frames] == ends[1:], label
        assert (result.tail is Tail.NONE) == (ends[-1] == len(data)), label
        assert result.tail_length == len(data) - ends[-1], label
        if states:
            assert result.data, label
            members = {key: value for shard in result.data.shards.get(0, ()) for key, value in shard.items()}
            assert members == states[-1], label
        else:
            assert result.data is None, label
        found += len(states)
        if index % 100_000 == 99_999:
            print(f"{index + 1} media so far", flush=True)
    print(f"{FRAMES} media, {found} frames in them, seed {SEED}")
    assert found > FRAMES // 2
