"""Flushing, loading and leaving: SAVE, BGSAVE, LASTSAVE, RESTORE, SHUTDOWN."""

from __future__ import annotations

from kvserver.commands.dump import restore_key
from kvserver.dispatch.arguments import SYNTAX_ERROR
from kvserver.dispatch.effect import AbortShutdown, BackgroundSave, Effect, Load, RewriteJournal, Save, Shutdown
from kvserver.dispatch.row import NO_KEYS, Command, wrong_arity
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.state.session import Session


def save(session: Session, args: list[bytes]) -> Effect:
    return Save()


def bgsave(session: Session, args: list[bytes]) -> Effect:
    if len(args) > 2 or (len(args) == 2 and args[1].upper() != b"SCHEDULE"):
        raise CommandError(SYNTAX_ERROR)
    return BackgroundSave(schedule=len(args) == 2)


def bgrewriteaof(session: Session, args: list[bytes]) -> Effect:
    return RewriteJournal()


def lastsave(session: Session, args: list[bytes]) -> Reply:
    return session.server.persistence.last_save_at


def restore(session: Session, args: list[bytes]) -> Reply | Effect:
    """Without arguments: load the last frame. With some: Redis's own RESTORE, which must never touch other keys."""
    if len(args) == 1:
        return Load()
    if len(args) < 4:
        raise wrong_arity("restore")
    return restore_key(session, args)


def shutdown(session: Session, args: list[bytes]) -> Effect:
    words = [word.upper() for word in args[1:]]
    if any(word not in (b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT") for word in words):
        raise CommandError(SYNTAX_ERROR)
    if b"ABORT" in words:
        if len(words) > 1:
            raise CommandError(SYNTAX_ERROR)
        return AbortShutdown()
    if b"SAVE" in words and b"NOSAVE" in words:
        raise CommandError(SYNTAX_ERROR)
    # NOW is about waiting for replicas, of which there are none.
    return Shutdown(True if b"SAVE" in words else False if b"NOSAVE" in words else None, b"FORCE" in words)


_ADMIN = ("admin", "noscript")
_GROUP = "server"

COMMANDS = (
    Command("save", 1, (*_ADMIN, "no_async_loading", "no_multi"), NO_KEYS, save,
            "Save the dataset to disk, and reply when it is there", "1.0.0", _GROUP,
            "O(N) where N is the total number of keys in all databases"),
    Command("bgsave", -1, (*_ADMIN, "no_async_loading"), NO_KEYS, bgsave, "Asynchronously save the dataset to disk",
            "1.0.0", _GROUP, "O(1)"),
    Command("bgrewriteaof", 1, (*_ADMIN, "no_async_loading"), NO_KEYS, bgrewriteaof,
            "Asynchronously rewrite the append-only file", "1.0.0", _GROUP, "O(1)"),
    Command("lastsave", 1, ("loading", "stale", "fast"), NO_KEYS, lastsave,
            "Get the UNIX time stamp of the last successful save to disk", "1.0.0", _GROUP, "O(1)"),
    Command("restore", -1, ("write", "denyoom"), (1, 1, 1), restore,
            "Without arguments: replace the dataset by what was saved last", "2.6.0", "generic", "O(N)"),
    Command("shutdown", -1, (*_ADMIN, "loading", "stale", "no_multi", "allow_busy"), NO_KEYS, shutdown,
            "Save the dataset to disk and then shut down the server", "1.0.0", _GROUP,
            "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)"),
)  # fmt: skip
