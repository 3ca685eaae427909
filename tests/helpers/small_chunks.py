"""Collections of kvserver for tests: as objects of Python's own types, and in many chunks though they have few members."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from helpers.models import Data, Group, Held, Log, Scores, State, Timed
from helpers.servers import IS_COMPILED
from kvserver.containers import pages, table
from kvserver.containers.ordered import Ordered
from kvserver.containers.runs import Runs
from kvserver.containers.sequence import Sequence
from kvserver.data import shards
from kvserver.data.databases import Databases
from kvserver.data.entries import Entry, Expiring
from kvserver.data.keyspace import Keyspace
from kvserver.data.kinds import kind_of
from kvserver.formats.codec import JSONText
from kvserver.types.hash import commands as hash_commands
from kvserver.types.hash import value as hash_value
from kvserver.types.list import ends as list_ends
from kvserver.types.list import value as list_value
from kvserver.types.set import commands as set_commands
from kvserver.types.set import value as set_value
from kvserver.types.sorted_set import single as sorted_set_single
from kvserver.types.sorted_set import value as sorted_set_value
from kvserver.types.stream.group import UNKNOWN
from kvserver.types.stream.ids import text_of

_MOST_PACKED = 3
_PACKING = (
    *(hash_commands, hash_value, list_ends, list_value),
    *(set_commands, set_value, sorted_set_single, sorted_set_value, shards),
)


def divide_small_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let collections of some members be large ones, with many chunks and runs. Compiled, they stay as they are."""
    if IS_COMPILED:
        return
    for module in _PACKING:
        monkeypatch.setattr(module, "MOST_MEMBERS", _MOST_PACKED)
    monkeypatch.setattr(table, "FULL", 2)
    monkeypatch.setattr(table, "PAGE_BITS", 1)
    monkeypatch.setattr(table, "IN_PAGE", 1)
    monkeypatch.setattr(table, "hash", _hash, raising=False)
    # Its own way fails to reach each member of such small chunks, of which one may have several times the mean.
    monkeypatch.setattr(table.Table, "random", lambda self, below: [*self][below(len(self))])
    monkeypatch.setattr(Sequence, "LOAD", 2)
    monkeypatch.setattr(Ordered, "LOAD", 2)
    monkeypatch.setattr(Runs, "GROUP_BITS", 1)
    monkeypatch.setattr(Runs, "MOST_FLAT", 3)
    monkeypatch.setattr(pages, "PAGE", 2)


def _hash(member: bytes) -> int:
    """A hash that is the same in each process. A table looks at its upper bits."""
    return zlib.crc32(member) << table.PLACE


def held_of(entry: Entry) -> Held:
    """The value and the expiry of an entry, as the model has them."""
    if isinstance(entry, Expiring):
        return Held(_python_of(entry.value), entry.expires_at_ms)
    return Held(_python_of(entry))


def state_of(keyspace: Keyspace) -> State:
    """All that is in a keyspace, as the model has it."""
    return {key: held_of(entry) for key, entry in keyspace.members()}


def data_of(databases: Databases) -> Data:
    """All that is in databases, as the model has it."""
    return {keyspace.number: state_of(keyspace) for keyspace in databases if len(keyspace)}


def _python_of(value: Any) -> Any:
    if isinstance(value, JSONText):
        return value
    if isinstance(value, bytes):
        return bytes(value)
    name = kind_of(value).name
    if name == "hash":
        fields = hash_value.fields_of(value) or {}
        times = {field: hash_value.deadline_of(fields, field) for field in fields}
        return {field: text if (time := times[field]) is None else Timed(text, time) for field, text in fields.items()}
    if name == "list":
        return [*(list_value.elements_of(value) or ())]
    if name == "set":
        return {*(set_value.members_of(value) or ())}
    if name == "stream":
        entries = tuple((identity, tuple(row)) for identity, row in value.entries.range())
        groups = {name: _group_of(group) for name, group in value.groups.in_order()}
        return Log(entries, value.last_id, value.added, value.max_deleted_id, groups)
    return Scores(sorted_set_value.members_of(value) or ())


def _group_of(group: Any) -> Group:
    read = None if group.entries_read == UNKNOWN else group.entries_read
    consumers = {name: consumer.seen_ms for name, consumer in group.consumers.in_order()}
    pending = {text_of(row[:2]).decode(): tuple(row[2:]) for row in group.pending.rows()}
    return Group(text_of(group.last_id).decode(), read, consumers, pending)
