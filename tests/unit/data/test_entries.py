"""Entries: an expiring value is equal to its like, in sets and dicts as well, and to nothing else."""

from __future__ import annotations

import pytest

from kvserver.data.entries import Entry, Expiring
from kvserver.formats.codec import JSONText


def test_expiring_value_is_equal_to_one_of_the_same_value_and_time() -> None:
    assert Expiring(b"v", 5) == Expiring(b"v", 5)
    assert hash(Expiring(b"v", 5)) == hash(Expiring(b"v", 5))
    assert {Expiring(b"v", 5): 1}[Expiring(b"v", 5)] == 1


@pytest.mark.parametrize(
    "other", [Expiring(b"v", 6), Expiring(b"w", 5), Expiring(JSONText(b"[]"), 5), b"v"], ids=["time", "value", "type", "bytes"]
)
def test_expiring_value_is_not_equal_to_another_time_or_value(other: Entry) -> None:
    assert Expiring(b"v", 5) != other


def test_entry_holds_nothing_but_its_value_and_its_time() -> None:
    entry = Expiring(b"v", 5)
    assert (entry.value, entry.expires_at_ms) == (b"v", 5)
    assert not hasattr(entry, "__dict__"), "each would cost memory"
