"""The replies of a run of calls, by those who have sent them."""

from __future__ import annotations

from typing import Any, Final

from kvserver._speedups.choice import leaf

_CRLF: Final = b"\r\n"
_BULKS: Final = b"$=!"
# The number of replies that an element of an aggregate is, by the aggregate's first byte.
_AGGREGATES: Final = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
# Attributes stand before the reply that they are of.
_ATTRIBUTES: Final = ord("|")


@leaf
def cut_replies(data: bytes, queues: list[list[Any]]) -> list[bytes]:
    """Return the data in pieces: each has a reply to each item of its queue, whole and as this server writes them.

    ValueError where that is not just the data.
    """
    pieces: list[bytes] = []
    start = position = 0
    for queue in queues:
        for _ in queue:
            position = _end_of_reply(data, position)
        pieces.append(data[start:position])
        start = position
    if start < len(data):
        raise ValueError("there are more replies")
    return pieces


def _end_of_reply(data: bytes, position: int) -> int:
    # The number of replies that lack until what begins here is whole.
    missing = 1
    while missing:
        end = data.find(_CRLF, position + 1)
        if end < 0:
            raise ValueError("a reply is not whole")
        kind, line = data[position], data[position + 1 : end]
        position, missing = end + len(_CRLF), missing - 1
        if kind in _BULKS:
            length = _number(line)
            if length >= 0:
                position += length + len(_CRLF)
        elif kind in _AGGREGATES:
            missing += max(_number(line), 0) * _AGGREGATES[kind] + (kind == _ATTRIBUTES)
    if position > len(data):
        raise ValueError("a reply is not whole")
    return position


def _number(line: bytes) -> int:
    if not line.removeprefix(b"-").isdigit():
        raise ValueError("a reply is not whole")
    return int(line)
