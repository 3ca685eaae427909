"""Journal frames: what a scan of a segment finds, however it was cut or damaged."""

from __future__ import annotations

import hashlib
import tracemalloc
from typing import TypeVar
from unittest import mock

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.formats import record as module
from kvserver.formats.frame import HEADER_SIZE, JOURNAL_MAGIC, encode_frame
from kvserver.formats.record import (
    EMPTY_STORE,
    SHARED_FRAME_BYTES,
    LongPayload,
    Record,
    RecordInvalid,
    SegmentScan,
    Steps,
    encode_link,
    encode_pieces,
    encode_records,
    linked_digest,
    pack,
    read_records,
    scan_segment,
)
from kvserver.formats.scan import CHUNK_BYTES, Tail
from kvserver.media.memory import MemoryMedium
from kvserver.persistence.workplace import Here, finish
from kvserver.persistence.workplace import drive as drive_at
from kvserver.resp import reply
from kvserver.resp.request import Request, StrictParser

T = TypeVar("T")

DIGEST = hashlib.sha256(b"{}").hexdigest()
FIRST = [[b"SET", b"a", b"1"]]
SECOND = [[b"DEL", b"a", b"b"], [b"JSON.SET", b"j", b"$", b"{}"]]
commands = st.lists(st.binary(max_size=30), min_size=1, max_size=5).filter(lambda words: words[0] != b"KVSERVER.LINK")


def drive(data: bytes, steps: Steps[T]) -> T:
    return finish(drive_at(steps, MemoryMedium(data), Here()))


def scan(data: bytes) -> SegmentScan:
    return drive(data, scan_segment(len(data)))


def read(data: bytes) -> list[Record]:
    records: list[Record] = []

    def keep(record: Record) -> tuple[()]:
        records.append(record)
        return ()

    drive(data, read_records(len(data), keep))
    return records


def one(*tick: Request) -> bytes:
    return encode_records([pack(tick)])


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
SEGMENT = LINK + one(*FIRST) + one(*SECOND)


@given(st.lists(commands, min_size=1, max_size=5))
def test_pack_is_what_a_client_would_send(tick: list[Request]) -> None:
    assert pack(tick) == b"".join(hiredis.pack_command(tuple(command)) for command in tick)  # type: ignore[arg-type]
    assert StrictParser().feed(bytes(pack(tick))) == tick


@given(st.lists(st.lists(commands, min_size=1, max_size=4), max_size=6))
def test_all_that_was_recorded_is_read_in_order(ticks: list[list[Request]]) -> None:
    data = b"".join(one(*tick) for tick in ticks)
    result = scan(data)
    assert (result.records, result.valid_length, result.tail) == (len(ticks), len(data), Tail.NONE)
    assert [record.commands for record in read(data)] == ticks


def test_short_ticks_share_a_frame_and_long_ones_do_not() -> None:
    long = [[b"SET", b"k", b"x" * SHARED_FRAME_BYTES]]
    data = encode_records([pack(FIRST), pack(SECOND), pack(long), pack(FIRST)])
    assert [record.commands for record in read(data)] == [FIRST + SECOND + long, FIRST]
    assert encode_records([]) == b""


@given(st.lists(st.lists(commands, min_size=1, max_size=4), max_size=6), st.integers(0, 40))
def test_long_commands_are_recorded_as_short_ones_are(ticks: list[list[Request]], length: int) -> None:
    with mock.patch.object(module, "LONG_COMMAND_BYTES", length + 1), mock.patch.object(reply, "LONG_PIECE_BYTES", length):
        payloads = [pack(tick) for tick in ticks]
        assert [bytes(payload) for payload in payloads] == [bytes(pack(tick)) for tick in ticks]
        assert list(map(len, payloads)) == [len(bytes(payload)) for payload in payloads]
        data = b"".join(encode_pieces(payloads))
        assert scan(data).tail is Tail.NONE
        found = [command for record in read(data) for command in record.commands]
    assert found == [command for tick in ticks for command in tick]


