"""Hashes, lists, sets and sorted sets in the payloads of DUMP and RESTORE: the bodies behind the byte of the type. Pure.

What Redis keeps in one block stands as one string, which holds a listpack, ziplist, zipmap or intset; other collections are
a count and their members. All types that Redis writes or ever wrote are read, up to those of redis-server 8. Types are written
that redis-server 7.0 writes, and as it does where its `rdbcompression` is off; the caller says which one. Only hashes with
fields that expire are written as redis-server 7.4 does, since there is no earlier type that holds them.

A body is refused if anything is wrong in it, also where Redis finds that only by `sanitize-dump-payload yes`: a member that
is there twice, a score that is no number, a collection without members, bytes behind the collection. Source: rdbLoadObject
and rdbSaveObject in rdb.c of redis 7.0 and, for fields that expire, of redis 8.0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sized
from itertools import chain, islice
from math import inf, isnan
from operator import lt
from typing import Any, Final

from kvserver._speedups.blocks import read_intset, read_ziplist, read_zipmap
from kvserver._speedups.listpacks import OVERHEAD_BYTES, read_listpack
from kvserver._speedups.rdb_strings import write_length, write_string, write_strings
from kvserver.errors import DumpEmpty, DumpInvalid
from kvserver.formats.intset import write_intset
from kvserver.formats.listpack import entry_size, write_listpack
from kvserver.formats.rdb import BAD_FORMAT, Reader

LIST, LIST_ZIPLIST, LIST_QUICKLIST, LIST_QUICKLIST_2 = 1, 10, 14, 18
SET, SET_INTSET, SET_LISTPACK = 2, 11, 20
ZSET, ZSET_2, ZSET_ZIPLIST, ZSET_LISTPACK = 3, 5, 12, 17
HASH, HASH_ZIPMAP, HASH_ZIPLIST, HASH_LISTPACK = 4, 9, 13, 16
# Hashes some of whose fields expire. Those of release candidates of redis 7.4 tell no time at their beginning.
HASH_METADATA_PRE_GA, HASH_LISTPACK_EX_PRE_GA, HASH_METADATA, HASH_LISTPACK_EX = 22, 23, 24, 25
# The types that each function reads, with the shapes of their bodies (`rdb_shape`).
LIST_TYPES: Final = {LIST: b"[s]", LIST_ZIPLIST: b"s", LIST_QUICKLIST: b"[s]", LIST_QUICKLIST_2: b"[ns]"}
SET_TYPES: Final = {SET: b"[s]", SET_INTSET: b"s", SET_LISTPACK: b"s"}
ZSET_TYPES: Final = {ZSET: b"[st]", ZSET_2: b"[s8]", ZSET_ZIPLIST: b"s", ZSET_LISTPACK: b"s"}
HASH_TYPES: Final = {HASH: b"[ss]", HASH_ZIPMAP: b"s", HASH_ZIPLIST: b"s", HASH_LISTPACK: b"s"}
EXPIRING_HASH_TYPES: Final = {
    HASH_METADATA_PRE_GA: b"[nss]",
    HASH_LISTPACK_EX_PRE_GA: b"s",
    HASH_METADATA: b"8[nss]",
    HASH_LISTPACK_EX: b"8s",
}
# The forms of the bodies of small collections (`_speedups.rdb_packed`).
FORMS: Final = {
    **dict.fromkeys((LIST, SET, HASH), b"S"),
    **dict.fromkeys((LIST_ZIPLIST, ZSET_ZIPLIST, HASH_ZIPLIST), b"Z"),
    **dict.fromkeys((SET_LISTPACK, ZSET_LISTPACK, HASH_LISTPACK), b"L"),
    LIST_QUICKLIST: b"Q",
    LIST_QUICKLIST_2: b"N",
    SET_INTSET: b"I",
    ZSET: b"T",
    ZSET_2: b"D",
    HASH_ZIPMAP: b"M",
}
# What reads the one block that a body of these types is.
_BLOCKS: Final[dict[int, Callable[[bytes], list[bytes]]]] = {
    **dict.fromkeys((SET_LISTPACK, ZSET_LISTPACK, HASH_LISTPACK), read_listpack),
    **dict.fromkeys((LIST_ZIPLIST, ZSET_ZIPLIST, HASH_ZIPLIST), read_ziplist),
    SET_INTSET: read_intset,
    HASH_ZIPMAP: read_zipmap,
}

# The kinds of nodes of a list: one string as it is, or a listpack of many.
_PLAIN, _PACKED = 1, 2
# The bounds of a list's nodes (list-max-listpack-size, which stands for so many bytes, and packed_threshold in quicklist.c),
# and an estimate of what an entry takes besides its string.
NODE_LIMIT: Final = -2
_NODE_BYTES: Final = 8192
_PLAIN_FROM_BYTES: Final = 1 << 30
_ENTRY_OVERHEAD_BYTES: Final = 8
DOUBLE: Final = struct.Struct("<d")
# Scores without a fraction are written as integers up to here (double2ll in util.c).
_MAX_INTEGER_SCORE: Final = float(1 << 62)
# In place of the length of a score's text.
_NAN_SCORE, _POSITIVE_INFINITY, _NEGATIVE_INFINITY = 253, 254, 255
# The characters of all scores that Redis writes. Neither NaN is of them, nor what only Python takes for a number.
_SCORE_CHARACTERS: Final = b"0123456789+-.einf"
_TIME_BYTES: Final = 8
# The latest expiry of a field, in milliseconds (EB_EXPIRE_TIME_MAX).
_MAX_EXPIRY_MS: Final = (1 << 48) - 1
_EXPIRY_DIGITS: Final = len(str(_MAX_EXPIRY_MS))


def read_list(dump_type: int, body: bytes, max_bytes: int) -> list[bytes]:
    """The elements of a list, whose type is one of LIST_TYPES. DumpInvalid if the body is none.

    No compressed string in it may have more than `max_bytes` bytes.
    """
    reader = Reader(body)
    if dump_type == LIST:
        values = reader.strings(reader.length(), max_bytes)
    elif dump_type == LIST_ZIPLIST:
        values = _read_block(_BLOCKS[dump_type], reader, max_bytes)
    else:
        values = []
        for _ in range(reader.length()):
            values += read_node(dump_type, reader, max_bytes)
    _check_end(reader, values)
    return values


def read_set(dump_type: int, body: bytes, max_bytes: int) -> list[bytes]:
    """The members of a set, whose type is one of SET_TYPES, in the order of the body. DumpInvalid as for `read_list`."""
    reader = Reader(body)
    if dump_type == SET:
        members = reader.strings(reader.length(), max_bytes)
    else:
        members = _read_block(_BLOCKS[dump_type], reader, max_bytes)
    _check_end(reader, members)
    _check_distinct(members)
    return members


def read_zset(dump_type: int, body: bytes, max_bytes: int) -> tuple[list[bytes], list[float]]:
    """The members of a sorted set, and their scores, by score and then by member. DumpInvalid as for `read_list`.

    Its type is one of ZSET_TYPES.
    """
    reader = Reader(body)
    if dump_type == ZSET_2:
        items: list[Any] = reader.items(b"s8", reader.length(), max_bytes)
        members = items[::2]
        scores = list(chain.from_iterable(DOUBLE.iter_unpack(b"".join(items[1::2]))))
    elif dump_type == ZSET:
        members, scores = [], []
        for _ in range(reader.length()):
            members.append(reader.string(max_bytes))
            scores.append(_read_text_double(reader))
    else:
        strings = _read_block(_BLOCKS[dump_type], reader, max_bytes)
        _check_tuples(strings, 2)
        members, scores = strings[::2], _scores(strings[1::2])
    _check_end(reader, members)
    _check_distinct(members)
    if any(map(isnan, scores)):
        raise DumpInvalid(BAD_FORMAT)
    # Measured: Redis writes the greatest first, and a pair for each is made in five times the time of a look at the scores.
    if len(scores) > 1 and scores[0] > scores[-1]:
        members.reverse()
        scores.reverse()
    if not all(map(lt, scores, islice(scores, 1, None))):
        ordered = sorted(zip(scores, members, strict=True))
        members, scores = [member for _, member in ordered], [score for score, _ in ordered]
    return members, scores


def read_hash(dump_type: int, body: bytes, max_bytes: int) -> dict[bytes, bytes]:
    """The fields and values of a hash, whose type is one of HASH_TYPES, in the order of the body.

    DumpInvalid as for `read_list`.
    """
    reader = Reader(body)
    if dump_type == HASH:
        strings = reader.strings(2 * reader.length(), max_bytes)
    else:
        strings = _read_block(_BLOCKS[dump_type], reader, max_bytes)
    _check_tuples(strings, 2)
    _check_end(reader, strings)
    fields = dict(zip(strings[::2], strings[1::2], strict=True))
    if 2 * len(fields) != len(strings):
        raise DumpInvalid(BAD_FORMAT)
    return fields


def read_expiring_hash(dump_type: int, body: bytes, max_bytes: int) -> tuple[dict[bytes, bytes], dict[bytes, int]]:
    """The fields and values of a hash, and when some of the fields expire: in Unix milliseconds, which may have passed.

    Its type is one of EXPIRING_HASH_TYPES. DumpInvalid as for `read_list`.
    """
    reader = Reader(body)
    base_ms = read_base_ms(dump_type, reader)
    if dump_type in (HASH_METADATA, HASH_METADATA_PRE_GA):
        items: list[Any] = reader.items(b"nss", reader.length(), max_bytes)
        names, values, times_ms = items[1::3], items[2::3], items[::3]
    else:
        strings = _read_block(read_listpack, reader, max_bytes)
        _check_tuples(strings, 3)
        # The times of a listpack are absolute.
        names, values, times_ms, base_ms = strings[::3], strings[1::3], _times(strings[2::3]), 0
    _check_end(reader, names)
    fields = dict(zip(names, values, strict=True))
    # 0 stands for none.
    deadlines = {name: time_ms + base_ms for name, time_ms in zip(names, times_ms, strict=True) if time_ms}
    is_in_time = not deadlines or 0 <= min(deadlines.values()) <= max(deadlines.values()) <= _MAX_EXPIRY_MS
    if len(fields) < len(names) or not is_in_time:
        raise DumpInvalid(BAD_FORMAT)
    return fields, deadlines


def read_base_ms(dump_type: int, reader: Reader) -> int:
    """What is added to the times of fields that are not 0: where the earliest is told, the others are relative to it."""
    if dump_type in (HASH_METADATA, HASH_LISTPACK_EX):
        return int.from_bytes(reader.take(_TIME_BYTES), "little") - 1
    return 0


def check_expiry(time_ms: int) -> int:
    """The time at which a field expires (Unix milliseconds). DumpInvalid if none expires then."""
    if not 0 <= time_ms <= _MAX_EXPIRY_MS:
        raise DumpInvalid(BAD_FORMAT)
    return time_ms


def write_list(values: Iterable[bytes]) -> bytes:
    """The type and the body of a list: a quicklist."""
    nodes = [_write_node(kind, content) for kind, content in list_nodes(values)]
    return bytes((LIST_QUICKLIST_2,)) + write_length(len(nodes)) + b"".join(nodes)


def list_nodes(values: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """The nodes of the quicklist that RPUSH makes of these elements: the kind of each, and its bytes."""
    nodes: list[tuple[int, bytes]] = []
    packed: list[bytes] = []
    node_bytes = OVERHEAD_BYTES
    for value in values:
        is_plain = len(value) >= _PLAIN_FROM_BYTES
        if packed and (is_plain or node_bytes + len(value) + _ENTRY_OVERHEAD_BYTES > _NODE_BYTES):
            nodes.append((_PACKED, write_listpack(packed)))
            packed, node_bytes = [], OVERHEAD_BYTES
        if is_plain:
            nodes.append((_PLAIN, value))
        else:
            packed.append(value)
            node_bytes += entry_size(value)
    if packed:
        nodes.append((_PACKED, write_listpack(packed)))
    return nodes


def write_set(dump_type: int, members: Iterable[bytes]) -> bytes:
    """The type and the body of a set: SET_INTSET, for decimals of integers of 64 bits only, or SET."""
    if dump_type == SET_INTSET:
        return _write_block(dump_type, write_intset(map(int, members)))
    return _write_strings(SET, members, 1)


def write_zset(dump_type: int, pairs: Iterable[tuple[bytes, float]]) -> bytes:
    """The type and the body of a sorted set, whose members come by score and then by member: ZSET_LISTPACK or ZSET_2."""
    if dump_type == ZSET_LISTPACK:
        strings = chain.from_iterable((member, _write_score(score)) for member, score in pairs)
        return _write_block(dump_type, write_listpack(strings))
    parts = list(map(pair_part, pairs))
    # Redis writes the greatest first, so that a load inserts each at the front.
    parts.reverse()
    return bytes((ZSET_2,)) + write_length(len(parts)) + b"".join(parts)


def write_hash(dump_type: int, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The type and the body of a hash: HASH_LISTPACK or HASH."""
    strings = chain.from_iterable(pairs)
    if dump_type == HASH_LISTPACK:
        return _write_block(dump_type, write_listpack(strings))
    return _write_strings(HASH, strings, 2)


