"""The members of a payload that are strings, read many at a time: those of nearly every snapshot; and their way into shards.

In Python, orjson reads them, of which each string is encoded again. In C, bytes are made of the text at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from kvserver._speedups.choice import leaf


@leaf
def read_strings(text: bytes, start: int, end: int) -> tuple[dict[bytes, bytes], bool] | None:
    """Read the members of a JSON object between two positions, without its braces.

    Return their names and values in UTF-8, and True if a name begins with `$`. None unless these are one member or more, all
    values of which are strings. The last of those with one name counts. A lone surrogate is no string here: it is not UTF-8.
    """
    try:
        found = orjson.loads(b"{%b}" % text[start:end])
    except orjson.JSONDecodeError:
        return None
    if not found or set(map(type, found.values())) != {str}:
        return None
    has_dollars = any(name.startswith("$") for name in found)
    return dict(zip(map(str.encode, found), map(str.encode, found.values()), strict=True)), has_dollars


@leaf
def put_pairs(shards: list[dict[bytes, Any]], digest: Callable[[bytes], int], pairs: list[tuple[bytes, Any]]) -> None:
    """Store the second of each pair under the first, in order: in the shard of the number `digest(key) % len(shards)`."""
    count = len(shards)
    for key, value in pairs:
        shards[digest(key) % count][key] = value


@leaf
def table_place(shard: dict[bytes, Any]) -> int:
    """The place in memory of the table of a dict, by which whoever frees many can free the last ones first.

    Python doesn't know it, so that all are alike there.
    """
    return 0
