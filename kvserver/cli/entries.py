"""The entries of a shared log as bytes of a journal: proven one by one, for those who look at a log or take it home.

Nothing is run, and nothing is written to the log. A record may span entries: it counts when its last byte is there, and a node
that begins to lead drops what another one has left unfinished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kvserver.errors import ChainBroken
from kvserver.formats.control import Control, Lead, Relink, Yield, decode_control, is_control
from kvserver.formats.frame import RECORD_HEADER_SIZE, decode_record_header
from kvserver.formats.scan import Tail
from kvserver.formats.segment import RecordInvalid, Records, Steps, T, read_records, scan_segment
from kvserver.media.shared import Entry, Tip
from kvserver.persistence.workplace import Here, drive, finish


class Entries:
    """What stands in a log behind `tip`, in the epoch `epoch`.

    - `take` gets whole records in order, as bytes and their count. `tell` gets what nodes have said, and the entry's number.
    - `entries`, `records`, `commands` and `record_bytes` count what there was, and `beats` the entries without data.
    """

    def __init__(
        self,
        tip: Tip,
        epoch: int,
        take: Callable[[bytes, int], None] = lambda data, records: None,
        tell: Callable[[Control, int], None] = lambda control, number: None,
    ) -> None:
        self.tip = tip
        self.epoch = epoch
        self.entries = self.beats = self.records = self.commands = self.record_bytes = 0
        self._take = take
        self._tell = tell
        # The beginning of a record whose end has not come, and the length from which on it may be whole.
        self._rest: list[bytes] = []
        self.rest_bytes = 0
        self._needed_bytes = 0

    def follow(self, entries: Sequence[Entry]) -> None:
        """Take entries that stand right behind `tip`. ChainBroken if they don't, or hold what is no record."""
        for entry in entries:
            self._prove(entry)
            mark, data = entry.mark, entry.data
            if mark.epoch > self.epoch or (is_control(data) and not self._rest):
                self._drop_rest()
                self._obey(entry)
            elif data:
                self._add(data, mark.number)
            else:
                self.beats += 1
            self.entries += 1
            self.tip = self.tip.behind(entry.position, mark, data)

    def _prove(self, entry: Entry) -> None:
        mark = entry.mark
        if (mark.number, mark.digest) != (self.tip.number + 1, self.tip.digest) or mark.epoch < self.epoch:
            raise ChainBroken(
                f"behind the entry {self.tip.number} (epoch {self.epoch}) stands one that was written as the entry "
                f"{mark.number} (epoch {mark.epoch}), or behind another one"
            )

    def _obey(self, entry: Entry) -> None:
        number = entry.mark.number
        try:
            control = decode_control(entry.data)
        except ValueError as error:
            raise ChainBroken(f"the entry {number} begins the epoch {entry.mark.epoch}, or should: {error}") from None
        match control:
            case Lead(epoch) if epoch == entry.mark.epoch > self.epoch:
                self.epoch = epoch
            case Yield(epoch) if epoch == entry.mark.epoch == self.epoch:
                pass
            case Relink() if entry.mark.epoch == self.epoch:
                pass
            case _:
                raise ChainBroken(f"the entry {number} of the epoch {entry.mark.epoch} says {control}")
        self._tell(control, number)

    def _add(self, data: bytes, number: int) -> None:
        """Take the records that are whole with this data."""
        self._rest.append(data)
        self.rest_bytes += len(data)
        if self.rest_bytes < self._needed_bytes:
            return
        whole = b"".join(self._rest)
        scan = _run(scan_segment(len(whole)), whole)
        if scan.tail is Tail.DAMAGED:
            raise ChainBroken(f"the entry {number} holds what is no record: {scan.reason}")
        try:
            _run(read_records(scan.valid_length, self._count), whole)
        except RecordInvalid as invalid:
            raise ChainBroken(f"the entry {number} holds what is no record: {invalid}") from None
        if scan.valid_length:
            self._take(whole[: scan.valid_length], scan.records)
        self.records += scan.records
        self.record_bytes += scan.valid_length
        self._drop_rest()
        if rest := whole[scan.valid_length :]:
            header = decode_record_header(rest[:RECORD_HEADER_SIZE])
            self._rest, self.rest_bytes = [rest], len(rest)
            self._needed_bytes = RECORD_HEADER_SIZE + (header.payload_length if header else 0)

    def _count(self, records: Records) -> tuple[()]:
        self.commands += len(records.commands)
        return ()

    def _drop_rest(self) -> None:
        self._rest, self.rest_bytes, self._needed_bytes = [], 0, 0


def _run(steps: Steps[T], data: bytes) -> T:
    return finish(drive(steps, _Bytes(data), Here()))


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]
