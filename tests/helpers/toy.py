"""A data type that the package does not have, a list of numbers changed in place. It shows all that a type must bring."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kvserver.data import kinds
from kvserver.data.kinds import Form, Kind, Load
from kvserver.errors import DumpInvalid
from kvserver.formats.digest import MODULE_TYPE, mix
from kvserver.formats.rdb import dump

DUMP_TYPE = 100
TAG = "numbers"


class Numbers(list[int]):
    """A value."""

    def fork(self) -> Numbers:
        return Numbers(self)


def _read(document: Any) -> Numbers | None:
    return Numbers(document) if isinstance(document, list) else None


def _load(body: bytes, max_bytes: int) -> Numbers:
    if len(body) % 8:
        raise DumpInvalid("half of a number")
    return Numbers(int.from_bytes(body[start : start + 8], "big") for start in range(0, len(body), 8))


class Toy(Kind):
    name = "numbers"
    types = (Numbers,)
    mark = ""
    forms: Mapping[str, Form] = {TAG: Form(_read, lambda opening, expires_at_ms: None)}
    loads: Mapping[int, Load] = {DUMP_TYPE: Load(b"s", _load)}

    def encoding(self, value: Numbers) -> bytes:
        return b"listpack"

    def size_bytes(self, value: Numbers) -> int:
        return 64 + 40 * len(value)

    def recreation(self, key: bytes, value: Numbers, expires_at_ms: int | None) -> list[list[bytes]]:
        return [[b"RESTORE", key, b"%d" % (expires_at_ms or 0), dump(value), b"REPLACE", b"ABSTTL"]]

    def json(self, value: Numbers) -> tuple[str, bytes]:
        return TAG, b"[%b]" % b",".join(b"%d" % number for number in value)

    def json_steps(self, value: Numbers) -> Generator[bytes, None, tuple[str, Iterator[bytes]]]:
        yield b""
        text = self.json(value)[1]
        return TAG, (text[start : start + 3] for start in range(0, len(text), 3))

    def dump(self, value: Numbers) -> bytes:
        return bytes((DUMP_TYPE,)) + b"".join(number.to_bytes(8, "big") for number in value)

    def digest(self, value: Numbers, digest: bytes) -> bytes:
        return mix(digest, (MODULE_TYPE, self.dump(value)))


@contextmanager
def registered_toy() -> Iterator[Toy]:
    """The type is one of the kinds."""
    before = [(table, dict(table)) for table in (kinds._kinds, kinds._forms, kinds._loads)]
    toy = Toy()
    kinds.register(toy)
    try:
        yield toy
    finally:
        for table, contents in before:
            table.clear()
            table.update(contents)  # type: ignore[arg-type]
