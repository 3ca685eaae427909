"""SELECT, MOVE, SWAPDB, FLUSHDB, FLUSHALL: databases, whatever is in them."""

from __future__ import annotations

from kvserver.dispatch.arguments import INT_MAX, SAME_OBJECT, database, integer, numbered_database
from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Effect, FreeShards
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session


@command("select", "index:integer", "loading stale fast",
         since="1.0.0", group="connection", complexity="O(1)",
         summary="Change the selected database for the current connection")  # fmt: skip
def select(session: Session, request: Request) -> Reply:
    session.keyspace = database(session, request[1])
    return OK


@command("move", "key:key db:integer", "write fast", access="RW access update",
         events="n:new@1/2 move_from@1 move_to@1/2", since="1.0.0", group="generic", complexity="O(1)",
         summary="Move a key to another database")  # fmt: skip
def move(session: Session, request: Request) -> Reply:
    keyspace, key = session.keyspace, request[1]
    target = database(session, request[2])
    if target is keyspace:
        raise CommandError(SAME_OBJECT)
    # A value that is changed in place in the other database must not be frozen.
    value = keyspace.own(key)
    # What was moved once is moved in any replay.
    if value is None or (target.live(key) is not None and not session.is_replay):
        return 0
    keyspace.move(key, value, target)
    return 1


@command("swapdb", "index1:integer index2:integer", "write fast",
         since="4.0.0", group="server",
         complexity="O(N) where N is the count of clients watching or blocking on keys from both databases.",
         categories="keyspace dangerous",
         summary="Swaps two Redis databases")  # fmt: skip
def swapdb(session: Session, request: Request) -> Reply:
    numbers = []
    for text, which in zip(request[1:], ("first", "second"), strict=True):
        error = f"ERR invalid {which} DB index"
        numbers.append(integer(text, error))
        if not -INT_MAX - 1 <= numbers[-1] <= INT_MAX:
            raise CommandError(error)
    first, second = (numbered_database(session, number).number for number in numbers)
    session.server.swap(first, second, session)
    return OK


@command("flushall", "async<ASYNC@4.0.0|SYNC@6.2.0>?!", "write",
         since="1.0.0", group="server", complexity="O(1), the memory is freed bit by bit",
         tips="request_policy:all_shards response_policy:all_succeeded", categories="keyspace dangerous",
         summary="Remove all keys from all databases")  # fmt: skip
def flushall(session: Session, request: Request) -> Effect:
    """As in Redis, a server with save points has flushed what is left before it replies."""
    # ASYNC and SYNC differ in when memory is freed, and here it is freed bit by bit either way.
    flushall.options(request)
    databases = session.server.databases
    keys = databases.key_count
    return FreeShards("FLUSHALL", keys, databases.clear(), flushes=bool(session.server.config.save))


@command("flushdb", "async<ASYNC@4.0.0|SYNC@6.2.0>?!", "write",
         since="1.0.0", group="server", complexity="O(1), the memory is freed bit by bit",
         tips="request_policy:all_shards response_policy:all_succeeded", categories="keyspace dangerous",
         summary="Remove all keys from the current database")  # fmt: skip
def flushdb(session: Session, request: Request) -> Effect:
    flushdb.options(request)
    keys = len(session.keyspace)
    return FreeShards("FLUSHDB", keys, session.keyspace.clear(), flushes=False)
