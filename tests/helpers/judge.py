"""A judge over all that the clients of some nodes are told.

- What was acknowledged is in the log that the last reader finds, behind exactly what its writer had before it.
- A reply shows all that was acknowledged, or shown to anybody, before its command was sent.
- No node answers any more once one of a later epoch has.
"""

from __future__ import annotations

from collections import Counter

from helpers.virtual_time import Hub
from kvserver.media.shared import Tip


class Judge:
    """Hears each reply that a client gets."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.counts: Counter[str] = Counter()
        self.broken: dict[str, str] = {}
        # The number of the last entry that a reply has shown, and the latest epoch of those who gave one.
        self.shown = self.epoch = 0
        # The digests of all states that replies have shown, by the number of the last entry.
        self.states: dict[int, str] = {}

    def hear(self, command: str, node: str, epoch: int, tip: Tip, shown_before: int) -> None:
        """A client got a reply of this node, which leads in this epoch. It shows the state behind `tip`.

        When the client sent the command, the entries up to the number `shown_before` had been shown to anybody.
        """
        self.counts[command] += 1
        if tip.number < shown_before:
            self.blame("stale", f"{node} answers a {command} with {tip.number}, and {shown_before} was shown before")
        if epoch < self.epoch:
            self.blame("two leaders", f"{node} answers a {command} behind one of the epoch {self.epoch}")
        if self.states.setdefault(tip.number, tip.digest) != tip.digest:
            self.blame("two histories", f"{node} answers a {command} with another entry {tip.number} than was shown before")
        self.shown = max(self.shown, tip.number)
        self.epoch = max(self.epoch, epoch)

    def blame(self, kind: str, text: str) -> None:
        self.broken.setdefault(kind, f"at {self.hub.now:.3f}: {text}")

    def close(self, path: dict[int, str]) -> None:
        """Compare with the log that a reader finds at the end: the digests behind its entries, by their numbers."""
        lost = [number for number, digest in self.states.items() if path.get(number) != digest]
        if lost:
            self.blame("lost", f"{len(lost)} states that clients were told of are not in the log, first {min(lost)}")
