"""KVS.FRAMES, KVS.AT, KVS.LOG, KVS.DIFF, KVS.RESTORE: the data of earlier moments, beside the present one.

The handlers read the words; the engine's time machine does the rest. What a moment is, `formats/moment` tells.
"""

from __future__ import annotations

from typing import Final

from kvserver.data.keyspace import Keyspace
from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command, wrong_arity
from kvserver.dispatch.effect import Compare, Effect, Fetch, Fetched, GoBack, ListFrames, LookBack, Recreated, TellChanges
from kvserver.errors import CommandError, HistoryError
from kvserver.formats.moment import Moment, parse_moment
from kvserver.patterns import EVERYTHING
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

MOST_CHANGES: Final = 1000
_USUAL_CHANGES: Final = 10
_LONGEST_DIFF: Final = 4


def moment_of(session: Session, word: bytes) -> Moment:
    """The moment that a word names. CommandError if it names none."""
    try:
        return parse_moment(word.decode("utf-8", "replace"), session.server.now_ms())
    except HistoryError as error:
        raise CommandError(f"ERR {error}") from None


def _count(word: bytes) -> int:
    count = integer(word)
    if not 1 <= count <= MOST_CHANGES:
        raise CommandError(f"ERR COUNT must be between 1 and {MOST_CHANGES}")
    return count


@command("kvs.frames", "", "readonly noscript no_multi",
         since="0.1.0", group="server", complexity="O(N) where N is the number of frames and segments that are kept",
         summary="List the frames that can be gone back to")  # fmt: skip
def frames(session: Session, request: Request) -> Effect:
    return ListFrames()


@command("kvs.at", "moment command argument?+", "readonly noscript no_multi",
         since="0.1.0", group="server",
         complexity="That of the command, and O(N) where N is the data of a snapshot and of the journal behind it, for the "
         "first call of a moment",
         summary="Run a command that reads on the data as it was at a moment")  # fmt: skip
def at(session: Session, request: Request) -> Effect:
    return LookBack(moment_of(session, request[1]), request[2:])


@command("kvs.restore", "moment KEYS=pattern:pattern?", "write denyoom noscript no_multi",
         events={"": "g:restore", "DEL": "g:del"}, since="0.1.0", group="server",
         complexity="O(N) where N is the data of a snapshot and of the journal behind it", categories="admin dangerous",
         summary="Let all data, or the keys that match a pattern, be what they were at a moment")  # fmt: skip
def restore(session: Session, request: Request) -> Reply | Effect:
    pattern = restore.options(request).get("KEYS")
    fetched = session.take_ready(request)
    if isinstance(fetched, CommandError):
        raise fetched
    if isinstance(fetched, Fetched):
        changes = fetched.changes()
        if changes is not None:
            _bring_back(session.keyspace, changes)
            return fetched.count
    moment = moment_of(session, request[1])
    return GoBack(moment) if pattern is None else Fetch(moment, pattern)


def _bring_back(keyspace: Keyspace, changes: dict[bytes, Recreated | None]) -> None:
    """Let keys be what they were."""
    for key, then in changes.items():
        if then is not None:
            keyspace.put_recreated(key, *then)
        elif keyspace.peek(key) is not None:
            keyspace.remove(key)


@command("kvs.log", "key:key COUNT=count:integer?", "readonly noscript no_multi", access="RO access",
         numbers={"COUNT": _count},
         since="0.1.0", group="server", complexity="O(N) where N is the length of the journal that is kept",
         summary="Tell what was written to a key, the newest first")  # fmt: skip
def log(session: Session, request: Request) -> Effect:
    return TellChanges(request[1], log.options(request).number("COUNT", _USUAL_CHANGES))


@command("kvs.diff", "first second pattern:pattern?", "readonly noscript no_multi",
         since="0.1.0", group="server", complexity="O(N) where N is the data of both moments", categories="dangerous",
         summary="Tell which keys are not the same at two moments")  # fmt: skip
def diff(session: Session, request: Request) -> Effect:
    if len(request) > _LONGEST_DIFF:
        raise wrong_arity("kvs.diff")
    pattern = request[3] if len(request) == _LONGEST_DIFF else EVERYTHING
    return Compare(moment_of(session, request[1]), moment_of(session, request[2]), pattern)
