"""Records and links of the journal, as they are written."""

from __future__ import annotations

import hashlib
import tracemalloc
import zlib
from unittest import mock

import hiredis
from hypothesis import given
from hypothesis import strategies as st

from kvserver.formats import record as module
from kvserver.formats.frame import HEADER_SIZE, RECORD_HEADER_SIZE
from kvserver.formats.record import (
    EMPTY_STORE,
    LONG_COMMAND_BYTES,
    SHORT_RECORD_BYTES,
    LongPayload,
    encode_link,
    encode_loss,
    encode_pieces,
    encode_records,
    encode_tick,
    linked_digest,
    loss_time,
    pack,
    read_line,
)
from kvserver.resp import reply
from kvserver.resp.request import Request, StrictParser

DIGEST = hashlib.sha256(b"{}").hexdigest()
FIRST = [[b"SET", b"a", b"1"]]
SECOND = [[b"DEL", b"a", b"b"], [b"JSON.SET", b"j", b"$", b"{}"]]
# As it was written before records had times.
OLD_LINK = (
    b"KVJ10000000000954e4ef48d52f155884542124f31d1fe89b9a0f7ffec7ee825e8241b77bf4b731e"
    b"*2\r\n$13\r\nKVSERVER.LINK\r\n$64\r\n44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\r\n"
)
commands = st.lists(st.binary(max_size=30), min_size=1, max_size=5)


@given(st.lists(commands, min_size=1, max_size=5))
def test_pack_is_what_a_client_would_send(tick: list[Request]) -> None:
    assert pack(tick) == b"".join(hiredis.pack_command(tuple(command)) for command in tick)  # type: ignore[arg-type]
    assert StrictParser().feed(bytes(pack(tick))) == tick


def test_record_is_its_time_and_its_commands_behind_their_length_and_crc() -> None:
    payload = b"#EXACT:1700000000124\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
    record = b"KVJ20000000000492ced9a4c" + payload
    assert record[16:RECORD_HEADER_SIZE] == b"%08x" % zlib.crc32(payload)
    assert encode_tick(FIRST, 1_700_000_000_124) == encode_records([pack(FIRST)], [1_700_000_000_124]) == record
    assert read_line(payload) == (1_700_000_000_124, True, 22)


@given(st.lists(commands, min_size=1, max_size=4), st.integers(0, 1 << 62))
def test_tick_is_encoded_as_its_payload_is(tick: list[Request], time_ms: int) -> None:
    assert encode_tick(tick, time_ms) == encode_records([pack(tick)], [time_ms])


def test_tick_that_is_long_in_all_is_not_encoded_at_once() -> None:
    tick = [[b"SET", b"k", b"x" * (SHORT_RECORD_BYTES // 4)]] * 3
    assert encode_tick(tick, 1) == encode_records([pack(tick)], [1])
    assert encode_tick(tick + tick[:1], 1) is None
    assert encode_tick([[b"SET", b"k", b"x" * LONG_COMMAND_BYTES]], 1) is None


@given(st.lists(st.lists(commands, min_size=1, max_size=4), max_size=6), st.integers(0, 40))
def test_long_commands_are_recorded_as_short_ones_are(ticks: list[list[Request]], length: int) -> None:
    whole = [encode_records([pack(tick)], [1]) for tick in ticks]
    with mock.patch.object(module, "LONG_COMMAND_BYTES", length + 1), mock.patch.object(reply, "LONG_PIECE_BYTES", length):
        payloads = [pack(tick) for tick in ticks]
        assert list(map(len, payloads)) == [len(bytes(payload)) for payload in payloads]
        assert [b"".join(encode_pieces(payload, 1)) for payload in payloads] == whole


def test_long_argument_is_recorded_without_a_copy() -> None:
    value = b"x" * 16_000_000
    tracemalloc.start()
    try:
        payload = pack([[b"SET", b"a", b"1"], [b"SET", b"k", value], [b"SET", b"b", b"2"]])
        assert isinstance(payload, LongPayload)
        pieces = encode_pieces(payload, 2)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert any(piece is value for piece in pieces)


def test_payload_that_is_no_link_links_to_nothing() -> None:
    assert linked_digest(bytes(pack(FIRST))) is None
    assert linked_digest(bytes(pack([[b"KVSERVER.LINK", b"0" * 63]]))) is None
    assert linked_digest(encode_link(EMPTY_STORE)[HEADER_SIZE:]) == EMPTY_STORE
    assert linked_digest(encode_link(DIGEST, 1)[HEADER_SIZE:]) == DIGEST


def test_link_is_one_for_the_version_before_too() -> None:
    """It reads this line alone, and takes another one for damage."""
    payload = encode_link(DIGEST, 1_700_000_000_124)[HEADER_SIZE:]
    assert payload == b"#MS:1700000000124\r\n" + OLD_LINK[HEADER_SIZE:]


def test_loss_tells_its_time_and_nothing_else_is_one() -> None:
    payload = encode_loss(1_700_000_000_124)[HEADER_SIZE:]
    assert payload == b"#MS:1700000000124\r\n*1\r\n$13\r\nKVSERVER.LOSS\r\n"
    assert loss_time(payload) == 1_700_000_000_124
    assert linked_digest(payload) is None
    for other in (payload[:-1], b"x" + payload, payload.replace(b"#MS", b"#EXACT"), encode_link(DIGEST, 1)[HEADER_SIZE:]):
        assert loss_time(other) is None
    assert loss_time(payload + payload) is None
