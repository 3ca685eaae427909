"""Cuts of databases to an RDB file, as redis-server 7.0 writes it, in slices. Pure: never writes to a disk.

The file has version 10, and a later one only if there are hashes in it whose fields expire, which no earlier one holds.
Strings are not compressed, as with `rdbcompression no`. The order of keys is that of the shards. Source: rdbSaveRio in rdb.c
of redis 7.0; the parts are described in `rdb_file`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from kvserver.data.entries import Entry, Expiring
from kvserver.data.freeze import Cut
from kvserver.data.kinds import earliest_ms, kind_of
from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.crc64 import crc64
from kvserver.formats.rdb import EXPIRING_MEMBERS_VERSION, STRING_TYPE, VERSION, write_length, write_string
from kvserver.formats.rdb_file import (
    AUX,
    CHECKSUM_BYTES,
    DATABASE,
    END,
    EXPIRES_MS,
    FUNCTION,
    MAGIC,
    SIZES,
    VERSION_DIGITS,
    RDBAux,
)

# A piece has so many keys at most, each of which takes some microseconds, and not many more bytes.
_PIECE_KEYS: Final = 64
_TIME_BYTES: Final = 8


def fields_of_redis(version: str, now_ms: int, used_bytes: int) -> list[RDBAux]:
    """The fields that a redis-server of this version writes: when it does, and how much memory it takes then."""
    return [
        RDBAux(b"redis-ver", version.encode()),
        RDBAux(b"redis-bits", b"64"),
        RDBAux(b"ctime", b"%d" % (now_ms // 1000)),
        RDBAux(b"used-mem", b"%d" % used_bytes),
        RDBAux(b"aof-base", b"0"),
    ]


def encode_rdb(
    cuts: Iterable[Cut], libraries: Mapping[bytes, bytes], fields: Iterable[RDBAux], *, has_modules: bool = True
) -> Iterator[bytes]:
    """Yield an RDB file of the cuts of databases, and of the texts of function libraries, in pieces.

    An empty piece is a step that only looked. `has_modules`: who loads the file has the modules of Redis Stack, or is a Redis
    from 8 on, or a kvserver; else documents are written as the strings of their texts, as DUMP does.
    """
    crc = 0
    for piece in _parts(list(cuts), libraries, fields, has_modules=has_modules):
        crc = crc64(piece, crc)
        yield piece
    yield crc.to_bytes(CHECKSUM_BYTES, "little")


def _parts(
    cuts: list[Cut], libraries: Mapping[bytes, bytes], fields: Iterable[RDBAux], *, has_modules: bool
) -> Iterator[bytes]:
    version = VERSION
    expiring_keys: list[int] = []
    for cut in cuts:
        expiring_keys.append(0)
        for shard in cut.shards:
            count, has_expiring_members = _look(shard.values())
            expiring_keys[-1] += count
            if has_expiring_members:
                version = EXPIRING_MEMBERS_VERSION
            yield b""
    yield MAGIC + b"%0*d" % (VERSION_DIGITS, version)
    yield b"".join(b"%c%b%b" % (AUX, write_string(name), write_string(value)) for name, value in fields)
    for text in libraries.values():
        yield b"%c%b" % (FUNCTION, write_string(text))
    for cut, count in zip(cuts, expiring_keys, strict=True):
        if len(cut):
            yield b"%c%b" % (DATABASE, write_length(cut.number))
            yield b"%c%b%b" % (SIZES, write_length(len(cut)), write_length(count))
            yield from _keys(cut, has_modules=has_modules)
    yield bytes((END,))


def _look(entries: Iterable[Entry]) -> tuple[int, bool]:
    """How many keys expire, and True if members of one do."""
    count, has_expiring_members = 0, False
    for entry in entries:
        # Measured: most are plain strings, for which this is all.
        if type(entry) is bytes:
            continue
        value = entry
        if isinstance(entry, Expiring):
            count, value = count + 1, entry.value
        has_expiring_members = has_expiring_members or earliest_ms(value) is not None
    return count, has_expiring_members


def _keys(cut: Cut, *, has_modules: bool) -> Iterator[bytes]:
    """Yield the keys of a cut, their expiries and values: in pieces of several keys, or several for a long value."""
    for shard in cut.shards:
        pieces: list[bytes] = []
        length = keys = 0
        for key, entry in shard.items():
            head, value = b"", entry
            if isinstance(entry, Expiring):
                head = b"%c%b" % (EXPIRES_MS, entry.expires_at_ms.to_bytes(_TIME_BYTES, "little", signed=True))
                value = entry.value
            if type(value) is bytes and len(value) <= PIECE_BYTES:
                piece = b"%b%c%b%b" % (head, STRING_TYPE, write_string(key), write_string(value))
            else:
                kind = kind_of(value)
                parts = kind.rdb(value, has_modules=has_modules)
                first = next(parts)
                while not first:
                    yield b""
                    first = next(parts)
                # The key stands between the type and the body.
                piece = b"%b%b%b%b" % (head, first[:1], write_string(key), first[1:])
                if kind.size_bytes(value) > PIECE_BYTES:
                    yield b"".join((*pieces, piece))
                    yield from parts
                    cut.keys_encoded += keys + 1
                    pieces, length, keys = [], 0, 0
                    continue
                piece += b"".join(parts)
            pieces.append(piece)
            length += len(piece)
            keys += 1
            if keys >= _PIECE_KEYS or length >= PIECE_BYTES:
                yield b"".join(pieces)
                cut.keys_encoded += keys
                pieces, length, keys = [], 0, 0
        if pieces:
            yield b"".join(pieces)
            cut.keys_encoded += keys