def write_expiring_hash(dump_type: int, fields: list[tuple[bytes, bytes, int | None]]) -> bytes:
    """The type and the body of a hash some of whose fields expire: HASH_LISTPACK_EX or HASH_METADATA.

    The fields come with their values, and when each expires: in Unix milliseconds, or None.
    """
    earliest_ms = min(time_ms for _, _, time_ms in fields if time_ms is not None)
    head = expiring_head(dump_type, earliest_ms)
    if dump_type == HASH_LISTPACK_EX:
        # Redis has them in this order, by which it finds those that are due.
        ordered = sorted(fields, key=lambda each: _MAX_EXPIRY_MS + 1 if each[2] is None else each[2])
        strings = chain.from_iterable((field, value, b"%d" % (time_ms or 0)) for field, value, time_ms in ordered)
        return head + write_string(write_listpack(strings))
    parts = [expiring_part(field, earliest_ms) for field in fields]
    return head + write_length(len(parts)) + b"".join(parts)


def pair_part(pair: tuple[bytes, float]) -> bytes:
    """A member and its score in a ZSET_2."""
    return write_string(pair[0]) + DOUBLE.pack(pair[1])


def expiring_head(dump_type: int, earliest_ms: int) -> bytes:
    """The type of a hash some of whose fields expire, and the time of the earliest of them."""
    return bytes((dump_type,)) + earliest_ms.to_bytes(_TIME_BYTES, "little")


