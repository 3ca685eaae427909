"""Segments of the journal: what a scan finds in them and what is read, however they were cut or damaged."""

from __future__ import annotations

import hashlib
import tracemalloc
from typing import NamedTuple, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.frames import as_older
from kvserver.formats.frame import HEADER_SIZE, JOURNAL_MAGIC, encode_frame, encode_record_frame
from kvserver.formats.record import EMPTY_STORE, encode_link, encode_pieces, encode_records, pack
from kvserver.formats.scan import CHUNK_BYTES, Tail
from kvserver.formats.segment import RecordInvalid, Records, SegmentScan, Steps, read_records, scan_segment
from kvserver.media.memory import MemoryMedium
from kvserver.persistence.workplace import Here, finish
from kvserver.persistence.workplace import drive as drive_at
from kvserver.resp.request import Request

T = TypeVar("T")

DIGEST = hashlib.sha256(b"{}").hexdigest()
FIRST = [[b"SET", b"a", b"1"]]
SECOND = [[b"DEL", b"a", b"b"], [b"JSON.SET", b"j", b"$", b"{}"]]
commands = st.lists(st.binary(max_size=30), min_size=1, max_size=5).filter(lambda words: words[0] != b"KVSERVER.LINK")


def drive(data: bytes, steps: Steps[T]) -> T:
    return finish(drive_at(steps, MemoryMedium(data), Here()))


def scan(data: bytes) -> SegmentScan:
    return drive(data, scan_segment(len(data)))


class Record(NamedTuple):
    """One of the records that are read together."""

    offset: int
    commands: list[Request]
    time_ms: int | None
    is_exact: bool


def read(data: bytes) -> list[Record]:
    found: list[Record] = []

    def keep(records: Records) -> tuple[()]:
        assert len(records.starts) == len(records.ends)
        assert records.ends[-1] == len(records.commands)
        starts = [0, *records.ends[:-1]]
        for number, start, end in zip(range(len(starts)), starts, records.ends, strict=True):
            found.append(Record(records.offset(number), records.commands[start:end], records.time_ms, records.is_exact))
        return ()

    drive(data, read_records(len(data), keep))
    return found


def one(*tick: Request) -> bytes:
    return encode_records([pack(tick)], [1_700_000_000_000])


# As they were written before records had times.
OLD_LINK = (
    b"KVJ10000000000954e4ef48d52f155884542124f31d1fe89b9a0f7ffec7ee825e8241b77bf4b731e"
    b"*2\r\n$13\r\nKVSERVER.LINK\r\n$64\r\n44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\r\n"
)
OLD_LINK_TO_EMPTY = (
    b"KVJ10000000000312faa8f3c039955957d0590232e1050eb08f5ecac7f0adc9f335d68f8054bdc4c"
    b"*2\r\n$13\r\nKVSERVER.LINK\r\n$1\r\n-\r\n"
)
OLD_RECORD = (
    b"KVJ100000000005442ddad90ef420075c0861f734b39a8a04ee61f404f000990c1e97818eb000988"
    b"*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n\xff\r\n"
)
# As they were written before they had the keys that had expired.
INEXACT_RECORD = (
    b"KVJ10000000000463e8f8d9a11ab80c62dd060308fe92315d89f821c729a6360309a9c4ea28b4e94"
    b"#MS:1700000000123\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
)
LINK = encode_link(DIGEST)
# Each test of damage runs on what is written now, on what older versions have written, and on both in one segment.
forms = pytest.mark.parametrize(
    "ticks",
    [
        pytest.param([LINK, one(*FIRST), one(*SECOND)], id="now"),
        pytest.param([as_older(LINK), as_older(one(*FIRST)), as_older(one(*SECOND))], id="older"),
        pytest.param([LINK, as_older(one(*FIRST)), one(*SECOND)], id="older before now"),
        pytest.param([LINK, one(*FIRST), as_older(one(*SECOND))], id="now before older"),
    ],
)


