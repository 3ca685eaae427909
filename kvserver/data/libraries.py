"""The texts of function libraries: what is kept of them, and the doors through which commands change them. Pure.

Like the keys they are recorded, stand in frames and come back by both. What a text means is the business of whoever runs it:
so a server that can't run any keeps them all the same. They belong to no database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvserver.data.records import Records


class Libraries:
    """The texts of libraries by their names. `generation` is another number behind each change."""

    def __init__(self, records: Records) -> None:
        self.generation = 0
        self._texts: dict[bytes, bytes] = {}
        self._record, _ = records.recorders(0)

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[bytes]:
        """The names, in the order in which they came."""
        return iter(self._texts)

    def get(self, name: bytes) -> bytes | None:
        """The text of a library, or None if there is none of this name."""
        return self._texts.get(name)

    def copy(self) -> dict[bytes, bytes]:
        """The present texts by their names."""
        return dict(self._texts)

    def put(self, name: bytes, text: bytes) -> None:
        """Keep a text, in place of the one of this name."""
        self.generation += 1
        self._texts[name] = text
        self._record([b"FUNCTION", b"LOAD", b"REPLACE", text])

    def remove(self, name: bytes) -> None:
        """Remove a text. KeyError if there is none of this name."""
        del self._texts[name]
        self.generation += 1
        self._record([b"FUNCTION", b"DELETE", name])

    def clear(self) -> None:
        """Remove all."""
        self.replace({})
        self._record([b"FUNCTION", b"FLUSH"])

    def replace(self, texts: Mapping[bytes, bytes]) -> None:
        """Take over other texts, those of a frame. This records nothing."""
        self.generation += 1
        self._texts = dict(texts)
