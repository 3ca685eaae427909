"""The entries of a shared log, proven and put together without being run."""

from __future__ import annotations

import pytest

from kvserver.errors import ChainBroken
from kvserver.failover.entries import Entries, Whole
from kvserver.formats.control import Lead, Yield, encode_lead, encode_yield
from kvserver.formats.manifest import Position
from kvserver.formats.record import encode_tick
from kvserver.formats.scan import Tail
from kvserver.formats.segment import SegmentScan
from kvserver.media.shared import Entry, Mark, Tip

RECORD = encode_tick([[b"SET", b"a", b"1"]], 5) or b""
LEAD = Lead(1, "id", "host", 1, 3000)


def entry_behind(tip: Tip, data: bytes, epoch: int = 1) -> Entry:
    return Entry(Position(epoch, tip.number + 1), tip.mark(epoch), data)


def led() -> Entries:
    entries = Entries(Tip())
    entry = entry_behind(Tip(), encode_lead(LEAD))
    assert entries.take(entry) == LEAD
    entries.passed(entry)
    return entries


def test_entries_are_told_apart() -> None:
    entries = led()
    assert (entries.epoch, entries.lead, entries.has_yielded) == (1, LEAD, False)
    assert entries.lease_ms == 3000
    heartbeat = entry_behind(entries.tip, b"")
    assert entries.take(heartbeat) is None
    entries.passed(heartbeat)
    assert entries.take(entry_behind(entries.tip, RECORD)) == Whole(RECORD)
    entries = led()
    assert entries.take(entry_behind(entries.tip, encode_yield(1))) == Yield(1)
    assert entries.has_yielded


def test_record_is_put_together_when_its_end_may_be_there() -> None:
    entries = led()
    half = entry_behind(entries.tip, RECORD[:30])
    assert entries.take(half) == Whole(RECORD[:30])
    torn = SegmentScan(30)
    torn.tail = Tail.TORN
    entries.keep(Whole(RECORD[:30]), torn)
    entries.passed(half)
    assert entries.rest_bytes == 30
    more = entry_behind(entries.tip, RECORD[30:35])
    assert entries.take(more) is None
    entries.passed(more)
    assert entries.take(entry_behind(entries.tip, RECORD[35:])) == Whole(RECORD)


def test_place_is_that_of_the_tip() -> None:
    tip = Tip(Position(3, 9), 7, "ab")
    assert Entries(tip).epoch == 3
    assert Entries(tip, 50).lease_ms == 50
    with pytest.raises(ChainBroken, match="behind the entry 7"):
        Entries(tip).take(Entry(Position(3, 10), Mark(3, 8, "cd"), b""))
    with pytest.raises(ChainBroken):
        Entries(tip).take(Entry(Position(3, 10), Mark(2, 8, "ab"), b""))


def test_damaged_rest_is_a_break() -> None:
    scan = SegmentScan(3)
    scan.tail, scan.reason = Tail.DAMAGED, "these bytes begin no frame"
    with pytest.raises(ChainBroken, match="begin no frame"):
        led().keep(Whole(b"abc"), scan)
