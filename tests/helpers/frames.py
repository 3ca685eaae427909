"""Frames: two for the tests of media, and writers and readers of any that share no code with kvserver."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kvserver.formats.frame import HEADER_SIZE, encode_frame
from kvserver.media.medium import FrameWriter

FIRST = encode_frame(b'{"a":1}')
SECOND = encode_frame(b'{"a":"%b"}' % (b"x" * 500))
NAME = "users.kvs"


def put(frame: FrameWriter, whole: bytes, *, pieces: int = 1) -> None:
    """Have a medium write this frame, its payload in so many pieces."""
    payload = whole[HEADER_SIZE:]
    size = -(-len(payload) // pieces)
    for start in range(0, len(payload), size):
        frame.write(payload[start : start + size])
    frame.commit(whole[:HEADER_SIZE])


def frame(store: Mapping[str, object]) -> bytes:
    """A KVS1 frame, written here once more so that kvserver isn't checked by its own code."""
    payload = json.dumps(store, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return b"KVS1%012d" % len(payload) + hashlib.sha256(payload).hexdigest().encode() + payload


def valid_frames(medium: bytes) -> list[dict[str, Any]]:
    """The stores of a medium that must hold whole frames and nothing else."""
    stores: list[dict[str, Any]] = []
    while medium:
        assert re.fullmatch(rb"KVS1[0-9]{12}[0-9a-f]{64}", medium[:80]), medium[:80]
        end = 80 + int(medium[4:16])
        stores.append(json.loads(medium[80:end]))
        assert frame(stores[-1]) == medium[:end]
        medium = medium[end:]
    return stores


def journal_payloads(journal: bytes) -> Iterator[bytes]:
    """The payloads of a journal from the left up to what is no whole frame, of either layout. No checksum is looked at."""
    start = 0
    while size := {b"KVJ1": 80, b"KVJ2": 24}.get(journal[start : start + 4]):
        end = start + size + int(journal[start + 4 : start + 16])
        yield journal[start + size : end]
        start = end


def as_older(journal: bytes) -> bytes:
    """A journal as a version of before KVJ2 has written it: all frames have the long header."""
    return b"".join(
        b"KVJ1%012d" % len(payload) + hashlib.sha256(payload).hexdigest().encode() + payload
        for payload in journal_payloads(journal)
    )
