"""Cuts of databases to an RDB file, as redis-server 7.0 writes it, in slices. Pure: never writes to a disk.

The file has version 10, and a later one only if there are hashes in it whose fields expire, which no earlier one holds.
Strings are not compressed, as with `rdbcompression no`. The order of keys is that of the shards. Source: rdbSaveRio in rdb.c
of redis 7.0; the parts are described in `rdb_file`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from kvserver._speedups.crc64 import crc64
from kvserver._speedups.rdb_entries import EXPIRES_MS
from kvserver._speedups.rdb_strings import write_length, write_string, write_strings
from kvserver.data.entries import Entry, Expiring
from kvserver.data.freeze import Cut
from kvserver.data.kinds import earliest_ms, kind_of
from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.rdb import EXPIRING_MEMBERS_VERSION, STRING_TYPE, VERSION
from kvserver.formats.rdb_file import (
    AUX,
    CHECKSUM_BYTES,
    DATABASE,
    END,
    FUNCTION,
    MAGIC,
    SIZES,
    VERSION_DIGITS,
    RDBAux,
)

# A piece has so many keys at most, each of which takes some microseconds, or strings, which take a tenth of that.
_PIECE_KEYS: Final = 64
_PIECE_STRINGS: Final = 512
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
        # The keys and values of plain strings, which are written at once, and the others.
        plain: list[bytes] = []
        pieces: list[bytes] = []
        length = 0
        for key, entry in shard.items():
            if type(entry) is bytes and len(entry) <= PIECE_BYTES:
                plain += key, entry
                length += len(entry)
            else:
                parts, is_long = _entry(key, entry, has_modules=has_modules)
                if is_long:
                    yield from parts
                    cut.keys_encoded += 1
                    continue
                piece = b"".join(parts)
                pieces.append(piece)
                length += len(piece)
            if length >= PIECE_BYTES or len(pieces) >= _PIECE_KEYS or len(plain) >= 2 * _PIECE_STRINGS:
                yield _joined(plain, pieces)
                cut.keys_encoded += len(plain) // 2 + len(pieces)
                plain, pieces, length = [], [], 0
        if plain or pieces:
            yield _joined(plain, pieces)
            cut.keys_encoded += len(plain) // 2 + len(pieces)


def _joined(plain: list[bytes], pieces: list[bytes]) -> bytes:
    """A piece of the file: plain strings, and other keys."""
    return write_strings(bytes((STRING_TYPE,)), 2, plain) + b"".join(pieces)


def _entry(key: bytes, entry: Entry, *, has_modules: bool) -> tuple[Iterator[bytes], bool]:
    """A key in pieces, and True if its value is long."""
    head, value = b"", entry
    if isinstance(entry, Expiring):
        head = b"%c%b" % (EXPIRES_MS, entry.expires_at_ms.to_bytes(_TIME_BYTES, "little", signed=True))
        value = entry.value
    # Measured: most of these are plain strings, too.
    if type(value) is bytes and len(value) <= PIECE_BYTES:
        return iter((head + write_strings(bytes((STRING_TYPE,)), 2, [key, value]),)), False
    kind = kind_of(value)
    return _behind_type(head, key, kind.rdb(value, has_modules=has_modules)), kind.size_bytes(value) > PIECE_BYTES


def _behind_type(head: bytes, key: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield pieces of a value, with the key between its type and its body."""
    for piece in pieces:
        if piece:
            yield b"%b%b%b%b" % (head, piece[:1], write_string(key), piece[1:])
            break
        yield b""
    yield from pieces
