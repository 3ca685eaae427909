"""The entries of a shared log as records: what counts, what does not, and each way in which a chain may be broken."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from helpers.shared_logs import Writer, record
from kvserver.cli.entries import Taken
from kvserver.errors import ChainBroken
from kvserver.formats.control import Control, Lead, Relink, Yield
from kvserver.formats.record import EMPTY_STORE
from kvserver.media.shared import Entry, Tip

SEED = int(os.environ.get("KVSERVER_ENTRIES_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


class Reading:
    def __init__(self) -> None:
        self.data = b""
        self.said: list[tuple[Control, int]] = []
        self.entries = Taken(Tip(), self._take, lambda control, number: self.said.append((control, number)))
        self.records = 0

    def _take(self, data: bytes, records: int) -> None:
        self.data += data
        self.records += records


def read(writer: Writer) -> Reading:
    reading = Reading()
    while found := writer.log.read(reading.entries.tip.position, 0):
        reading.entries.follow(found)
    return reading


@pytest.fixture
def writer() -> Writer:
    writer = Writer()
    writer.lead()
    return writer


def test_records_come_in_order_and_are_counted(writer: Writer) -> None:
    writer.write("SET a 1")
    writer.append(b"")
    writer.write("SET b 2", "SET c 3")
    writer.cease()
    reading = read(writer)
    entries = reading.entries
    assert reading.data == record("SET a 1") + record("SET b 2", "SET c 3")
    assert (entries.count, entries.beats, entries.records, entries.commands) == (5, 1, 2, 3)
    assert (reading.records, entries.record_bytes, entries.rest_bytes) == (2, len(reading.data), 0)
    assert reading.said == [(Lead(1, "node1", "10.0.0.1", 6379, 3000), 1), (Yield(1), 5)]
    assert entries.tip == writer.tip


def test_record_that_is_cut_anywhere_counts_once_its_end_is_there(writer: Writer) -> None:
    rng = random.Random(SEED)
    records = [
        record(*(f"SET key:{rng.randrange(99)} {'x' * rng.choice([1, 50, 5000])}",) * rng.choice([1, 3])) for _ in range(60)
    ]
    rest = b"".join(records)
    while rest:
        length = rng.choice([1, 7, 30, 1000, 20_000])
        writer.append(rest[:length])
        rest = rest[length:]
        if rng.random() < 0.1:
            writer.append(b"")
    reading = read(writer)
    assert reading.data == b"".join(records), f"KVSERVER_ENTRIES_SEED={SEED}"
    assert reading.records == 60


@pytest.mark.parametrize("length", [1, 3, 23, 24, 25, 60])
def test_short_record_whose_beginning_came_alone_counts_at_its_end(writer: Writer, length: int) -> None:
    whole = record("SET a 1")
    writer.append(whole[:length])
    writer.append(whole[length:])
    reading = read(writer)
    assert (reading.data, reading.entries.rest_bytes) == (whole, 0)


def test_unfinished_record_is_left_out_at_the_end_and_dropped_by_who_leads_next(writer: Writer) -> None:
    writer.write("SET a 1")
    writer.append(record("SET lost 1")[:-3])
    reading = read(writer)
    assert reading.data == record("SET a 1")
    assert reading.entries.rest_bytes == len(record("SET lost 1")) - 3
    writer.lead()
    writer.write("SET b 2")
    reading = read(writer)
    assert reading.data == record("SET a 1") + record("SET b 2")
    assert reading.entries.rest_bytes == 0
    assert reading.entries._entries.epoch == 2


def test_whoever_reads_hears_that_the_data_is_another_one(writer: Writer) -> None:
    number = writer.relink(EMPTY_STORE)
    assert read(writer).said[-1] == (Relink(EMPTY_STORE), number)


def missing(entries: list[Entry]) -> None:
    del entries[1]


def twice(entries: list[Entry]) -> None:
    entries.insert(1, entries[1])


def exchanged(entries: list[Entry]) -> None:
    entries[1] = entries[1]._replace(data=record("SET a 2"))


def earlier_epoch(entries: list[Entry]) -> None:
    entries[2] = entries[2]._replace(mark=entries[2].mark._replace(epoch=0))


def other_digest(entries: list[Entry]) -> None:
    entries[2] = entries[2]._replace(mark=entries[2].mark._replace(digest="0" * 32))


@pytest.mark.parametrize("damage", [missing, twice, exchanged, earlier_epoch, other_digest], ids=lambda each: each.__name__)
def test_chain_that_is_broken_is_told(writer: Writer, damage: Callable[[list[Entry]], None]) -> None:
    writer.write("SET a 1")
    writer.write("SET b 1")
    entries = writer.log.read(Tip().position, 0)
    damage(entries)
    with pytest.raises(ChainBroken, match=r"^behind the entry "):
        Reading().entries.follow(entries)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no record at all" * 10, "holds what is no record: these bytes begin no frame"),
        (record("SET a 1")[:-1] + b"!", "holds what is no record: the checksum does not match"),
        (b"KVJ1" + b"x" * 100, "its header is not that of a control frame"),
    ],
    ids=["garbage", "checksum", "control"],
)
def test_entry_that_holds_no_record_is_told(writer: Writer, data: bytes, reason: str) -> None:
    writer.append(data)
    with pytest.raises(ChainBroken, match=f"^the entry 2 .*{reason}"):
        read(writer)


def test_epoch_begins_with_the_word_of_who_leads(writer: Writer) -> None:
    writer.epoch = 2
    writer.write("SET a 1")
    with pytest.raises(ChainBroken, match=r"^the entry 2 begins the epoch 2, or should"):
        read(writer)


def test_word_of_another_epoch_is_none(writer: Writer) -> None:
    writer.epoch = 7
    writer.cease()
    with pytest.raises(ChainBroken, match=r"^the entry 2 of the epoch 7 says Yield"):
        read(writer)
