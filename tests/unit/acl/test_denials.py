"""Denials that are alike are counted in one entry, and no more entries are kept than may be."""

from __future__ import annotations

import pytest

from kvserver.acl.denials import APART_MS, LOOKED_AT, MOST_BYTES, Context, Denials, Entry
from kvserver.acl.selector import Reason


def entry(thing: bytes = b"get", user: bytes = b"u", at_ms: int = 0, reason: Reason = Reason.COMMAND) -> Entry:
    return Entry(reason, Context.TOP_LEVEL, thing, user, at_ms, b"client at %d" % at_ms)


def test_denials_that_are_alike_are_one_entry_which_is_the_newest() -> None:
    denials = Denials()
    for each in (entry(), entry(b"set"), entry(at_ms=APART_MS)):
        denials.add(each, 10)
    newest, other = denials.newest(10)
    assert (newest.thing, newest.count, newest.at_ms, newest.client) == (b"get", 2, APART_MS, b"client at 60000")
    assert (other.thing, other.count) == (b"set", 1)


@pytest.mark.parametrize(
    "other",
    [entry(b"set"), entry(user=b"v"), entry(reason=Reason.KEY), entry(at_ms=APART_MS + 1)],
    ids=["thing", "user", "reason", "time"],
)
def test_what_differs_is_another_entry(other: Entry) -> None:
    denials = Denials()
    denials.add(entry(), 10)
    denials.add(other, 10)
    assert [each.count for each in denials.newest(10)] == [1, 1]


def test_long_words_are_cut() -> None:
    long = entry(b"k" * 10_000, user=b"u" * 10_000)
    assert (len(long.thing), len(long.user)) == (MOST_BYTES, MOST_BYTES)


def test_only_the_newest_are_looked_at() -> None:
    denials = Denials()
    for number in range(LOOKED_AT + 1):
        denials.add(entry(b"%d" % number), 100)
    denials.add(entry(b"0"), 100)
    assert len(denials.newest(100)) == LOOKED_AT + 2


def test_oldest_are_forgotten_when_one_is_added() -> None:
    denials = Denials()
    for number in range(5):
        denials.add(entry(b"%d" % number), 3)
    assert [each.thing for each in denials.newest(10)] == [b"4", b"3", b"2"]
    assert [each.thing for each in denials.newest(2)] == [b"4", b"3"]
    denials.add(entry(b"5"), 0)
    assert denials.newest(10) == []


def test_reset_forgets_all() -> None:
    denials = Denials()
    denials.add(entry(), 3)
    denials.reset()
    assert denials.newest(10) == []
