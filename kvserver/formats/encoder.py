"""Cuts of databases to the payload of a frame, canonical JSON, in slices. Pure: never writes or hashes.

The encoder is a generator whose steps take some dozens of microseconds, and some hundred for a piece of a long value, so
that whoever drives it can serve clients between two steps. Keys are short: a long key is one step.

Strings, the common case, go through orjson a batch at a time: for those its bytes are the canonical ones. Floats,
integers over 64 bits and lone surrogates differ, so they go through Python's json (`codec`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as TextsByName
from operator import itemgetter
from typing import Final

from kvserver._speedups.ordering import encode_members
from kvserver.data.entries import Expiring
from kvserver.data.freeze import Cut
from kvserver.data.kinds import kind_of
from kvserver.formats import libraries as functions
from kvserver.formats.codec import PIECE_BYTES, canonical_string
from kvserver.formats.scan import CHUNK_BYTES
from kvserver.formats.sorting import SEPARATOR, Batch, in_order
from kvserver.formats.tags import Mapping

# A batch of so many members that take some microseconds each is one step.
_SLOW_BATCH_MEMBERS: Final = 64
_LONG_BATCH_BYTES: Final = 1 << 16
_LIBRARIES: Final = functions.MEMBER.encode()

# A batch and its cut, or None in place of that for the function libraries; None for both is a step that sorted.
_Found = tuple[Cut | None, Batch] | None


def encode(cuts: Iterable[Cut], mapping: Mapping, libraries: TextsByName[bytes, bytes] | None = None) -> Iterator[bytes]:
    """Yield the payload of the cuts of databases in pieces. An empty piece is a step that sorted, or looked at a value.

    `libraries` has the texts of function libraries by their names. They stand in a payload only if there are any.
    """
    separator = b"{"
    for found in _all_in_order(cuts, mapping, has_libraries=bool(libraries)):
        if found is None:
            yield b""
            continue
        cut, batch = found
        if cut is not None:
            yield from _encode_batch(cut, mapping, batch, separator)
            cut.keys_encoded += len(batch.members)
        elif libraries:
            yield b'%b"%b":' % (separator, _LIBRARIES)
            yield from functions.pieces(libraries)
        separator = b","
    yield b"}" if separator == b"," else b"{}"


def _all_in_order(cuts: Iterable[Cut], mapping: Mapping, *, has_libraries: bool) -> Iterator[_Found]:
    """Yield the batches of all cuts in the order of their names, each with its cut. None is a step that sorted.

    The names of another database than 0 have their start in common, so that no others stand between them.
    """
    filled = [cut for cut in cuts if len(cut)]
    elsewhere: list[tuple[bytes, Cut | None]] = [
        (mapping.encode_key(b"", cut.number).encode(), cut) for cut in filled if cut.number
    ]
    if has_libraries:
        elsewhere.append((_LIBRARIES, None))
    elsewhere.sort(key=itemgetter(0))
    for cut in filled:
        for batch in in_order(cut, mapping) if not cut.number else ():
            if batch is None:
                yield None
                continue
            members = batch.members
            while elsewhere and elsewhere[0][0] < members[-1]:
                start, other = elsewhere.pop(0)
                place = bisect_left(members, start)
                if place:
                    yield cut, Batch(members[:place], batch.has_values)
                    members = members[place:]
                yield from _in_order(other, mapping)
            yield cut, Batch(members, batch.has_values)
    for _, other in elsewhere:
        yield from _in_order(other, mapping)


def _in_order(cut: Cut | None, mapping: Mapping) -> Iterator[_Found]:
    if cut is None:
        return iter([(None, Batch([_LIBRARIES], has_values=False))])
    return (batch and (cut, batch) for batch in in_order(cut, mapping))


def _encode_batch(cut: Cut, mapping: Mapping, batch: Batch, separator: bytes) -> Iterator[bytes]:
    """Yield the members of a batch, a separator before each: in one piece, or in several if values are long."""
    members, has_values = batch
    start = mapping.encode_key(b"", cut.number)
    if has_values:
        piece = encode_members(members, start.encode(), separator)
        if piece is not None:
            yield piece
            return
    pieces: list[bytes] = []
    pieces_bytes = 0
    for member in members:
        name = member.partition(SEPARATOR)[0] if has_values else member
        text = name.decode("utf-8", "surrogatepass")
        _, key = mapping.decode_key(text)
        entry = cut.lookup(key)
        value = entry.value if isinstance(entry, Expiring) else entry
        # Measured: a kind is asked where no length tells it.
        if (len(value) if isinstance(value, bytes) else kind_of(value).size_bytes(value)) > PIECE_BYTES:
            pieces.append(canonical_string(start + text))
            yield b"%b%b:" % (separator, b",".join(pieces))
            yield from mapping.encode_long(entry)
            separator, pieces, pieces_bytes = b",", [], 0
            continue
        pieces.append(b"%b:%b" % (canonical_string(start + text), mapping.encode_entry(entry)))
        pieces_bytes += len(pieces[-1])
        if pieces_bytes >= _LONG_BATCH_BYTES or len(pieces) >= _SLOW_BATCH_MEMBERS:
            yield separator + b",".join(pieces)
            separator, pieces, pieces_bytes = b",", [], 0
    if pieces:
        yield separator + b",".join(pieces)


def chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces that are worth a call: of CHUNK_BYTES or more, but for the last one."""
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)
