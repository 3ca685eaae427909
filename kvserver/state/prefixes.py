"""The prefixes of keys that clients are told of (CLIENT TRACKING BCAST), and such keys that were written. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

Listener = TypeVar("Listener")


class Prefixes(Generic[Listener]):
    """Prefixes, each with the clients that are told of keys that have it, and with what was written since it was taken."""

    def __init__(self) -> None:
        # The clients by prefix, by its length: a key is looked up once for each length, however many prefixes there are.
        self._clients: dict[int, dict[bytes, dict[Listener, None]]] = {}
        # By prefix, the keys and who wrote each, if that client may not want to know.
        self._written: dict[bytes, dict[bytes, Listener | None]] = {}

    def __len__(self) -> int:
        """The number of prefixes."""
        return sum(map(len, self._clients.values()))

    def add(self, prefix: bytes, client: Listener) -> None:
        """Have a client told of keys with a prefix."""
        self._clients.setdefault(len(prefix), {}).setdefault(prefix, {})[client] = None

    def remove(self, prefix: bytes, client: Listener) -> None:
        """Let a client be told no more. It has to be told now."""
        same_length = self._clients[len(prefix)]
        del same_length[prefix][client]
        if same_length[prefix]:
            return
        del same_length[prefix]
        self._written.pop(prefix, None)
        if not same_length:
            del self._clients[len(prefix)]

    def note(self, key: bytes, writer: Listener | None) -> None:
        """Note that a key was written. The writer may not want to know."""
        for length, prefixes in self._clients.items():
            prefix = key[:length]
            if prefix in prefixes:
                self._written.setdefault(prefix, {})[key] = writer

    @property
    def has_news(self) -> bool:
        """True if a key was written that somebody is told of."""
        return bool(self._written)

    def take(self) -> list[tuple[list[Listener], list[tuple[bytes, Listener | None]]]]:
        """What was written: the clients of each prefix, and the keys with their writers, all in the order of the names."""
        written, self._written = self._written, {}
        return [
            (list(self._clients[len(prefix)][prefix]), sorted(written[prefix].items(), key=lambda each: each[0]))
            for prefix in sorted(written)
        ]
