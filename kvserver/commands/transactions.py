"""Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH. The gate queues what comes in between.

All that a transaction writes is one record of the journal: EXEC runs it within one tick, in one go.
"""

from __future__ import annotations

from kvserver.dispatch.effect import Effect, Execute, Switch
from kvserver.dispatch.row import ALL_KEYS, NO_KEYS, Command
from kvserver.dispatch.runner import EXEC_REFUSED
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, OK, Error, Reply
from kvserver.state.session import Session, Transaction
from kvserver.state.watches import Watch

ABORTED = "EXECABORT Transaction discarded because of previous errors."


def multi(session: Session, args: list[bytes]) -> Effect:
    if session.transaction:
        raise CommandError("ERR MULTI calls can not be nested")
    session.transaction = Transaction()
    return Switch(OK)


def exec_(session: Session, args: list[bytes]) -> Effect:
    if len(args) != 1:
        session.end_transaction()
        return Switch(Error(f"{EXEC_REFUSED}wrong number of arguments for 'exec' command"))
    transaction, server = session.transaction, session.server
    if transaction is None:
        raise CommandError("ERR EXEC without MULTI")
    is_broken = session.watch is not None and server.watches.is_broken(session.watch)
    session.end_transaction()
    if transaction.has_failed:
        return Switch(Error(ABORTED))
    if is_broken:
        return Switch(NULL_ARRAY)
    return Execute(transaction.commands)


def discard(session: Session, args: list[bytes]) -> Effect:
    if session.transaction is None:
        raise CommandError("ERR DISCARD without MULTI")
    session.end_transaction()
    return Switch(OK)


def watch(session: Session, args: list[bytes]) -> Reply:
    if session.transaction:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    session.watch = session.watch or Watch()
    for key in args[1:]:
        session.server.watches.add(session.watch, key)
    return OK


def unwatch(session: Session, args: list[bytes]) -> Reply:
    session.unwatch()
    return OK


_GROUP = "transactions"
_FLAGS = ("noscript", "loading", "stale", "fast", "allow_busy")

COMMANDS = (
    Command("multi", 1, _FLAGS, NO_KEYS, multi, "Mark the start of a transaction block", "1.2.0", _GROUP, "O(1)"),
    Command("exec", 1, ("noscript", "loading", "stale", "skip_slowlog"), NO_KEYS, exec_,
            "Execute all commands issued after MULTI", "1.2.0", _GROUP, "Depends on commands in the transaction"),
    Command("discard", 1, _FLAGS, NO_KEYS, discard, "Discard all commands issued after MULTI", "2.0.0", _GROUP,
            "O(N), when N is the number of queued commands"),
    Command("watch", -2, _FLAGS, ALL_KEYS, watch,
            "Watch the given keys to determine execution of the MULTI/EXEC block", "2.2.0", _GROUP, "O(1) for every key."),
    Command("unwatch", 1, _FLAGS, NO_KEYS, unwatch, "Forget about all watched keys", "2.2.0", _GROUP, "O(1)"),
)  # fmt: skip
