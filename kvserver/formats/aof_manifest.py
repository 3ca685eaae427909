"""The manifest of redis-server's append-only folder: which files there are, and in which order they are read. Pure.

    file appendonly.aof.1.base.rdb seq 1 type b
    file appendonly.aof.1.incr.aof seq 1 type i

A line is a file: pairs of words, the names with quotes where that is needed. The base (`b`) is read first, an RDB or an AOF;
then the increments (`i`) in the order of their numbers, which is that of the lines. History (`h`) is to be removed, and not
read. Source: aof.c of redis 7.0, aofLoadManifestFromFile.
"""

from __future__ import annotations

import re
from typing import Final

from kvserver.errors import ProtocolError, SourceInvalid
from kvserver.resp.request import split_inline

# A manifest has a line or two; a longer one is none.
MOST_BYTES: Final = 1 << 20
_MOST_LINE_BYTES: Final = 1024
_NUMBER: Final = re.compile(rb"[1-9][0-9]{0,18}")


def files_of(manifest: bytes) -> list[str]:
    """The names of the files to be read, in order. SourceInvalid, which names the line, if this is no manifest."""
    base: list[str] = []
    increments: list[str] = []
    last_number = 0
    for place, line in enumerate(manifest.splitlines(), 1):
        if line.startswith(b"#"):
            continue
        name, number, kind = _read_line(line, place)
        if kind == b"b":
            if base:
                raise _invalid(place, "a second base")
            base.append(name)
        elif kind == b"i":
            if number <= last_number:
                raise _invalid(place, "the numbers do not grow")
            last_number = number
            increments.append(name)
        elif kind != b"h":
            raise _invalid(place, "a type that is not known")
    if not (base or increments):
        raise SourceInvalid("the manifest names no file to be read")
    return base + increments


def _read_line(line: bytes, place: int) -> tuple[str, int, bytes]:
    """The name, the number and the type of a file."""
    try:
        words = split_inline(line) if len(line) <= _MOST_LINE_BYTES else []
    except ProtocolError:
        words = []
    values = {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=False)}
    name, number, kind = values.get(b"file", b""), values.get(b"seq", b""), values.get(b"type", b"")
    if not (name and kind) or len(words) % 2 or not _NUMBER.fullmatch(number):
        raise _invalid(place, "it is no file with seq and type")
    text = name.decode("utf-8", "surrogateescape")
    if "/" in text or text in (".", "..") or not text.isprintable():
        raise _invalid(place, "the name of the file is a path, or none")
    return text, int(number), kind


def _invalid(place: int, reason: str) -> SourceInvalid:
    return SourceInvalid(f"damaged in line {place} of the manifest: {reason}")
