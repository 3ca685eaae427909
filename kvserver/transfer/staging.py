"""Staging: what a source has brought, in memory, before anything of the target is touched.

A source is read to its end first, so that one that is damaged changes nothing. What is here is no part of any server's data.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvserver.data.databases import Databases
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.errors import CommandError, SourceInvalid
from kvserver.formats.libraries import NAME
from kvserver.options.table import MOST_DATABASES
from kvserver.scripting.functions import read_head
from kvserver.system import now_ms

_SHOWN_BYTES = 128


class Staging:
    """Keys and function libraries that have come in.

    `expired` counts the keys that were left out since their time had come. `notes` are lines about what else was left out.
    """

    def __init__(self) -> None:
        self.databases = Databases(now_ms)
        self.expired = 0
        self.notes: list[str] = []

    def put(self, database: int, key: bytes, value: Value, expires_at_ms: int | None) -> None:
        """Take a key, with its expiry (Unix milliseconds) or none. SourceInvalid if it is there already."""
        if database >= MOST_DATABASES:
            raise SourceInvalid(f"the key {shown(key)} is in the database {database}, and there are at most {MOST_DATABASES}")
        keyspace = self.databases[database]
        if keyspace.peek(key) is not None:
            raise SourceInvalid(f"the key {shown(key)} of the database {database} comes twice")
        if expires_at_ms is None:
            keyspace.set(key, value)
        else:
            keyspace.set_expiring(key, value, expires_at_ms)

    def put_library(self, text: bytes) -> bytes:
        """Take a function library, and return its name. SourceInvalid if it is none, or is there."""
        name = name_of_library(text)
        libraries = self.databases.libraries
        if libraries.get(name) is not None:
            raise SourceInvalid(f"the function library {shown(name)} comes twice")
        libraries.put(name, text)
        self.databases.records.take()
        return name

    def finish(self) -> None:
        """Leave out what has expired by now. SourceInvalid if there is a function library that can't be kept."""
        for text in self.databases.libraries.copy().values():
            name_of_library(text)
        self.expired += drop_expired(self.databases)

    def members(self) -> Iterator[tuple[int, bytes, Entry]]:
        """Yield all keys with the numbers of their databases and their entries, in order."""
        return members_of(self.databases)


def drop_expired(databases: Databases) -> int:
    """Drop the keys whose time has come, and return their number; also members of values, as a server does.

    This is for data that nobody keeps records of.
    """
    before, time_ms = databases.key_count, now_ms()
    for keyspace in databases:
        due = []
        for key, entry in keyspace.members():
            if type(entry) is Expiring and entry.is_due(time_ms):
                due.append(key)
            elif type(entry) is not bytes:
                keyspace.expect(key, entry.value if type(entry) is Expiring else entry)
        for key in due:
            keyspace.delete(key)
    # What is left for this are members.
    databases.lead()
    while databases.sweep():
        databases.records.take()
    return before - databases.key_count


def members_of(databases: Databases) -> Iterator[tuple[int, bytes, Entry]]:
    """Yield all keys of databases with the numbers of these and their entries, in order. Nothing may change meanwhile."""
    for keyspace in databases:
        for key in sorted(key for key, _ in keyspace.members()):
            yield keyspace.number, key, keyspace.peek(key)


def databases_used(databases: Databases) -> int:
    """The number of databases that have keys."""
    return sum(1 for keyspace in databases if len(keyspace))


def name_of_library(text: bytes) -> bytes:
    """The name of a function library. SourceInvalid if it is none that can be kept."""
    try:
        name = read_head(text).name
    except CommandError as error:
        raise SourceInvalid(f"a function library is none: {str(error).removeprefix('ERR ')}") from None
    if not NAME.fullmatch(name):
        raise SourceInvalid(f"a function library has a name that none can have: {shown(name)}")
    return name


def shown(data: bytes) -> str:
    """Bytes as messages show them: in quotes, escaped where they are no text, and not at any length."""
    text = repr(data[:_SHOWN_BYTES].decode("utf-8", "backslashreplace"))
    return f"{text}…" if len(data) > _SHOWN_BYTES else text
