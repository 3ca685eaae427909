"""The differences of two databases: which keys are in one alone, and which have another value or expiry. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kvserver.data import walk
from kvserver.data.entries import Value
from kvserver.data.keyspace import Keyspace
from kvserver.data.kinds import kind_of
from kvserver.patterns import Matcher

ADDED = b"added"
CHANGED = b"changed"
REMOVED = b"removed"


def differences(one: Keyspace, other: Keyspace, matches: Matcher) -> Iterator[tuple[bytes, bytes] | None]:
    """The keys that match and are not the same, and what became of each on the way from one to the other; None is a step."""
    for index in range(other.shard_count):
        for key, value in walk.living_members(other, index):
            if matches(key):
                before = one.peek_live(key)
                if before is None:
                    yield key, ADDED
                elif _form(before, one.expires_at_ms(key)) != _form(value, other.expires_at_ms(key)):
                    yield key, CHANGED
            yield None
    for index in range(one.shard_count):
        for key, _ in walk.living_members(one, index):
            if matches(key) and other.peek_live(key) is None:
                yield key, REMOVED
            yield None


def _form(value: Value, expires_at_ms: int | None) -> tuple[object, int | None]:
    """The same for values that are equal and expire at the same time."""
    return (value if type(value) is bytes else kind_of(value).json(value)), expires_at_ms
