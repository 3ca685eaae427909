"""An RDB file of redis-server as a source (`formats.rdb_file`), whole or in front of an append-only file."""

from __future__ import annotations

from collections.abc import Iterator

from kvserver.errors import RDBInvalid, SourceInvalid
from kvserver.formats.rdb_file import RDBEntry, RDBLibrary, RDBReader
from kvserver.transfer.staging import Staging


def load(chunks: Iterator[bytes], staging: Staging) -> bytes:
    """Bring in what chunks have up to the end of an RDB file. Return what the last one has behind it.

    SourceInvalid if it is damaged, cut, or of a newer version.
    """
    reader = RDBReader()
    try:
        for chunk in chunks:
            for found in reader.feed(chunk):
                if isinstance(found, RDBEntry):
                    staging.put(found.database, found.key, found.value, found.expires_at_ms)
                elif isinstance(found, RDBLibrary):
                    staging.put_library(found.text)
            if reader.is_done:
                break
        reader.end()
    except RDBInvalid as invalid:
        raise SourceInvalid(str(invalid)) from None
    if reader.empty_keys:
        staging.notes.append(f"left out: {reader.empty_keys} collections without members")
    return reader.rest
