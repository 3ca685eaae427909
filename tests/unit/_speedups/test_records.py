"""Both forms take the records at the start of a window that are whole and right, and stop before any other frame."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.frames import as_older
from helpers.leaves import assert_frees_all, each_form, forms, same
from kvserver._speedups.choice import compiled
from kvserver._speedups.requests import Request
from kvserver.formats.frame import RECORD_HEADER_SIZE, encode_record_frame
from kvserver.formats.record import EMPTY_STORE, encode_link, encode_records, pack, read_line
from kvserver.resp.request import StrictParser

Split = tuple[list[int], list[int], list[Request], int]
MOST = 1 << 30
RECORD = encode_records([pack([[b"SET", b"a", b"1"]])], [1_700_000_000_000])
HEADER = RECORD[:RECORD_HEADER_SIZE]

requests = st.lists(st.lists(st.binary(max_size=20), max_size=3).map(lambda words: [b"NAME", *words]), min_size=1, max_size=4)
records = st.builds(lambda tick, time_ms: encode_records([pack(tick)], [time_ms]), requests, st.integers(0, 10**20 - 1))
# What follows a record may be one that is taken one by one, or damage.
others = st.sampled_from(
    [
        as_older(RECORD),
        encode_link(EMPTY_STORE, 1),
        encode_record_frame(b""),
        encode_record_frame(b"#EXACT:1\r\n"),
        encode_record_frame(b"#EXACT:\r\n*1\r\n$4\r\nPING\r\n"),
        encode_record_frame(b"#EXACT:%b\r\n*1\r\n$4\r\nPING\r\n" % (b"1" * 21)),
        encode_record_frame(b"#MS:1\r\n*1\r\n$4\r\nPING\r\n"),
        encode_record_frame(b"*1\r\n$4\r\nPING\r\n"),
        encode_record_frame(b"#EXACT:1\r\n*1\r\n$4\r\nPING\r\nx"),
        encode_record_frame(b"#EXACT:1\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI"),
        encode_record_frame(b"#EXACT:1\r\n*1\r\n$13\r\nKVSERVER.LINK\r\n"),
        encode_record_frame(b"#EXACT:1\r\n*0\r\n"),
        encode_record_frame(b"#EXACT:1\r"),
        encode_record_frame(b"#EXACT:1"),
        HEADER.replace(b"KVJ2", b"KVJ3") + RECORD[RECORD_HEADER_SIZE:],
        HEADER[:16] + HEADER[16:].upper() + RECORD[RECORD_HEADER_SIZE:],
        b"KVJ2" + b"9" * 12 + RECORD[16:],
        b"KVJ2+00000000049" + RECORD[16:],
        RECORD[:-1],
        HEADER,
        HEADER[:-1],
        b"KVJ2",
        bytes(100),
    ]
)


def whole(window: bytes, start: int) -> tuple[int, int]:
    """What `check_records` has to find, one byte after the other."""
    count = 0
    while len(window) - start >= 24:
        header = window[start : start + 24]
        if header[:4] != b"KVJ2" or not header[4:16].isdigit():
            break
        payload = window[start + 24 : start + 24 + int(header[4:16])]
        _, is_exact, length = read_line(payload)
        if not is_exact or not length or encode_record_frame(payload)[:24] != header:
            break
        count, start = count + 1, start + 24 + len(payload)
    return count, start


@given(st.lists(records | others, max_size=6), st.integers(0, 3), st.data())
@example([], 0, None)
@example([RECORD, RECORD], 1, None)
def test_records_up_to_the_first_other_one_are_taken(frames: list[bytes], skipped: int, data: Any) -> None:
    window = b"".join(frames)
    if window and data:
        place = data.draw(st.integers(0, len(window) - 1))
        byte = data.draw(st.just(window[place]) | st.integers(0, 255))
        window = window[:place] + bytes((byte,)) + window[place + 1 :]
    start = len(b"".join(frames[:skipped]))
    assert same("check_records", window, start) == whole(window, start)
    # What is split is proven.
    count, _ = whole(window, start)
    for most in (1, 3, MOST):
        starts, ends, found, behind = same("split_records", window, start, most)
        assert len(starts) == len(ends) <= max(count, len(frames))
        for number, (first, last) in enumerate(pairwise([*starts, behind])):
            payload = window[first + 24 : last]
            tick = StrictParser().feed(payload[read_line(payload)[2] :])
            assert found[ends[number - 1] if number else 0 : ends[number]] == tick
        assert len(found) < most or not ends[:-1] or ends[-2] < most


@given(st.lists(requests, max_size=5))
def test_requests_are_what_was_recorded(ticks: list[list[Request]]) -> None:
    window = b"x" + b"".join(encode_records([pack(tick)], [1]) for tick in ticks)
    assert same("check_records", window, 1) == (len(ticks), len(window))
    starts, ends, found, behind = same("split_records", window, 1, MOST)
    assert [window[place : place + 4] for place in starts] == [b"KVJ2"] * len(ticks)
    assert ends == [sum(map(len, ticks[: count + 1])) for count in range(len(ticks))]
    assert found == [request for tick in ticks for request in tick]
    assert behind == len(window)


@each_form("split_records")
def test_so_many_requests_are_enough_and_no_record_is_divided(leaf: Callable[..., Split]) -> None:
    window = encode_records([pack([[b"PING"]] * 3)] * 3, [1] * 3)
    for most, taken in ((0, 0), (1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (100, 3)):
        assert [len(part) for part in leaf(window, 0, most)[:3]] == [taken, taken, 3 * taken]


@pytest.mark.parametrize("name", ["check_records", "split_records"])
def test_place_behind_the_window_has_no_records(name: str) -> None:
    most = () if name == "check_records" else (MOST,)
    for start in (len(RECORD), len(RECORD) + 1, 1 << 40):
        assert same(name, RECORD, start, *most)[-1] == start


@given(
    st.binary(max_size=100)
    | st.integers(0, 5_000).map(lambda length: bytes(range(256)) * (length // 256) + b"x" * (length % 256))
)
def test_checksum_of_every_length_is_that_of_zlib(value: bytes) -> None:
    record = encode_records([pack([[b"SET", b"k", value]])], [1])
    assert same("check_records", record, 0) == (1, len(record))
    assert same("encode_short", [[b"SET", b"k", value]], 1, MOST) == record


def test_all_is_freed() -> None:
    window = RECORD * 3 + encode_record_frame(b"#EXACT:1\r\n*1\r\n$4\r\nPING\r\nx")
    for form in forms("split_records").values():
        assert_frees_all(lambda form=form: form(window, 0, MOST), window)  # type: ignore[misc]
    for form in forms("check_records").values():
        assert_frees_all(lambda form=form: form(window, 0), window)  # type: ignore[misc]


@pytest.mark.skipif(compiled is None, reason="there is no form in C")
@pytest.mark.parametrize("arguments", [(), (b"",), ("", 0), (b"", b""), (b"", -1), (b"", 1 << 70), (bytearray(), 0)])
def test_what_is_no_window_is_refused(arguments: tuple[Any, ...]) -> None:
    assert compiled
    with pytest.raises((TypeError, ValueError, OverflowError)):
        compiled.check_records(*arguments)
    with pytest.raises((TypeError, ValueError, OverflowError)):
        compiled.split_records(*arguments, 1)
