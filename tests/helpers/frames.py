"""Two frames of a medium, and the writing of a frame piece by piece: for the tests of media."""

from __future__ import annotations

from kvserver.formats.frame import HEADER_SIZE, encode_frame
from kvserver.media.medium import FrameWriter

FIRST = encode_frame(b'{"a":1}')
SECOND = encode_frame(b'{"a":"%b"}' % (b"x" * 500))
NAME = "users.kvs"


def put(frame: FrameWriter, whole: bytes, *, pieces: int = 1) -> None:
    payload = whole[HEADER_SIZE:]
    size = -(-len(payload) // pieces)
    for start in range(0, len(payload), size):
        frame.write(payload[start : start + size])
    frame.commit(whole[:HEADER_SIZE])