@given(st.lists(st.tuples(st.lists(commands, min_size=1, max_size=4), st.booleans()), max_size=6))
def test_all_that_was_recorded_is_read_in_order(ticks: list[tuple[list[Request], bool]]) -> None:
    records = [as_older(one(*tick)) if is_older else one(*tick) for tick, is_older in ticks]
    data = b"".join(records)
    result = scan(data)
    assert (result.records, result.valid_length, result.tail) == (len(ticks), len(data), Tail.NONE)
    assert [record.commands for record in read(data)] == [tick for tick, _ in ticks]
    assert [record.offset for record in read(data)] == [len(b"".join(records[:count])) for count in range(len(records))]


@pytest.mark.parametrize("older", [False, True])
def test_long_argument_is_read_in_short_steps(older: bool) -> None:
    value = b"x" * 16_000_000
    payload = pack([[b"SET", b"a", b"1"], [b"SET", b"k", value], [b"SET", b"b", b"2"]])
    data = b"".join([one(*FIRST), *encode_pieces(payload, 2), one(*SECOND)])
    data = as_older(data) if older else data
    tracemalloc.start()
    try:
        steps = read_records(len(data), lambda record: ())
        most = 0
        request = next(steps)
        try:
            while True:
                answer = data[request.offset : request.offset + request.length] if request else b""
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
                request = steps.send(answer)
                # The parser's buffer grows by an eighth now and then.
                most = max(most, tracemalloc.get_traced_memory()[1] - before)
        except StopIteration:
            pass
    finally:
        tracemalloc.stop()
    assert most < len(value) / 6


@pytest.mark.parametrize("length", [CHUNK_BYTES - HEADER_SIZE - 40, CHUNK_BYTES, 3 * CHUNK_BYTES])
@pytest.mark.parametrize("older", [False, True])
def test_frames_across_and_beyond_a_chunk_are_read(length: int, older: bool) -> None:
    data = one(*FIRST) + one([b"SET", b"k", b"x" * length]) + one(*SECOND)
    data = as_older(data) if older else data
    assert scan(data).tail is Tail.NONE
    assert [len(record.commands) for record in read(data)] == [1, 1, 2]


def test_segment_of_many_chunks_is_read_wherever_they_end() -> None:
    ticks = [[[b"SET", b"%d" % number, b"x" * (number % 300)]] for number in range(6_000)]
    data = b"".join(one(*tick) for tick in ticks)
    assert len(data) > 4 * CHUNK_BYTES
    assert (scan(data).records, scan(data).valid_length) == (len(ticks), len(data))
    assert [record.commands for record in read(data)] == ticks


def test_links_are_found_and_are_no_records() -> None:
    data = encode_link(EMPTY_STORE) + one(*FIRST) + LINK
    assert [tuple(link) for link in scan(data).links] == [(0, EMPTY_STORE), (len(data) - len(LINK), DIGEST)]
    assert [record.commands for record in read(data)] == [FIRST]


@forms
def test_segment_that_is_cut_anywhere_is_torn_and_what_is_before_is_valid(ticks: list[bytes]) -> None:
    segment, ends = b"".join(ticks), [len(b"".join(ticks[:count])) for count in range(4)]
    for cut in range(len(segment)):
        result = scan(segment[:cut])
        assert result.valid_length == max(end for end in ends if end <= cut)
        assert result.tail is (Tail.NONE if cut in ends else Tail.TORN)


@forms
def test_flipped_bit_ends_the_scan_before_its_frame(ticks: list[bytes]) -> None:
    segment, ends = b"".join(ticks), [len(b"".join(ticks[:count])) for count in range(4)]
    for position in range(len(segment)):
        for bit in range(8):
            damaged = bytearray(segment)
            damaged[position] ^= 1 << bit
            result = scan(bytes(damaged))
            assert result.valid_length == max(end for end in ends if end <= position)
            assert result.tail is not Tail.NONE


