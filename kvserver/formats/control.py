"""What nodes say to each other in the log that they share: a frame each, of one command, alone in its entry.

    KVSERVER.LEAD epoch id host port lease-milliseconds
                             this node writes from here on; where clients reach it; how long it may be silent
    KVSERVER.YIELD epoch     who wrote in this epoch writes nothing more: others may take over at once
    KVSERVER.LINK digest     the data is that of this snapshot from here on, as after a RESTORE (`record`)

They have the magic KVJ1, which no record of a shared log begins with. Pure.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from kvserver.formats.frame import HEADER_SIZE, JOURNAL_MAGIC, decode_header, encode_frame
from kvserver.formats.record import linked_digest, pack
from kvserver.resp.request import RequestParser

LEAD: Final = b"KVSERVER.LEAD"
YIELD: Final = b"KVSERVER.YIELD"
# No control frame is longer.
MOST_BYTES: Final = 4096


class Lead(NamedTuple):
    """A node begins to write: its epoch, its random id, its address for clients, and its lease in milliseconds."""

    epoch: int
    id: str
    host: str
    port: int
    lease_ms: int


class Yield(NamedTuple):
    """Who wrote in this epoch has ended."""

    epoch: int


class Relink(NamedTuple):
    """The data is that of the snapshot with this digest from here on; EMPTY_STORE for no data."""

    digest: str


Control = Lead | Yield | Relink


def encode_lead(lead: Lead) -> bytes:
    """The frame of a Lead. What is no text in its host becomes `?`: all nodes have to read it."""
    host = lead.host.encode(errors="replace")
    words = [LEAD, b"%d" % lead.epoch, lead.id.encode(), host, b"%d" % lead.port, b"%d" % lead.lease_ms]
    return encode_frame(bytes(pack([words])), JOURNAL_MAGIC)


def encode_yield(epoch: int) -> bytes:
    """The frame of a Yield."""
    return encode_frame(bytes(pack([[YIELD, b"%d" % epoch]])), JOURNAL_MAGIC)


def is_control(data: bytes) -> bool:
    """True if the data of an entry is to be a control frame, and no record."""
    return data.startswith(JOURNAL_MAGIC)


def decode_control(data: bytes) -> Control:
    """The control frame that is the data of an entry. ValueError, in one line, if it is none."""
    header = decode_header(data[:HEADER_SIZE], JOURNAL_MAGIC)
    payload = data[HEADER_SIZE:]
    if not header or len(data) > MOST_BYTES or header.payload_length != len(payload):
        raise ValueError("its header is not that of a control frame")
    if hashlib.sha256(payload).hexdigest() != header.digest:
        raise ValueError("its checksum does not match the payload")
    if (digest := linked_digest(payload)) is not None:
        return Relink(digest)
    parser = RequestParser(MOST_BYTES, takes_inline=False)
    commands = parser.feed(payload)
    if parser.failure or not parser.is_idle or len(commands) != 1:
        raise ValueError("it holds no command")
    name, *words = commands[0]
    try:
        if name == LEAD and len(words) == 5:
            return Lead(int(words[0]), words[1].decode(), words[2].decode(), int(words[3]), int(words[4]))
        if name == YIELD and len(words) == 1:
            return Yield(int(words[0]))
    except ValueError:
        pass
    raise ValueError(f"this version knows no such control frame: {name[:40]!r}")
