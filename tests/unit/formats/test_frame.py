"""The header of a frame has the layout of KVS1, byte for byte."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.formats.frame import (
    HEADER_SIZE,
    JOURNAL_MAGIC,
    MAX_PAYLOAD_BYTES,
    UNWRITTEN,
    Header,
    decode_header,
    encode_frame,
    encode_header,
    is_header_start,
)

DIGEST = "0123456789abcdef" * 4
HEADER = b"KVS1" + b"000000000042" + DIGEST.encode()


def test_frame_is_magic_length_checksum_and_payload() -> None:
    payload = '{"é":1}'.encode()
    assert encode_frame(payload) == b"KVS1" + b"000000000008" + hashlib.sha256(payload).hexdigest().encode() + payload


def test_journal_frame_differs_in_its_magic_alone() -> None:
    assert encode_frame(b"{}", JOURNAL_MAGIC) == b"KVJ1" + encode_frame(b"{}")[4:]


def test_header_is_80_bytes_and_is_read_back() -> None:
    assert encode_header(42, DIGEST) == HEADER
    assert len(HEADER) == HEADER_SIZE == 80
    assert decode_header(HEADER) == Header(42, DIGEST)


def test_longest_payload_fills_the_length_and_a_longer_one_is_refused() -> None:
    assert MAX_PAYLOAD_BYTES == 999_999_999_999
    assert decode_header(encode_header(MAX_PAYLOAD_BYTES, DIGEST)) == Header(MAX_PAYLOAD_BYTES, DIGEST)
    with pytest.raises(ValueError, match="1000000000000 bytes"):
        encode_header(MAX_PAYLOAD_BYTES + 1, DIGEST)


def test_header_of_one_magic_is_none_of_the_other() -> None:
    assert decode_header(HEADER, JOURNAL_MAGIC) is None
    assert decode_header(encode_header(1, DIGEST, JOURNAL_MAGIC)) is None
    assert decode_header(encode_header(1, DIGEST, JOURNAL_MAGIC), JOURNAL_MAGIC) == Header(1, DIGEST)


@pytest.mark.parametrize(
    "length",
    [b"+00000000042", b"           4", b"4           ", b"0_0000000042", b"-00000000042", b"0x0000000042", b"00000000004\n"],
)
def test_length_that_int_would_take_is_not_twelve_digits(length: bytes) -> None:
    assert len(length) == 12
    assert decode_header(HEADER[:4] + length + HEADER[16:]) is None


def test_length_in_digits_that_are_not_ascii_is_refused() -> None:
    assert decode_header(HEADER[:4] + "٤".encode() * 6 + HEADER[16:]) is None


@pytest.mark.parametrize(
    "header",
    [
        HEADER.upper(),
        HEADER[:-1] + b"g",
        HEADER[:-1] + b"\n",
        HEADER[:-1],
        HEADER + b"0",
        HEADER + b"\n",
        b"kvs1" + HEADER[4:],
        b"KVS2" + HEADER[4:],
        b" " + HEADER[:-1],
        UNWRITTEN,
        b"",
    ],
)
def test_other_bytes_are_no_header(header: bytes) -> None:
    assert decode_header(header) is None


@given(st.binary(max_size=100))
def test_no_bytes_but_an_encoded_header_are_read_as_one(data: bytes) -> None:
    header = decode_header(data)
    assert header is None or encode_header(*header) == data


@pytest.mark.parametrize("magic", [b"KVS1", JOURNAL_MAGIC])
def test_every_start_of_a_header_could_become_one(magic: bytes) -> None:
    header = encode_header(42, DIGEST, magic)
    assert all(is_header_start(header[:length], magic) for length in range(HEADER_SIZE))


def test_zeros_are_the_start_of_a_header_that_was_never_written() -> None:
    assert len(UNWRITTEN) == HEADER_SIZE
    assert all(is_header_start(UNWRITTEN[:length]) for length in range(HEADER_SIZE))


def test_one_wrong_byte_makes_it_no_start_of_a_header() -> None:
    for position, wrong in itertools.product(range(HEADER_SIZE - 1), (b"\0", b"\xff", b"G", b"+")):
        data = HEADER[:position] + wrong + HEADER[position + 1 :]
        starts = [length for length in range(HEADER_SIZE) if is_header_start(data[:length])]
        # A first byte that is zero could be the first of the zeros that stand for a header.
        assert starts == list(range(2 if data[:1] == b"\0" else position + 1))
