"""Drives a generator that asks for bytes of a medium (`scan`, `record`) beside a busy server.

Its steps run in slices; reading and hashing happen on the disk's thread, one read ahead of the step that asks for it.
Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from functools import partial
from typing import TypeVar

from kvserver.formats.scan import Hasher, Read
from kvserver.media.medium import Medium
from kvserver.persistence.disk import Disk
from kvserver.persistence.slices import Slices

T = TypeVar("T")


async def drive(
    steps: Generator[Read | None, bytes, T],
    medium: Medium,
    disk: Disk,
    slices: Slices,
    report: Callable[[int], None],
) -> T:
    """Run the generator to its end and return its result. `report` is told up to which offset it has read (bytes)."""
    answer = b""
    ahead: tuple[int, int, asyncio.Future[bytes]] | None = None
    try:
        request = next(steps)
        while True:
            if request is not None:
                offset, length, hasher, length_ahead = request
                if ahead and ahead[:2] == (offset, length):
                    reading = ahead[2]
                else:
                    reading = disk.run(partial(_read, medium, offset, length, hasher))
                ahead = None
                if length_ahead:
                    end = offset + length
                    ahead = (end, length_ahead, disk.run(partial(_read, medium, end, length_ahead, hasher)))
                answer = await reading
                report(offset + length)
            elif slices.is_over:
                await slices.next()
            request = steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        if ahead:  # nobody asks for it any more, but the medium is in use until it is done
            await asyncio.gather(ahead[2], return_exceptions=True)


def _read(medium: Medium, offset: int, length: int, hasher: Hasher | None) -> bytes:
    data = medium.read(offset, length)
    if hasher:
        hasher.update(data)
    return data
