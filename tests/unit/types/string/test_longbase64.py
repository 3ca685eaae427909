"""Base64 that comes in chunks is read, and text that only looks like it is refused."""

from __future__ import annotations

from base64 import b64encode

import pytest

from kvserver.data.entries import Expiring
from kvserver.types.string.longbase64 import LongBase64, decode_base64

OPENING = b'{"$kvs":{"base64":'


def read_in_chunks(reader: LongBase64, text: bytes, length: int) -> tuple[bytes, bool]:
    """The rest that is unread when the string has ended or turned out to be no tag, and True if it is one so far."""
    buffer = b""
    for start in range(0, len(text), length):
        buffer += text[start : start + length]
        while not reader.has_ended:
            end = reader.read(buffer, 0)
            if end is None:
                return buffer + text[start + length :], False
            if not end:
                break
            buffer = buffer[end:]
    return buffer, True


@pytest.mark.parametrize("length", [1, 3, 4, 5, 1_000])
@pytest.mark.parametrize("value", [b"\xff", b"\x80\x81", b"\xffabc" * 50])
def test_bytes_come_back_whatever_the_chunks(value: bytes, length: int) -> None:
    reader = LongBase64(OPENING)
    text = b'"%b"' % b64encode(value)
    tail, is_tag = read_in_chunks(reader, text + b',"expires_at_ms":5}},', length)
    assert is_tag
    assert reader.has_ended
    assert reader.as_json() == OPENING + text
    assert reader.finish(b"}},", 0) == (value, 2)
    assert reader.finish(tail, 0) == (Expiring(value, 5), len(tail) - 1)


@pytest.mark.parametrize("length", [1, 4, 1_000])
@pytest.mark.parametrize("text", [b"5", b'"!"', b'"gB=="', b'"gA==gA=="', rb'"\ud83c"'])
def test_what_the_encoder_does_not_write_is_no_tag_and_comes_back_whole(text: bytes, length: int) -> None:
    reader = LongBase64(OPENING)
    rest, is_tag = read_in_chunks(reader, text, length)
    assert not is_tag
    assert reader.as_json() + rest == OPENING + text


def test_utf8_is_no_tag() -> None:
    reader = LongBase64(OPENING)
    assert read_in_chunks(reader, b'"YWJj"', 6) == (b"", True)
    assert reader.finish(b"}}", 0) is None


def test_one_spelling_of_the_same_bytes_is_read() -> None:
    assert decode_base64(b"gA==") == b"\x80"
    assert decode_base64(b"gB==") is None
