"""What is done before a command, or instead of it, for a session that is unauthenticated, monitors, is subscribed, …

Each function gives a handler in front of another one. Which of them stand in front of which commands is the business of
`lookups`; nothing here is asked for an ordinary session.
"""

from __future__ import annotations

from typing import Final

from kvserver.dispatch.command import Command, Handler, wrong_arity
from kvserver.dispatch.effect import Effect, Monitored, Postpone, Quiet
from kvserver.dispatch.gate import check_queueable, monitor_line, queue
from kvserver.dispatch.runner import OOM, is_out_of_memory, present_refusal, refusal_of, refuse
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import Reply
from kvserver.state.description import Description
from kvserver.state.session import SUBSCRIBED, Muted, Pause, Session

NOAUTH: Final = "NOAUTH Authentication required."
NO_KEYSPACE: Final = "ERR Replica can't interact with the keyspace"  # what Redis takes a monitor for


def authenticated_only(handler: Handler, row: Command) -> Handler:
    """Refuse what needs a password that was not given."""
    return refuse(handler, row, lambda each: None if "no_auth" in each.flags else NOAUTH)


# Monitors


def shown_to_monitors(handler: Handler, row: Command) -> Handler:
    """Show those who monitor what has run, unless it was refused before."""
    if "admin" in row.flags:
        return handler

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        result: Reply | Effect | CommandError
        try:
            result = handler(session, args)
        except Refusal:
            raise
        except CommandError as error:
            result = error
        if "admin" in row.resolve(args).flags:
            if isinstance(result, CommandError):
                raise result
            return result
        return Monitored(result, monitor_line(session, args))

    return run


def without_keys(handler: Handler, row: Command) -> Handler:
    """Refuse what touches keys."""

    def refusal(each: Command) -> str | None:
        uses_keys = _waits(each, Pause.WRITES) or "readonly" in each.flags
        return NO_KEYSPACE if uses_keys and refusal_of(handler, each) is None else None

    return refuse(handler, row, refusal)


# Subscribers


def for_subscriber(handler: Handler, row: Command) -> Handler:
    """Refuse what a RESP2 subscriber may not send."""
    if row.name == "ping":
        return with_pong(handler)
    if row.is_for_subscribers:
        return handler

    def refusal(each: Command) -> str | None:
        if refusal_of(handler, each) is not None:
            return None
        return (
            f"ERR Can't execute '{each.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
            "this context"
        )

    return refuse(handler, row, refusal)


def with_pong(handler: Handler) -> Handler:
    """PING, whose reply looks like a message in the context of a subscriber."""

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        result = handler(session, args)
        if not session.standing & SUBSCRIBED:
            return result
        return [b"pong", *(args[1:] or [b""])]

    return run


# Pauses


def _waits(row: Description, pause: Pause) -> bool:
    return pause is Pause.ALL or (pause is Pause.WRITES and ("write" in row.flags or row.may_replicate))


def postponed(handler: Handler, refusing: Handler, row: Command, pause: Pause) -> Handler:
    """Have what a pause concerns wait for its end; what `refusing` refuses is refused at once."""

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        resolved = row.resolve(args)
        waits = _waits(resolved, pause)
        if row.name == "exec" and session.transaction:
            rows = session.server.commands
            waits |= any(_waits(rows[words[0].lower()], pause) for words in session.transaction.commands)
        return Postpone() if waits and present_refusal(refusing, resolved, session) is None else handler(session, args)

    return run


# MULTI


def queued(refusing: Handler, row: Command, pause: Pause) -> Handler:
    """Queue instead of running, unless `refusing` refuses."""

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        resolved = row.resolve(args)
        text = refusal_of(refusing, resolved)
        # A queue takes memory, whatever is in it.
        if text is None and session.server.memory.limit_bytes and is_out_of_memory(session):
            text = OOM
        if text is not None:
            raise Refusal(text)
        check_queueable(resolved, args)
        return Postpone() if _waits(resolved, pause) else queue(session, args)

    return run


def noting_refusals(handler: Handler, arities: range, name: str) -> Handler:
    """Let a refused command make EXEC fail."""

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        try:
            if len(args) not in arities:
                raise wrong_arity(name, Refusal)
            return handler(session, args)
        except Refusal:
            assert session.transaction
            session.transaction.has_failed = True
            raise

    return run


# CLIENT REPLY


def muted(handler: Handler, arities: range, name: str) -> Handler:
    """Hold back replies, as CLIENT REPLY has said."""

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        before = session.muted
        if before is Muted.NEXT:
            session.muted = Muted.PRESENT
        result: Reply | Effect | CommandError
        try:
            if len(args) not in arities:
                raise wrong_arity(name, Refusal)
            result = handler(session, args)
        except CommandError as error:
            result = error
        if isinstance(result, Postpone):
            session.muted = before
            return result
        return Quiet(result)

    return run
