"""The differences of two databases: which keys are in one alone, and which have another value or expiry. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from typing import Final

from kvserver.data import walk
from kvserver.data.entries import Value
from kvserver.data.keyspace import Keyspace
from kvserver.data.kinds import fork, kind_of, left_of
from kvserver.patterns import Matcher

ADDED = b"added"
CHANGED = b"changed"
REMOVED = b"removed"
# Values up to this length are compared in one step.
_SHORT_BYTES: Final = 1 << 14


def differences(one: Keyspace, other: Keyspace, matches: Matcher) -> Generator[tuple[bytes, bytes] | None, None, None]:
    """The keys that match and are not the same, and what became of each on the way from one to the other; None is a step."""
    for index in range(other.shard_count):
        for key in walk.living_keys(other, index):
            if matches(key):
                before, after = (yield from _value(one, key)), (yield from _value(other, key))
                if before is None:
                    yield key, ADDED
                elif one.expires_at_ms(key) != other.expires_at_ms(key) or not (yield from _are_equal(before, after)):
                    yield key, CHANGED
            yield None
    for index in range(one.shard_count):
        for key in walk.living_keys(one, index):
            if matches(key):
                left = other.peek_live(key)
                if left is None or other.living(left) is None:
                    yield key, REMOVED
            yield None


def _value(keyspace: Keyspace, key: bytes) -> Generator[None, None, Value | None]:
    """Return the value of a key without the members whose time has come, or None if nothing is left."""
    value = keyspace.peek_live(key)
    return value if value is None or type(value) is bytes else (yield from left_of(value, keyspace.now_ms()))


def _are_equal(one: Value, other: Value) -> Generator[None, None, bool]:
    """Compare two values in steps: equal ones have the same form in a payload."""
    if type(one) is bytes or type(other) is bytes:
        return one == other
    if max(kind_of(one).size_bytes(one), kind_of(other).size_bytes(other)) <= _SHORT_BYTES:
        return kind_of(one).json(one) == kind_of(other).json(other)
    first, second = hashlib.sha256(), hashlib.sha256()
    # Commands may change one of them between two steps.
    yield from _mix(fork(one), first)
    yield from _mix(fork(other), second)
    return first.digest() == second.digest()


def _mix(value: Value, hasher: hashlib._Hash) -> Generator[None, None, None]:
    """Put the form of a long value through a hasher, in steps."""
    steps = kind_of(value).json_steps(value)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            tag, pieces = stop.value
            break
        yield None
    hasher.update(tag.encode())
    for piece in pieces:
        hasher.update(piece)
        yield None
