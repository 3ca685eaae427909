"""What a key has: a string, another JSON value, or one of the two that expires. Pure, and never knows what time it is.

Keys are bytes. A value is `bytes` (a string), `JSONText` (any other JSON value), or `Expiring` around one of the two.
"""

from __future__ import annotations

from kvserver.data.encodings import JSONText

Value = bytes | JSONText


class Expiring:
    """A value that is gone from `expires_at_ms` (Unix time in milliseconds) on. Never changed, only replaced."""

    __slots__ = ("expires_at_ms", "value")

    def __init__(self, value: Value, expires_at_ms: int) -> None:
        self.value = value
        self.expires_at_ms = expires_at_ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expiring) and (self.value, self.expires_at_ms) == (other.value, other.expires_at_ms)

    def __hash__(self) -> int:
        return hash((self.value, self.expires_at_ms))


Entry = Value | Expiring
