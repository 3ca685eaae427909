"""What waits for the disk: its order, its bytes, and what stays of it behind a failure."""

from __future__ import annotations

import asyncio

import pytest

from kvserver.errors import MediumError
from kvserver.formats.record import LONG_COMMAND_BYTES, SHORT_RECORD_BYTES, encode_records, pack
from kvserver.persistence.backlog import Backlog, Long, Order, Ticks

SHARED = [[b"SET", b"k", b"x" * (LONG_COMMAND_BYTES + 1)]]


def order(*, heals: bool = False) -> Order:
    return Order(lambda: None, asyncio.get_running_loop().create_future(), heals=heals)


def test_ticks_in_a_row_are_one_piece_but_for_long_ones() -> None:
    backlog = Backlog()
    assert not backlog
    long = pack(SHARED)
    for tick in (b"one", b"two", Long(pack([[b"DEL", b"k"]]), 5), Long(long, 6), b"three", b"four"):
        backlog.add(tick, 2)
    assert backlog
    batch = backlog.take()
    assert not backlog
    assert (batch.clients, batch.shared_bytes) == (12, len(long))
    (ticks,) = batch.items
    assert isinstance(ticks, Ticks)
    pieces = ticks.encode()
    assert b"".join(pieces) == b"onetwo" + encode_records([pack([[b"DEL", b"k"]]), long], [5, 6]) + b"threefour"
    assert any(piece is SHARED[0][2] for piece in pieces), "a long value is not copied"
    assert pieces[-1] == b"threefour"


async def test_short_records_are_taken_where_they_are_all_there_is() -> None:
    backlog = Backlog()
    assert backlog.take_short() is None
    for tick in (b"one", Long(pack([[b"DEL", b"k"]]), 5), b"two"):
        backlog.add(tick, 2)
    assert backlog.take_short() == (b"one" + encode_records([pack([[b"DEL", b"k"]])], [5]) + b"two", 6)
    assert (bool(backlog), backlog.clients, backlog.byte_count) == (False, 0, 0)
    backlog.add(bytes(SHORT_RECORD_BYTES), 1)
    backlog.add(b"x", 1)
    assert backlog.take_short() is None, "together they are long"
    backlog.take()
    backlog.add_rest(b"rest")
    assert backlog.take_short() is None
    backlog.take()
    backlog.add(b"one", 1)
    backlog.add_order(order())
    assert backlog.take_short() is None
    assert len(backlog.take().items) == 2


def test_bytes_are_counted_and_taken() -> None:
    backlog = Backlog()
    long = pack(SHARED)
    backlog.add(b"tick", 1)
    backlog.add_rest(b"rest")
    backlog.add(Long(pack([[b"DEL", b"k"]]), 5), 1)
    backlog.add(Long(long, 6), 1)
    total = len(b"tickrest") + len(pack([[b"DEL", b"k"]])) + len(long)
    assert backlog.byte_count == total
    assert backlog.shared_bytes == len(long)
    batch = backlog.take()
    assert [type(item) for item in batch.items] == [Ticks, bytes, Ticks]
    assert (batch.byte_count, backlog.byte_count, backlog.shared_bytes, backlog.clients) == (
        total,
        0,
        0,
        0,
    )


async def test_order_stands_between_what_came_before_and_after_it() -> None:
    backlog = Backlog()
    backlog.add(b"before", 1)
    assert not backlog.has_orders
    between = order()
    backlog.add_order(between)
    backlog.add(b"after", 1)
    assert backlog.has_orders
    before, found, after = backlog.take().items
    assert isinstance(before, Ticks)
    assert isinstance(after, Ticks)
    assert (before.encode(), found, after.encode()) == ([b"before"], between, [b"after"])


async def test_failure_drops_records_and_no_orders() -> None:
    backlog = Backlog()
    orders = [order(), order()]
    backlog.add_order(orders[0])
    backlog.add(b"tick", 1)
    backlog.add_rest(b"rest")
    backlog.add_order(orders[1])
    backlog.add(b"tick", 1)
    assert backlog.fail() == (0, False)
    assert (list(backlog.take().items), backlog.byte_count) == (orders, 0)


async def test_failure_keeps_what_is_behind_the_cut_that_heals() -> None:
    backlog = Backlog()
    first, cut = order(), order(heals=True)
    backlog.add(b"dropped", 1)
    backlog.add_order(first)
    backlog.add_order(cut)
    backlog.add(b"kept", 1)
    backlog.add(Long(pack(SHARED), 1), 1)
    assert backlog.fail() == (2, True)
    assert (backlog.byte_count, backlog.shared_bytes) == (len(b"kept") + len(pack(SHARED)), len(pack(SHARED)))
    batch = backlog.take()
    assert list(batch.items)[:2] == [first, cut]
    assert [type(item) for item in batch.items] == [Order, Order, Ticks]


async def test_order_gives_its_result_or_its_error_to_those_who_wait() -> None:
    done, failed, left = order(), order(), order()
    done.settle()
    failed.error = MediumError("full")
    failed.settle()
    left.done.cancel()
    left.settle()
    await done.done
    with pytest.raises(MediumError, match="full"):
        await failed.done
