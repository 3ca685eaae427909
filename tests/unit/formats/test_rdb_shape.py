"""The end of a part is found by its shape, in whatever pieces it comes, and no byte of it is looked at twice."""

from __future__ import annotations

import pytest

from kvserver.errors import DumpInvalid
from kvserver.formats.rdb_shape import Extent

LIMIT = 1_000


class Counting(bytearray):
    """Bytes that count how often one of them, or some, are asked for."""

    looks = 0

    def __getitem__(self, place: object) -> object:  # type: ignore[override]
        self.looks += 1
        return super().__getitem__(place)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        (b"1", b"a"),
        (b"95", b"a" * 14),
        (b"s", b"\x03abc"),
        (b"s", b"\x00"),
        (b"s", b"\x41\x00" + b"a" * 256),
        (b"s", b"\x80\0\0\0\3abc"),
        (b"s", b"\x81\0\0\0\0\0\0\0\3abc"),
        (b"s", b"\xc0\1"),
        (b"s", b"\xc1\1\1"),
        (b"s", b"\xc2\1\1\1\1"),
        (b"s", b"\xc3\x02\x40\x50ab"),
        (b"n", b"\x3f"),
        (b"n", b"\x81" + b"\xff" * 8),
        (b"t", b"\x03inf"),
        (b"tttt", b"\xfd\xfe\xff\x00"),
        (b"[s]", b"\0"),
        (b"[s]n", b"\0\1"),
        (b"[s]", b"\2\1a\0"),
        (b"[ss]", b"\1\1a\xc0\5"),
        (b"8[nss]1", b"12345678\2\0\0\0\1\1a\1bx"),
        (b"[n[s[8]]n]n", b"\2" + b"\1\2" + b"\1a\2" + b"x" * 16 + b"\0\0" + b"\7" + b"\1\0\7" + b"\7"),
        (b"nm", b"\5\0"),
        (b"nms", b"\5\1\x41\1\2\1\3ffff\4dddddddd\5\3abc\0\1a"),
    ],
)
def test_end_is_found_where_it_is_and_no_sooner(shape: bytes, data: bytes) -> None:
    behind = b"\x05more"
    start = b"\x02ab"
    extent = Extent(shape, LIMIT)
    assert extent.is_whole(bytearray(start + data + behind), len(start))
    assert extent.size == len(data)
    for length in range(len(data)):
        assert not Extent(shape, LIMIT).is_whole(bytearray(start + data[:length]), len(start))
    byte_by_byte = Extent(shape, LIMIT)
    so_far = bytearray(start)
    for byte in data:
        assert not byte_by_byte.is_whole(so_far, len(start))
        so_far.append(byte)
    assert byte_by_byte.is_whole(so_far, len(start))
    assert byte_by_byte.size == len(data)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        (b"n", b"\xc0\1"),
        (b"n", b"\x82"),
        (b"s", b"\xc4"),
        (b"s", b"\xff"),
        (b"s", b"\xc3\xc0\1\1a"),
        (b"[s]", b"\xc0\1"),
        (b"m", b"\6"),
        (b"m", b"\xc0\1"),
    ],
)
def test_what_makes_no_sense_is_refused(shape: bytes, data: bytes) -> None:
    with pytest.raises(DumpInvalid):
        Extent(shape, LIMIT).is_whole(bytearray(data), 0)


@pytest.mark.parametrize("head", [b"\x43\xe9", b"\x81" + b"\xff" * 8, b"\xc3\x02\x43\xe9", b"\xc3\x43\xe9\x02"])
def test_string_over_the_limit_is_refused_before_it_comes(head: bytes) -> None:
    with pytest.raises(DumpInvalid, match="bytes"):
        Extent(b"s", LIMIT).is_whole(bytearray(head), 0)


def test_declared_count_takes_no_memory_and_no_time() -> None:
    extent = Extent(b"[s]", LIMIT)
    data = Counting(b"\x81" + b"\xff" * 8 + b"\1a")
    assert not extent.is_whole(data, 0)
    assert data.looks < 10


def test_bytes_that_come_one_by_one_are_looked_at_once() -> None:
    extent = Extent(b"[s]", LIMIT)
    data = Counting(b"\x43\xe8")
    while not extent.is_whole(data, 0):
        data += b"\x01a"[len(data) % 2 :][:1]
    assert len(data) == 2 + 2 * 1_000
    assert data.looks < 3 * 1_000
