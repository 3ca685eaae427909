"""A command as rights see it: its name, and the keys and channels of a call. `state.description` has the rest of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from kvserver.resp.request import Request

# What a call does with a key, as bits.
READ: Final = 1
WRITE: Final = 2
# Redis's words for the use of a key that change what the key has.
_WRITING: Final = frozenset(("insert", "delete", "update"))


def need_of(words: tuple[str, ...]) -> int:
    """The bits of Redis's words for the use of a key. One that is looked for, and no more, needs neither of both."""
    return (READ if "access" in words else 0) | (0 if _WRITING.isdisjoint(words) else WRITE)


class Guarded(ABC):
    """A command, or a subcommand whose name is `config|get` then.

    - `is_for_all`: who has not authenticated may call it, and so may every user.
    - `has_pattern_channels`: its channels are patterns of channels.
    """

    name: str
    is_for_all: bool
    has_pattern_channels: bool

    @abstractmethod
    def key_needs(self, request: Request) -> list[tuple[int, int]]:
        """The positions of the keys of a call, each with the bits that it needs. None of what can't be a call."""

    @abstractmethod
    def channel_places(self, request: Request) -> range:
        """The positions of the channels that a call publishes or subscribes to."""
