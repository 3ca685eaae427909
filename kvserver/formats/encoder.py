"""A cut of the keyspace to the payload of a frame, canonical JSON, in slices. Pure: never writes or hashes.

A generator whose steps take some dozens of microseconds for short values, so that whoever drives it can serve clients
between two steps; a value that is long by itself is one step.

Strings, the common case, go through orjson a batch at a time: for those its bytes are the canonical ones. Floats,
integers over 64 bits and lone surrogates differ, so they go through Python's json (`codec`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

import orjson

from kvserver.data.cut import Cut
from kvserver.formats.codec import canonical_string
from kvserver.formats.order import SEPARATOR, Batch, in_order
from kvserver.formats.scan import CHUNK_BYTES
from kvserver.formats.tags import Mapping

_SLOW_BATCH_MEMBERS: Final = 64  # of which each takes some microseconds by itself
_LONG_BATCH_BYTES: Final = 1 << 16
_QUOTES_PER_MEMBER: Final = 4


def encode(cut: Cut, mapping: Mapping) -> Iterator[bytes]:
    """The payload of a cut in pieces; an empty piece is a step that sorted instead."""
    separator = b"{"
    for batch in in_order(cut, mapping):
        if batch is None:
            yield b""
            continue
        for piece in _encode_batch(cut, mapping, batch):
            yield separator + piece
            separator = b","
        cut.keys_encoded += len(batch.members)
    yield b"}" if separator == b"," else b"{}"


def _encode_batch(cut: Cut, mapping: Mapping, batch: Batch) -> Iterator[bytes]:
    """The members of a batch: in one piece, or in several where values are long."""
    members, has_values = batch
    if has_values:
        piece = b'"%b"' % b'","'.join(members).replace(SEPARATOR, b'":"')
        # Plain strings all of them, with nothing to escape, if escaping the whole finds just the quotes put in here.
        # What a member stands for otherwise holds a second separator, so that there are more quotes than that.
        with suppress(UnicodeDecodeError):  # a string that is not UTF-8
            if len(orjson.dumps(piece.decode())) == len(piece) + len(b'""') + len(members) * _QUOTES_PER_MEMBER:
                yield piece
                return
    pieces: list[bytes] = []
    pieces_bytes = 0
    for member in members:
        name = member.partition(SEPARATOR)[0] if has_values else member
        text = name.decode("utf-8", "surrogatepass")
        entry = cut.lookup(mapping.decode_key(text))
        pieces.append(b"%b:%b" % (canonical_string(text), mapping.encode_entry(entry)))
        pieces_bytes += len(pieces[-1])
        if pieces_bytes >= _LONG_BATCH_BYTES or len(pieces) >= _SLOW_BATCH_MEMBERS:
            yield b",".join(pieces)
            pieces, pieces_bytes = [], 0
    if pieces:
        yield b",".join(pieces)


def chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that are worth a call: of CHUNK_BYTES or more, but for the last one."""
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)