def expiring_part(field: tuple[bytes, bytes, int | None], earliest_ms: int) -> bytes:
    """A field, its value and its time in a HASH_METADATA."""
    name, value, time_ms = field
    return write_length(0 if time_ms is None else time_ms - earliest_ms + 1) + write_string(name) + write_string(value)


def _read_block(read: Callable[[bytes], list[bytes]], reader: Reader, max_bytes: int) -> list[bytes]:
    """Read a string, and what it holds in another format."""
    try:
        return read(reader.string(max_bytes))
    except ValueError:
        raise DumpInvalid(BAD_FORMAT) from None


def read_node(dump_type: int, reader: Reader, max_bytes: int) -> list[bytes]:
    """The elements of a node of a quicklist of this type. DumpInvalid as for `read_list`."""
    if dump_type == LIST_QUICKLIST:
        return _read_block(read_ziplist, reader, max_bytes)
    kind = reader.length()
    if kind == _PACKED:
        return _read_block(read_listpack, reader, max_bytes)
    value = reader.string(max_bytes)
    if kind != _PLAIN or not value:
        raise DumpInvalid(BAD_FORMAT)
    return [value]


def _read_text_double(reader: Reader) -> float:
    length = reader.take(1)[0]
    if length == _NAN_SCORE:
        raise DumpInvalid(BAD_FORMAT)
    if length >= _POSITIVE_INFINITY:
        return inf if length == _POSITIVE_INFINITY else -inf
    return _scores([reader.take(length)])[0]


