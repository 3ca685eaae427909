"""DEL, UNLINK, EXISTS, TOUCH, TYPE, RENAME, COPY: keys, whatever their values are.

Nothing here knows a type: a value is copied by its kind, and moved as it is.
"""

from __future__ import annotations

from typing import Final

from kvserver.data.kinds import fork, kind_of
from kvserver.dispatch.arguments import SAME_OBJECT, SYNTAX_ERROR, database
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.session import Session

NO_SUCH_KEY: Final = "ERR no such key"


def _remove(session: Session, keys: list[bytes]) -> int:
    keyspace = session.keyspace
    # A key whose time has come doesn't count: the look at it removes it.
    present = [key for key in dict.fromkeys(keys) if keyspace.peek_live(key) is not None]
    if present:
        keyspace.remove(*present)
    return len(present)


@command("del", "key:key+", "write", access="RM delete",
         events={"": "del", "del": "x:expired"},
         since="1.0.0", group="generic", complexity="O(N) where N is the number of keys that will be removed.",
         tips="request_policy:multi_shard response_policy:agg_sum",
         summary="Delete a key")  # fmt: skip
def del_(session: Session, request: Request) -> Reply:
    return _remove(session, request[1:])


@command("unlink", "key:key+", "write fast", access="RM delete",
         events={"unlink": "h:hexpired"},
         since="4.0.0", group="generic", complexity="O(1) for each key removed.",
         tips="request_policy:multi_shard response_policy:agg_sum",
         summary="Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non "
         "blocking.")  # fmt: skip
def unlink(session: Session, request: Request) -> Reply:
    return _remove(session, request[1:])


@command("exists", "key:key+", "readonly fast", access="RO",
         since="1.0.0", group="generic", complexity="O(N) where N is the number of keys to check.",
         tips="request_policy:multi_shard response_policy:agg_sum",
         summary="Determine if a key exists")  # fmt: skip
def exists(session: Session, request: Request) -> Reply:
    return sum(session.keyspace.peek_read(key) is not None for key in request[1:])


@command("touch", "key:key+", "readonly fast", access="RO",
         since="3.2.1", group="generic", complexity="O(N) where N is the number of keys that will be touched.",
         tips="request_policy:multi_shard response_policy:agg_sum",
         summary="Alters the last access time of a key(s). Returns the number of existing keys specified.")  # fmt: skip
def touch(session: Session, request: Request) -> Reply:
    # This is what it is for, also where CLIENT NO-TOUCH has it that reads are no uses.
    if session.no_touch:
        session.keyspace.show_uses()
    return sum(session.keyspace.read(key) is not None for key in request[1:])


@command("type", "key:key", "readonly fast", access="RO",
         since="1.0.0", group="generic", complexity="O(1)",
         summary="Determine the type stored at key")  # fmt: skip
def type_(session: Session, request: Request) -> Reply:
    value = session.keyspace.peek_read(request[1])
    return Simple("none" if value is None else kind_of(value).name)


@command("rename", "key:key newkey:key#1", "write", access="RW access delete; OW update",
         events="n:new@2 rename_from@1 rename_to@2", since="1.0.0", group="generic", complexity="O(1)",
         summary="Rename a key")  # fmt: skip
def rename(session: Session, request: Request) -> Reply:
    _rename(session, request[1], request[2])
    return OK


@command("renamenx", "key:key newkey:key#1", "write fast", access="RW access delete; OW insert",
         since="1.0.0", group="generic", complexity="O(1)",
         summary="Rename a key, only if the new key does not exist")  # fmt: skip
def renamenx(session: Session, request: Request) -> Reply:
    return int(_rename(session, request[1], request[2], only_if_missing=True))


def _rename(session: Session, old: bytes, new: bytes, *, only_if_missing: bool = False) -> bool:
    """Return True if the key has its new name. CommandError if the key is missing."""
    keyspace = session.keyspace
    # A value that is changed in place by its new name must not be frozen.
    value = keyspace.own(old)
    if value is None:
        # Segments may be applied to other data than that of their snapshot, and must not fail over one key.
        if session.is_replay:
            return False
        raise CommandError(NO_SUCH_KEY)
    if only_if_missing and keyspace.live(new) is not None:
        return False
    if old == new:
        return True
    keyspace.rename(old, new, value)
    return True


def _written_by_copy(request: Request) -> list[bytes]:
    return [] if b"DB" in map(bytes.upper, request[3:]) else [request[2]]


def _events_of_copy(record: Request) -> str:
    return "n:new@2/4 copy_to@2/4" if b"DB" in record[3:4] else "n:new copy_to"


@command("copy", "source:key destination:key#1 DB=destination-db:integer? REPLACE?", "write denyoom",
         access="RO access; OW update",
         written=_written_by_copy, events=_events_of_copy, since="6.2.0", group="generic",
         complexity="O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
         summary="Copy a key")  # fmt: skip
def copy(session: Session, request: Request) -> Reply:
    keyspace, (source, destination) = session.keyspace, request[1:3]
    target, replaces = keyspace, False
    # The options are read by hand: a number that is no database is refused before the words behind it.
    rest = list(reversed(request[3:]))
    while rest:
        word = rest.pop().upper()
        if word == b"DB" and rest:
            target = database(session, rest.pop())
        elif word == b"REPLACE":
            replaces = True
        else:
            raise CommandError(SYNTAX_ERROR)
    if target is keyspace and source == destination:
        raise CommandError(SAME_OBJECT)
    value = keyspace.read(source)
    if value is None or (target.live(destination) is not None and not replaces):
        return 0
    keyspace.put_copy(source, destination, fork(value), target)
    return 1
