"""run_operations: a list of operations against a fresh store and medium, with their results. Never touches a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kvserver.formats.codec import JSON
from kvserver.library.store import KVStore


class PlainBuffer:
    """A medium in memory that is only ever appended to. In no other one a torn frame stays, and hides what comes after it."""

    def __init__(self) -> None:
        self._data = bytearray()

    def append(self, data: bytes) -> None:
        self._data += data

    def read_all(self) -> bytes:
        return bytes(self._data)


def run_operations(operations: Iterable[Sequence[JSON]], medium: PlainBuffer | None = None) -> list[JSON]:
    """Run `("set", key, value)`, `("get", key)`, `("shutdown",)`, `("restore",)` and `("crash",)`, as tuples or lists.

    Return one result each: None for set and crash, the value or None for get, True for shutdown, True or False for restore.
    `crash` appends the first half of the present frame. ValueError names an operation that is none of these. A caller who
    wants to see what was written passes a `medium`.

    >>> run_operations([("set", "a", [1]), ("shutdown",), ("set", "a", 2), ("restore",), ("get", "a")])
    [None, True, None, True, [1]]
    """
    medium = PlainBuffer() if medium is None else medium
    store = KVStore(medium)
    results: list[JSON] = []
    for operation in operations:
        match list(operation):
            case ["set", key, value]:
                store.set(key, value)
                results.append(None)
            case ["get", key]:
                results.append(store.get(key))
            case ["shutdown"]:
                results.append(store.shutdown())
            case ["restore"]:
                results.append(store.restore())
            case ["crash"]:
                frame = store.frame()
                medium.append(frame[: len(frame) // 2])
                results.append(None)
            case _:
                raise ValueError(f"unknown operation: {operation!r}")
    return results
