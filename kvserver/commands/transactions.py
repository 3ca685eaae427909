"""MULTI, EXEC, DISCARD, WATCH, UNWATCH: transactions. The gate (`dispatch.gate`) queues the commands in between.

EXEC never runs them itself: its effect has the engine run all of them in one go, within one tick, so that all that a
transaction writes is one record of the journal.
"""

from __future__ import annotations

from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Effect, Execute, Prepare, Switch
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, OK, Error, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session, Transaction
from kvserver.state.watches import Watch

ABORTED = "EXECABORT Transaction discarded because of previous errors."


@command("multi", "", "noscript loading stale fast allow_busy",
         since="1.2.0", group="transactions", complexity="O(1)",
         summary="Mark the start of a transaction block",
         is_never_queued=True)  # fmt: skip
def multi(session: Session, request: Request) -> Effect:
    if session.transaction:
        raise CommandError("ERR MULTI calls can not be nested")
    session.transaction = Transaction()
    return Switch(OK)


@command("exec", "", "noscript loading stale skip_slowlog",
         since="1.2.0", group="transactions", complexity="Depends on commands in the transaction",
         summary="Execute all commands issued after MULTI",
         is_never_queued=True, runs_queue=True)  # fmt: skip
def exec_(session: Session, request: Request) -> Effect:
    transaction, server = session.transaction, session.server
    if transaction is None:
        raise CommandError("ERR EXEC without MULTI")
    if any(each.group == "scripting" for each in transaction.commands) and server.scripts.must_prepare():
        return Prepare()
    is_broken = session.watch is not None and server.watches.is_broken(session.watch)
    session.end_transaction()
    if transaction.has_failed:
        return Switch(Error(ABORTED))
    if is_broken:
        return Switch(NULL_ARRAY)
    return Execute(transaction.requests)


@command("discard", "", "noscript loading stale fast allow_busy",
         since="2.0.0", group="transactions", complexity="O(N), when N is the number of queued commands",
         summary="Discard all commands issued after MULTI",
         is_never_queued=True)  # fmt: skip
def discard(session: Session, request: Request) -> Effect:
    if session.transaction is None:
        raise CommandError("ERR DISCARD without MULTI")
    session.end_transaction()
    return Switch(OK)


@command("watch", "key:key+", "noscript loading stale fast allow_busy", access="RO",
         since="2.2.0", group="transactions", complexity="O(1) for every key.",
         summary="Watch the given keys to determine execution of the MULTI/EXEC block",
         is_never_queued=True)  # fmt: skip
def watch(session: Session, request: Request) -> Reply:
    if session.transaction:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    session.watch = session.watch or Watch()
    for key in request[1:]:
        session.server.watches.add(session.watch, session.keyspace, key)
    return OK


@command("unwatch", "", "noscript loading stale fast allow_busy",
         since="2.2.0", group="transactions", complexity="O(1)",
         summary="Forget about all watched keys")  # fmt: skip
def unwatch(session: Session, request: Request) -> Reply:
    session.unwatch()
    return OK
