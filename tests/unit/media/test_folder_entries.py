"""The layout of entries in a folder's segments: each damage is seen."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from kvserver.errors import MediumError
from kvserver.formats.manifest import BEGINNING, Position
from kvserver.media.folder_entries import (
    END_BYTES,
    HEADER_BYTES,
    PENDING_BYTES,
    End,
    Pending,
    decode_end,
    decode_pending,
    encode_entry,
    has_entry_behind,
    segment_name,
    segments_among,
    take_entry,
)
from kvserver.media.shared import Entry, Mark

FIRST = Entry(Position(1, 1), Mark(1, 1, ""), b"first")
SECOND = Entry(Position(2, 2), Mark(2, 9, "0123456789abcdef" * 2), b"KVE1 \n\x00\xff")
EMPTY = Entry(Position(2, 3), Mark(2, 10, "f" * 32), b"")


def test_entries_come_back() -> None:
    content = b"".join(map(encode_entry, (FIRST, SECOND, EMPTY)))
    found, at = [], 0
    while taken := take_entry(content, at) if at < len(content) else None:
        found.append(taken[0])
        at = taken[1]
    assert found == [FIRST, SECOND, EMPTY]
    assert at == len(content) == 3 * HEADER_BYTES + len(FIRST.data + SECOND.data)


def test_layout_is_as_it_was_written_down() -> None:
    expected = (
        b"KVE1 00000000000000000001 00000000000000000001 00000000000000000001 " + b"-" * 32 + b" 0000000005 "
        b"3c6073861be0a39af6074871648f6478\nfirst"
    )
    assert encode_entry(FIRST) == expected


def test_part_of_an_entry_is_none_yet() -> None:
    content = encode_entry(SECOND)
    for length in range(len(content)):
        assert take_entry(content[:length], 0) is None


def test_each_changed_byte_is_seen() -> None:
    content = encode_entry(SECOND)
    rng = random.Random(1)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= rng.randrange(1, 256)
        # With a greater length, the entry is not whole.
        with suppress(MediumError):
            assert take_entry(bytes(changed), 0) is None


def test_later_entry_is_found_behind_damage_and_no_earlier_one() -> None:
    content = b"KVE1 torn KVE1 " + encode_entry(SECOND) + b"KVE1"
    assert has_entry_behind(content, 0, 1)
    assert not has_entry_behind(content, 0, 2)
    assert not has_entry_behind(content[:-10], 0, 1)


def test_names_of_segments_are_the_positions_before_them() -> None:
    places = [BEGINNING, Position(1, 7), Position(12, 1000)]
    names = [segment_name(place) for place in places]
    assert names == sorted(names)
    assert segments_among([*reversed(names), "log.lock", "log-1-2.entries", f"{names[0]}.tmp"]) == places


def test_other_bytes_are_no_entry() -> None:
    for content in (b"x", b"KVE2 ", b"\0" * 500, b"KVE1 " + b"x" * 500):
        with pytest.raises(MediumError):
            take_entry(content, 0)


def test_lines_are_taken_whole_or_not_at_all() -> None:
    end = End(Position(2, 7), 1234, Position(3, 99))
    pending = Pending(Position(2, 7), 1234, 5678)
    assert (len(end.encode()), len(pending.encode())) == (END_BYTES, PENDING_BYTES)
    assert (decode_end(end.encode()), decode_pending(pending.encode())) == (end, pending)
    for line, decode in ((end.encode(), decode_end), (pending.encode(), decode_pending)):
        for place in range(len(line)):
            assert decode(line[:place]) is None
            assert decode(line[:place] + b"5" + line[place + 1 :]) == (decode(line) if line[place] == ord("5") else None)
    assert decode_pending(bytes(PENDING_BYTES)) is None
