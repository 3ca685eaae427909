"""The order of the members of a snapshot, and their JSON, of nearly all strings that are stored."""

from __future__ import annotations

from typing import Any, Final

import orjson

from kvserver._speedups.choice import leaf

_STRINGS_ONLY: Final = {bytes}
_QUOTES_PER_MEMBER: Final = 4


@leaf
def sort_strings(strings: list[bytes]) -> None:
    """Put byte strings in order, in place."""
    strings.sort()


@leaf
def sorted_members(names: list[bytes], values: list[Any], most: int) -> list[bytes]:
    """Each name, which has no NUL and stands there once, a NUL and its value, in order.

    In place of a value that is not of type bytes, or longer than `most`, there is another NUL.
    """
    if set(map(type, values)) == _STRINGS_ONLY and max(map(len, values)) <= most:
        members = list(map(b"\0".join, zip(names, values, strict=True)))
    else:
        members = [
            name + b"\0" + (value if type(value) is bytes and len(value) <= most else b"\0")
            for name, value in zip(names, values, strict=True)
        ]
    members.sort()
    return members


@leaf
def encode_members(members: list[bytes], start: bytes, separator: bytes) -> bytes | None:
    """The members as those of a JSON object, which the separator stands before, and whose names begin with `start`.

    None unless all are UTF-8, have one NUL, and nothing that JSON escapes.
    """
    begin = b'"' + start
    piece = b'%b%b"' % (begin, (b'",' + begin).join(members).replace(b"\0", b'":"'))
    # There is nothing to escape if escaping the whole finds just the quotes that were put in here. A member with a second NUL
    # makes more quotes than that.
    try:
        escaped = orjson.dumps(piece.decode())
    except UnicodeDecodeError:
        return None
    if len(escaped) != len(piece) + len(b'""') + len(members) * _QUOTES_PER_MEMBER:
        return None
    return separator + piece
