"""The chunks of a large collection (`containers.table`), filled at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kvserver._speedups.choice import leaf

# The bits of a hash from this one on choose the chunk. A dict places its members by the lower ones.
PLACE: Final = 32

Chunk = dict[bytes, Any]


@leaf
def fill_chunks(chunks: list[Chunk], members: Chunk, digest: Callable[[bytes], int]) -> None:
    """Put each member, with its value, into the chunk that its digest chooses. They are two chunks at least."""
    count = len(chunks)
    # The least 2**n - 1 that is not below the index of the last chunk.
    high = (1 << (count - 1).bit_length()) - 1
    for member, value in members.items():
        index = digest(member) >> PLACE & high
        if index >= count:
            index &= high >> 1
        chunks[index][member] = value
