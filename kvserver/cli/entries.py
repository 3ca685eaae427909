"""The records of a shared log as bytes of a journal, for those who look at a log or take it home.

Nothing is run, and nothing is written to the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kvserver.errors import ChainBroken
from kvserver.failover.entries import Entries, Whole
from kvserver.formats.control import Control
from kvserver.formats.segment import RecordInvalid, Records, Steps, T, read_records, scan_segment
from kvserver.media.shared import Entry, Tip
from kvserver.persistence.workplace import Here, drive, finish


class Taken:
    """What stands in a log behind `tip`.

    - `take` gets whole records in order, as bytes and their count. `tell` gets what nodes have said, and the entry's number.
    - `count`, `records`, `commands` and `record_bytes` count what there was, and `beats` the entries without data.
    """

    def __init__(
        self,
        tip: Tip,
        take: Callable[[bytes, int], None] = lambda data, records: None,
        tell: Callable[[Control, int], None] = lambda control, number: None,
    ) -> None:
        self.count = self.beats = self.records = self.commands = self.record_bytes = 0
        self._take = take
        self._tell = tell
        self._entries = Entries(tip)

    @property
    def tip(self) -> Tip:
        """The end of what was taken."""
        return self._entries.tip

    @property
    def rest_bytes(self) -> int:
        """The length of what there is of a record whose end is not there."""
        return self._entries.rest_bytes

    def follow(self, entries: Sequence[Entry]) -> None:
        """Take entries that stand right behind `tip`. ChainBroken if they don't, or hold what is no record."""
        for entry in entries:
            match self._entries.take(entry):
                case Whole() as whole:
                    self._add(whole, entry.mark.number)
                case None:
                    self.beats += not entry.data
                case control:
                    self._tell(control, entry.mark.number)
            self.count += 1
            self._entries.passed(entry)

    def _add(self, whole: Whole, number: int) -> None:
        """Take the records that are whole."""
        scan = _run(scan_segment(len(whole.data)), whole.data)
        self._entries.keep(whole, scan)
        try:
            _run(read_records(scan.valid_length, self._count), whole.data)
        except RecordInvalid as invalid:
            raise ChainBroken(f"the entry {number} holds what is no record: {invalid}") from None
        if scan.valid_length:
            self._take(whole.data[: scan.valid_length], scan.records)
        self.records += scan.records
        self.record_bytes += scan.valid_length

    def _count(self, records: Records) -> tuple[()]:
        self.commands += len(records.commands)
        return ()


def _run(steps: Steps[T], data: bytes) -> T:
    return finish(drive(steps, _Bytes(data), Here()))


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]
