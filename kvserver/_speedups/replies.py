"""The replies of a run of calls, one by one."""

from __future__ import annotations

from typing import Final

from kvserver._speedups.choice import leaf

_CRLF: Final = b"\r\n"
_BULKS: Final = b"$=!"
# The number of replies that an element of an aggregate is, by the aggregate's first byte.
_AGGREGATES: Final = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
# Attributes stand before the reply that they are of.
_ATTRIBUTES: Final = ord("|")


@leaf
def cut_replies(data: bytes) -> list[bytes]:
    """Return the replies that stand in the data one behind the other, whole and as this server writes them.

    ValueError where they are not.
    """
    replies: list[bytes] = []
    start = position = 0
    # The number of replies that lack until what begins at `start` is whole.
    missing = 1
    while position < len(data):
        end = data.find(_CRLF, position + 1)
        if end < 0:
            break
        kind, line = data[position], data[position + 1 : end]
        position, missing = end + len(_CRLF), missing - 1
        if kind in _BULKS:
            length = _number(line)
            if length >= 0:
                position += length + len(_CRLF)
        elif kind in _AGGREGATES:
            missing += max(_number(line), 0) * _AGGREGATES[kind] + (kind == _ATTRIBUTES)
        if not missing and position <= len(data):
            replies.append(data[start:position])
            start, missing = position, 1
    if start < len(data):
        raise ValueError("a reply is not whole")
    return replies


def _number(line: bytes) -> int:
    if not line.removeprefix(b"-").isdigit():
        raise ValueError("a reply is not whole")
    return int(line)
