"""Times that count from now become times, and nothing else is touched."""

from __future__ import annotations

import pytest

from kvserver.following.translation import translate

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("SET k v EX 10", "SET k v PXAT 1700000010000"),
        ("set k v nx px 10 get", "set k v nx PXAT 1700000000010 get"),
        ("SETEX k 10 v", "SET k v PXAT 1700000010000"),
        ("psetex k 10 v", "SET k v PXAT 1700000000010"),
        ("EXPIRE k 10 NX", "PEXPIREAT k 1700000010000 NX"),
        ("EXPIRE k -10", "PEXPIREAT k 1699999990000"),
        ("pexpire k 10", "PEXPIREAT k 1700000000010"),
        ("RESTORE k 10 x REPLACE", "RESTORE k 1700000000010 x REPLACE ABSTTL"),
        ("XCLAIM k g c 0 1-1 TIME 5 RETRYCOUNT 1", "XCLAIM k g c 0 1-1 TIME 5 RETRYCOUNT 1 AT 1700000000000"),
        ("XCLAIM k g c 0 1-1 TIME 1700000000007", "XCLAIM k g c 0 1-1 TIME 1700000000007 AT 1700000000007"),
    ],
)
def test_time_from_now_becomes_a_time(words: str, wanted: str) -> None:
    assert translate([words.encode().split()], NOW_MS) == [wanted.encode().split()]


@pytest.mark.parametrize(
    "words",
    [
        *("SET k v", "SET EX EX", "SET k EX PXAT 10", "SET k v EX x", "SET k v EX", "SET k v PXAT 10", "SET k v EX 1_0"),
        *("PEXPIREAT k 10", "EXPIRE k x", "EXPIRE k", "SETEX k x v", "SETEX k 10", "EXPIRE k " + "9" * 30),
        *("RESTORE k 0 x", "RESTORE k 10 x ABSTTL", "RESTORE k", "XGROUP CREATE k g 0", "GET k", "XADD k * f v"),
    ],
)
def test_all_else_stays_as_it_is(words: str) -> None:
    request = words.encode().split()
    assert translate([request], NOW_MS) == [request]


def test_new_consumer_is_seen_at_that_time() -> None:
    request = [b"XGROUP", b"CREATECONSUMER", b"k", b"g", b"c"]
    sight = b"XREADGROUP GROUP g c AT 1700000000000 COUNT 1 STREAMS k 0".split()
    assert translate([request], NOW_MS) == [request, sight]


def test_requests_are_translated_in_order_and_left_alone_where_none_changes() -> None:
    plain = [[b"SET", b"a", b"1"], [b"del", b"b"]]
    assert translate(plain, NOW_MS) is plain
    assert translate([], NOW_MS) == []
    mixed = [*plain, [b"set", b"c", b"1", b"px", b"5"], [b"Expire", b"a", b"1"], [b"SET", b"d", b"1"]]
    assert translate(mixed, NOW_MS) == [
        *plain,
        [b"set", b"c", b"1", b"PXAT", b"%d" % (NOW_MS + 5)],
        [b"PEXPIREAT", b"a", b"%d" % (NOW_MS + 1000)],
        [b"SET", b"d", b"1"],
    ]
