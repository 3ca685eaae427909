"""How far consumer groups have read: the numbers of entries behind and ahead of an id, as far as they are known. Pure.

A group counts what it reads. Where XDEL has removed entries in between, or somebody has set its id, the count may not be
known: then it is found anew where that is possible. As in Redis, all of these numbers are signed ones of 64 bits, which wrap;
one that comes to UNKNOWN is not known. Source: streamRangeHasTombstones, streamReplyWithCGLag and
streamEstimateDistanceFromFirstEverEntry in t_stream.c of redis 7.0.
"""

from __future__ import annotations

from kvserver.types.stream.group import UNKNOWN, Group, signed
from kvserver.types.stream.ids import FIRST, Id
from kvserver.types.stream.stream import Stream


def advance(stream: Stream, group: Group, delivered: list[Id]) -> None:
    """Move a group on to the last of these ids, which were delivered in order, if it is ahead of the group's."""
    # A negative number may come to UNKNOWN on its way.
    if stream.max_deleted_id == FIRST and group.entries_read >= 0 and delivered[0] > group.last_id:
        group.entries_read = signed(group.entries_read + len(delivered))
        group.last_id = delivered[-1]
        return
    for identity in delivered:
        if identity > group.last_id:
            if group.entries_read != UNKNOWN and not _has_tombstones(stream, identity):
                group.entries_read = signed(group.entries_read + 1)
            elif stream.added:
                group.entries_read = distance(stream, identity)
            group.last_id = identity


def lag(stream: Stream, group: Group) -> int | None:
    """The number of entries that a group has not read yet, or None if it is not known."""
    if not stream.added:
        return 0
    if group.entries_read != UNKNOWN and not _has_tombstones(stream, group.last_id):
        return signed(stream.added - group.entries_read)
    read = distance(stream, group.last_id)
    return None if read == UNKNOWN else signed(stream.added - read)


def distance(stream: Stream, identity: Id) -> int:
    """The number of entries up to an id, of all that were ever added, or UNKNOWN."""
    if not stream.added:
        return 0
    if not stream.length and identity <= stream.last_id:
        return signed(stream.added)
    if identity >= stream.last_id:
        return signed(stream.added) if identity == stream.last_id else UNKNOWN
    first = stream.first_id
    if stream.max_deleted_id == FIRST or stream.max_deleted_id < first:
        # Nothing ahead of the first entry was deleted.
        if identity < first:
            return signed(stream.added - stream.length)
        if identity == first:
            return signed(stream.added - stream.length + 1)
    return UNKNOWN


def _has_tombstones(stream: Stream, start: Id) -> bool:
    """True if an entry may have been deleted that was not before this id."""
    if not stream.length or stream.max_deleted_id == FIRST or stream.first_id > stream.max_deleted_id:
        return False
    return start <= stream.max_deleted_id
