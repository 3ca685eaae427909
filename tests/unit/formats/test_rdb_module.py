"""Values of modules are read by name, version and items, and what is none is refused."""

from __future__ import annotations

import struct

import pytest

from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import BAD_FORMAT
from kvserver.formats.rdb_module import MODULE, MODULE_SHAPE, read_module, write_module_string
from kvserver.formats.rdb_shape import Extent


def body_of(items: bytes) -> bytes:
    return b"\x81" + (0xFFFFFFFFFFFFFC00 | 1023).to_bytes(8, "big") + items


def test_each_kind_of_item_is_read() -> None:
    items = b"\1\5" + b"\1\x81" + b"\xff" * 8 + b"\2\x81" + b"\xff" * 8 + b"\3" + struct.pack("<f", 0.5)
    items += b"\4" + struct.pack("<d", 0.1) + b"\5\3abc" + b"\0"
    value = read_module(body_of(items), 100)
    assert (value.name, value.version) == ("_________", 1023)
    assert value.items == [5, -1, 2**64 - 1, 0.5, 0.1, b"abc"]


@pytest.mark.parametrize("items", [b"", b"\1", b"\6\1\0", b"\5\3ab", b"\0\0", b"\3abc"])
def test_what_is_no_value_is_refused(items: bytes) -> None:
    with pytest.raises(DumpInvalid, match=BAD_FORMAT):
        read_module(body_of(items), 100)


@pytest.mark.parametrize("name", ["ReJSON-RL", "AAAAAAAAA", "abcdefghi", "012345678", "_-_-_-_-_"])
def test_what_is_written_is_read_and_has_the_shape(name: str) -> None:
    body = write_module_string(name, 3, b'{"a":1}')
    assert body[0] == MODULE
    extent = Extent(MODULE_SHAPE, 1_000)
    assert extent.is_whole(bytearray(body[1:] + b"more"), 0)
    assert extent.size == len(body) - 1
    assert read_module(body[1:], 100) == (name, 3, [b'{"a":1}'])


def test_name_is_packed_as_module_c_has_it() -> None:
    # Each character has six bits, the first one the highest.
    characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    number = sum(characters.index(character) << 6 * (8 - place) for place, character in enumerate("ReJSON-RL"))
    assert write_module_string("ReJSON-RL", 3, b"")[2:10] == (number << 10 | 3).to_bytes(8, "big")
