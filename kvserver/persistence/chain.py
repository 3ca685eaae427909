"""The segments of a journal that belong together: what a start replays, from which snapshot on, and what it must not touch.

Pure: a chain is made from what the scans of the segments found. It never decides what becomes of the files.
"""

from __future__ import annotations

from kvserver.formats.scan import Tail
from kvserver.formats.segment import SegmentScan


class Chain:
    """The segments from the last link on, up to the first that is missing or ends early."""

    def __init__(self, scans: dict[int, SegmentScan]) -> None:
        self.scans = scans
        numbers = sorted(scans)
        linked = [number for number in numbers if scans[number].links]
        self.is_linked = bool(linked)
        self.digest = scans[linked[-1]].links[-1].digest if linked else ""
        self.links = {link.digest for scan in scans.values() for link in scan.links}
        self.superfluous = [number for number in numbers if linked and number < linked[-1]]
        # The numbers of the segments that a start replays, in order.
        self.replayed: list[int] = []
        # Those behind the end of the chain, which no start may replay.
        self.behind: list[int] = []
        # Those whose snapshot is nowhere.
        self.unlinked: list[int] = []
        self.reason = "" if linked else "no segment is linked to a snapshot (the journal was being switched on)"
        for number in numbers if linked else []:
            if number < linked[-1]:
                continue
            if self.replayed and not self.reason and number != self.replayed[-1] + 1:
                self.reason = f"segment {self.replayed[-1] + 1} is missing"
            if self.reason:
                self.behind.append(number)
                continue
            self.replayed.append(number)
            if scans[number].tail is not Tail.NONE:
                self.reason = f"segment {number} ends at offset {scans[number].valid_length}: {scans[number].reason}"
        if not linked:
            self.behind = numbers

    def lose_base(self) -> None:
        """Replay nothing, since the snapshot that the last link names is nowhere: on another one the records mean nothing."""
        self.unlinked = sorted(self.scans)
        self.superfluous, self.replayed, self.behind, self.reason = [], [], [], ""

    def stop(self, number: int, offset: int, reason: str) -> None:
        """End the chain in this segment at this offset (bytes), where the replay met what it can't run."""
        scan = self.scans[number]
        scan.valid_length, scan.tail, scan.reason = offset, Tail.DAMAGED, reason
        position = self.replayed.index(number) + 1
        self.behind = [*self.replayed[position:], *self.behind]
        del self.replayed[position:]
        self.reason = f"segment {number} ends at offset {offset}: {reason}"

    @property
    def lost_something(self) -> bool:
        """True if there are bytes behind the end of the replay that may have been records."""
        is_damaged = any(self.scans[number].tail is Tail.DAMAGED for number in self.replayed)
        return is_damaged or any(self.scans[number].size for number in self.behind)
