"""The function libraries in the payload of a frame: one member among those of the keys, an object from name to text. Pure.

    "$kvs::functions":{"mylib":"#!lua name=mylib\\nredis.register_function(…)"}

A text that is not UTF-8 stands there as a key does, as `$kvs:` and base64. There is no such member without libraries. No key
has this name, since keys that begin as it does are written in base64 (`formats.names`). As with all tags, the member is read
as what it says only if it is exactly what would have been written, else it is a user's document under a key of this name;
and so it is to versions that knew no functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from kvserver.data.entries import Entry
from kvserver.formats.codec import JSONText, canonical_string
from kvserver.formats.names import bytes_of, name_of

MEMBER: Final = "$kvs::functions"
# The names that libraries can have.
NAME: Final = re.compile(rb"[A-Za-z0-9_]+")


def pieces(libraries: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Yield the canonical JSON of the member's value, a library a piece."""
    opening = b"{"
    for name in sorted(libraries):
        yield b'%b"%b":%b' % (opening, name, canonical_string(name_of(libraries[name])))
        opening = b","
    yield b"}"


def read(entry: Entry) -> dict[bytes, bytes] | None:
    """The texts by their names, or None if the member's value is none that `pieces` writes."""
    if type(entry) is not JSONText or not entry.startswith(b'{"'):
        return None
    libraries: dict[bytes, bytes] = {}
    for name, text in json.loads(entry).items():
        content = bytes_of(text) if type(text) is str else None
        if content is None or not NAME.fullmatch(name.encode("utf-8", "surrogatepass")):
            return None
        libraries[name.encode()] = content
    return libraries if b"".join(pieces(libraries)) == entry else None
