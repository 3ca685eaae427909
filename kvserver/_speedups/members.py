"""The members of a payload that are strings, read many at a time: those of nearly every snapshot.

In Python, orjson reads them, of which each string is encoded again. In C, bytes are made of the text at once.
"""

from __future__ import annotations

import orjson

from kvserver._speedups.choice import leaf


@leaf
def read_strings(text: bytes, start: int, end: int) -> dict[bytes, bytes] | None:
    """The members of a JSON object between two positions, without its braces: their names and values in UTF-8.

    None unless these are one member or more, all values of which are strings. The last of those with one name counts. A lone
    surrogate is no string here: it is not UTF-8.
    """
    try:
        found = orjson.loads(b"{%b}" % text[start:end])
    except orjson.JSONDecodeError:
        return None
    if not found or set(map(type, found.values())) != {str}:
        return None
    return dict(zip(map(str.encode, found), map(str.encode, found.values()), strict=True))
