"""The entry of a key: a value, or a value with an expiry. Pure, and never knows what time it is.

Keys are bytes. A value is an object of one of the Python types that a data type has for its values (`kinds`): a string is
`bytes`, a small collection a packed `str`.
"""

from __future__ import annotations

Value = object


class Expiring:
    """A value that is gone from `expires_at_ms` (Unix time in milliseconds) on. Never changed, only replaced."""

    __slots__ = ("expires_at_ms", "value")

    def __init__(self, value: Value, expires_at_ms: int) -> None:
        self.value = value
        self.expires_at_ms = expires_at_ms

    def is_due(self, now_ms: int) -> bool:
        """True if the value is gone at this Unix time in milliseconds."""
        return self.expires_at_ms <= now_ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expiring) and (self.value, self.expires_at_ms) == (other.value, other.expires_at_ms)

    def __hash__(self) -> int:
        return hash((self.value, self.expires_at_ms))


Entry = Value | Expiring
