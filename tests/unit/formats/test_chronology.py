"""How far moments reach into a segment: by time, by number, around links, damage, and a clock that was set back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvserver.formats.chronology import Reach, first_time, last_time, reach_of_record, reach_of_time, time_at
from kvserver.formats.frame import JOURNAL_MAGIC, encode_frame
from kvserver.formats.record import LONG_COMMAND_BYTES, encode_link, encode_loss, encode_records, pack
from kvserver.formats.segment import RecordInvalid, Steps, T
from kvserver.persistence.workplace import Here, drive, finish

LINK = encode_link("0" * 64, 5)


class Data:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


def run(begin: Callable[[int], Steps[T]], data: bytes) -> T:
    return finish(drive(begin(len(data)), Data(data), Here()))


def record(time_ms: int, value: bytes = b"v") -> bytes:
    return encode_records([pack([[b"SET", b"k", value]])], [time_ms])


def older(time_ms: int) -> bytes:
    """A record as older versions wrote it."""
    return encode_frame(b"#MS:%d\r\n" % time_ms + bytes(pack([[b"SET", b"k", b"v"]])), JOURNAL_MAGIC)


def reach(data: bytes, last_ms: int) -> Reach:
    return run(lambda size: reach_of_time(size, last_ms), data)


@pytest.mark.parametrize("make", [record, older])
def test_time_reaches_up_to_the_last_record_that_is_not_later(make: Callable[[int], bytes]) -> None:
    pieces = [make(time_ms) for time_ms in (10, 20, 20, 30)]
    data = b"".join(pieces)
    ends = [sum(map(len, pieces[:count])) for count in range(5)]
    assert reach(data, 9) == Reach(0, 0, 0, is_all=False, comes_back=False)
    assert reach(data, 10) == Reach(ends[1], 1, 10, is_all=False, comes_back=False)
    assert reach(data, 25) == Reach(ends[3], 3, 20, is_all=False, comes_back=False)
    assert reach(data, 30) == Reach(ends[4], 4, 30, is_all=True, comes_back=False)
    assert reach(data, 99) == Reach(ends[4], 4, 30, is_all=True, comes_back=False)


def test_link_counts_as_no_record_and_is_within_the_reach_before_it() -> None:
    data = record(10) + LINK + record(20)
    assert reach(data, 10) == Reach(len(record(10) + LINK), 1, 10, is_all=False, comes_back=False)
    assert reach(data, 20).records == 2
    assert reach(b"", 20) == Reach(0, 0, 0, is_all=True, comes_back=False)
    assert reach(LINK, 20) == Reach(len(LINK), 0, 0, is_all=True, comes_back=False)


def test_moment_within_a_loss_is_told_and_others_pass_it() -> None:
    loss = encode_loss(50)
    data = record(10) + record(20) + loss + record(60)
    before, behind = len(record(10) + record(20)), len(record(10) + record(20) + loss)
    assert reach(data, 19).lost_until_ms == 0
    for time_ms in (20, 49):
        assert reach(data, time_ms) == Reach(before, 2, 20, is_all=False, comes_back=False, lost_until_ms=50)
    assert reach(data, 50) == Reach(behind, 2, 20, is_all=False, comes_back=False)
    assert reach(data, 60) == Reach(len(data), 3, 60, is_all=True, comes_back=False)
    assert reach(loss, 49).lost_until_ms == reach(record(10) + loss, 10).lost_until_ms == 50
    for number, offset in ((2, behind), (3, len(data))):
        found = run(lambda size, number=number: reach_of_record(size, number), data)  # type: ignore[misc]
        assert (found.offset, found.records, found.lost_until_ms) == (offset if number == 3 else before, number, 0)


def test_clock_that_was_set_back_is_told_where_the_time_was_twice() -> None:
    data = b"".join(map(record, (10, 20, 5, 15, 30)))
    assert [reach(data, time_ms).comes_back for time_ms in (4, 5, 10, 15, 19, 20, 25, 30)] == [
        *(False, True, True, True, True),
        *(False, False, False),
    ]


def test_record_is_reached_by_its_number_whatever_its_time() -> None:
    pieces = [record(10), LINK, record(5), record(7)]
    data = b"".join(pieces)
    for number, offset in ((0, 0), (1, len(pieces[0] + LINK)), (2, len(b"".join(pieces[:3]))), (3, len(data)), (9, len(data))):
        found = run(lambda size, number=number: reach_of_record(size, number), data)  # type: ignore[misc]
        assert (found.offset, found.records, found.comes_back) == (offset, min(number, 3), False)


def test_torn_end_is_an_end_and_damage_is_told_unless_it_is_behind() -> None:
    data = record(10) + record(20)
    torn = data + record(30)[:-1]
    found = run(lambda size: reach_of_time(size, 99, may_be_torn=True), torn)
    assert found == Reach(len(data), 2, 20, is_all=True, comes_back=False)
    with pytest.raises(RecordInvalid, match="ends after"):
        reach(torn, 99)
    damaged = record(10) + record(20).replace(b"$1\r\nv", b"$1\r\nw") + record(30)
    with pytest.raises(RecordInvalid, match="checksum") as raised:
        reach(damaged, 99)
    assert raised.value.offset == len(record(10))
    assert reach(record(10) + record(50) + damaged, 20).offset == len(record(10))


def test_long_records_and_many_short_ones_are_passed() -> None:
    long = record(10, b"x" * 3 * LONG_COMMAND_BYTES)
    data = long + b"".join(record(20 + number) for number in range(5000)) + long
    found = reach(data, 20 + 2499)
    assert (found.records, found.time_ms) == (2501, 2519)
    assert found.comes_back
    assert found.offset == len(long) + 2500 * len(record(20)) + sum(len(record(20 + n)) - len(record(20)) for n in range(2500))


def test_first_and_last_time() -> None:
    data = b"".join(map(record, range(100, 1100)))
    assert (run(first_time, data), run(last_time, data)) == (100, 1099)
    assert (run(first_time, LINK + data), run(last_time, data + LINK)) == (5, 1099)
    assert run(last_time, data + encode_loss(1200)) == 1099
    assert run(last_time, data + encode_loss(1200) + record(1300) + record(1400)) == 1400
    assert run(last_time, data + record(2000, data[:500])) == 2000
    assert run(last_time, data + record(2000, b"it looks like " + LINK)) == 2000
    assert run(last_time, record(7, b"x" * 100_000)) == 7
    assert (run(first_time, older(3)), run(first_time, b""), run(first_time, b"junk"), run(last_time, b"")) == (
        3,
        None,
        None,
        None,
    )
    assert run(last_time, data + b"junk") is None
    assert run(lambda size: time_at(len(record(100)), size), data) == 101
