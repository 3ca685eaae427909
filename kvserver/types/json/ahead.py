"""Commands on documents that take long: their steps are taken ahead, between the commands of others. Pure.

The handler of such a command is a generator. One that reads returns its reply; one that writes returns a `Finish`, which takes
a short time, and all that others can see is done there. A command that needs only a few steps runs at once. Of any other one
the steps are taken ahead (`effect.Ahead`); when they are done, it runs anew, and that is the end of it. In a transaction, a
script or the journal, where nothing can wait, all is done at once.

What a command reads stays as it was when its steps began. What it is about to write nobody else writes meanwhile, but for
what can't wait or is not known before: a key whose time has come or that is evicted, a script that writes a key which it has
not declared, a key that comes from another database or to somebody who waits. Then the steps begin again; if that goes on,
they are all taken at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from sys import maxsize
from typing import Final, NamedTuple

from kvserver.data.entries import Value
from kvserver.data.steps import Steps
from kvserver.dispatch.effect import Ahead, Effect
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.document import Document, Hold
from kvserver.types.json.storage import Finish

# A command that needs no more steps runs at once.
STEPS_AT_ONCE: Final = 4
# So often the steps of a command may be taken in vain.
MOST_TRIES: Final = 3

Keys = Callable[[Request], list[bytes]]
Run = Callable[[Session, Request], Reply | Effect]


class _Seen(NamedTuple):
    """A value under a key as the steps have found it; of a document, how often it had been changed."""

    value: Value | None
    changes: int

    def is_still(self, other: _Seen) -> bool:
        return self.value is other.value and self.changes == other.changes


class _Done(NamedTuple):
    """What the steps of a command have led to, and what they have seen of the keys that it writes."""

    finish: Finish
    seen: list[_Seen]
    tries: int


def first_key(request: Request) -> list[bytes]:
    """Return the key of most commands."""
    return request[1:2]


def reads_ahead(keys: Keys = first_key) -> Callable[[Callable[[Session, Request], Steps[Reply]]], Run]:
    """Return a decorator for handlers of commands that read the documents under these keys."""

    def decorate(handler: Callable[[Session, Request], Steps[Reply]]) -> Run:
        def finishing(session: Session, request: Request) -> Steps[Finish]:
            reply = yield from handler(session, request)
            return lambda: reply

        return wraps(handler)(_running(finishing, keys, writes=False))

    return decorate


def writes_ahead(keys: Keys = first_key) -> Callable[[Callable[[Session, Request], Steps[Finish]]], Run]:
    """Return a decorator for handlers of commands that write the documents under these keys."""

    def decorate(handler: Callable[[Session, Request], Steps[Finish]]) -> Run:
        return wraps(handler)(_running(handler, keys, writes=True))

    return decorate


def _running(handler: Callable[[Session, Request], Steps[Finish]], keys: Keys, *, writes: bool) -> Run:
    def run(session: Session, request: Request) -> Reply | Effect:
        tries = 0
        done = session.take_ready(request)
        if isinstance(done, _Done):
            seen = _seen(session, keys(request)) if writes else []
            if all(map(_Seen.is_still, seen, done.seen)):
                return done.finish()
            tries = done.tries
        steps = handler(session, request)
        left = STEPS_AT_ONCE if session.may_wait and tries < MOST_TRIES else maxsize
        try:
            while left:
                next(steps)
                left -= 1
        except StopIteration as stop:
            finish: Finish = stop.value
            return finish()
        wanted = keys(request)
        # Now, since the steps go on behind other commands of this tick.
        seen = _seen(session, wanted)
        documents = {id(each.value): each.value for each in seen}
        holds = [value.hold() for value in documents.values() if type(value) is Document]
        seen = seen if writes else []
        return Ahead(_taken(steps, seen, holds, tries + 1), wanted if writes else [])

    return run


def _seen(session: Session, keys: list[bytes]) -> list[_Seen]:
    values = [session.keyspace.peek_live(key) for key in keys]
    return [_Seen(value, value.changes if type(value) is Document else 0) for value in values]


def _taken(steps: Steps[Finish], seen: list[_Seen], holds: list[Hold], tries: int) -> Steps[_Done]:
    try:
        finish = yield from steps
    except CommandError as error:
        text = str(error)

        def finish() -> Reply:
            raise CommandError(text)

    finally:
        # Also where nobody needs the rest of the steps.
        for hold in holds:
            hold.release()
    return _Done(finish, seen, tries)
