"""The payload of FUNCTION DUMP and FUNCTION RESTORE: texts of libraries in the format of Redis's RDB files. Pure.

For each library: the byte 245 (RDB_OPCODE_FUNCTION2), and its text as a string. Behind all, the version and the CRC-64, as
behind a dumped value (`formats.rdb`). Source: functions.c and rdb.c of redis 7.0. Texts are written uncompressed, as
redis-server does with `rdbcompression no`. The form of the release candidates of 7.0, whose head was no part of the text, is
read as well: the byte 246, name, engine, 1 and a description or 0, code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from kvserver._speedups.rdb_strings import write_string
from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import Reader, body_of, seal

T = TypeVar("T")

FUNCTION: Final = 245
EARLY_FUNCTION: Final = 246


def dump(texts: Iterable[bytes]) -> bytes:
    """The payload of these texts."""
    return seal(b"".join(bytes((FUNCTION,)) + write_string(text) for text in texts))


def load(payload: bytes, max_bytes: int) -> Iterator[bytes]:
    """Yield the texts in a payload, each before the next one is looked at. DumpInvalid, as Redis words it, where it is none.

    So is one whose compressed texts are longer than `max_bytes` together: a few bytes can stand for many.
    """
    reader = Reader(body_of(payload))
    left_bytes = max_bytes

    def string(name: str) -> bytes:
        nonlocal left_bytes
        text = _part(name, lambda: reader.string(left_bytes))
        left_bytes = max(0, left_bytes - len(text))
        return text

    while reader.has_more:
        (opcode,) = reader.take(1)
        if opcode == FUNCTION:
            yield string("library payload")
        elif opcode == EARLY_FUNCTION:
            yield _early_text(reader, string)
        else:
            raise DumpInvalid("given type is not a function")


def _early_text(reader: Reader, string: Callable[[str], bytes]) -> bytes:
    name, engine = string("library name"), string("engine name")
    if _part("library description indicator", reader.length):
        string("library description")
    code = string("library blob")
    # Redis puts them together as texts that end at a NUL.
    return b"#!%b name=%b\n%b" % tuple(part.partition(b"\0")[0] for part in (engine, name, code))


def _part(name: str, read: Callable[[], T]) -> T:
    """A part of a payload. DumpInvalid, which names it, if it is not there."""
    try:
        return read()
    except DumpInvalid:
        raise DumpInvalid(f"Failed loading {name}") from None
