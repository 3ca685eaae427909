"""The table of who may hold which keys (CLIENT TRACKING), by the ids of clients. Pure.

It knows no client: ids of those that are gone, or don't track any more, stay until the key is written, or `keep` drops them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver._speedups.places import keys_between

# A step frees so many keys, or looks up so many that may be forgotten next.
KEYS_A_STEP: Final = 512


class Readers:
    """Keys, each with the ids of those who may hold it.

    - `item_count` is the number of pairs of a key and a client that may hold it.
    """

    def __init__(self) -> None:
        self.item_count = 0
        # Measured: a set takes 216 bytes, and most keys have one reader.
        self._by_key: dict[bytes, int | set[int]] = {}
        # Keys that may be forgotten next, the oldest last.
        self._oldest: list[bytes] = []
        # Tables that nobody needs any more, which are freed in steps.
        self._unused: list[dict[bytes, int | set[int]]] = []

    def __len__(self) -> int:
        """The number of keys."""
        return len(self._by_key)

    def add(self, key: bytes, number: int) -> int:
        """Note that a client may hold a key. Return the number of those who may."""
        known = self._by_key.get(key)
        if known is None:
            self._by_key[key] = number
        elif type(known) is set:
            if number in known:
                return len(known)
            known.add(number)
        elif known == number:
            return 1
        else:
            self._by_key[key] = {known, number}  # type: ignore[arg-type]
        self.item_count += 1
        return len(known) if type(known) is set else 1 if known is None else 2

    def keep(self, key: bytes, is_there: Callable[[int], bool]) -> None:
        """Keep of a key that has several readers those who are there: one that is never written would have more and more."""
        known = self._by_key[key]
        assert type(known) is set
        there = {number for number in known if is_there(number)}
        self.item_count -= len(known) - len(there)
        self._by_key[key] = there

    def pop(self, key: bytes) -> list[int]:
        """Forget a key. Return the ids of those who may hold it, in order."""
        known = self._by_key.pop(key, None)
        if known is None:
            return []
        numbers = sorted(known) if type(known) is set else [known]
        self.item_count -= len(numbers)
        return numbers  # type: ignore[return-value]

    def next_to_forget(self) -> bytes:
        """The key that was first read, as far as is known, so that another call gives another one. There has to be one."""
        key = None
        while key not in self._by_key:
            if not self._oldest:
                self._oldest = keys_between(self._by_key, 0, KEYS_A_STEP)[::-1]
            key = self._oldest.pop()
        return key

    def clear(self) -> None:
        """Forget all keys. The memory that they take is freed by `free`."""
        if self._by_key:
            self._unused.append(self._by_key)
        self._by_key, self.item_count, self._oldest = {}, 0, []

    def free(self) -> bool:
        """Free a step of what was forgotten at once. True if there was something."""
        if not self._unused:
            return False
        table = self._unused[-1]
        for _ in range(min(KEYS_A_STEP, len(table))):
            table.popitem()
        if not table:
            self._unused.pop()
        return True
