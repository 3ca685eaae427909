"""Streams in the payloads of DUMP and RESTORE: the nodes as listpacks, and what else there is to a stream. Pure.

    count of nodes, and for each        its key, 16 bytes big-endian, and a listpack
    length, last id                     of the whole stream
    first id, greatest id deleted, count of entries added       not in the first type
    groups                              `group_payload`

A listpack holds the count of entries, that of deleted ones, the fields of the first entry behind their number, and 0. Behind
that, each entry has flags, its id less that of the node, its values (or all its strings, behind the number of fields) and the
number of these parts. Source: rdbSaveObject and rdbLoadObject in rdb.c, and streamAppendItem in t_stream.c, of redis 7.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from kvserver._speedups.listpacks import read_listpack
from kvserver._speedups.rdb_strings import write_length, write_string
from kvserver.errors import DumpInvalid
from kvserver.formats.listpack import write_listpack
from kvserver.formats.rdb import BAD_FORMAT, Reader
from kvserver.formats.rdb_pieces import in_pieces
from kvserver.types.stream.group_payload import read_groups, write_groups
from kvserver.types.stream.ids import FIRST, MOST, Id
from kvserver.types.stream.node import Node
from kvserver.types.stream.progress import distance
from kvserver.types.stream.stream import Stream

STREAM_LISTPACKS, STREAM_LISTPACKS_2, STREAM_LISTPACKS_3 = 15, 19, 21
# With the shapes of their bodies (`formats.rdb_shape`): nodes, the length and ids, groups with pending entries and consumers.
STREAM_TYPES: Final = {
    STREAM_LISTPACKS: b"[ss] nnn [snn[888n][s8[88]]]".replace(b" ", b""),
    STREAM_LISTPACKS_2: b"[ss] nnnnnnnn [snnn[888n][s8[88]]]".replace(b" ", b""),
    STREAM_LISTPACKS_3: b"[ss] nnnnnnnn [snnn[888n][s88[88]]]".replace(b" ", b""),
}
_KEY: Final = Struct(">QQ")
_DELETED, _SAME_FIELDS = 1, 2
_FLAGS: Final = 4


def write_stream(stream: Stream) -> bytes:
    """The type and the body of a stream, as redis-server 7.0 writes it."""
    return b"".join(stream_in_pieces(stream))


def stream_in_pieces(stream: Stream) -> Iterator[bytes]:
    """Yield the type and the body of a stream in pieces: a node each, and some hundred parts of the groups."""
    yield bytes((STREAM_LISTPACKS_2,)) + write_length(stream.entries.node_count)
    for node in stream.entries.nodes():
        yield write_string(_KEY.pack(*node.first)) + write_string(write_node(node))
    numbers = (stream.length, *stream.last_id, *stream.first_id, *stream.max_deleted_id, stream.added)
    yield b"".join(map(write_length, numbers))
    yield from in_pieces(write_groups(stream.groups))


def read_stream(dump_type: int, body: bytes, max_bytes: int) -> Stream:
    """The stream whose type is one of STREAM_TYPES. DumpInvalid if the body is none.

    No compressed string in it may have more than `max_bytes` bytes.
    """
    reader = Reader(body)
    stream = Stream()
    last: Id | None = None
    for _ in range(reader.length()):
        key = reader.string(max_bytes)
        if len(key) != _KEY.size:
            raise DumpInvalid(BAD_FORMAT)
        milliseconds, sequence = _KEY.unpack(key)
        try:
            node = _read_node((milliseconds, sequence), read_listpack(reader.string(max_bytes)))
        except (ValueError, StopIteration):
            raise DumpInvalid(BAD_FORMAT) from None
        if last is not None and node.identity(0) <= last:
            raise DumpInvalid(BAD_FORMAT)
        last = node.identity(-1)
        stream.entries.load(node)
    if reader.length() != stream.length:
        raise DumpInvalid(BAD_FORMAT)
    stream.last_id = _read_id(reader)
    if stream.last_id < (stream.entries.last() or FIRST):
        raise DumpInvalid(BAD_FORMAT)
    stream.added = stream.length
    if dump_type != STREAM_LISTPACKS:
        # The first id is that of the first entry.
        _read_id(reader)
        stream.max_deleted_id = _read_id(reader)
        stream.added = reader.length()
    stream.groups = read_groups(reader, dump_type, max_bytes)
    if dump_type == STREAM_LISTPACKS:
        for _, group in stream.groups.in_order():
            group.entries_read = distance(stream, group.last_id)
    reader.end()
    return stream


def _read_id(reader: Reader) -> Id:
    return reader.length(), reader.length()


def write_node(node: Node) -> bytes:
    """The listpack of a node."""
    count, fields = len(node), node.fields
    strings = [*map(_number, (node.live, count - node.live, len(fields))), *fields, b"0"]
    first_milliseconds, first_sequence = node.first
    for (milliseconds, sequence), row, is_deleted in node.every():
        is_same = row[::2] == fields
        parts = row[1::2] if is_same else row
        flags = _SAME_FIELDS * is_same | _DELETED * is_deleted
        strings += map(_number, (flags, milliseconds - first_milliseconds, sequence - first_sequence))
        if not is_same:
            strings.append(_number(len(row) // 2))
        strings += parts
        strings.append(_number(len(parts) + (3 if is_same else 4)))
    return write_listpack(strings)


def _number(number: int) -> bytes:
    """The decimal of an integer, of which the lower 64 bits count."""
    return b"%d" % ((number + (1 << 63)) % (1 << 64) - (1 << 63))


def _read_node(first: Id, strings: list[bytes]) -> Node:
    """The node with this key and these strings in its listpack. ValueError or StopIteration if there is none like that."""
    parts = iter(strings)
    live, gone, width = int(next(parts)), int(next(parts)), int(next(parts))
    if not 0 < width <= len(strings):
        raise ValueError(f"{width} fields")
    node = Node(first, _take(parts, width), None)
    if next(parts) != b"0":
        raise ValueError("no zero behind the fields")
    rows: list[tuple[Id, list[bytes], bool]] = []
    for text in parts:
        flags = int(text)
        if not 0 <= flags < _FLAGS:
            raise ValueError(f"{flags} as flags")
        identity = (first[0] + int(next(parts))) & MOST, (first[1] + int(next(parts))) & MOST
        if flags & _SAME_FIELDS:
            row = node.fields * 2
            row[::2], row[1::2] = node.fields, _take(parts, width)
            wanted = width + 3
        else:
            count = int(next(parts))
            if not 0 < count <= len(strings):
                raise ValueError(f"{count} fields")
            row = _take(parts, 2 * count)
            wanted = 2 * count + 4
        if int(next(parts)) != wanted:
            raise ValueError("an entry that has another number of parts than it says")
        rows.append((identity, row, bool(flags & _DELETED)))
    _fill(node, rows)
    deleted = [place for place, (_, _, is_deleted) in enumerate(rows) if is_deleted]
    if deleted:
        node.mark(deleted)
    if not node or (node.live, len(deleted)) != (live, gone):
        raise ValueError("another number of entries than it says")
    return node


def _fill(node: Node, rows: list[tuple[Id, list[bytes], bool]]) -> None:
    """Add entries to a node. ValueError if one comes before the one in front of it.

    Those that were deleted may, if XSETID had set back the last id since then: these get an id that is in order.
    """
    ends: list[Id | None] = []
    end: Id | None = None
    for identity, _, is_deleted in reversed(rows):
        ends.append(end)
        end = end if is_deleted else identity
    last = node.first
    is_first = True
    for (identity, row, is_deleted), end in zip(rows, reversed(ends), strict=True):
        if is_deleted and (identity < last or (end is not None and identity >= end)):
            identity = last
        elif identity < last or (identity == last and not is_first):
            raise ValueError("an entry that comes before the one in front of it")
        node.add(identity, row, sum(map(len, row)))
        last = identity
        is_first = False


def _take(parts: Iterator[bytes], count: int) -> list[bytes]:
    return [next(parts) for _ in range(count)]
