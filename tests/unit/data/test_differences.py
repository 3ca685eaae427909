"""The differences of two databases: keys of one alone, other values, other expiries; equal values of other forms are equal."""

from __future__ import annotations

from collections.abc import Mapping

from helpers.sessions import run
from kvserver.data.databases import Databases
from kvserver.data.differences import ADDED, CHANGED, REMOVED, differences
from kvserver.data.keyspace import Keyspace
from kvserver.patterns import matcher
from kvserver.state.session import Session
from kvserver.types.hash.value import Hash


def keyspace() -> Keyspace:
    return Databases(lambda: 1000)[0]


def found(one: Keyspace, other: Keyspace, pattern: bytes = b"*") -> dict[bytes, bytes]:
    return dict(change for change in differences(one, other, matcher(pattern)) if change)


def test_each_kind_of_difference_is_told() -> None:
    one, other = keyspace(), keyspace()
    for each in (one, other):
        each.put(b"same", b"1")
        each.put(b"same expiry", b"1", 5000)
    one.put(b"gone", b"1")
    other.put(b"new", b"1")
    one.put(b"value", b"1")
    other.put(b"value", b"2")
    one.put(b"expiry", b"1", 5000)
    other.put(b"expiry", b"1", 6000)
    one.put(b"persists", b"1", 5000)
    other.put(b"persists", b"1")
    expected = {b"gone": REMOVED, b"new": ADDED, b"value": CHANGED, b"expiry": CHANGED, b"persists": CHANGED}
    assert found(one, other) == expected
    assert found(one, other, b"*e") == {b"gone": REMOVED, b"value": CHANGED}
    assert found(one, one) == {}


def test_key_whose_time_has_come_is_missing() -> None:
    one, other = keyspace(), keyspace()
    one.set_expiring(b"k", b"1", 999)
    other.put(b"k", b"1", 1001)
    one.set_expiring(b"l", b"1", 999)
    assert found(one, other) == {b"k": ADDED}


def hash_of(fields: Mapping[bytes, int | None]) -> Hash:
    """A hash with these fields, each with its deadline or None."""
    made = Hash(((field, b"v") for field in fields), is_listpack=True)
    for field, expires_at_ms in fields.items():
        if expires_at_ms is not None:
            made.expire(field, expires_at_ms)
    return made


def test_member_whose_time_has_come_is_missing() -> None:
    one, other = keyspace(), keyspace()
    for key, before, after in (
        (b"same", {b"a": None, b"due": 1000}, {b"a": None}),
        (b"other field", {b"a": None, b"due": 1000}, {b"due": None, b"due too": 999}),
        (b"lives", {b"a": 1001}, {b"a": None}),
        (b"emptied", {b"a": 2000}, {b"due": 1000, b"due too": 1}),
        (b"emptied before", {b"due": 1000}, {b"a": None}),
        (b"emptied in both", {b"due": 1000}, {b"due": 999}),
    ):
        one.put(key, hash_of(before))
        other.put(key, hash_of(after))
    expected = {b"other field": CHANGED, b"lives": CHANGED, b"emptied": REMOVED, b"emptied before": ADDED}
    assert found(one, other) == expected
    # Nothing was taken out of either.
    assert one.peek(b"same").get(b"due") == b"v"
    assert len(other.peek(b"emptied")) == 2


def test_equal_collections_are_the_same_in_whatever_order_they_were_filled(session: Session) -> None:
    one, other = session.server.databases[0], session.server.databases[1]
    for number, members in ((0, ["a", "b", "c"]), (1, ["c", "a", "b"])):
        run(session, "SELECT", number)
        run(session, "SADD", "s", *members)
        run(session, "HSET", "h", *(word for member in members for word in (member, "1")))
        run(session, "ZADD", "z", *(word for member in members for word in ("1", member)))
        run(session, "RPUSH", "l", *members)
    assert found(one, other) == {b"l": CHANGED}
    run(session, "SREM", "s", "a")
    run(session, "HSET", "h", "a", "2")
    assert found(one, other) == {b"l": CHANGED, b"s": CHANGED, b"h": CHANGED}


def test_long_values_are_compared_in_steps(session: Session) -> None:
    one, other = session.server.databases[0], session.server.databases[1]
    words = [word for number in range(5_000) for word in (f"field:{number}", f"value:{number}")]
    for number in (0, 1):
        run(session, "SELECT", number)
        run(session, "HSET", "h", *words)
        run(session, "RPUSH", "l", *words)
    steps = list(differences(one, other, matcher(b"*")))
    assert not any(steps)
    assert len(steps) > 2 * 2 + 10
    run(session, "HSET", "h", "field:4999", "other")
    assert found(one, other) == {b"h": CHANGED}
