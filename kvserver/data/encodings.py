"""How Redis would hold a string where that is not what a SET of it gives: the types of values that remember it.

A string that a command has built in place is `raw`, the sum of an INCRBYFLOAT `embstr`, even if it is short or a number.
OBJECT tells it, and nobody else: no file does, so that after a start all strings are as SET would have them. Pure.
"""

from __future__ import annotations

from typing import Final

EMBEDDED_BYTES: Final = 44  # up to so long a string is one block with its header


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
