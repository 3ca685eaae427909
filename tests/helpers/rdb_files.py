"""RDB files, made without kvserver from their parts, and read in pieces."""

from __future__ import annotations

import random
from collections.abc import Iterable

from helpers import dumps
from kvserver.formats.rdb_file import RDBEntry, RDBItem, RDBReader


def string(value: bytes) -> bytes:
    """A string as it stands in a file, behind a length of five bytes."""
    return dumps.plain(value)[1:]


def entry(key: bytes, body: bytes) -> bytes:
    """A key and its value, of which the body begins with the type, as in a payload of DUMP."""
    return body[:1] + string(key) + body[1:]


def aux(name: bytes, value: bytes) -> bytes:
    return b"\xfa" + string(name) + string(value)


def database(number: int) -> bytes:
    return b"\xfe" + dumps.length(number, 5)


def rdb_file(*parts: bytes, version: int = 10, checksum: int | None = None) -> bytes:
    """A whole file. Its checksum, which is computed slowly, may be given instead."""
    data = b"REDIS%04d" % version + b"".join(parts) + b"\xff"
    if version < 5:
        return data
    return data + (dumps.crc64(data) if checksum is None else checksum).to_bytes(8, "little")


def pieces(data: bytes, rng: random.Random | None = None, step: int | None = None) -> Iterable[bytes]:
    """The same bytes in pieces of one length, or of random ones."""
    start = 0
    while start < len(data):
        length = step or (rng.choice((1, 7, 100, 5_000, 100_000)) if rng else len(data))
        yield data[start : start + length]
        start += length


def read(data: bytes, step: int | None = None, rng: random.Random | None = None) -> list[RDBItem]:
    """All that a file holds, which comes in pieces. RDBInvalid if it is not whole."""
    reader = RDBReader()
    items = [item for piece in pieces(data, rng, step) for item in reader.feed(piece)]
    reader.end()
    assert reader.is_done
    assert reader.offset == len(data)
    return items


def entries(data: bytes, step: int | None = None) -> dict[tuple[int, bytes], RDBEntry]:
    """The keys that a file holds, by database and name."""
    found = [item for item in read(data, step) if isinstance(item, RDBEntry)]
    by_name = {(item.database, item.key): item for item in found}
    assert len(by_name) == len(found), "a key is there twice"
    return by_name
