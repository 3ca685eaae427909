"""Streams in the payloads of DUMP and RESTORE: the nodes as listpacks, and what else there is to a stream. Pure.

    count of nodes, and for each        its key, 16 bytes big-endian, and a listpack
    length, last id                     of the whole stream
    first id, greatest id deleted, count of entries added       not in the first type
    groups                              `group_payload`

What is in a listpack, `_speedups.stream_nodes` says. Source: rdbSaveObject and rdbLoadObject in rdb.c of redis 7.0.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from struct import Struct
from typing import Any, Final

from kvserver._speedups.rdb_strings import write_length, write_string
from kvserver._speedups.stream_nodes import read_node
from kvserver.data.steps import Steps, at_once
from kvserver.errors import DumpInvalid
from kvserver.formats.listpack import write_listpack
from kvserver.formats.rdb import BAD_FORMAT, Reader
from kvserver.formats.rdb_chunks import Body
from kvserver.formats.rdb_pieces import in_pieces
from kvserver.types.stream.group_payload import read_groups, write_groups
from kvserver.types.stream.ids import FIRST, Id
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
    return at_once(make_stream(dump_type, body, max_bytes))


def make_stream(dump_type: int, body: Body, max_bytes: int) -> Steps[Stream]:
    """`read_stream` in steps: a node each, and some hundred pending entries."""
    reader = Reader(body)
    stream = Stream()
    last: Id | None = None
    for _ in range(reader.length()):
        key, listpack = reader.strings(2, max_bytes)
        if len(key) != _KEY.size:
            raise DumpInvalid(BAD_FORMAT)
        node = _read_node(_KEY.unpack(key), listpack)
        if last is not None and node.identity(0) <= last:
            raise DumpInvalid(BAD_FORMAT)
        last = node.identity(-1)
        stream.entries.load(node)
        yield
    numbers: list[Any] = reader.items(b"n" * (3 if dump_type == STREAM_LISTPACKS else 8), 1, max_bytes)
    stream.last_id = numbers[1], numbers[2]
    if numbers[0] != stream.length or stream.last_id < (stream.entries.last() or FIRST):
        raise DumpInvalid(BAD_FORMAT)
    stream.added = stream.length
    if dump_type != STREAM_LISTPACKS:
        # In front stands the first id, which is that of the first entry.
        stream.max_deleted_id = numbers[5], numbers[6]
        stream.added = numbers[7]
    stream.groups = yield from read_groups(reader, dump_type, max_bytes)
    if dump_type == STREAM_LISTPACKS:
        for _, group in stream.groups.in_order():
            group.entries_read = distance(stream, group.last_id)
    reader.end()
    return stream


def _read_node(first: Id, listpack: bytes) -> Node:
    """The node with this key. DumpInvalid if the listpack is none."""
    try:
        fields, milliseconds, sequences, counts, strings, marks = read_node(listpack, *first)
    except ValueError:
        raise DumpInvalid(BAD_FORMAT) from None
    node = Node(first, fields, None)
    node.milliseconds.frombytes(milliseconds)
    node.sequences.frombytes(sequences)
    node.counts = None if counts is None else array("Q", counts)
    node.strings = strings
    node.deleted = None if marks is None else bytearray(marks)
    node.live = len(node) - (0 if marks is None else sum(marks))
    # The same strings make no longer listpack here: Redis writes each number as one.
    node.bound = len(listpack)
    return node


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
