"""The control frames of a shared log."""

from __future__ import annotations

import pytest

from kvserver.formats.control import Lead, Relink, Yield, decode_control, encode_lead, encode_yield, is_control
from kvserver.formats.frame import JOURNAL_MAGIC, encode_frame
from kvserver.formats.record import EMPTY_STORE, encode_link, encode_tick, pack

LEAD = Lead(3, "0123abcd", "kv1.example", 6379, 3000)


def test_control_frames_come_back() -> None:
    assert decode_control(encode_lead(LEAD)) == LEAD
    assert decode_control(encode_yield(3)) == Yield(3)
    assert decode_control(encode_link("ab" * 32, 5)) == Relink("ab" * 32)
    assert decode_control(encode_link(EMPTY_STORE)) == Relink(EMPTY_STORE)


def test_host_that_is_no_text_can_be_read_by_all() -> None:
    assert decode_control(encode_lead(LEAD._replace(host="kv\udcff"))) == LEAD._replace(host="kv?")


def test_records_and_heartbeats_are_no_control_frames() -> None:
    assert not is_control(b"")
    assert not is_control(encode_tick([[b"SET", b"a", encode_lead(LEAD)]], 1) or b"")
    assert is_control(encode_yield(1))


def frame_of(*words: bytes) -> bytes:
    return encode_frame(bytes(pack([list(words)])), JOURNAL_MAGIC)


@pytest.mark.parametrize(
    "data",
    [
        encode_lead(LEAD)[:-1],
        encode_lead(LEAD) + b"x",
        encode_lead(LEAD)[:-3] + b"x\r\n",
        frame_of(b"SET", b"a", b"1"),
        frame_of(b"KVSERVER.LEAD", b"1", b"id"),
        frame_of(b"KVSERVER.LEAD", b"1", b"id", b"host", b"1"),
        frame_of(b"KVSERVER.LEAD", b"one", b"id", b"host", b"1", b"1"),
        frame_of(b"KVSERVER.LEAD", b"1", b"\xff", b"host", b"1", b"1"),
        frame_of(b"KVSERVER.YIELD", b"x" * 5000),
        encode_frame(b"nothing", JOURNAL_MAGIC),
        encode_frame(b"", JOURNAL_MAGIC),
    ],
    ids=range(11),
)
def test_what_is_no_control_frame_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        decode_control(data)
