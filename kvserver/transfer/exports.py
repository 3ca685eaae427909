"""The exports: the forms in which data goes out, each as a stream of bytes in pieces.

The data must not change meanwhile, and has no keys any more that have expired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from kvserver.data.databases import Databases
from kvserver.data.entries import Entry, Expiring
from kvserver.data.kinds import kind_of
from kvserver.formats.json_lines import library_line, member_pieces
from kvserver.formats.rdb_writer import encode_rdb, fields_of_redis
from kvserver.formats.record import pack
from kvserver.state.session import SERVER_VERSION
from kvserver.system import now_ms
from kvserver.transfer.staging import members_of
from kvserver.types import TAGGED

# The number of keys that are done, for a progress line.
Report = Callable[[int], None]


def json_lines(databases: Databases, report: Report) -> Iterator[bytes]:
    """Yield a line of JSON for each function library and each key (`formats.json_lines`)."""
    for name, text in sorted(databases.libraries.copy().items()):
        yield library_line(name, text)
    for number, key, entry in _members(databases, report):
        yield from member_pieces(number, key, entry, TAGGED)


def commands(databases: Databases, report: Report) -> Iterator[bytes]:
    """Yield the commands that store the data, as a client sends them: what redis-server has in an append-only file."""
    for _, text in sorted(databases.libraries.copy().items()):
        yield bytes(pack([[b"FUNCTION", b"LOAD", b"REPLACE", text]]))
    selected = -1
    for number, key, entry in _members(databases, report):
        if number != selected:
            selected = number
            yield bytes(pack([[b"SELECT", b"%d" % number]]))
        value, expires_at_ms = (entry.value, entry.expires_at_ms) if isinstance(entry, Expiring) else (entry, None)
        yield bytes(pack(kind_of(value).recreation(key, value, expires_at_ms)))


def rdb(databases: Databases, report: Report) -> Iterator[bytes]:
    """Yield an RDB file. Its reader needs RedisJSON, as Redis has it from 8 on, if there are documents."""
    frozen = databases.cut()
    try:
        for piece in encode_rdb(frozen.cuts, frozen.libraries, fields_of_redis(SERVER_VERSION, now_ms(), 0)):
            yield piece
            report(frozen.keys_encoded)
    finally:
        for _ in frozen.fold():
            pass


def _members(databases: Databases, report: Report) -> Iterator[tuple[int, bytes, Entry]]:
    for done, member in enumerate(members_of(databases), 1):
        yield member
        report(done)


class Export(NamedTuple):
    """A form: the name of the option of the command line that asks for it, a few words about it, and what writes it."""

    name: str
    about: str
    pieces: Callable[[Databases, Report], Iterator[bytes]]


EXPORTS: Final = (
    Export("jsonl", "lines of JSON, one for each key, to FILE or standard output", json_lines),
    Export("resp", "commands, as in an append-only file and for redis-cli --pipe", commands),
    Export("rdb", "an RDB file, which redis-server loads at its start", rdb),
)