def _scores(texts: list[bytes]) -> list[float]:
    """The numbers of the texts of scores."""
    if b"".join(texts).translate(None, _SCORE_CHARACTERS):
        raise DumpInvalid(BAD_FORMAT)
    try:
        return list(map(float, texts))
    except ValueError:
        raise DumpInvalid(BAD_FORMAT) from None


def _times(texts: list[bytes]) -> list[int]:
    """The numbers of the texts of times."""
    if texts and not (all(map(bytes.isdigit, texts)) and max(map(len, texts)) <= _EXPIRY_DIGITS):
        raise DumpInvalid(BAD_FORMAT)
    return list(map(int, texts))


def check_members(members: Sized, count: int | None = None) -> None:
    """DumpEmpty if a collection has no members: Redis skips such a key. DumpInvalid if it has not `count` of them."""
    if not members:
        raise DumpEmpty(BAD_FORMAT)
    if count is not None and len(members) != count:
        raise DumpInvalid(BAD_FORMAT)


def _check_end(reader: Reader, members: Sized) -> None:
    """DumpInvalid if anything stands behind the collection. DumpEmpty as for `check_members`."""
    reader.end()
    check_members(members)


def _check_tuples(strings: list[bytes], size: int) -> None:
    if len(strings) % size:
        raise DumpInvalid(BAD_FORMAT)


def _check_distinct(members: list[bytes]) -> None:
    if len(set(members)) != len(members):
        raise DumpInvalid(BAD_FORMAT)


def _write_block(dump_type: int, block: bytes) -> bytes:
    return bytes((dump_type,)) + write_string(block)


def _write_node(kind: int, content: bytes) -> bytes:
    return write_length(kind) + write_string(content)


def _write_strings(dump_type: int, strings: Iterable[bytes], size: int) -> bytes:
    """A count of tuples of so many strings, and the strings."""
    strings = list(strings)
    return bytes((dump_type,)) + write_length(len(strings) // size) + write_strings(b"", 1, strings)


def _write_score(score: float) -> bytes:
    """The text of a score in a listpack, as zzlInsertAt in t_zset.c of redis 7.0 writes it: -0.0 loses its sign."""
    return b"%d" % score if score.is_integer() and abs(score) <= _MAX_INTEGER_SCORE else b"%.17g" % score