def test_long_argument_is_recorded_without_a_copy_and_read_in_short_steps() -> None:
    value = b"x" * 16_000_000
    tracemalloc.start()
    try:
        payload = pack([[b"SET", b"a", b"1"], [b"SET", b"k", value], [b"SET", b"b", b"2"]])
        assert isinstance(payload, LongPayload)
        pieces = encode_pieces([pack(FIRST), payload, pack(SECOND)], [1, 2, 3])
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        assert any(piece is value for piece in pieces)
        data = b"".join(pieces)
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
def test_frames_across_and_beyond_a_chunk_are_read(length: int) -> None:
    data = one(*FIRST) + one([b"SET", b"k", b"x" * length]) + one(*SECOND)
    assert scan(data).tail is Tail.NONE
    assert [len(record.commands) for record in read(data)] == [1, 1, 2]


def test_links_are_found_and_are_no_records() -> None:
    data = encode_link(EMPTY_STORE) + one(*FIRST) + LINK
    assert [tuple(link) for link in scan(data).links] == [(0, EMPTY_STORE), (len(data) - len(LINK), DIGEST)]
    assert [record.commands for record in read(data)] == [FIRST]
    assert linked_digest(bytes(pack(FIRST))) is None
    assert linked_digest(bytes(pack([[b"KVSERVER.LINK", b"0" * 63]]))) is None


def test_segment_that_is_cut_anywhere_is_torn_and_what_is_before_is_valid() -> None:
    ends = [0, len(LINK), len(LINK) + len(one(*FIRST)), len(SEGMENT)]
    for cut in range(len(SEGMENT)):
        result = scan(SEGMENT[:cut])
        assert result.valid_length == max(end for end in ends if end <= cut)
        assert result.tail is (Tail.NONE if cut in ends else Tail.TORN)


def test_flipped_bit_ends_the_scan_before_its_frame() -> None:
    ends = [0, len(LINK), len(LINK) + len(one(*FIRST)), len(SEGMENT)]
    for position in range(len(SEGMENT)):
        for bit in range(8):
            damaged = bytearray(SEGMENT)
            damaged[position] ^= 1 << bit
            result = scan(bytes(damaged))
            assert result.valid_length == max(end for end in ends if end <= position)
            assert result.tail is not Tail.NONE


def test_zeros_behind_the_last_frame_are_torn_and_zeros_before_something_damage() -> None:
    assert scan(SEGMENT + bytes(5000)).tail is Tail.TORN
    assert scan(SEGMENT + bytes(5000) + b"x").tail is Tail.DAMAGED


def test_frame_whose_payload_is_whole_but_shorter_than_its_length_says_is_damage() -> None:
    frame = one(*FIRST)
    assert scan(frame[:4] + b"%012d" % 500 + frame[16:]).tail is Tail.DAMAGED


def test_frame_inside_a_damaged_frame_is_never_found() -> None:
    evil = one([b"SET", b"evil", b"1"])
    frame = bytearray(one([b"SET", b"k", evil]))
    frame[HEADER_SIZE + 4] ^= 1
    assert scan(bytes(frame)).records == 0


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
    with pytest.raises(RecordInvalid) as caught:
        read(one(*FIRST) + encode_frame(payload, JOURNAL_MAGIC))
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
    assert exact_record[HEADER_SIZE:] == b"#EXACT:1700000000124\r\n" + bytes(pack(FIRST))
    links = encode_link(DIGEST, 1_700_000_000_124) + encode_link(EMPTY_STORE, 0)
    data = OLD_LINK + OLD_RECORD + INEXACT_RECORD + links + exact_record + OLD_RECORD
    assert scan(data).tail is Tail.NONE
    assert [link.digest for link in scan(data).links] == [DIGEST, DIGEST, EMPTY_STORE]
    found = [(record.time_ms, record.is_exact) for record in read(data)]
    assert found == [(None, False), (1_700_000_000_123, False), (1_700_000_000_124, True), (None, False)]
    assert read(data)[1].commands == read(data)[2].commands == FIRST


def test_link_is_one_for_the_version_before_too() -> None:
    """It reads this line alone, and takes another one for damage."""
    payload = encode_link(DIGEST, 1_700_000_000_124)[HEADER_SIZE:]
    assert payload == b"#MS:1700000000124\r\n" + OLD_LINK[HEADER_SIZE:]


def test_shared_frame_has_the_time_of_its_newest_tick() -> None:
    long = [[b"SET", b"k", b"x" * SHARED_FRAME_BYTES]]
    data = encode_records([pack(FIRST), pack(long), pack(FIRST), pack(SECOND)], [1, 2, 3, 4])
    assert [(record.commands, record.time_ms) for record in read(data)] == [(FIRST + long, 2), (FIRST + SECOND, 4)]
