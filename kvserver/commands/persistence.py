"""SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, RESTORE without arguments, SHUTDOWN: flushing, loading and leaving.

Each handler asks for its effect and must never touch the medium or the journal. RESTORE of a key is in `dump`.
"""

from __future__ import annotations

from typing import Final

from kvserver.dispatch.arguments import SYNTAX_ERROR
from kvserver.dispatch.command import command
from kvserver.dispatch.effect import BackgroundSave, Effect, Load, RewriteJournal, Save, Shutdown
from kvserver.dispatch.gate import READONLY
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

# Redis's replicas have files of their own.
NOT_ON_STANDBY: Final = "READONLY A replica can't save or load: the snapshots are those of the primary."


def must_be_primary(session: Session) -> None:
    """Raise CommandError on a standby, whose engine has the snapshots of another node."""
    if session.server.replication.is_standby:
        raise CommandError(NOT_ON_STANDBY)


def must_write(session: Session) -> None:
    """Raise CommandError where all data is somebody else's to say: on a standby, and on a server that follows a source."""
    must_be_primary(session)
    if not session.server.replication.is_primary:
        raise CommandError(READONLY)


@command("save", "", "admin noscript no_async_loading no_multi",
         since="1.0.0", group="server", complexity="O(N) where N is the total number of keys in all databases",
         summary="Save the dataset to disk, and reply when it is there")  # fmt: skip
def save(session: Session, request: Request) -> Effect:
    must_be_primary(session)
    return Save()


@command("bgsave", "SCHEDULE?!@3.2.2", "admin noscript no_async_loading",
         since="1.0.0", group="server", complexity="O(1)",
         summary="Asynchronously save the dataset to disk")  # fmt: skip
def bgsave(session: Session, request: Request) -> Effect:
    schedule = "SCHEDULE" in bgsave.options(request)
    must_be_primary(session)
    return BackgroundSave(schedule)


@command("bgrewriteaof", "", "admin noscript no_async_loading",
         since="1.0.0", group="server", complexity="O(1)",
         summary="Asynchronously rewrite the append-only file")  # fmt: skip
def bgrewriteaof(session: Session, request: Request) -> Effect:
    must_be_primary(session)
    return RewriteJournal()


@command("lastsave", "", "loading stale fast",
         since="1.0.0", group="server", complexity="O(1)", tips="nondeterministic_output", categories="admin dangerous",
         summary="Get the UNIX time stamp of the last successful save to disk")  # fmt: skip
def lastsave(session: Session, request: Request) -> Reply:
    return session.server.persistence.last_save_at


@command("shutdown", "nosave_save<NOSAVE|SAVE>? NOW?@7.0.0 FORCE?@7.0.0 ABORT?@7.0.0",
         "admin noscript loading stale no_multi allow_busy",
         since="1.0.0", group="server",
         complexity="O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
         summary="Save the dataset to disk and then shut down the server")  # fmt: skip
def shutdown(session: Session, request: Request) -> Effect:
    options = shutdown.options(request)
    if "ABORT" in options:
        if any(word in options for word in ("NOSAVE", "SAVE", "NOW", "FORCE")):
            raise CommandError(SYNTAX_ERROR)
        raise CommandError("ERR No shutdown in progress.")
    if session.server.scripts.busy_error and "NOSAVE" not in options:
        raise CommandError(session.server.scripts.busy_error)
    # NOW has no effect: it skips the wait for replicas, and there are none.
    return Shutdown(True if "SAVE" in options else False if "NOSAVE" in options else None, "FORCE" in options)


def _check_queueable_load(request: Request) -> None:
    """Refuse the load, which would replace all data after the transaction has ended."""
    raise Refusal("ERR RESTORE without arguments is not allowed inside a transaction")


# RESTORE is the way back where writes are refused, so it is not flagged as a write; but replicas would have to get it.
@command("restore",
         since="1.0.0", group="server", complexity="O(N) where N is the total number of keys in all databases",
         summary="Replace the dataset by what was saved last",
         is_alone=True, may_replicate=True, check_queueable=_check_queueable_load)  # fmt: skip
def restore(session: Session, request: Request) -> Effect:
    must_write(session)
    return Load()
