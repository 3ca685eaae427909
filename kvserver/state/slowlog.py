"""The log of commands that took long, which SLOWLOG shows. Pure: callers measure, and take out the secrets."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final, NamedTuple

MAX_WORDS: Final = 32
MAX_WORD_BYTES: Final = 128


class Entry(NamedTuple):
    """A command that took long. `words` are `shortened`. `address` and `name` are its client's."""

    id: int
    at_s: int  # Unix time
    duration_us: int
    words: list[bytes]
    address: str
    name: bytes


class SlowLog:
    """The newest entries, newest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._next_id = 0

    def add(self, words: list[bytes], at_s: int, duration_us: int, address: str, name: bytes, keep: int) -> None:
        """Add an entry, and keep the `keep` newest entries."""
        self._entries.appendleft(Entry(self._next_id, at_s, duration_us, shortened(words), address, name))
        self._next_id += 1
        self.keep(keep)

    def keep(self, count: int) -> None:
        """Forget the oldest entries, so that no more than `count` stay."""
        while len(self._entries) > count:
            self._entries.pop()

    def newest(self, count: int | None) -> list[Entry]:
        """The `count` newest entries, or all if it is None."""
        return list(islice(self._entries, count))

    def reset(self) -> None:
        """Forget all entries. Their numbers are not given again."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


def shortened(words: list[bytes]) -> list[bytes]:
    """The first words of a command, and of each word the first bytes: as many as SLOWLOG keeps."""
    kept = [_shorten(word) for word in words[:MAX_WORDS]]
    if len(words) > MAX_WORDS:
        kept[-1] = b"... (%d more arguments)" % (len(words) - MAX_WORDS + 1)
    return kept


def _shorten(word: bytes) -> bytes:
    more = len(word) - MAX_WORD_BYTES
    return word[:MAX_WORD_BYTES] + b"... (%d more bytes)" % more if more > 0 else word
