"""The entries of a shared log as what they mean: each is proven by the one before, and records are put together.

A record may span entries: it counts when its last byte is there, and a node that begins to lead drops what another one has
left unfinished. At a break in the log this stops loudly, whatever the engine did. Nothing is run here, nor read.
"""

from __future__ import annotations

from typing import NamedTuple

from kvserver.errors import ChainBroken
from kvserver.formats.control import Control, Lead, Relink, Yield, decode_control, is_control
from kvserver.formats.frame import RECORD_HEADER_SIZE, decode_record_header
from kvserver.formats.scan import Tail
from kvserver.formats.segment import SegmentScan
from kvserver.media.shared import Entry, Tip


class Whole(NamedTuple):
    """Bytes that begin with a record, and may hold the ends of some: whoever has scanned them says so by `Entries.keep`."""

    data: bytes


class Entries:
    """The reading of a log behind `tip`.

    - `epoch` is that of the node that leads by the log, and `lead` what it said of itself; None: that stood before.
    - `lease_ms` is the lease of that node in milliseconds, at first as the manifest has it; 0: nobody has led.
    - `has_yielded`: that node has said that it writes nothing more.
    - `rest_bytes` is the length of what there is of a record whose end has not come.
    """

    def __init__(self, tip: Tip, lease_ms: int = 0) -> None:
        self.tip = tip
        self.lease_ms = lease_ms
        self.epoch = tip.position.epoch
        self.lead: Lead | None = None
        self.has_yielded = False
        self._rest: list[bytes] = []
        self.rest_bytes = 0
        # The length from which on the rest may have the end of a record.
        self._needed_bytes = 0
        # The number of the entry whose data was added last, if `keep` has not come to it.
        self._added = 0

    def take(self, entry: Entry) -> Whole | Control | None:
        """What an entry says: something to scan and run, or to obey; None if there is nothing to do yet.

        ChainBroken if it does not stand right behind `tip`, or says what can't be. `passed` goes beyond it. One that was not
        passed may be taken again.
        """
        mark, data = entry.mark, entry.data
        if (mark.number, mark.digest) != (self.tip.number + 1, self.tip.digest) or mark.epoch < self.epoch:
            raise ChainBroken(
                f"behind the entry {self.tip.number} (epoch {self.epoch}) stands one that was written as the entry "
                f"{mark.number} (epoch {mark.epoch}), or behind another one"
            )
        if self._added == mark.number:
            self.rest_bytes -= len(self._rest.pop())
            self._added = 0
        if mark.epoch > self.epoch or (is_control(data) and not self._rest):
            control = self._obey(entry)
            # A node that died has left it: it does not count.
            self._drop_rest()
            return control
        if not data:
            return None
        self._added = mark.number
        self._rest.append(data)
        self.rest_bytes += len(data)
        if self.rest_bytes < self._needed_bytes:
            return None
        return Whole(self._rest[0] if len(self._rest) == 1 else b"".join(self._rest))

    def _obey(self, entry: Entry) -> Control:
        mark = entry.mark
        try:
            control = decode_control(entry.data)
        except ValueError as error:
            raise ChainBroken(f"the entry {mark.number} begins the epoch {mark.epoch}, or should: {error}") from None
        match control:
            case Lead(epoch) if epoch == mark.epoch > self.epoch:
                self.epoch, self.lead, self.has_yielded, self.lease_ms = epoch, control, False, control.lease_ms
            case Yield(epoch) if epoch == mark.epoch == self.epoch:
                self.has_yielded = True
            case Relink() if mark.epoch == self.epoch:
                pass
            case _:
                raise ChainBroken(f"the entry {mark.number} of the epoch {mark.epoch} says {control}")
        return control

    def keep(self, whole: Whole, scan: SegmentScan) -> None:
        """Keep what is behind the valid records that a scan has found. ChainBroken if that is no beginning of a record."""
        if scan.tail is Tail.DAMAGED:
            raise ChainBroken(f"the entry {self.tip.number + 1} holds what is no record: {scan.reason}")
        self._drop_rest()
        if rest := whole.data[scan.valid_length :]:
            header = decode_record_header(rest[:RECORD_HEADER_SIZE])
            self._rest, self.rest_bytes = [rest], len(rest)
            self._needed_bytes = RECORD_HEADER_SIZE + (header.payload_length if header else 0)

    def passed(self, entry: Entry) -> None:
        """Go beyond an entry: what it says is done."""
        self.tip = self.tip.behind(entry.position, entry.mark, entry.data)

    def _drop_rest(self) -> None:
        self._rest, self.rest_bytes, self._needed_bytes, self._added = [], 0, 0, 0
