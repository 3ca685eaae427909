"""The types of values that are more than plain bytes: JSON, and strings that Redis would not hold as a SET of them does.

A string that a command has built in place is `raw`, the sum of an INCRBYFLOAT `embstr`, even if it is short or a number.
OBJECT tells it, and nobody else: no file does, so that after a start all strings are as SET would have them. Pure.
"""

from __future__ import annotations

from typing import Final

EMBEDDED_BYTES: Final = 44  # up to so long a string is one block with its header


class JSONText(bytes):
    """Canonical JSON of a value that is not a plain string. Immutable, compact, and already what a flush writes."""

    __slots__ = ()


class Raw(bytes):
    """A string that is raw though SET would have it otherwise."""

    __slots__ = ()


class Embedded(bytes):
    """A string that is embedded though SET would take it for a number."""

    __slots__ = ()


def raw(string: bytes) -> bytes:
    """A string that a command has built in place."""
    return Raw(string) if len(string) <= EMBEDDED_BYTES else string


def embedded(string: bytes) -> bytes:
    """A string that a command has computed."""
    return Embedded(string) if len(string) <= EMBEDDED_BYTES else string
