"""The contract of a journal, as snapshots and the jobs of a server use it: the folder's own, or one on an engine.

It records what each tick wrote, and knows between which two records the data of a snapshot was cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kvserver.resp.request import Request


class Recording(Protocol):
    """The part of a journal that says when replies may leave."""

    def cover(self) -> int:
        """The number of the record that has to be safe before what clients have read by now may leave."""

    @property
    def safe(self) -> int:
        """The number of the last record that is as safe as the policy asks for: replies up to it may leave."""


class Way(Recording, Protocol):
    """The way of the records to where they are kept, and back."""

    # Who runs commands assigns these: `safe` may have grown; held replies may not leave; the writer is to pause, or to go on.
    on_safe: Callable[[], None]
    on_lost: Callable[[], None]
    pause: Callable[[], None]
    resume: Callable[[], None]


class Recorder(Protocol):
    """A journal."""

    @property
    def is_on(self) -> bool:
        """True while it records."""

    @property
    def courier(self) -> Way:
        """The way of its records."""

    @property
    def records_since_link(self) -> int:
        """The number of records that are newer than the snapshot that a start would load."""

    def append(self, commands: list[Request], clients: int = 0) -> None:
        """Record what one tick wrote, in which so many clients had their turn."""

    def cut(self, *, breaks: bool = False) -> int:
        """Divide the records here: what comes later follows the snapshot that is cut now. Return the token for `link`.

        `breaks`: what comes later doesn't follow what was before, since the data is another one.
        """

    async def link(self, token: int, digest: str, base_bytes: int, *, drops: bool = False) -> bool:
        """Go on from the snapshot with this digest, of so many bytes, which `cut` gave the token for. MediumError if it fails.

        `drops`: the snapshot is an earlier one, and what was recorded since is given up. Return False if the records go on
        from something later already, a RESTORE.
        """

    async def sync(self) -> None:
        """Make durable all that was recorded so far. MediumError if that fails."""

    def sync_soon(self) -> None:
        """Sync without waiting for a new write: the policy has changed."""