@forms
def test_header_of_a_record_that_is_empty_is_damage(ticks: list[bytes]) -> None:
    """The CRC-32 of nothing is 0, so that digits which were lost or doubled may leave one."""
    segment = b"".join(ticks)
    for frame in (b"KVJ2" + b"0" * 20, as_older(b"KVJ2" + b"0" * 20)):
        for rest in (b"", b"x", one(*FIRST)):
            result = scan(segment + frame + rest)
            assert (result.tail, result.valid_length, result.records) == (Tail.DAMAGED, len(segment), 3)
    assert scan(segment + b"KVJ2" + b"0" * 19).tail is Tail.TORN


@forms
def test_zeros_behind_the_last_frame_are_torn_and_zeros_before_something_damage(ticks: list[bytes]) -> None:
    segment = b"".join(ticks)
    assert scan(segment + bytes(5000)).tail is Tail.TORN
    assert scan(segment + bytes(5000) + b"x").tail is Tail.DAMAGED
    assert scan(segment + bytes(50)).tail is Tail.TORN
    assert scan(segment + bytes(50) + b"x").tail is Tail.DAMAGED
    assert scan(segment + bytes(50) + b"x").valid_length == len(segment)


@pytest.mark.parametrize("frame", [one(*FIRST), as_older(one(*FIRST))])
def test_frame_whose_payload_is_whole_but_shorter_than_its_length_says_is_damage(frame: bytes) -> None:
    assert scan(frame[:4] + b"%012d" % 500 + frame[16:]).tail is Tail.DAMAGED
    assert scan(frame[:4] + b"9" * 12 + frame[16:]).tail is Tail.DAMAGED


@forms
def test_length_that_reaches_beyond_the_end_is_damage_where_whole_records_are_behind(ticks: list[bytes]) -> None:
    segment = b"".join(ticks) + one(*FIRST) * 3
    for position in range(4, 16):
        digit = b"8" if segment[position : position + 1] == b"9" else b"9"
        result = scan(segment[:position] + digit + segment[position + 1 :])
        assert (result.tail, result.valid_length) == (Tail.DAMAGED, 0)


def test_search_for_whole_records_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def check(window: bytes, start: int) -> tuple[int, int]:
        asked.append(start)
        return 0, start

    monkeypatch.setattr("kvserver.formats.segment.check_records", check)
    assert scan(one([b"SET", b"k", b"KVJ2" * 10_000])[:-1]).tail is Tail.TORN
    assert 10 < len(asked) < 100


def test_frame_inside_a_damaged_frame_is_never_found() -> None:
    evil = one([b"SET", b"evil", b"1"])
    frame = one([b"SET", b"k", evil + as_older(evil)])
    for whole in (frame, as_older(frame)):
        damaged = bytearray(whole)
        damaged[HEADER_SIZE + 4] ^= 1
        assert scan(bytes(damaged)).records == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"*1\r\n$4\r\nPI",
        b"*1\r\n:1\r\n",
        b"*1\r\n+OK\r\n",
        b"+OK\r\n",
        b"*1\r\n$4\r\nPING\r\nPING\r\n",
        b"*0\r\n",
        b"*1\r\n*1\r\n$1\r\nx\r\n",
        b"*x\r\n",
        b"*1\r\n$4\r\nPING\r\nx",
        b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI",
        b"#MS:1\r\n",
        b"#MS:1\r\n#MS:2\r\n*1\r\n$4\r\nPING\r\n",
        b"#MS:\r\n*1\r\n$4\r\nPING\r\n",
        b"#MS:-1\r\n*1\r\n$4\r\nPING\r\n",
        b"#MS:1_0\r\n*1\r\n$4\r\nPING\r\n",
        b"#MS:123456789012345678901\r\n*1\r\n$4\r\nPING\r\n",
        b"#EXACT:1\r\n",
        b"#EXACT:1\r\n#MS:2\r\n*1\r\n$4\r\nPING\r\n",
        b"#EXACT:x\r\n*1\r\n$4\r\nPING\r\n",
        b"#LATER:1\r\n*1\r\n$4\r\nPING\r\n",
    ],
)
def test_payload_that_is_no_commands_is_damage_even_with_a_right_checksum(payload: bytes) -> None:
    for frame in (encode_frame(payload, JOURNAL_MAGIC), encode_record_frame(payload)):
        assert scan(one(*FIRST) + frame).tail is (Tail.NONE if payload else Tail.DAMAGED)
        with pytest.raises(RecordInvalid) as caught:
            read(one(*FIRST) + frame + one(*SECOND))
        assert (caught.value.offset, caught.value.tail) == (len(one(*FIRST)), Tail.DAMAGED)


