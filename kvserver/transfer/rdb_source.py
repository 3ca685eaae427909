"""An RDB file of redis-server as a source, whole or in front of an append-only file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kvserver.errors import SourceInvalid
from kvserver.transfer.staging import Staging

RDB_MAGIC: Final = b"REDIS"


class RDBLoad:
    """Brings the data of an RDB file into a staging."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging

    def run(self, chunks: Iterator[bytes]) -> bytes:
        """Take chunks up to the end of the RDB file. Return what the last one has behind it."""
        raise SourceInvalid("RDB files can't be read yet")
