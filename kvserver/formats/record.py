"""The records of the journal and its links. (Each is a frame: `frame` has the layout; `segment` reads them.)

A record is the write commands of one tick as RESP: a tick is there as a whole or not at all. In older journals, a record may
have those of some ticks. Before the commands stands their time in a line of its own, `#EXACT:` and Unix milliseconds, as
annotations stand in Redis's append-only files. Exact records have a DEL for each key that has expired: nothing expires by
itself when they are replayed. Older records lack these, and have the line `#MS:`, or none. A version that wrote such ones
takes `#EXACT:` for damage, and copies it aside.

In a log that several nodes share (`control`) stand KVSERVER.LEAD and KVSERVER.YIELD, too.

A link is a record of the one command KVSERVER.LINK, whose argument is the SHA-256 of a snapshot's payload, or `-` for the
empty store: its segment and the later ones go on from there. It has the line `#MS:`, and the magic KVJ1, which older versions
read, too: one that meets KVJ2 behind it takes that for damage, copies it aside and says so.

A loss is a record of the one command KVSERVER.LOSS, in the form of a link: a start stands it where it has cut off what was
damaged, with its own time. Between the record before it and that time, nobody knows what the data was.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from kvserver._speedups.packing import encode_short, pack_short
from kvserver.formats.frame import DIGEST_HEX, JOURNAL_MAGIC, encode_frame, encode_record_header
from kvserver.resp.reply import CRLF, join_short
from kvserver.resp.request import Request

EXACT_TIME = b"#EXACT:"
TIME = b"#MS:"
# The most digits that a time has.
TIME_DIGITS = 20
LINK = b"KVSERVER.LINK"
LOSS = b"KVSERVER.LOSS"
EMPTY_STORE = "-"
# Up to this length, a record is encoded where it is made, and written there if nothing is before it: to copy it, to compute
# its checksum and to write it takes some 150 µs.
SHORT_RECORD_BYTES = 1 << 18
# A longer command stays in pieces when it is written, and is parsed in pieces when it is read.
LONG_COMMAND_BYTES = 1 << 18


class LongPayload:
    """A payload that holds long arguments: it stays in pieces, so that nobody copies these arguments."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = join_short(pieces)
        self._length = sum(map(len, self.pieces))

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


def pack(commands: Iterable[Request]) -> bytes | LongPayload:
    """The payload of a record of these commands."""
    requests = commands if type(commands) is list else list(commands)
    packed = pack_short(requests, LONG_COMMAND_BYTES)
    return LongPayload(_pieces(requests)) if packed is None else packed


def _pieces(requests: list[Request]) -> Iterator[bytes]:
    """Requests as RESP, in pieces, of which each argument of a long one is one."""
    for request in requests:
        if packed := pack_short([request], LONG_COMMAND_BYTES):
            yield packed
            continue
        yield b"*%d\r\n" % len(request)
        for argument in request:
            yield b"$%d\r\n" % len(argument)
            yield argument
            yield CRLF


def encode_tick(commands: list[Request], time_ms: int) -> bytes | None:
    """The record of a tick's commands and their time (Unix milliseconds); None if it is longer than SHORT_RECORD_BYTES."""
    return encode_short(commands, time_ms, SHORT_RECORD_BYTES)


def encode_records(payloads: Sequence[bytes | LongPayload], times_ms: Sequence[int] = ()) -> bytes:
    """The frames of some ticks' payloads, in order, with their times (Unix milliseconds) or, in the oldest form, without."""
    return b"".join(piece for payload, time_ms in zip_longest(payloads, times_ms) for piece in encode_pieces(payload, time_ms))


def encode_pieces(payload: bytes | LongPayload, time_ms: int | None = None) -> list[bytes]:
    """The frame of a tick's payload in pieces, none of which is a copy of what is long."""
    line = _exact_line(time_ms)
    checksum = zlib.crc32(line)
    pieces = payload.pieces if isinstance(payload, LongPayload) else [payload]
    for piece in pieces:
        # This gives up the interpreter's lock while it goes through a long piece.
        checksum = zlib.crc32(piece, checksum)
    return [encode_record_header(len(line) + len(payload), checksum) + line, *pieces]


def _exact_line(time_ms: int | None) -> bytes:
    return b"" if time_ms is None else b"%b%d\r\n" % (EXACT_TIME, time_ms)


def read_line(payload: bytes) -> tuple[int | None, bool, int]:
    """Read the line that begins a payload.

    Return the time of its commands (Unix milliseconds) or None, True if the record is exact, and the length of the line in
    bytes. No line has the length 0.
    """
    for name in (EXACT_TIME, TIME):
        if payload.startswith(name):
            digits, separator, _ = payload[len(name) : len(name) + TIME_DIGITS + len(CRLF)].partition(CRLF)
            if separator and digits.isdigit():
                return int(digits), name is EXACT_TIME, len(name) + len(digits) + len(CRLF)
    return None, False, 0


def encode_link(digest: str, time_ms: int | None = None) -> bytes:
    """The frame of a link to the snapshot with this SHA-256, or to EMPTY_STORE."""
    line = b"" if time_ms is None else b"%b%d\r\n" % (TIME, time_ms)
    return encode_frame(line + bytes(pack([[LINK, digest.encode()]])), JOURNAL_MAGIC)


def encode_loss(time_ms: int) -> bytes:
    """The frame of a loss that was found at this time (Unix milliseconds)."""
    return encode_frame(b"%b%d\r\n%b" % (TIME, time_ms, _LOSS), JOURNAL_MAGIC)


_LOSS = bytes(pack([[LOSS]]))
_LINK_PREFIX = bytes(pack([[LINK, b"0" * DIGEST_HEX]]))[: -DIGEST_HEX - len(CRLF)]
_LINK_TO_EMPTY = bytes(pack([[LINK, EMPTY_STORE.encode()]]))
_LONGEST_LINK_BYTES = len(TIME) + TIME_DIGITS + len(CRLF) + len(_LINK_PREFIX) + DIGEST_HEX + len(CRLF)


def linked_digest(payload: bytes) -> str | None:
    """The digest of the snapshot that a payload links to, or EMPTY_STORE; None if it is no link."""
    if len(payload) > _LONGEST_LINK_BYTES or payload.startswith(EXACT_TIME):
        return None
    _, _, length = read_line(payload)
    payload = payload[length:]
    if payload == _LINK_TO_EMPTY:
        return EMPTY_STORE
    if len(payload) == len(_LINK_PREFIX) + DIGEST_HEX + len(CRLF) and payload.startswith(_LINK_PREFIX):
        return payload[len(_LINK_PREFIX) : -len(CRLF)].decode("ascii", "replace")
    return None


def loss_time(payload: bytes) -> int | None:
    """The time at which a loss was found (Unix milliseconds), if the payload is one; else None."""
    if len(payload) > _LONGEST_LINK_BYTES or not payload.endswith(_LOSS):
        return None
    time_ms, is_exact, length = read_line(payload)
    return None if is_exact or payload[length:] != _LOSS else time_ms