def test_segment_of_before_records_had_times_is_read_as_ever() -> None:
    data = OLD_LINK_TO_EMPTY + OLD_RECORD + OLD_LINK + OLD_RECORD
    result = scan(data)
    assert (result.records, result.valid_length, result.tail) == (4, len(data), Tail.NONE)
    assert [link.digest for link in result.links] == [EMPTY_STORE, DIGEST]
    old = [[b"DEL", b"a", b"b"], [b"SET", b"c", b"\xff"]]
    assert [(record.commands, record.time_ms) for record in read(data)] == [(old, None), (old, None)]


def test_time_of_a_record_is_read_beside_records_without() -> None:
    exact_record = encode_records([pack(FIRST)], [1_700_000_000_124])
    links = encode_link(DIGEST, 1_700_000_000_124) + encode_link(EMPTY_STORE, 0)
    data = OLD_LINK + OLD_RECORD + INEXACT_RECORD + links + exact_record + OLD_RECORD
    assert scan(data).tail is Tail.NONE
    assert [link.digest for link in scan(data).links] == [DIGEST, DIGEST, EMPTY_STORE]
    found = [(record.time_ms, record.is_exact) for record in read(data)]
    assert found == [(None, False), (1_700_000_000_123, False), (None, True), (None, False)]
    assert read(data)[1].commands == read(data)[2].commands == FIRST


@forms
def test_what_is_behind_the_proven_part_is_not_read(ticks: list[bytes]) -> None:
    segment = b"".join(ticks)
    for count in (1, 2):
        found: list[int] = []

        def keep(records: Records) -> tuple[()]:
            found.extend(map(records.offset, range(len(records.starts))))  # noqa: B023
            return ()

        drive(segment, read_records(len(b"".join(ticks[:count])), keep))
        assert len(found) == count - 1
        assert scan(segment[: len(b"".join(ticks[:count]))]).records == count


@pytest.mark.parametrize("older", [False, True])
def test_segment_that_became_shorter_while_it_was_read_is_damage(older: bool) -> None:
    data = LINK + one(*FIRST) * 2
    data = as_older(data) if older else data
    for length in range(len(LINK), len(data)):
        with pytest.raises(RecordInvalid) as caught:
            drive(data[:length], read_records(len(data), lambda records: ()))
        assert caught.value.tail is Tail.DAMAGED


def test_many_commands_are_handed_over_in_runs_that_never_divide_a_record() -> None:
    ticks = [[[b"PING", b"%d" % number]] * (number % 700 + 1) for number in range(0, 7_000, 131)]
    runs: list[Records] = []

    def keep(records: Records) -> tuple[()]:
        runs.append(records)
        return ()

    data = b"".join(one(*tick) for tick in ticks)
    drive(data, read_records(len(data), keep))
    assert [command for records in runs for command in records.commands] == [command for tick in ticks for command in tick]
    assert max(len(records.commands) for records in runs) < 1024 + 700
    assert len(runs) < len(ticks)
