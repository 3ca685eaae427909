"""The data of a source, gathered in databases of its own while the present data is served. Pure."""

from __future__ import annotations

from collections.abc import Callable

from kvserver.data.databases import Databases
from kvserver.errors import CommandError, SourceUnusable
from kvserver.formats.rdb_file import RDBEntry, RDBItem, RDBLibrary
from kvserver.scripting.functions import read_head


class Loading:
    """The data that has come so far is in `databases`. `count` says how many databases clients can select here."""

    def __init__(self, now_ms: Callable[[], int], count: int) -> None:
        self.databases = Databases(now_ms)
        self.keys = 0
        self._count = count
        self._libraries: dict[bytes, bytes] = {}

    def put(self, item: RDBItem) -> None:
        """Put in a part of the file. SourceUnusable for what can't be here."""
        match item:
            case RDBEntry(database, key, value, expires_at_ms):
                if database >= self._count:
                    raise SourceUnusable(
                        f"the source has keys in database {database}, and there are {self._count} here: the option databases "
                        "takes more"
                    )
                keyspace = self.databases[database]
                # Whatever is due stays until the source says that it went.
                if expires_at_ms is None:
                    keyspace.set(key, value)
                else:
                    keyspace.set_expiring(key, value, expires_at_ms)
                self.keys += 1
            case RDBLibrary(text):
                try:
                    self._libraries[read_head(text).name] = text
                except CommandError as error:
                    raise SourceUnusable(f"a function library of the source can't be read: {error}") from None
                self.databases.libraries.replace(self._libraries)
            case _:
                # What the file tells of itself is no data.
                pass
